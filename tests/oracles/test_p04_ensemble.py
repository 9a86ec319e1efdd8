"""P04: error of the ensemble Kalman filter over seeds on the K05 series, beside a table."""

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function
from tests.oracles.cases import load

SERIES = load("K05")
TABLE = load("P04").out.enkf_table_N_bias_sd_sdlastmean_runs[:4]
SYSTEM = pds.SDE(
    states="level",
    drift=lambda level, theta: theta * (float(SERIES.mu) - level),
    diffusion=float(SERIES.sigma),
    initial=dist.Normal(float(SERIES.m0), float(SERIES.P0) ** 0.5),
    observation=lambda level: dist.Normal(level, float(SERIES.obs_var) ** 0.5),
)


def errors_over_seeds(variant, members: int, runs: int) -> np.ndarray:
    """The same series once a trajectory: each has its own noise, so each is another seed."""
    likelihood = pds.EnKF(members, discretization=pds.Exact(), variant=variant)
    y = np.tile(SERIES.y, (runs, 1))
    function = likelihood_function(SYSTEM, likelihood, y, SERIES.t, {"theta": ()})
    return np.asarray(function(as_arrays({"theta": SERIES.theta})) - SERIES.out.loglik)


@pytest.fixture(scope="module", params=[pds.SquareRoot(), pds.Perturbed()])
def errors(request):
    return [errors_over_seeds(request.param, int(row[0]), int(row[-1])) for row in TABLE]


@pytest.mark.parametrize("row", range(len(TABLE)), ids=[f"N={int(row[0])}" for row in TABLE])
def test_bias_and_spread_are_no_worse_than_the_table(errors, row):
    bias, sd = TABLE[row, 1:3]
    ours = errors[row]
    standard_error = ours.std(ddof=1) / np.sqrt(ours.size)
    assert abs(ours.mean()) <= 2 * abs(bias) + 3 * standard_error
    assert ours.std(ddof=1) <= 1.2 * sd


def test_bias_shrinks_at_least_like_one_over_the_ensemble(errors):
    smallest = errors[0].mean()
    assert smallest < -3 * errors[0].std() / np.sqrt(errors[0].size), "there is a bias to shrink"
    for row, ours in zip(TABLE[1:], errors[1:], strict=True):
        expected = abs(smallest) * TABLE[0, 0] / row[0]
        assert abs(ours.mean()) <= expected + 3 * ours.std(ddof=1) / np.sqrt(ours.size)


def test_spread_shrinks_like_the_root_of_the_ensemble(errors):
    slope = np.polyfit(np.log(TABLE[:, 0]), np.log([ours.std(ddof=1) for ours in errors]), 1)[0]
    assert -0.6 < slope < -0.4


def test_seeds_differ_and_repeat():
    y, shapes, params = SERIES.y[:20], {"theta": ()}, as_arrays({"theta": SERIES.theta})

    def value(seed):
        likelihood = pds.EnKF(20, discretization=pds.Exact(), seed=seed)
        return float(likelihood_function(SYSTEM, likelihood, y, SERIES.t[:20], shapes)(params))

    assert value(1) == value(1) != value(2)


def test_the_report_of_a_model_agrees_with_the_table():
    members, bias, sd = TABLE[1, :3]
    with pm.Model(coords={"time": SERIES.t}) as model:
        theta = pm.HalfNormal("theta", initval=float(SERIES.theta))
        pds.Trajectory(
            "y",
            SYSTEM,
            params={"theta": theta},
            observed=SERIES.y,
            dims="time",
            likelihood=pds.EnKF(int(members), pds.Exact(), variant=pds.Perturbed()),
        )
    report = pds.check_likelihood(model, n_seeds=40)["check"]
    spread, off = report["seed_sd"].item(), -report["reference_change"].item()
    assert spread <= 1.2 * sd
    assert abs(off) <= 2 * abs(bias) + 3 * spread / 40**0.5
    ours = errors_over_seeds(pds.Perturbed(), int(members), 400)
    # The sd of 40 seeds has a standard error of 11%.
    np.testing.assert_allclose(spread, ours.std(ddof=1), rtol=0.35)
    assert abs(off - ours.mean()) < 4 * spread / 40**0.5
