"""What a model has read, held against the table that it was given."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

NAN = np.nan
TABLE = pd.DataFrame(
    {
        "id": ["ann"] * 6 + ["bob"] * 4,
        "hour": [0.0, 1.0, 2.0, 4.0, 6.0, 8.0, 0.0, 2.0, 3.0, 5.0],
        "dose": [100.0, 0.0, 0.0, 50.0, 0.0, 0.0, 80.0, 0.0, 0.0, 0.0],
        "rate": [0.0, 0.0, 0.0, 25.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        "conc": [NAN, 5.0, NAN, 2.0, 3.0, 1.0, NAN, 4.0, 3.0, NAN],
        "kg": [60.0, 61.0, 62.0, 63.0, 64.0, 65.0, 70.0, 70.0, 71.0, 72.0],
    }
)
PANEL = pds.panel(
    TABLE,
    subject="id",
    time="hour",
    observed="conc",
    inputs="kg",
    events={"amount": "dose", "rate": "rate"},
)


def kinetics(**changes):
    parts = {
        "states": ("gut", "blood"),
        "drift": lambda gut, blood, k, kg: (-gut, gut - k * blood * kg / 70.0),
        "initial": (0.0, 0.0),
        "observation": lambda blood: dist.Normal(blood, 1.0),
        "events": "gut",
    }
    return pds.ODE(**{**parts, **changes})


def pharmacy(system=None, **arguments):
    usual = {"inputs": {"kg": PANEL["kg"]}, "observed": PANEL["conc"], "events": PANEL}
    with pm.Model(coords=pds.coords(PANEL)) as model:
        params = {"k": pm.HalfNormal("k")}
        pds.Trajectory("conc", system or kinetics(), params=params, **{**usual, **arguments})
    return model


def table(read, group):
    return read[group].dataset.to_dataframe()


def test_a_table_with_doses_and_inputs_is_read_as_it_was_meant():
    read = pds.check_data(pharmacy())
    assert set(read.children) == {"subjects", "doses", "events", "inputs", "observed_data"}
    subjects = table(read, "subjects")
    assert subjects.loc["ann"].to_dict() == {
        "visits": 5,
        "observed": 4,
        "missing": 1,
        "lowest": 1.0,
        "highest": 5.0,
        "start": 0.0,
        "first": 1.0,
        "last": 8.0,
        "shortest_gap": 1.0,
        "median_gap": 2.0,
        "longest_gap": 2.0,
        "at_a_dose": 1,
    }
    assert subjects.loc["bob", ["visits", "missing", "first", "at_a_dose"]].tolist() == [3, 1, 2, 0]
    doses = table(read, "doses")
    assert doses.loc["ann", "gut"].tolist() == [2, 1, 150.0, 0.0, 4.0]
    assert doses.loc["bob", "gut"].tolist() == [1, 0, 80.0, 0.0, 0.0]
    assert not doses.xs("blood", level="state")[["doses", "infusions", "amount"]].any(axis=None)
    events = table(read, "events")
    assert events.loc["ann", 1].tolist() == [4.0, 50.0, 2.0, "gut"]
    assert events.loc["bob", 1].isna().tolist()[:3] == [True] * 3


def test_inputs_are_those_that_the_likelihood_sees():
    """At a visit its own value, over the gap before it that of the row before: what is held."""
    inputs = pds.check_data(pharmacy())["inputs"].dataset
    np.testing.assert_array_equal(inputs["kg"].sel(subject="ann"), [61.0, 62.0, 63.0, 64.0, 65.0])
    since = inputs["kg_since_last"]
    np.testing.assert_array_equal(since.sel(subject="ann"), [60.0, 61.0, 62.0, 63.0, 64.0])
    np.testing.assert_array_equal(since.sel(subject="bob"), [70.0, 70.0, 71.0, NAN, NAN])
    assert inputs["kg"].attrs["used"] == "dynamics"
    assert inputs["kg"].attrs["interpolation"] == "previous"


def test_an_input_with_times_of_its_own_is_averaged_over_the_gap():
    weight = xr.DataArray(
        [60.0, 70.0, 90.0], dims="weighing", coords={"time": ("weighing", [0.0, 1.5, 5.0])}
    )
    inputs = pds.check_data(pharmacy(inputs={"kg": weight}))["inputs"].dataset.sel(subject="ann")
    np.testing.assert_array_equal(inputs["kg"], [60.0, 70.0, 70.0, 90.0, 90.0])
    expected = [60.0, 65.0, 70.0, 80.0, 90.0]  # doses between the visits change nothing
    np.testing.assert_allclose(inputs["kg_since_last"], expected)


def walk(**changes):
    parts = {
        "states": ("x", "y"),
        "drift": lambda x, y, u, v: (u - x + v[0], v[1] - y),
        "diffusion": 0.1,
        "initial": dist.Normal(np.zeros(2), 1.0),
        "observation": lambda states, u: dist.Normal(states + u, 1.0),
    }
    return pds.SDE(**{**parts, **changes})


DAYS = pd.to_datetime(["2024-03-01", "2024-03-02", "2024-03-05"])
MOODS = np.array([[1.0, 10.0], [NAN, 12.0], [3.0, NAN]])
PUSH = xr.DataArray([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], dims=("day", "push"))


def diary(u):
    with pm.Model(coords={"day": DAYS, "component": ["sad", "glad"]}) as model:
        inputs = {"u": u(), "v": PUSH}
        dims = ("day", "component")
        pds.Trajectory("mood", walk(), inputs=inputs, observed=MOODS, dims=dims, unit="D")
    return model


def test_a_lone_series_with_dates_and_components():
    read = pds.check_data(diary(lambda: np.array([0.0, 1.0, 1.0])))
    subjects = table(read, "subjects")
    assert subjects.loc["mood", "sad"][["visits", "observed", "missing"]].tolist() == [3, 2, 1]
    assert subjects.loc["mood", "glad"][["lowest", "highest"]].tolist() == [10.0, 12.0]
    assert (subjects["last"] == DAYS[2]).all() and (subjects["longest_gap"] == 3.0).all()
    assert read["subjects"].dataset["longest_gap"].attrs == {"units": "D"}
    assert (table(read, "doses")["doses"] == 0).all() and "events" not in read.children
    inputs = read["inputs"].dataset
    np.testing.assert_array_equal(inputs["u"], [0.0, 1.0, 1.0])
    np.testing.assert_array_equal(inputs["u_since_last"], [NAN, 0.0, 1.0])
    np.testing.assert_array_equal(inputs["v_since_last"], [[NAN, NAN], [1.0, 2.0], [3.0, 4.0]])
    assert inputs["u"].attrs["used"] == "dynamics and observation"
    assert list(inputs.indexes["day"]) == list(DAYS)


def test_an_input_that_is_random_is_not_known_yet():
    inputs = pds.check_data(diary(lambda: pm.Normal("u", dims="day")))["inputs"].dataset
    assert inputs["u"].isnull().all()
    assert inputs["u"].attrs["note"] == "depends on random variables of the model"
    assert not inputs["v"].isnull().any()


def test_what_was_set_since_is_read():
    with pm.Model(coords={"subject": ["a", "b"], "visit": [0, 1, 2]}) as model:
        dims = ("subject", "visit")
        when = pm.Data("when", np.array([[0.0, 1.0, 2.0], [0.0, 3.0, 5.0]]), dims=dims)
        y = pds.data("y_data", np.array([[1.0, NAN, 2.0], [1.0, 2.0, 3.0]]), dims=dims)
        level = walk(
            states=("level",),
            drift=lambda level: -level,
            initial=dist.Normal(0.0, 1.0),
            observation=lambda level: dist.Normal(level, 1.0),
        )
        pds.Trajectory("y", level, observed=y, times=when, dims=dims)
        assert table(pds.check_data(model), "subjects")["missing"].tolist() == [1, 0]
        pm.set_data(
            {
                "when": np.array([[0.0, 1.0], [4.0, 14.0], [0.0, 7.0]]),
                "y_data": np.array([[NAN, NAN], [1.0, 2.0], [5.0, 9.0]]),
            },
            coords={"subject": ["c", "d", "e"], "visit": [0, 1]},
        )
    subjects = table(pds.check_data(model), "subjects")
    assert subjects.index.tolist() == ["c", "d", "e"]
    assert subjects["missing"].tolist() == [2, 0, 0]
    assert subjects["longest_gap"].tolist() == [1.0, 10.0, 7.0]
    np.testing.assert_array_equal(subjects["highest"], [NAN, 2.0, 9.0])


def test_events_that_a_function_of_the_system_explains():
    system = kinetics(events=lambda gut, blood, amount: (gut + 0.5 * amount, blood + amount))
    bolus = PANEL[["event_time", "event_amount"]]
    read = pds.check_data(pharmacy(system, events=bolus))
    assert table(read, "doses").loc[("ann", "events()"), "doses"] == 2
    assert set(read["events"].dataset["into"].values.ravel()) == {"events()", ""}


def test_which_trajectory():
    model = pharmacy()
    with pytest.raises(ValueError, match="no trajectory 'y'; there is conc"):
        pds.check_data(model, var_name="y")
