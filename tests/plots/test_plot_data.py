"""The plot of what was read: where data, crosses, doses and inputs are."""

import arviz as az
import matplotlib.dates
import matplotlib.pyplot as plt
import numpy as np
import pytest

import pymc_dynsys as pds
from tests.inference.test_check_data import DAYS, diary, pharmacy

NAN = np.nan


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def read():
    return pds.check_data(pharmacy())


def points(collection):
    drawn = np.ma.filled(collection.get_offsets(), NAN)
    return drawn[~np.isnan(drawn).any(1)]


def at(pc, **where):
    return pc.viz["plot"].sel(where).item()


def test_each_subject_has_its_data_and_its_inputs_below(read):
    pc = pds.plot_data(read, backend="matplotlib")
    assert dict(pc.viz["plot"].sizes) == {"subject": 2, "panel": 2}
    data, below = (at(pc, subject="ann", panel=name) for name in ("conc", "kg"))
    assert (data.get_title(), below.get_title()) == ("ann", "")
    assert (data.get_ylabel(), below.get_ylabel()) == ("conc", "kg")
    assert (data.get_xlabel(), below.get_xlabel()) == ("", "time")
    assert data.get_position().y0 > below.get_position().y1
    observed, missing = map(points, data.collections)
    np.testing.assert_array_equal(observed, [[1.0, 5.0], [4.0, 2.0], [6.0, 3.0], [8.0, 1.0]])
    np.testing.assert_allclose(missing, [[2.0, 1.0 - 0.4]])
    low, high = data.get_ylim()
    assert low < 0.6 and high > 5.0
    assert data.get_ylim() == at(pc, subject="bob", panel="conc").get_ylim()


def test_doses_are_as_long_as_infusions_and_as_high_as_amounts(read):
    pc = pds.plot_data(read, backend="matplotlib")
    ann = at(pc, subject="ann", panel="conc")
    bolus, infusion = ann.lines[1].get_xydata().reshape(2, 5, 2)
    np.testing.assert_array_equal(bolus[:4, 0], 0.0)
    np.testing.assert_array_equal(infusion[:4, 0], [4.0, 4.0, 6.0, 6.0])
    assert np.isnan(bolus[4]).all()
    heights = [box[1, 1] - box[0, 1] for box in (bolus, infusion)]
    np.testing.assert_allclose(heights[1] / heights[0], 0.25 + 0.75 * 0.5)
    assert infusion[0, 1] > 5.0, "above all data"


def test_a_line_is_what_the_dynamics_see_over_each_gap(read):
    pc = pds.plot_data(read, backend="matplotlib")
    below = at(pc, subject="bob", panel="kg")
    pieces = below.lines[0].get_xydata().reshape(5, 3, 2)[:3, :2]
    np.testing.assert_array_equal(pieces[:, :, 0], [[0.0, 2.0], [2.0, 3.0], [3.0, 5.0]])
    np.testing.assert_array_equal(pieces[:, :, 1], [[70.0, 70.0], [70.0, 70.0], [71.0, 71.0]])
    assert not below.collections, "the observation asks for no input"


def test_components_and_dates():
    pc = pds.plot_data(
        pds.check_data(diary(lambda: np.array([0.0, 1.0, 1.0]))), backend="matplotlib"
    )
    labels = [ax.get_ylabel() for ax in pc.viz["plot"].values]
    assert labels == ["sad", "glad", "u", "v[0]", "v[1]"]
    sad, u, v = (at(pc, panel=name) for name in ("sad", "u", "v[1]"))
    days = matplotlib.dates.date2num(DAYS)
    np.testing.assert_allclose(points(sad.collections[0]), [[days[0], 1.0], [days[2], 3.0]])
    np.testing.assert_allclose(points(sad.collections[1])[:, 0], [days[1]])
    np.testing.assert_allclose(points(u.collections[0])[:, 0], days)
    assert len(v.lines) == 1 and not v.collections
    assert isinstance(v.xaxis.get_major_locator(), matplotlib.dates.AutoDateLocator)
    assert sad.get_title() == ""


def test_some_labels_some_parts_and_other_backends(read):
    pc = pds.plot_data(
        read,
        coords={"subject": ["bob"]},
        backend="matplotlib",
        visuals={"dose": False, "missing": False, "line": False, "title": False},
    )
    assert dict(pc.viz["plot"].sizes) == {"subject": 1, "panel": 2}
    ax = at(pc, subject="bob", panel="conc")
    assert len(ax.collections) == 1 and not ax.lines and ax.get_title() == ""
    one = pds.plot_data(read, coords={"subject": "bob"}, backend="matplotlib")
    assert dict(one.viz["plot"].sizes) == {"panel": 2}
    observed = points(at(one, panel="conc").collections[0])
    np.testing.assert_array_equal(observed, [[2.0, 4.0], [3.0, 3.0]])
    for backend in ("plotly", "none"):
        assert pds.plot_data(read, backend=backend).backend == backend


def test_what_cannot_be_drawn(read):
    with az.rc_context({"plot.max_subplots": 3}):
        with pytest.raises(ValueError, match=r"4 panels are more than the 3 .*'subject': \[...\]"):
            pds.plot_data(read, backend="none")
    with pytest.raises(ValueError, match=r"no label .* along 'subject'; its labels are ann, bob"):
        pds.plot_data(read, coords={"subject": ["cal"]})
    with pytest.raises(ValueError, match="no group 'subjects'"):
        pds.plot_data(read.copy().drop_nodes("subjects"))
    with pytest.raises(TypeError, match="expected a DataTree, got Dataset"):
        pds.plot_data(read["subjects"].dataset)
