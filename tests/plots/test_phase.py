"""One state against another: which lines are drawn, through which points, under which names."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import pymc_dynsys as pds

RNG = np.random.default_rng(3)
STATES = ["position", "speed", "load"]


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


def states(times=None) -> xr.DataTree:
    """Draws of three states in two subjects; the second has a visit less."""
    values = RNG.normal(size=(2, 10, 2, 5, 3))
    values[:, :, 1, 4] = np.nan
    dims = ("chain", "draw", "subject", "visit", "state")
    coords = {"subject": ["a", "b"], "state": STATES}
    if times is None:
        clock = np.array([[0.0, 1, 2, 3, 4], [0.0, 1, 2, 3, np.nan]])
        coords["time"] = (("subject", "visit"), clock)
    data = xr.Dataset({"states": (dims, values, {"time_dim": "visit"})}, coords)
    return xr.DataTree.from_dict({"posterior": data})


def axes(pc):
    return np.ravel(pc.viz["plot"].values)


def test_paths_and_their_mean_run_through_the_draws():
    dt = states()
    pc = pds.plot_phase(dt, "speed", "load", backend="matplotlib", n_paths=4)
    first, second = axes(pc)
    assert [ax.get_title() for ax in axes(pc)] == ["a", "b"]
    assert first.get_xlabel() == "speed" and first.get_ylabel() == "load"
    chosen, mean = first.lines
    drawn = dt["posterior"]["states"].sel(subject="a", state=["speed", "load"])
    flat = drawn.values.reshape(20, 5, 2)[[0, 6, 13, 19]]
    expected = np.full((4, 6, 2), np.nan)
    expected[:, :5] = flat
    np.testing.assert_array_equal(chosen.get_xydata(), expected.reshape(-1, 2))
    np.testing.assert_allclose(mean.get_xydata(), drawn.mean(("chain", "draw")), rtol=1e-14)
    (start,) = first.collections
    np.testing.assert_allclose(start.get_offsets()[0], mean.get_xydata()[0], rtol=1e-14)
    assert np.isnan(second.lines[1].get_xydata()[-1]).all()


def test_first_two_states_own_scales_and_a_transform():
    pc = pds.plot_phase(
        states(),
        backend="matplotlib",
        n_paths=0,
        transform=np.exp,
        visuals={"start": False},
        figure_kwargs={"sharey": False},
    )
    first, second = axes(pc)
    assert first.get_xlabel() == "exp(position)" and first.get_ylabel() == "exp(speed)"
    assert len(first.lines) == 1 and not first.collections
    assert first.get_ylim() != second.get_ylim()
    assert first.get_xlim() == second.get_xlim()


def test_groups_have_their_colours_and_a_legend():
    group = xr.DataArray(["u", "v"], dims="subject", coords={"subject": ["a", "b"]})
    pc = pds.plot_phase(states(), backend="matplotlib", color_by=group)
    one, two = (ax.lines[-1].get_color() for ax in axes(pc))
    assert one != two
    (legend,) = pc.viz["figure"].item().legends
    assert [text.get_text() for text in legend.get_texts()] == ["path", "mean", "start", "u", "v"]


def test_another_backend():
    pc = pds.plot_phase(states(), backend="plotly")
    assert pc.backend == "plotly" and pc.viz["plot"].sizes["subject"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"x": "spin"}, "x: there is no state 'spin'; there are position, speed, load"),
        ({"x": "load", "y": "load"}, "both are 'load'"),
        ({"coords": {"state": ["load"]}}, "fewer than two states"),
        ({"n_paths": -1}, "n_paths: expected a number of draws"),
    ],
)
def test_what_cannot_be_drawn(arguments, message):
    with pytest.raises(ValueError, match=message):
        pds.plot_phase(states(), backend="none", **arguments)
