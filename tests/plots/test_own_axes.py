"""Plots are drawn into the axes of a user's own figure, each label into its own."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import pymc_dynsys as pds

RNG = np.random.default_rng(5)
TIMES = [0.0, 1.0, 2.0]


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def results() -> xr.DataTree:
    """States of two subjects, and data."""
    values = RNG.normal(size=(2, 10, 2, 3, 1))
    dims = ("chain", "draw", "subject", "time", "state")
    coords = {"subject": ["a", "b"], "time": TIMES, "state": ["level"]}
    states = xr.Dataset({"states": (dims, values, {"time_dim": "time"})}, coords)
    y = xr.DataArray(RNG.normal(size=(2, 3)), {"subject": ["a", "b"], "time": TIMES})
    data = y.assign_attrs(time_dim="time").to_dataset(name="y")
    return xr.DataTree.from_dict({"posterior": states, "observed_data": data})


def test_one_panel_into_ones_own_axes():
    figure, (left, right) = plt.subplots(1, 2)
    dt = results()
    pc = pds.plot_trajectories(dt, coords={"subject": ["b"]}, plot_collection=right)
    assert not left.has_data()
    middle = dt["posterior"]["states"].sel(subject="b").median(("chain", "draw"))
    np.testing.assert_allclose(right.lines[0].get_ydata(), middle.values[:, 0])
    assert pc.viz["figure"].item() is figure
    assert right.get_title() == "b" and right.get_xlabel() == "time"


def test_each_label_into_its_axes_whatever_their_order():
    _, (top, below) = plt.subplots(2, 1)
    axes = xr.DataArray(np.array([top, below], object), {"subject": ["b", "a"]})
    pds.plot_trajectories(results(), plot_collection=axes)
    assert [top.get_title(), below.get_title()] == ["b", "a"]
    assert [top.get_xlabel(), below.get_xlabel()] == ["", "time"]
    assert [top.get_ylabel(), below.get_ylabel()] == ["level", "level"]


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        (lambda pair: pair[0], r"panel for each label of 'subject' \(2\)"),
        (lambda pair: xr.DataArray(pair, dims="subject"), "no labels along 'subject'"),
        (lambda pair: xr.DataArray(pair, {"subject": ["a", "c"]}), "no axes for 'b' along"),
    ],
)
def test_axes_that_do_not_fit(axes, message):
    _, pair = plt.subplots(1, 2)
    with pytest.raises(ValueError, match=message):
        pds.plot_trajectories(results(), plot_collection=axes(pair))
