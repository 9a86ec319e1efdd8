"""Units of a table's columns are on the axes of what was made of it, and on nothing else."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

FRAME = pd.DataFrame(
    {
        "id": ["a", "a", "b", "b"],
        "hour": [0.0, 2.0, 0.0, 3.0],
        "conc": [1.0, 0.5, 1.2, 0.3],
        "effect": [0.1, 0.2, 0.3, 0.4],
        "kg": [60.0, 60.0, 70.0, 70.0],
        "mg": [0.0, 0.0, 0.0, 0.0],
    }
)
WALK = pds.SDE(
    states="level",
    drift=lambda level, mu: mu - level,
    diffusion=0.3,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 0.1),
)
UNITS = {"hour": "hours", "conc": "mg/L", "kg": "kg"}


def read(**options) -> xr.Dataset:
    given = {"subject": "id", "time": "hour", "observed": "conc", "covariates": "kg"}
    return pds.panel(FRAME, **(given | {"units": UNITS} | options))


@pytest.fixture(scope="module")
def model() -> pm.Model:
    panel = read()
    with pm.Model(coords=pds.coords(panel)) as model:
        pds.Trajectory("y", WALK, params={"mu": pm.Normal("mu")}, observed=panel["conc"])
    return model


@pytest.fixture(scope="module")
def draws() -> xr.DataTree:
    data = xr.Dataset({"mu": (("chain", "draw"), [[0.1, 0.2]])}, {"chain": [0], "draw": [0, 1]})
    return xr.DataTree.from_dict({"posterior": data})


def test_a_panel_has_the_units_of_its_columns():
    panel = read()
    assert panel["conc"].attrs["unit"] == "mg/L"
    assert panel["time"].attrs["unit"] == "hours"
    assert panel["kg"].attrs["unit"] == "kg"
    both = read(observed=["conc", "effect"], units={"conc": "mg/L", "effect": "%"})
    assert both["observed"].attrs["unit"] == "mg/L, %"
    assert "unit" not in read(observed=["conc", "effect"])["observed"].attrs


def test_hours_are_numbers_again_after_a_file(tmp_path):
    """Xarray decodes what has ``units="hours"`` as durations."""
    panel = read()
    panel.to_netcdf(tmp_path / "panel.nc", engine="h5netcdf")
    again = xr.load_dataset(tmp_path / "panel.nc", engine="h5netcdf")
    xr.testing.assert_identical(again, panel)
    assert again["time"].dtype == float


@pytest.mark.parametrize(
    ("units", "error", "message"),
    [
        ({"cnc": "mg/L"}, ValueError, "units: the frame has no column 'cnc'; did you mean 'conc'"),
        ({"conc": 3}, TypeError, "units: 'conc' has 3, expected text"),
        ("mg/L", TypeError, "units: expected a mapping"),
    ],
)
def test_units_that_are_none(units, error, message):
    with pytest.raises(error, match=message):
        read(units=units)


def test_dates_have_their_unit_already():
    dated = FRAME.assign(hour=pd.Timestamp("2024-01-01") + pd.to_timedelta(FRAME["hour"], unit="h"))
    with pytest.raises(ValueError, match="holds dates or durations, whose unit is unit='h'"):
        pds.panel(dated, subject="id", time="hour", observed="conc", unit="h", units=UNITS)


def test_results_have_the_units_of_the_data(model, draws):
    future = pds.forecast(draws, model=model, times=[4.0, 5.0], random_seed=1)
    states = pds.sample_states(draws, model=model, observations=True, random_seed=1)
    for data in (future["predictions"], states["posterior"], states["observed_data"]):
        assert data["y"].attrs["unit"] == "mg/L"
        assert data["time"].attrs["unit"] == "hours"
    assert "unit" not in states["posterior"]["states"].attrs
    assert "from 0 to 3 hours" in repr(pds.describe(model))


def test_axes_say_units(model, draws):
    future = pds.forecast(draws, model=model, times=[4.0, 5.0], random_seed=1)
    pc = pds.plot_forecast(future, backend="matplotlib")
    (figure,) = {ax.figure for ax in np.ravel(pc.viz["plot"].values)}
    assert {ax.get_ylabel() for ax in figure.axes} - {""} == {"y (mg/L)"}
    assert {ax.get_xlabel() for ax in figure.axes} - {""} == {"time (hours)"}


def test_the_log_likelihood_is_in_nats(model, draws):
    found = pds.log_likelihood(draws, model=model)["log_likelihood"]["y"]
    assert "unit" not in found.attrs


def test_simulated_times_have_the_unit_of_those_asked_for():
    times = xr.DataArray([0.0, 1.0], dims="time", attrs={"unit": "h"})
    assert pds.simulate(WALK, {"mu": 0.0}, times, random_seed=1)["time"].attrs["unit"] == "h"


def test_data_that_can_change_keep_their_unit():
    y = xr.DataArray([0.1, 0.2], dims="time", coords={"time": [0.0, 1.0]}, attrs={"units": "cm"})
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        data = pds.data("data", y)
        pds.Trajectory("y", WALK, params={"mu": pm.Normal("mu")}, observed=data)
    assert pds.check_data(model)["observed_data"]["y"].attrs["unit"] == "cm"
