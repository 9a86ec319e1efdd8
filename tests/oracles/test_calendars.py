"""Rows of ``data/calendars.json``: which step or time a date is, and the dates of forecasts."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.bridge.study import find_trajectory
from tests.oracles.cases import DATA

ROWS = {row["id"]: row for row in json.loads((DATA / "calendars.json").read_text())}
DISCRETE = [k for k, row in ROWS.items() if row["kind"] == "discrete"]
CONTINUOUS = [k for k, row in ROWS.items() if row["kind"] == "continuous"]
QUICK = ("C02_months_gap",)
ERRORS = ROWS["C12_errors"]["cases"]
NOTHING = xr.DataTree.from_dict(
    {"posterior": xr.Dataset({"flat": (("chain", "draw"), np.zeros((1, 1)))})}
)

WALK = pds.local_level(1.0, initial=pds.Diffuse(1e4)) + pds.white_noise(1.0)
DIFFUSION = pds.SDE(
    states=("level",),
    drift=0.0,
    diffusion=1.0,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 1.0),
)


def index_of(row: dict[str, Any]) -> tuple[pd.Index, str | None]:
    """Times of a row, and the unit that they need."""
    if len(row["input"][0]) > 10 or row["freq"] == "B":
        return pd.DatetimeIndex(row["input"]), row["freq"]
    return pd.PeriodIndex(row["input"], freq=row["freq"]), None


def build(system: object, index: pd.Index, unit: str | None) -> pm.Model:
    with pm.Model(coords={"time": index}) as model:
        pm.Flat("flat")
        pds.Trajectory("y", system, observed=np.zeros(len(index)), dims="time", unit=unit)
    return model


def shown(dates: xr.DataArray, row: dict[str, Any]) -> list[str]:
    """Dates of a result as the row writes them."""
    index = pd.DatetimeIndex(dates.values)
    if row["freq"] == "B":
        return [f"{date:%Y-%m-%d}" for date in index]
    return [str(period) for period in index.to_period(row["freq"])]


@pytest.mark.parametrize(
    "name", [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in DISCRETE]
)
def test_periods_are_steps_and_forecasts_have_dates(name):
    row = ROWS[name]
    index, unit = index_of(row)
    model = build(WALK, index, unit)
    study = find_trajectory(model, None)
    np.testing.assert_array_equal(study.operands.times.ravel(), row["steps"])
    options = {"model": model, "random_seed": 1, "progressbar": False}
    ahead = pds.forecast(NOTHING, times=row["forecast_horizon"], **options)
    assert shown(ahead.predictions["time"], row) == row["forecast_labels"]
    assert shown(ahead.observed_data["time"], row) == row["labels"]
    later = pds.forecast(NOTHING, times=ahead.predictions["time"].values, **options)
    xr.testing.assert_equal(later.predictions["y"], ahead.predictions["y"])
    if unit is None:
        periods = pd.PeriodIndex(row["forecast_labels"], freq=row["freq"])
        by_period = pds.forecast(NOTHING, times=periods, **options)
        xr.testing.assert_equal(by_period.predictions["y"], ahead.predictions["y"])


@pytest.mark.parametrize("name", ["C03_month_ends_leap", "C04_month_starts"])
def test_months_that_need_no_unit(name):
    index, _ = index_of(ROWS[name])
    study = find_trajectory(build(WALK, index, None), None)
    np.testing.assert_array_equal(study.operands.times.ravel(), ROWS[name]["steps"])


@pytest.mark.slow
@pytest.mark.parametrize("name", CONTINUOUS)
def test_dates_are_durations_in_continuous_time(name):
    row = ROWS[name]
    dates = np.array([pd.Timestamp(date) for date in row["input"]], dtype=object)
    with pm.Model(coords={"time": np.arange(len(dates))}) as model:
        pm.Flat("flat")
        y = np.zeros(len(dates))
        pds.Trajectory("y", DIFFUSION, observed=y, times=dates, dims="time", unit=row["unit"])
    study = find_trajectory(model, None)
    np.testing.assert_array_equal(study.operands.times.ravel(), row["times"])
    to_come = [pd.Timestamp(date) for date in row["forecast_dates"]]
    ahead = pds.forecast(NOTHING, model=model, times=np.array(to_come, dtype=object), random_seed=1)
    found = pd.DatetimeIndex(ahead.predictions["time"].values)
    expected = [date.tz_convert("UTC").tz_localize(None) if date.tz else date for date in to_come]
    assert list(found) == expected


@pytest.mark.parametrize(
    ("i", "error", "message"),
    [
        (0, ValueError, r"2024-01-05 and 2024-01-20 .*one period of frequency 'M', .*2024-01-01"),
        (1, ValueError, "2024-03-30 is no business day"),
        (2, ValueError, "periods of frequency 'M', one step each; leave unit='D' out"),
        (3, ValueError, "sort the rows by time"),
        (4, TypeError, r"'2024-01' is a period of time, not a time; .*to_timestamp"),
    ],
)
def test_errors(i, error, message):
    case = ERRORS[i]
    days = len(case["input"][0]) > 7
    rows = case["input"]
    index = pd.DatetimeIndex(rows) if days else pd.PeriodIndex(rows, freq=case["freq"])
    system = DIFFUSION if case.get("system") == "SDE" else WALK
    unit = case.get("unit", case["freq"] if days else None)
    with pytest.raises(error, match=message):
        build(system, index, unit)
