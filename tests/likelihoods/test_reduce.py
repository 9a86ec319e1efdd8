"""Data made independent and projected: the same likelihood as without."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.likelihoods.gaussian import reduce
from pymc_dynsys.systems import bind_system
from pymc_dynsys.systems.gaussian import LOG_2PI
from tests.helpers import log_likelihood, prepare, program_of

projected = jax.jit(reduce.projected)


def normal_log_density(y: np.ndarray, mean: np.ndarray, cov: np.ndarray) -> float:
    v = y - mean
    return -0.5 * (len(v) * LOG_2PI + np.linalg.slogdet(cov)[1] + v @ np.linalg.solve(cov, v))


@pytest.mark.parametrize("correlated", [True, False])
@pytest.mark.parametrize(("n", "d"), [(2, 1), (4, 2), (10, 2), (7, 6)])
def test_pseudo_data_and_remainder_are_the_data(n, d, correlated):
    rng = np.random.default_rng([n, d])
    H, x = rng.normal(size=(n, d)), rng.normal(size=d)
    root = rng.normal(size=(n, n))
    R = root @ root.T + 0.1 * np.eye(n)
    R = R if correlated else np.diag(np.diag(R))
    y = rng.normal(size=(3, n))
    data, sensor, rest = projected(y, None, H, R if correlated else np.diag(R))
    assert data.y.shape == (3, d)
    np.testing.assert_allclose(np.tril(sensor.H, -1), 0)
    for k in range(3):
        expected = normal_log_density(y[k], H @ x, R)
        pseudo = normal_log_density(data.y[k], sensor.H @ x, np.diag(sensor.R))
        np.testing.assert_allclose(pseudo + rest[k], expected, rtol=1e-11)


@pytest.mark.parametrize("lost", ["dependent", "unseen", "all missing"])
def test_directions_that_bring_nothing(lost):
    """A column that depends on another, one that is zero, and no datum at all."""
    rng = np.random.default_rng(1)
    H = rng.normal(size=(5, 3))
    H[:, 2] = H[:, 0] - 2 * H[:, 1] if lost == "dependent" else H[:, 2]
    H[:, 1] = 0.0 if lost == "unseen" else H[:, 1]
    seen = np.zeros(5, bool) if lost == "all missing" else np.array([1, 1, 0, 1, 1], bool)
    y, R, x = rng.normal(size=5), np.eye(5) + 0.3, rng.normal(size=3)
    data, sensor, rest = projected(y[None], seen, H, R)
    pseudo = normal_log_density(data.y[0], sensor.H @ x, np.diag(sensor.R))
    expected = normal_log_density(y[seen], (H @ x)[seen], R[np.ix_(seen, seen)])
    # Where all is missing both parts must cancel to zero, which has no relative size.
    np.testing.assert_allclose(pseudo + rest[0], expected, rtol=1e-10, atol=1e-12)


def test_a_remainder_far_below_the_data():
    """Data of a million with noise of a thousandth: the remainder is not lost to cancellation."""
    rng = np.random.default_rng(2)
    H = rng.normal(size=(4, 1))
    e = 1e-3 * rng.normal(size=4)
    y = 1e6 * H[:, 0] + e
    data, sensor, rest = projected(y[None], None, H, np.full(4, 1e-6))
    x = np.array([1e6])
    pseudo = normal_log_density(data.y[0], sensor.H @ x, np.diag(sensor.R))
    expected = normal_log_density(e, np.zeros(4), 1e-6 * np.eye(4))
    np.testing.assert_allclose(pseudo + rest[0], expected, rtol=1e-6)


@pytest.mark.parametrize(
    "R", [np.zeros(3), np.array([1.0, 1.0, -1.0]), np.ones((3, 3)) - np.eye(3)]
)
def test_noise_that_is_not_definite_gives_no_number(R):
    _, _, rest = projected(np.ones((1, 3)), None, np.ones((3, 1)), R)
    assert not np.isfinite(rest).any()


def system(law) -> pds.DiscreteTime:
    return pds.DiscreteTime(
        transition=lambda x, phi: dist.Normal(phi * x, 0.5).to_event(1),
        observation=law,
        initial=dist.Normal(jnp.zeros(2), 1.0).to_event(1),
    )


H = np.random.default_rng(3).normal(size=(5, 2))
R = np.eye(5) * 0.4 + 0.2
LAWS = {
    "correlated": (
        lambda x, s: dist.MultivariateNormal(H @ x, s * R),
        lambda x, s: pds.Gaussian(H @ x, s * R),
    ),
    "independent": (
        lambda x, s: dist.Normal(H @ x, s).to_event(1),
        lambda x, s: pds.Gaussian(H @ x, s**2 * jnp.eye(5)),
    ),
    "changing": (
        lambda x, s, t: dist.MultivariateNormal((1 + 0.1 * t) * (H @ x), s * (1 + t) * R),
        lambda x, s, t: pds.Gaussian((1 + 0.1 * t) * (H @ x), s * (1 + t) * R),
    ),
}


@pytest.mark.parametrize(("law", "missing"), [*((law, True) for law in LAWS), (min(LAWS), False)])
def test_value_and_gradient_are_those_of_the_data_as_they_are(law, missing):
    """``Gaussian`` admits singular noise, so it is never projected."""
    rng = np.random.default_rng(4)
    y, times = rng.normal(size=(6, 5)), np.arange(6.0)
    if missing:
        y[rng.uniform(size=y.shape) < 0.4] = np.nan
        y[2] = np.nan
    found = []
    for observation, is_definite in zip(LAWS[law], (True, False), strict=True):
        bound = bind_system(system(observation), {"phi": (), "s": ()})
        assert bound.proof.observation.definite == is_definite
        built = program_of(bound, pds.Kalman(), complete=not missing)
        grid = prepare(built, times, np.nan)
        function = jax.jit(
            jax.value_and_grad(lambda p, b=built, g=grid: log_likelihood(b, y, p, g))
        )
        found.append(function({"phi": jnp.asarray(0.7), "s": jnp.asarray(0.9)}))
    (value, slope), (expected, expected_slope) = found
    np.testing.assert_allclose(value, expected, rtol=1e-10)
    for name in slope:
        np.testing.assert_allclose(slope[name], expected_slope[name], rtol=1e-9)


def test_a_nonlinear_observation_is_left_alone():
    observation = lambda x, s: dist.Normal(jnp.sin(H @ x), s).to_event(1)  # noqa: E731
    bound = bind_system(system(observation), {"phi": (), "s": ()})
    built = program_of(bound, pds.EKF(), complete=True)
    grid = prepare(built, np.arange(4.0), np.nan)
    y = np.random.default_rng(5).normal(size=(4, 5))
    point = {"phi": jnp.asarray(0.7), "s": jnp.asarray(0.9)}
    plain = jax.jit(lambda p: log_likelihood(built, y, p, grid))(point)
    many = replace(built, complete=False)
    np.testing.assert_allclose(plain, log_likelihood(many, y, point, grid), rtol=1e-12)
