"""Published tables, read as their users would; the counts are those of R's data sets."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pymc_dynsys.datasets.load import FILES
from pymc_dynsys.panels import panel


@pytest.mark.parametrize("library", [pd, pl])
def test_phenobarbital_doses_are_events(library):
    frame = library.read_csv(FILES / "phenobarb.csv")
    got = panel(
        frame,
        subject="Subject",
        time="time",
        observed="conc",
        covariates=["Wt", "Apgar"],
        groups="ApgarInd",
        events={"amount": "dose"},
    )
    assert got.sizes["subject"] == 59
    assert got["conc"].count() == got["time"].count() == 155
    assert got["event_time"].count() == got["event_amount"].count() == 589
    assert got["ApgarInd"].values.tolist() == ["< 5", ">= 5"]
    first = got.sel(subject=1)
    assert first["event_amount"].values[:3].tolist() == [25.0, 3.5, 3.5]
    np.testing.assert_array_equal(first["conc"], [17.3, 31.0, *[np.nan] * 4])
    assert (got["event_time"].min("event") < got["time"].min("visit")).all()


@pytest.mark.parametrize("library", [pd, pl])
def test_theophylline_is_ragged_in_time_and_not_in_number(library):
    frame = library.read_csv(FILES / "theoph.csv")
    got = panel(frame, subject="Subject", time="Time", observed="conc", covariates=["Wt", "Dose"])
    assert dict(got.sizes) == {"subject": 12, "visit": 11}
    assert not got["time"].isnull().any()
    assert got["Dose"].sel(subject=1) == 4.02
