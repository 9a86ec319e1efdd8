"""A panel survives being written and read."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pymc_dynsys.panels import coords, panel


def everything(n_subjects: int = 3) -> xr.Dataset:
    rng = np.random.default_rng(1)
    counts = np.arange(1, n_subjects + 1)
    who = np.repeat([f"subject {i}" for i in range(n_subjects)], counts)
    n = len(who)
    start = pd.Timestamp("2024-03-30 12:00", tz="Europe/Amsterdam")
    frame = pd.DataFrame(
        {
            "id": who,
            "when": start + pd.to_timedelta(np.arange(n) * 7.0, unit="h"),
            "a": rng.normal(size=n),
            "b": np.where(np.arange(n) % 2, rng.normal(size=n), np.nan),
            "u": rng.normal(size=n),
            "sex": np.repeat(["f", "m", "f"], counts),
            "w": np.repeat([1.0, np.nan, 3.0], counts),
            "clinic": np.repeat(["south", "north", "south"], counts),
            "dose": np.where(np.arange(n) == 2, 10.0, np.nan),
            "into": np.where(np.arange(n) == 2, "depot", None),
        }
    )
    return panel(
        frame,
        subject="id",
        time="when",
        observed=["a", "b"],
        inputs="u",
        covariates=["sex", "w"],
        groups="clinic",
        unit="h",
        events={"amount": "dose", "state": "into"},
    )


@pytest.mark.parametrize("ragged", [True, False])
def test_netcdf(tmp_path, ragged):
    written = everything() if ragged else everything().isel(subject=[2])
    written.to_netcdf(tmp_path / "panel.nc", engine="h5netcdf")
    read = xr.load_dataset(tmp_path / "panel.nc", engine="h5netcdf")
    xr.testing.assert_identical(read, written)
    assert coords(read) == coords(written)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_zarr(tmp_path, zarr_format):
    written = everything()
    written.to_zarr(tmp_path / "panel.zarr", zarr_format=zarr_format, consolidated=False)
    read = xr.load_dataset(tmp_path / "panel.zarr", engine="zarr", consolidated=False)
    xr.testing.assert_identical(read, written)
    assert coords(read) == coords(written)


def test_dates_are_not_decoded_behind_our_back(tmp_path):
    everything().to_netcdf(tmp_path / "panel.nc", engine="h5netcdf")
    read = xr.load_dataset(tmp_path / "panel.nc", engine="h5netcdf")
    assert read["time"].dtype == read["event_time"].dtype == float
    assert read["time"].attrs == read["event_time"].attrs
    assert read["time"].attrs["origin"] == "2024-03-30T11:00"
