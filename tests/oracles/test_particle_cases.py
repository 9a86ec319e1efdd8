"""P01, L01, L02: counts, yes/no data and volatilities through the particle filter."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    compiled_log_likelihood,
    prepare,
    program_of,
    state_moments,
    visit_log_likelihoods,
)
from tests.oracles.cases import load

PARTICLES = 1000


def volatility(case):
    stationary = float(case.sigma / (1 - case.phi**2) ** 0.5)
    mu, phi, sigma = float(case.mu), float(case.phi), float(case.sigma)
    return pds.DiscreteTime(
        states=("h",),
        transition=lambda h: dist.Normal(mu + phi * (h - mu), sigma),
        observation=lambda h: dist.Normal(0.0, jnp.exp(h / 2)),
        initial=dist.Normal(mu, stationary),
    )


def ornstein_uhlenbeck(case, observation):
    theta, mu, sigma = float(case.theta), float(case.mu), float(case.sigma)
    return pds.SDE(
        states=("level",),
        drift=lambda level: theta * (mu - level),
        diffusion=sigma,
        observation=observation,
        initial=dist.Normal(mu, sigma / (2 * theta) ** 0.5),
    )


SYSTEMS = {
    "P01": volatility,
    "L01": lambda c: ornstein_uhlenbeck(c, lambda level: dist.Poisson(jnp.exp(level))),
    "L02": lambda c: ornstein_uhlenbeck(c, lambda level: dist.Bernoulli(logits=level)),
}


SLOW = [pytest.param(name, marks=pytest.mark.slow) for name in ("P01", "L01")]


@pytest.fixture(scope="module", params=["L02", *SLOW])
def filtered(request):
    """Several seeds of one case, one a trajectory."""
    case = load(request.param)
    times = getattr(case, "t", np.arange(case.y.size, dtype=float))
    system = bind_system(SYSTEMS[request.param](case), {})
    likelihood = pds.ParticleFilter(PARTICLES)
    gaps = np.diff(times)
    likelihood, _ = likelihood.resolve_defaults(system, gaps)
    program = program_of(system, likelihood, not np.isnan(case.y).any())
    y = np.tile(case.y, (20, 1))
    grid = prepare(program, times, np.nan)
    noise = program.draw_noise(y, grid)
    return SimpleNamespace(case=case, program=program, y=y, grid=grid, noise=noise)


def test_the_log_likelihood_is_that_of_a_grid(filtered):
    f, exact = filtered, float(filtered.case.out.loglik)
    values = np.asarray(compiled_log_likelihood(f.program, f.y, {}, f.grid))
    ratio = np.exp(values - exact)
    assert values.std(ddof=1) < 0.5
    assert abs(ratio.mean() - 1) < 4 * ratio.std(ddof=1) / ratio.size**0.5
    if hasattr(f.case.out, "pf_N1000_sd"):
        # Twenty runs tell the sd to 16 per cent.
        assert values.std(ddof=1) < 1.5 * f.case.out.pf_N1000_sd


def test_states_are_those_of_a_grid(filtered):
    f, out = filtered, filtered.case.out
    kinds = [("all", "smoothed")] + [("past", "filtered")] * hasattr(out, "filtered_mean")
    for given, name in kinds:
        found = state_moments(f.program, given, f.y, {}, f.grid, f.noise)
        mean, var = getattr(out, f"{name}_mean"), getattr(out, f"{name}_var")
        means, variances = np.asarray(found.mean)[..., 0], np.asarray(found.cov)[..., 0, 0]
        error = (means - mean) / np.sqrt(var)
        # Over the runs no bias; each run within a fraction of the sd of the state.
        assert abs(error.mean(0)).max() < 0.1, name
        assert np.sqrt((error**2).mean()) < 0.1, name
        assert abs(variances.mean(0) / var - 1).max() < 0.2, name


@pytest.mark.slow
def test_factors_by_visit_are_those_of_a_grid():
    case = load("P01")
    system = bind_system(volatility(case), {})
    program = program_of(system, pds.ParticleFilter(PARTICLES), True)
    grid = prepare(program, np.arange(case.y.size, dtype=float), np.nan)
    y = np.tile(case.y, (20, 1))
    terms = visit_log_likelihoods(program, y, {}, grid, program.draw_noise(y, grid))
    error = np.asarray(terms) - case.out.loglik_step
    assert abs(error.mean(0)).max() < 4 * (error.std(0, ddof=1) / 20**0.5).max()
    assert abs(error).mean() < 0.02


def test_volatilities_have_the_likelihood_of_a_grid():
    """The short form of the slow ones above."""
    case = load("P01")
    system = bind_system(volatility(case), {})
    program = program_of(system, pds.ParticleFilter(200), True)
    grid = prepare(program, np.arange(case.y.size, dtype=float), np.nan)
    values = np.asarray(compiled_log_likelihood(program, np.tile(case.y, (20, 1)), {}, grid))
    ratio = np.exp(values - float(case.out.loglik))
    assert abs(ratio.mean() - 1) < 4 * ratio.std(ddof=1) / ratio.size**0.5
    assert values.std(ddof=1) < 1.2 * case.out.pf_N100_sd
