"""The particle filter against grids, closed forms and filters that are exact."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy import stats

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function

GRID = np.linspace(-12, 14, 2601)
Y = np.array([0.4, np.nan, 1.9, -0.7, 3.1, 2.4])
TIMES = np.array([0.0, 1.0, 2.0, 4.0, 5.0, 6.0])  # two steps over one gap
PHI, DF, SCALE, NOISE = 0.8, 3.0, 0.7, 0.9


def values(system, likelihood, y, times, params=None, runs=1, t0=np.nan):
    """Log-likelihoods of the same data, one run a trajectory."""
    params = {} if params is None else params
    y = np.tile(np.asarray(y, float), (runs, *[1] * np.ndim(y)))
    function = likelihood_function(
        system, likelihood, y, times, {k: np.shape(v) for k, v in params.items()}, t0
    )
    return np.asarray(function(as_arrays(params)))


def assert_estimates(found, exact):
    """The mean of the exponentials is that of the exact value, within its error."""
    ratio = np.exp(found - exact)
    assert abs(ratio.mean() - 1) < 4 * ratio.std(ddof=1) / ratio.size**0.5
    assert 0 < found.std(ddof=1) < 0.5


# Transitions that are not Gaussian, against a grid


def jumps(observation):
    """A level that moves by Student noise from a start that is a mixture."""
    return pds.DiscreteTime(
        states=("level",),
        transition=lambda level: dist.StudentT(DF, PHI * level, SCALE),
        observation=observation,
        initial=dist.Laplace(0.5, 1.2),
    )


def grid_log_likelihood(y, steps, datum):
    """Sum over a grid of states, step by step."""
    width = GRID[1] - GRID[0]
    move = stats.t.pdf(GRID[:, None], DF, PHI * GRID[None, :], SCALE) * width
    p = stats.laplace.pdf(GRID, 0.5, 1.2)
    total = 0.0
    for value, n in zip(y, steps, strict=True):
        for _ in range(n):
            p = move @ p
        if not np.isnan(value):
            p = p * datum(value, GRID)
        weight = p.sum() * width
        total, p = total + np.log(weight), p / weight
    return total


STEPS = np.array([0, 1, 1, 2, 1, 1])
LAWS = {
    "normal": (lambda level: dist.Normal(level, NOISE), lambda y, x: stats.norm.pdf(y, x, NOISE)),
    "counts": (
        lambda level: dist.Poisson(jnp.exp(0.5 * level)),
        lambda y, x: stats.poisson.pmf(y, np.exp(0.5 * x)),
    ),
}


@pytest.mark.parametrize("law", LAWS)
def test_a_student_transition_has_the_likelihood_of_a_grid(law):
    observation, datum = LAWS[law]
    y = Y if law == "normal" else np.array([1.0, np.nan, 3.0, 0.0, 6.0, 2.0])
    found = values(jumps(observation), pds.ParticleFilter(1000), y, TIMES, runs=60)
    assert_estimates(found, grid_log_likelihood(y, STEPS, datum))
