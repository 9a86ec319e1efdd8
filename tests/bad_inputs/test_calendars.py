"""Months, quarters and years have no length: what is refused, and where they are steps."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.bridge.study import find_trajectory

WALK = pds.DiscreteTime(
    states=("level",),
    transition=lambda level: dist.Normal(level, 1.0),
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 1.0),
)
DIFFUSION = pds.SDE(
    states=("level",),
    drift=0.0,
    diffusion=1.0,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 1.0),
)
MONTHS = pd.period_range("2024-01", periods=4, freq="M")


def build(system, times, unit=None, by="times"):
    y = np.zeros(4)
    if by == "coord":
        with pm.Model(coords={"time": times}) as model:
            pds.Trajectory("y", system, observed=y, dims="time", unit=unit)
        return model
    with pm.Model(coords={"time": np.arange(4)}) as model:
        pds.Trajectory("y", system, observed=y, times=times, dims="time", unit=unit)
    return model


@pytest.mark.parametrize("by", ["times", "coord"])
@pytest.mark.parametrize("freq", ["M", "Q", "Y"])
def test_periods_in_continuous_time(by, freq):
    periods = pd.period_range("2024", periods=4, freq=freq)
    message = rf"times: '{periods[0]}' is a period of time, .*to_timestamp.*astype\('int64'\)"
    with pytest.raises(TypeError, match=message):
        build(DIFFUSION, periods, by=by)
    with pytest.raises(ValueError, match=r"unit: .* counts periods, .*continuous time has lengths"):
        build(DIFFUSION, periods.to_timestamp(), unit=freq, by=by)
    with pytest.raises(TypeError, match="is a period of time, not a time"):
        pds.simulate(DIFFUSION, {}, periods)


def test_simulated_dates():
    """Periods and dates move the state as their numbers do, and results have their first days."""
    drawn = {"params": {}, "random_seed": 1}
    numbers = pds.simulate(WALK, times=np.array([0.0, 1.0, 4.0]), t0=-1.0, **drawn)
    gap = pd.PeriodIndex(["2024-01", "2024-02", "2024-05"], freq="M")
    by_period = pds.simulate(WALK, times=gap, t0=pd.Period("2023-12", "M"), **drawn)
    start = np.datetime64("2023-12-07")
    by_date = pds.simulate(WALK, times=gap.to_timestamp(how="end"), unit="M", t0=start, **drawn)
    for found in (by_period, by_date):
        np.testing.assert_array_equal(found["observations"], numbers["observations"])
        np.testing.assert_array_equal(found["time"], gap.to_timestamp())
    days = pd.date_range("2024-01-30", periods=3)
    for system in (WALK, DIFFUSION):
        found = pds.simulate(system, times=days, unit="D", **drawn)
        numbers = pds.simulate(system, times=np.arange(3.0), **drawn)
        np.testing.assert_array_equal(found["states"], numbers["states"])
        np.testing.assert_array_equal(found["time"], days)
    own = xr.DataArray([days, days.shift(1)], dims=("subject", "time"))
    found = pds.simulate(DIFFUSION, times=own, unit="D", **drawn)
    np.testing.assert_array_equal(found["time"], own)


def test_simulated_dates_that_are_refused():
    days = pd.date_range("2024-01-30", periods=3)
    with pytest.raises(ValueError, match="times: dates need a unit"):
        pds.simulate(DIFFUSION, {}, days)
    with pytest.raises(ValueError, match="unit: 'M' counts periods"):
        pds.simulate(DIFFUSION, {}, days, unit="M")
    with pytest.raises(TypeError, match="t0: times are dates, so t0 must be a date too"):
        pds.simulate(DIFFUSION, {}, days, unit="D", t0=0.0)
    with pytest.raises(ValueError, match="are months apart"):
        pds.simulate(WALK, {}, pd.date_range("2024-01-01", periods=4, freq="MS"), unit="D")
    with pytest.raises(ValueError, match="lie in one period of frequency 'M'"):
        pds.simulate(WALK, {}, days[:2], unit="M")


def test_the_remedies_work():
    ordinals = MONTHS.astype("int64")
    build(WALK, ordinals - ordinals[0])
    build(DIFFUSION, MONTHS.to_timestamp(), unit="D")


@pytest.mark.parametrize("how", ["start", "end", "quarter"])
def test_dates_that_are_months_apart(how):
    freq = {"start": "MS", "end": "ME", "quarter": "QS"}[how]
    dates = pd.date_range("2024-01-01", periods=4, freq=freq)
    message = r"are months apart, which with unit='D' are \d+ to \d+ steps .*np.arange"
    with pytest.raises(ValueError, match=message):
        build(WALK, dates, unit="D")
    with pytest.raises(ValueError, match=r"dates need a unit; .*unit='M', .*number them"):
        build(WALK, dates[[0, 1, 3, 3]].delete(3).append(dates[3:] + pd.Timedelta(99, "D")))
    build(WALK, np.arange(4))
    days = (dates - dates[0]) / pd.Timedelta(1, "D")
    build(WALK, days)  # a user's own word


def test_frequencies_that_are_none():
    dates = pd.date_range("2024-01-31", periods=4, freq="ME")
    with pytest.raises(ValueError, match=r"unit: 'ME' is not one of .* nor, in discrete time"):
        build(WALK, dates, unit="ME")
    mixed = [*MONTHS[:3], pd.Period("2024Q4", "Q")]
    with pytest.raises(ValueError, match="periods of frequencies 'M' and 'Q-DEC'"):
        build(WALK, mixed)


def test_dates_of_a_panel_that_are_months_apart():
    dates = pd.date_range("2024-01-31", periods=4, freq="ME")
    frame = pd.DataFrame({"id": 1, "when": dates, "y": np.zeros(4)})
    panel = pds.panel(frame, subject="id", time="when", observed="y", unit="D")
    with pm.Model(coords=pds.coords(panel)):
        with pytest.raises(ValueError, match=r"2024-01-31, 2024-02-29, .* are months apart"):
            pds.Trajectory("y", WALK, observed=panel["y"])
    for when, unit in ((dates, "M"), (MONTHS, None)):
        frame["when"] = when
        panel = pds.panel(frame, subject="id", time="when", observed="y", unit=unit)
        with pm.Model(coords=pds.coords(panel)) as model:
            pds.Trajectory("y", WALK, observed=panel["y"])
        np.testing.assert_array_equal(find_trajectory(model, None).operands.times, [[0, 1, 2, 3]])
        with pm.Model(coords=pds.coords(panel)):
            with pytest.raises(ValueError, match=r"times: 'time' counts periods \(unit='M'\)"):
                pds.Trajectory("y", DIFFUSION, observed=panel["y"])


def test_days_are_days():
    build(WALK, pd.date_range("2024-01-30", periods=4), unit="D")
    weeks = pd.date_range("2024-01-01", periods=4, freq="7D")
    build(WALK, weeks, unit="W")
