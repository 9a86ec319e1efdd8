"""Data drawn at the states: what might be seen again, and what was to be expected."""

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

THETA, SIGMA, NOISE, MU = 0.5, 0.8, 0.3, 0.2
TIMES = np.array([0.0, 1.0, 3.0])
Y = np.array([[0.5, np.nan, -0.4], [1.0, 0.7, np.nan]])
OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu: -THETA * (level - mu),
    diffusion=SIGMA,
    initial=dist.Normal(MU, 1.0),
    observation=lambda level: dist.Normal(level, NOISE),
)


@pytest.fixture(scope="module")
def model() -> pm.Model:
    with pm.Model(coords={"subject": ["a", "b"], "time": TIMES}) as model:
        params = {"mu": pm.Normal("mu")}
        pds.Trajectory("y", OU, params=params, observed=Y, dims=("subject", "time"))
    return model


def law_of_states() -> np.ndarray:
    """Covariance of the states at the visits; their mean is MU."""
    start, gaps = np.exp(-THETA * np.add.outer(TIMES, TIMES)), np.subtract.outer(TIMES, TIMES)
    stationary = SIGMA**2 / (2 * THETA)
    return start + stationary * (np.exp(-THETA * np.abs(gaps)) - start)


def given_data(row: np.ndarray, used: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the states given the data at `used`, by conditioning."""
    K = law_of_states()
    S = K[np.ix_(used, used)] + NOISE**2 * np.eye(len(used))
    gain = np.linalg.solve(S, K[used]).T
    return MU + gain @ (row[used] - MU), K - gain @ K[used]


@pytest.mark.parametrize("given", ["all", "past"])
def test_data_drawn_at_the_states_have_the_law_of_the_gaussian(model, given):
    n = 4000
    draws = pds.sample_states(
        posterior({"mu": MU}, n), model=model, given=given, observations=True, random_seed=1
    ).posterior
    assert draws["y"].dims == ("chain", "draw", "subject", "time")
    for i, row in enumerate(Y):
        seen = np.flatnonzero(~np.isnan(row))
        found = draws["y"].values[0, :, i]
        if given == "all":
            mean, cov = given_data(row, seen)
        else:
            each = [given_data(row, seen[seen <= k]) for k in range(3)]
            mean = np.array([m[k] for k, (m, _) in enumerate(each)])
            cov = np.diag([P[k, k] for k, (_, P) in enumerate(each)])
        cov = cov + NOISE**2 * np.eye(3)
        sd = np.sqrt(np.diag(cov))
        assert np.all(np.abs(found.mean(0) - mean) < 4.5 * sd / n**0.5)
        error = np.abs(np.cov(found.T) - cov) / np.outer(sd, sd)
        assert error.max() < 4.5 * 1.5 / n**0.5


def test_observations_are_drawn_and_have_no_moments(model):
    with pytest.raises(ValueError, match="observations: data are drawn at states"):
        pds.sample_states(posterior({"mu": MU}, 1), model=model, moments=True, observations=True)
