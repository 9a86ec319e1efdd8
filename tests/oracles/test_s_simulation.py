"""S01, S02, S05: laws of simulated paths, exact ones and those of the Euler chain."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.systems import bind_system
from tests.helpers import as_arrays
from tests.oracles.cases import load

N = 100_000
STEPS = (0.5, 0.125)
OU, GBM, WELL = load("S01"), load("S02"), load("S05")

OU_SYSTEM = pds.SDE(
    states="level",
    drift=lambda level, theta, mu: theta * (mu - level),
    diffusion=lambda sigma: sigma,
    initial=dist.Normal(float(OU.m0), float(OU.P0) ** 0.5),
    observation=lambda level: dist.Normal(level, 1.0),
)
OU_PARAMS = {"theta": OU.theta, "mu": OU.mu, "sigma": OU.sigma}
GBM_SYSTEM = pds.SDE(
    states="price",
    drift=lambda price, m: m * price,
    diffusion=lambda price, s: s * price,
    initial=float(GBM.x0),
    observation=lambda price: dist.Normal(price, 1.0),
)
GBM_PARAMS = {"m": GBM.m, "s": GBM.s}


def states(system, params, times, n=N, **options) -> np.ndarray:
    paths = pds.simulate(system, params, times, n=n, random_seed=1, **options)
    return paths.states.values[..., 0]


def assert_moments(x: np.ndarray, mean: np.ndarray, var: np.ndarray, gaussian: bool) -> None:
    """Mean and variance at every time within four Monte Carlo errors."""
    n = len(x)
    assert np.all(np.abs(x.mean(0) - mean) <= 4 * np.sqrt(var / n) + 1e-12)
    spread = 2 * var**2
    if not gaussian:
        spread = ((x - x.mean(0)) ** 4).mean(0) - x.var(0) ** 2
    assert np.all(np.abs(x.var(0, ddof=1) - var) <= 4 * np.sqrt(spread / n) + 1e-12)


def test_exact_ou_paths():
    x = states(OU_SYSTEM, OU_PARAMS, OU.t)
    cov = OU.out.cov
    assert_moments(x, OU.out.mean, np.diag(cov), gaussian=True)
    error = np.sqrt((cov**2 + np.outer(np.diag(cov), np.diag(cov))) / N)
    assert np.all(np.abs(np.cov(x, rowvar=False) - cov) <= 4 * error)


@pytest.mark.parametrize("dt", STEPS)
def test_euler_ou_paths_have_the_law_of_the_euler_chain(dt):
    x = states(OU_SYSTEM, OU_PARAMS, OU.t, simulator=pds.EulerMaruyama(dt=dt))
    mean, var = getattr(OU.out, f"em_mean_dt{dt}"), getattr(OU.out, f"em_var_dt{dt}")
    assert_moments(x, mean, var, gaussian=True)
    if dt == 0.5:
        bias = np.abs(x.var(0)[-1] - OU.out.cov[-1, -1])
        assert bias > 20 * OU.out.cov[-1, -1] * np.sqrt(2 / N), "the wrong scheme would be seen"


@pytest.mark.parametrize("dt", STEPS)
def test_euler_gbm_paths_have_the_law_of_the_ito_chain(dt):
    """The tails are heavy, so the error of a variance is that of the fourth moment."""
    x = states(GBM_SYSTEM, GBM_PARAMS, GBM.t, simulator=pds.EulerMaruyama(dt=dt))
    assert np.all(x[:, 0] == GBM.x0)
    mean, var = getattr(GBM.out, f"em_mean_dt{dt}"), getattr(GBM.out, f"em_var_dt{dt}")
    assert_moments(x, mean, var, gaussian=False)


def test_gbm_is_ito_not_stratonovich():
    x = states(GBM_SYSTEM, GBM_PARAMS, GBM.t, simulator=pds.EulerMaruyama(dt=0.02))
    ito = GBM.out.mean[-1]
    stratonovich = ito * np.exp(GBM.s**2 / 2 * GBM.t[-1])
    error = 4 * np.sqrt(GBM.out.cov[-1, -1] / N)
    assert abs(x[:, -1].mean() - ito) < error + ito * GBM.m**2 * GBM.t[-1] * 0.02
    assert abs(x[:, -1].mean() - stratonovich) > 10 * error


def test_strong_order_of_euler():
    """Errors of paths on shared Brownian increments against the solution in closed form."""
    system = bind_system(GBM_SYSTEM, {"m": (), "s": ()})
    params = as_arrays(GBM_PARAMS)
    finest, paths = 256, 4000
    increments = np.random.default_rng(0).normal(size=(finest, paths)) / np.sqrt(finest)
    exact = GBM.x0 * np.exp(GBM.m - GBM.s**2 / 2 + GBM.s * increments.sum(0))

    @jax.jit
    def walk(normals):
        h = 1.0 / normals.shape[0]

        def step(x, z):
            move = lambda x, z: pds.EulerMaruyama().propagate(system, x, 0.0, h, params, z)  # noqa: E731
            return jax.vmap(move)(x, z[:, None]), None

        return jax.lax.scan(step, jnp.full((paths, 1), float(GBM.x0)), normals)[0][:, 0]

    steps = np.array([4, 8, 16, 32, 64])
    errors = []
    for n in steps:
        coarse = increments.reshape(n, finest // n, paths).sum(1)
        errors.append(np.sqrt(np.mean((walk(jnp.asarray(coarse * np.sqrt(n))) - exact) ** 2)))
    order = -np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert 0.4 < order < 0.6


WELL_SYSTEM = pds.SDE(
    states="place",
    drift=lambda place: place - place**3,
    diffusion=lambda sigma: sigma,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda place: dist.Normal(place, 1.0),
)
LATE = np.arange(30.0, 56.0)


def well(dt: float) -> np.ndarray:
    x = states(
        WELL_SYSTEM, {"sigma": WELL.sigma}, LATE, n=8000, t0=0.0, simulator=pds.EulerMaruyama(dt=dt)
    )
    return np.array([(x**2).mean(), (x**4).mean(), np.abs(x).mean(), (np.abs(x) > 1).mean()])


def test_double_well_reaches_its_stationary_law():
    expected = [WELL.out.Ex2, WELL.out.Ex4, WELL.out.Eabs, WELL.out.P_abs_gt_1]
    np.testing.assert_allclose(well(0.01), expected, rtol=0.01)


def test_long_steps_in_the_double_well_are_visibly_biased():
    assert abs(well(0.1)[0] / WELL.out.Ex2 - 1) > 0.02
