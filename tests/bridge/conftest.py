"""A small panel with missing data and irregular times, and a model of it."""

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds

SUBJECTS = ["ann", "bob", "cal"]
TIMES = np.array([0.0, 0.3, 1.0, 1.2, 2.5])
RATE, SIGMA, NOISE, START, SPREAD = 0.7, 0.6, 0.3, 0.5, 0.8

OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu: -RATE * (level - mu),
    diffusion=SIGMA,
    initial=dist.Normal(START, SPREAD),
    observation=lambda level: dist.Normal(level, NOISE),
)


def draw_data() -> np.ndarray:
    y = np.random.default_rng(4).normal(size=(3, 5))
    y[0, 1] = y[1, 3:] = y[2, 0] = np.nan
    return y


def panel_model(observed=None, times=None, **arguments) -> pm.Model:
    """Levels around a common one; `observed` is an array, None or the name of a data variable."""
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
        centre = pm.Normal("centre", 0.0, 1.0)
        mu = pm.Normal("mu", centre, 0.5, dims="subject")
        if isinstance(observed, str):
            observed = pds.data(observed, draw_data(), dims=("subject", "time"))
        if isinstance(times, str):
            times = pm.Data(times, TIMES, dims="time")
        pds.Trajectory(
            "y",
            OU,
            params={"mu": mu},
            observed=observed,
            times=times,
            dims=("subject", "time"),
            **arguments,
        )
    return model


@pytest.fixture(scope="module")
def panel() -> pm.Model:
    """The model with its data, some of which are missing."""
    return panel_model(observed=draw_data())
