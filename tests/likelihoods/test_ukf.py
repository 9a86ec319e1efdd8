"""The unscented filter: options, exactness where it must be, and what it does in between."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.likelihoods.ukf import regress
from tests.helpers import as_arrays, likelihood_function

TIMES = np.array([0.0, 0.5, 0.7, 1.5, 3.0])
Y = np.array([[0.3, np.nan], [0.5, -0.2], [np.nan, np.nan], [0.1, 0.4], [-0.3, 0.2]])

COORDS = {"time": TIMES, "component": [0, 1]}

BENT = pds.SDE(
    states=("a", "b"),
    drift=lambda a, b, k: (b, -k * jnp.sin(a) - 0.3 * b),
    diffusion=(0.1, 0.3),
    initial=pds.Gaussian(jnp.array([0.5, 0.0]), jnp.diag(jnp.array([0.2, 0.0]))),
    observation=lambda a, b: dist.Normal(jnp.stack([jnp.sin(a), a * b]), 0.2).to_event(1),
)


def of(likelihood, system=BENT, y=Y):
    return likelihood_function(system, likelihood, y, TIMES, {"k": ()})


def test_moments_of_a_quadratic_are_exact():
    """With kappa = 3 - n, E[x'Ax] and its covariance with x are those of the normal law."""
    m, P = jnp.array([0.3, -0.5]), jnp.array([[0.5, 0.2], [0.2, 0.4]])
    A = jnp.array([[1.0, 0.3], [0.3, -2.0]])

    def quadratic(x):
        return (x @ A @ x)[None], jnp.zeros((1, 1))

    mean, slope, noise = jax.jit(lambda m, P: regress(pds.UKF(), quadratic, m, P))(m, P)
    np.testing.assert_allclose(mean[0], m @ A @ m + jnp.trace(A @ P), rtol=1e-12)
    np.testing.assert_allclose(slope[0], 2 * A @ m, rtol=1e-12)
    one = pds.UKF(kappa=2.0)
    v = jnp.array([[0.7]])
    _, _, noise = jax.jit(lambda m, P: regress(one, lambda x: (x**2, jnp.zeros((1, 1))), m, P))(
        jnp.array([0.4]), v
    )
    np.testing.assert_allclose(noise[0, 0], 2 * 0.7**2, rtol=1e-12)


@pytest.mark.parametrize(
    ("scheme", "options"),
    [
        pytest.param(None, {}, marks=pytest.mark.slow),
        (pds.EulerMaruyama(0.1), {"alpha": 1e-3, "beta": 2.0, "kappa": 0.0}),
        (pds.LocalLinearization(0.25), {}),
    ],
)
def test_gradients_are_those_of_finite_differences(scheme, options):
    function = of(pds.UKF(scheme, **options))
    slope = jax.jit(jax.grad(function))(as_arrays({"k": 1.3}))["k"]
    near = [float(function(as_arrays({"k": 1.3 + h}))) for h in (-1e-4, 1e-4)]
    np.testing.assert_allclose(slope, (near[1] - near[0]) / 2e-4, rtol=1e-5)


def test_it_comes_nearer_than_the_extended_filter():
    """An ensemble of many stands in for the truth, as far as a Gaussian filter has one."""
    fine = pds.EulerMaruyama(0.02)
    point = as_arrays({"k": 1.3})
    many = [of(pds.EnKF(20_000, fine, seed=seed))(point) for seed in (0, 1)]
    unscented, extended = (of(filter_(fine))(point) for filter_ in (pds.UKF, pds.EKF))
    assert abs(many[0] - many[1]) < 0.02
    assert abs(unscented - np.mean(many)) < 0.5 * abs(extended - np.mean(many))


def test_a_step_that_is_not_differentiable():
    """Points see through a kink that a derivative at the mean does not."""
    kinked = pds.DiscreteTime(
        states="x_",
        transition=lambda x_, k: dist.Normal(k * jnp.abs(x_), 0.3),
        observation=lambda x_: dist.Normal(x_, 0.5),
        initial=dist.Normal(0.0, 1.0),
    )
    y = np.array([0.2, 0.6, 0.9])
    function = likelihood_function(kinked, pds.UKF(), y, np.arange(3.0), {"k": ()})
    value, slope = jax.jit(jax.value_and_grad(function))(as_arrays({"k": 0.8}))
    assert np.isfinite(value) and np.isfinite(slope["k"])


def test_what_is_refused():
    with pytest.raises(ValueError, match="alpha must be positive"):
        pds.UKF(alpha=0.0)
    with pytest.raises(TypeError, match="beta must be a number"):
        pds.UKF(beta="2")
    with pytest.raises(ValueError, match="discretization must be"):
        pds.UKF(pds.MomentODE())
    with pytest.raises(ValueError, match="no spread"), pm.Model(coords=COORDS):
        pds.Trajectory(
            "y",
            BENT,
            params={"k": 1.0},
            observed=np.zeros((5, 2)),
            dims=("time", "component"),
            likelihood=pds.UKF(kappa=-2.0),
        )


@pytest.mark.slow
def test_it_is_chosen_by_name_and_checked():
    with pm.Model(coords=COORDS) as model:
        k = pm.HalfNormal("k")
        rv = pds.Trajectory(
            "y",
            BENT,
            params={"k": k},
            observed=Y,
            dims=("time", "component"),
            likelihood=pds.UKF(),
        )
    assert "UKF(discretization=LocalLinearization(dt=None)" in repr(rv.owner.op.spec.likelihood)
    found = pds.check_likelihood(model, n_seeds=2)["check"]
    assert "EnKF" in found.attrs["reference"] and bool(found["finite"])
    idata = pm.sample_prior_predictive(20, model=model, random_seed=1)
    states = pds.sample_states(idata, model=model, group="prior", random_seed=1)
    assert np.isfinite(states.prior["states"]).all()
