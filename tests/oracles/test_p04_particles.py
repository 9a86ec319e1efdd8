"""P04: error of the particle filter over seeds on the K05 series, beside a table."""

import numpy as np
import pytest

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function
from tests.oracles.cases import load
from tests.oracles.test_p04_ensemble import SERIES, SYSTEM

TABLE = load("P04").out.pf_table_N_bias_sd_runs
EXACT = float(SERIES.out.loglik)


def errors_over_seeds(proposal, particles: int, runs: int) -> np.ndarray:
    """The same series once a trajectory: each has its own noise, so each is another seed."""
    likelihood = pds.ParticleFilter(particles, pds.Exact(), proposal=proposal)
    y = np.tile(SERIES.y, (runs, 1))
    function = likelihood_function(SYSTEM, likelihood, y, SERIES.t, {"theta": ()})
    return np.asarray(function(as_arrays({"theta": SERIES.theta})) - EXACT)


def assert_unbiased(errors: np.ndarray) -> None:
    """The mean of the exponentials is one, within four of its standard errors."""
    ratio = np.exp(errors)
    assert abs(ratio.mean() - 1) < 4 * ratio.std(ddof=1) / ratio.size**0.5


@pytest.mark.parametrize("row", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_bias_and_spread_are_no_worse_than_the_table(row):
    particles, bias, sd, _ = TABLE[row]
    errors = errors_over_seeds(pds.Bootstrap(), int(particles), 200)
    standard_error = errors.std(ddof=1) / np.sqrt(errors.size)
    assert abs(errors.mean()) <= 2 * abs(bias) + 3 * standard_error
    assert errors.std(ddof=1) <= 1.2 * sd
    assert_unbiased(errors)


def test_the_optimal_proposal_is_worth_ten_times_the_particles():
    errors = errors_over_seeds(pds.Optimal(), 100, 200)
    assert_unbiased(errors)
    assert errors.std(ddof=1) < TABLE[0, 2] / 10**0.5
