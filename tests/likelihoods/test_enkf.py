"""The ensemble filter against a plain-numpy one with the same noise, its gradients and options."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.likelihoods.ensemble.noise import draw_noise, whiten
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    as_arrays,
    assert_gradients_agree,
    finite_differences,
    likelihood_function,
    prepare,
    program_of,
    values_and_gradient,
)

MEMBERS = 7
TIMES = np.array([0.0, 0.4, 0.4, 1.3, 1.5])
Y = np.array([[0.3, -0.1], [np.nan, 0.4], [np.nan, np.nan], [0.1, np.nan], [0.2, 0.5]])
R = np.array([[0.3, 0.1], [0.1, 0.2]])
M0, P0 = np.array([0.4, -0.2]), np.array([[0.5, 0.2], [0.2, 0.3]])
PARAMS = {"mu": 1.1, "scale": 0.2, "gain": 0.9}
SHAPES = dict.fromkeys(PARAMS, ())
SCHEME = pds.EulerMaruyama(dt=0.2)
VARIANTS = (pds.SquareRoot(), pds.Perturbed())

VAN_DER_POL = pds.SDE(
    drift=lambda x, mu: (x[1], mu * (1 - x[0] ** 2) * x[1] - x[0]),
    diffusion=lambda x, scale: (scale, 0.1 * x[0]),
    initial=pds.Gaussian(M0, P0),
    observation=lambda x, gain: pds.Gaussian(jnp.stack([x[0] * x[1], gain * x[0]]), R),
)


def forecast(X, gap, normals, mu, scale):
    """Euler-Maruyama steps of at most 0.2."""
    steps = max(int(np.ceil(gap / 0.2 - 1e-9)), 1)
    h = gap / steps
    for z in normals[:steps]:
        f = np.stack([X[:, 1], mu * (1 - X[:, 0] ** 2) * X[:, 1] - X[:, 0]], axis=1)
        loading = np.stack([np.full(MEMBERS, scale), 0.1 * X[:, 0]], axis=1)
        X = X + f * h + loading * np.sqrt(h) * z
    return X


def analyse(X, D, y, r, normals):
    """Serial update with one scalar datum after another, whose noises are independent."""
    total = 0.0
    for j in range(len(y)):
        A, B, b = X - X.mean(0), D - D.mean(0), D[:, j] - D[:, j].mean()
        s = b @ b / (MEMBERS - 1) + r[j]
        innovation = y[j] - D[:, j].mean()
        total -= 0.5 * (innovation**2 / s + np.log(2 * np.pi * s))
        of_X, of_D = A.T @ b / (MEMBERS - 1) / s, B.T @ b / (MEMBERS - 1) / s
        if normals is None:
            # Whitaker and Hamill (2002), eq. 13: anomalies move by a reduced gain.
            weights = innovation - b / (1 + np.sqrt(r[j] / s))
        else:
            weights = y[j] + np.sqrt(r[j]) * normals[:, j] - D[:, j]
        X, D = X + np.outer(weights, of_X), D + np.outer(weights, of_D)
    return X, total


def plain_filter(noise, mu, scale, gain):
    """Visit by visit and component by component, missing components left out."""
    X = M0 + noise.initial[0] @ np.linalg.cholesky(P0).T
    total = 0.0
    for k, gap in enumerate(np.diff(TIMES, prepend=TIMES[0])):
        X = forecast(X, gap, [of[k] for of in noise.process], mu, scale)
        seen = ~np.isnan(Y[k])
        D = np.stack([X[:, 0] * X[:, 1], gain * X[:, 0]], axis=1)[:, seen]
        C = np.linalg.cholesky(R[np.ix_(seen, seen)])
        L, r = C / np.diag(C), np.diag(C) ** 2
        normals = None if noise.observation is None else noise.observation[k][:, seen]
        y, D = np.linalg.solve(L, Y[k, seen]), np.linalg.solve(L, D.T).T
        X, loglik = analyse(X, D, y, r, normals)
        total += loglik
    return total


def ensemble(variant=VARIANTS[0], **options):
    options = {"ensemble_size": MEMBERS, "discretization": SCHEME, **options}
    return pds.EnKF(variant=variant, **options)


@pytest.mark.parametrize("variant", VARIANTS)
def test_values_and_gradients_agree_with_a_plain_filter(variant):
    likelihood = ensemble(variant)
    bound = bind_system(VAN_DER_POL, SHAPES)
    grid = prepare(program_of(bound, likelihood, False), TIMES, np.nan)
    noise = likelihood.draw_noise(bound, (), grid)
    # Five steps are too many to be written out, so their normals are kept together.
    noise = noise._replace(process=np.moveaxis(noise.process, 1, 0))
    function = likelihood_function(VAN_DER_POL, likelihood, Y, TIMES, SHAPES)
    value, gradient = values_and_gradient(function)(as_arrays(PARAMS))
    np.testing.assert_allclose(value, plain_filter(noise, **PARAMS), rtol=1e-10)
    expected = finite_differences(lambda p: plain_filter(noise, **p), PARAMS)
    assert_gradients_agree(gradient, expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("variant", "most"),
    [
        (VARIANTS[0], 0),
        (VARIANTS[1], 3),
        pytest.param(VARIANTS[0], 3, marks=pytest.mark.slow),
        pytest.param(VARIANTS[1], 0, marks=pytest.mark.slow),
    ],
)
def test_gradients_of_a_panel_in_both_modes(variant, most, monkeypatch):
    """Few scalars are differentiated forwards, more of them backwards."""
    monkeypatch.setattr(pds.EnKF, "forward_scalars", most)
    y = np.stack([Y, Y + 0.1, np.roll(Y, 1, axis=0)])
    evaluate = values_and_gradient(
        likelihood_function(VAN_DER_POL, ensemble(variant), y, TIMES, SHAPES)
    )
    point = {**PARAMS, "mu": np.array([0.5, 1.1, 1.4]), "scale": np.array([0.2])}
    _, gradient = evaluate(as_arrays(point))
    expected = finite_differences(lambda p: evaluate(as_arrays(p))[0].sum(), point)
    assert_gradients_agree(gradient, expected, rtol=1e-7, atol=1e-8)


def test_large_ensembles_approach_the_kalman_filter():
    """Whitened noise leaves an error of order one over the root of the ensemble."""
    ou = pds.SDE(
        states="level",
        drift=lambda level, rate: -rate * level,
        diffusion=0.5,
        initial=dist.Normal(1.0, 0.7),
        observation=lambda level: dist.Normal(level, 0.3),
    )
    y = Y[:, 1]
    params = as_arrays({"rate": 0.8})
    exact = likelihood_function(ou, pds.Kalman(), y, TIMES, {"rate": ()})(params)
    for variant in VARIANTS:
        likelihood = pds.EnKF(20_000, discretization=pds.Exact(), variant=variant)
        value = likelihood_function(ou, likelihood, y, TIMES, {"rate": ()})(params)
        np.testing.assert_allclose(value, exact, atol=0.01)
        assert value != exact


def test_two_members_are_enough_to_run():
    likelihood = ensemble(ensemble_size=2)
    value = likelihood_function(VAN_DER_POL, likelihood, Y, TIMES, SHAPES)(as_arrays(PARAMS))
    assert np.isfinite(value)


def test_a_known_start_and_no_noise_make_all_members_equal():
    decay = pds.SDE(
        states="level",
        drift=lambda level, rate: -rate * level,
        diffusion=0.0,
        initial=1.0,
        observation=lambda level: dist.Normal(level, 0.3),
    )
    y, params = np.array([0.9, np.nan, 0.5]), as_arrays({"rate": 0.8})
    likelihood = pds.EnKF(5, discretization=pds.Exact())
    evaluate = values_and_gradient(
        likelihood_function(decay, likelihood, y, TIMES[[0, 1, 3]], {"rate": ()})
    )
    value, gradient = evaluate(params)
    mean = np.exp(-0.8 * TIMES[[0, 3]])
    expected = dist.Normal(mean, 0.3).log_prob(y[[0, 2]]).sum()
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    slope = ((y[[0, 2]] - mean) / 0.09 * -TIMES[[0, 3]] * mean).sum()
    np.testing.assert_allclose(gradient["rate"], slope, rtol=1e-10)


def test_noise_is_whitened_and_each_trajectory_has_its_own():
    noise = draw_noise(3, (2, 2), 4, 2, 9, 3, 2, 1)
    for of in (noise.initial, *noise.process, noise.observation):
        assert of.shape[1:3] == (2, 2)
        rounding = 1e-6 if of.dtype == np.float32 else 1e-12
        of = of.astype(float)
        np.testing.assert_allclose(of.mean(-2), 0.0, atol=rounding)
        cov = np.swapaxes(of, -1, -2) @ of / 8
        np.testing.assert_allclose(
            cov, np.broadcast_to(np.eye(of.shape[-1]), cov.shape), atol=rounding
        )
    assert not np.allclose(noise.initial[0, 0, 0], noise.initial[0, 1, 1])
    fewer = draw_noise(3, (3,), 4, 2, 9, 3, 2, 1)
    np.testing.assert_array_equal(fewer.process[0][:, 1], noise.process[0][:, 0, 1])


def test_too_few_members_to_whiten_are_only_centred():
    normals = np.random.default_rng(0).normal(size=(2, 3))
    np.testing.assert_allclose(whiten(normals), normals - normals.mean(0))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ensemble_size": 1}, ValueError, "at least 2, got 1"),
        ({"ensemble_size": 0}, ValueError, "at least 2, got 0"),
        ({"ensemble_size": -5}, ValueError, "at least 2, got -5"),
        ({"ensemble_size": 10.0}, TypeError, "must be an integer, got 10.0"),
        ({"ensemble_size": True}, TypeError, "must be an integer, got True"),
        ({"seed": -1}, ValueError, "seed must be a non-negative integer"),
        ({"seed": 0.5}, TypeError, "seed must be a non-negative integer"),
        ({"variant": "sqrt"}, TypeError, r"SquareRoot\(\) or Perturbed\(\), got 'sqrt'"),
        ({"discretization": pds.MomentODE()}, ValueError, "discretization must be EulerMaruyama"),
        ({"discretization": 0.1}, ValueError, "discretization must be EulerMaruyama"),
    ],
)
def test_options_that_make_no_sense(options, error, message):
    with pytest.raises(error, match=message):
        pds.EnKF(**options)


def test_an_unstated_discretization_is_chosen_and_announced():
    linear = bind_system(
        pds.SDE(
            drift=lambda x: -x,
            diffusion=1.0,
            initial=np.zeros(2),
            observation=lambda x: dist.Normal(x[0], 1.0),
        ),
        {},
    )
    gaps = np.array([0.0, 1.0, 2.0, 3.0])
    settled, message = pds.EnKF().resolve_defaults(linear, gaps)
    assert settled.discretization == pds.Exact() and "linear" in message
    settled, message = pds.EnKF(seed=4).resolve_defaults(bind_system(VAN_DER_POL, SHAPES), gaps)
    assert settled == pds.EnKF(seed=4, discretization=pds.EulerMaruyama(dt=0.5))
    assert "EulerMaruyama(dt=0.5)" in message and "median gap is 2" in message
    stated = ensemble()
    assert stated.resolve_defaults(bind_system(VAN_DER_POL, SHAPES), gaps) == (stated, "")
