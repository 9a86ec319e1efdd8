"""Doses that arrive late: what is refused, and paths and forecasts that wait for them."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

K, KA = 0.3, 0.9


def oral(**changes):
    given = {
        "states": ("depot", "level"),
        "drift": lambda depot, level, k: (-KA * depot, KA * depot - k * level),
        "initial": (0.0, 0.0),
        "observation": lambda level: dist.Normal(level, 0.4),
        "events": pds.Dose("depot", lag="lag"),
    }
    return pds.ODE(**given | changes)


def events(**columns):
    given = {"time": [0.0, 6.0], "amount": [10.0, 8.0]} | columns
    return xr.Dataset({f"event_{name}": ("event", values) for name, values in given.items()})


def absorbed(since):
    """Level after a dose of one into the depot."""
    since = np.maximum(since, 0.0)
    return KA / (KA - K) * (np.exp(-K * since) - np.exp(-KA * since))


def test_paths_wait_for_their_doses():
    times = np.array([0.5, 2.0, 7.0, 9.0])
    paths = pds.simulate(oral(), {"k": K, "lag": 1.5}, times, events=events(), random_seed=1)
    expected = 10.0 * absorbed(times - 1.5) + 8.0 * absorbed(times - 7.5)
    levels = paths["states"].sel(state="level").values.ravel()
    # The solver's own tolerance is 1e-8; before the first dose arrives the level is exactly zero.
    np.testing.assert_allclose(levels, expected, rtol=1e-7)


def test_what_has_not_arrived_when_a_state_is_forgotten_never_does():
    times = np.array([2.0, 5.0, 6.0, 7.0, 10.0])
    table = events(time=[0.0, 4.0, 6.0], amount=[10.0, 8.0, 0.0], reset=[0, 0, 1])
    paths = pds.simulate(oral(), {"k": K, "lag": 2.5}, times, events=table, random_seed=1)
    levels = paths["states"].sel(state="level").values.ravel()
    expected = np.where(times <= 6.0, 10.0 * absorbed(times - 2.5), 0.0)
    # The solver's own tolerance is 1e-8.
    np.testing.assert_allclose(levels, expected, rtol=1e-7)


@pytest.mark.slow
def test_a_forecast_waits_for_a_dose_that_was_given_before_the_last_datum():
    with pm.Model(coords={"time": [1.0, 7.0]}) as model:
        lag = pm.Normal("lag", 1.5, initval=1.5)
        y = np.array([0.0, 4.0])
        params = {"k": K, "lag": lag}
        pds.Trajectory("y", oral(), params=params, observed=y, dims="time", events=events())
    times = np.array([7.25, 8.0, 10.0])
    found = pds.forecast(
        posterior({"lag": 1.5}, 1), model=model, times=times, random_seed=1, progressbar=False
    )
    levels = found.predictions["states"].sel(state="level").values.ravel()
    expected = 10.0 * absorbed(times - 1.5) + 8.0 * absorbed(times - 7.5)
    np.testing.assert_allclose(levels, expected, rtol=1e-7)


@pytest.mark.parametrize(
    "system, table, message",
    [
        (
            oral(),
            events(steady_state=[1, 0], amount=[0.0, 8.0], rate=[5.0, 0.0]),
            r"infusion since ever .* is not clear where doses arrive late",
        ),
        (
            oral(),
            events(steady_state=[0, 1], interval=[0.0, 1.0]),
            "the interval of the event at time 6 .* is 1, expected more than the lag, 1",
        ),
        (oral(events=pds.Dose("depot", lag="delay")), events(), "lag asks for 'delay'"),
    ],
)
def test_what_is_refused(system, table, message):
    with pytest.raises(ValueError, match=message):
        pds.simulate(system, {"k": K, "lag": 1.0}, [1.0, 2.0], events=table, random_seed=1)
