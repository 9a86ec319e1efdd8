"""What a row means: endpoints, order at one time, inputs of rows that are no visits."""

import warnings

import numpy as np
import pytest
import xarray as xr

from pymc_dynsys.panels import coords, panel

NAN = np.nan
ROLES = {"subject": "ID", "time": "TIME", "observed": "DV"}
TWO = {
    "ID": [1, 1, 1, 1, 1],
    "TIME": [0.0, 1.0, 1.0, 2.0, 3.0],
    "EVID": [1, 0, 0, 0, 0],
    "AMT": [5, 0, 0, 0, 0],
    "CMT": [1, 2, 3, 3, 2],
    "DV": [NAN, 10.0, 20.0, 21.0, 11.0],
}


def build(table, columns, **options):
    return panel(table(columns), **{**ROLES, "events": "nonmem", **options})


def test_rows_of_one_time_and_two_endpoints_are_one_visit(table):
    got = build(table, TWO, endpoint="CMT")
    assert got["observed"].dims == ("subject", "time", "component")
    assert got["component"].values.tolist() == [2, 3]
    assert got["time"].values.tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(got["observed"][0], [[10, 20], [NAN, 21], [11, NAN]])
    assert got["event_state"].values.tolist() == [[1.0]]
    assert coords(got)["component"] == [2, 3]


def test_names_of_codes_are_in_their_order(table):
    columns = {**TWO, "DVID": [0, 1, 2, 2, 1]}
    got = build(table, columns, endpoint={"DVID": {2: "effect", 1: "conc"}})
    assert got["component"].values.tolist() == ["effect", "conc"]
    np.testing.assert_array_equal(got["observed"][0], [[20, 10], [21, NAN], [NAN, 11]])
    text = {**TWO, "DVID": [None, "c", "e", "e", "c"]}
    assert build(table, text, endpoint="DVID")["component"].values.tolist() == ["c", "e"]


def test_a_subject_without_an_endpoint_has_its_component(table):
    columns = {name: values + values[:2] for name, values in TWO.items()}
    columns["ID"] = [1] * 5 + [2] * 2
    got = build(table, columns, endpoint="CMT")
    assert np.isnan(got["observed"].sel(subject=2, component=3)).all()


@pytest.mark.parametrize(
    "changes, options, message",
    [
        ({}, {}, r"events\['state'\]: column 'CMT' holds 2 at .*row 1, and 3 at .*endpoint='CMT'"),
        (
            {"CMT": [1, 2, 2, 2, 2], "DVID": [0, 1, 1, 2, 1], "TIME": [0, 1, 2, 3, 4]},
            {},
            "endpoint: column 'DVID' holds 1 at .*, and 2 at .*'DV'; .*endpoint='DVID'",
        ),
        ({"DVID": [0, 1, 2, 1, 1]}, {"endpoint": "DVID"}, "column 'CMT' holds 2 at .*, and 3 at"),
        ({"DVID": [0, 1, NAN, 2, 1]}, {"endpoint": "DVID"}, "'DVID' has no code at .*row 2"),
        ({}, {"endpoint": {"CMT": {2: "a"}}}, "'CMT' holds 3 at .*row 2, which is not among 2;"),
        ({}, {"endpoint": {"CMT": {2: "a", 3: "a"}}}, "two codes of 'CMT' have one name"),
        ({"CMT": [1, 2, 2, 3, 2]}, {"endpoint": "CMT"}, "time 1 twice for 2, in rows 1 and 2"),
        (
            {"CMT": [1, 2, 2, 3, 3], "DVID": [0, 1, 1, 2, 2]},
            {"endpoint": {"DVID": {1: "a", 2: "b"}}},
            "time 1 twice for 'a', in rows 1 and 2; .*ties",
        ),
        ({}, {"endpoint": "nothing"}, "endpoint: the frame has no column 'nothing'"),
        ({}, {"endpoint": "TIME"}, "endpoint: column 'TIME' is already given as time"),
        ({}, {"observed": ["DV", "AMT"], "endpoint": "CMT"}, "observed names 2"),
    ],
)
def test_endpoints_that_are_not_told_apart(table, changes, options, message):
    with pytest.raises(ValueError, match=message):
        build(table, {**TWO, **changes}, **options)


def test_what_is_no_endpoint(table):
    for wrong in (3, {}, {"a": {}, "b": {}}, {"CMT": "a"}, {"CMT": {}}):
        with pytest.raises(TypeError, match="endpoint: expected the name of a column"):
            build(table, TWO, endpoint=wrong)


TIES = {
    "ID": [1] * 6,
    "TIME": [0.0, 6.0, 6.0, 6.0, 12.0, 12.0],
    "EVID": [1, 0, 1, 0, 0, 0],
    "AMT": [5, 0, 7, 0, 0, 0],
    "DV": [NAN, 1.0, NAN, 2.0, 3.0, 4.0],
}


def test_order_of_the_record(table):
    got = build(table, TIES, ties="record")
    assert got["time"].values.tolist() == [6.0, 6.0, 12.0, 12.0]
    assert got["DV"].values.tolist() == [[1.0, 2.0, 3.0, 4.0]]
    np.testing.assert_array_equal(got["event_order"], [[NAN, 1.0]])
    with pytest.raises(ValueError, match="time 6 twice, in rows 1 and 3; if they are replicates"):
        build(table, TIES)
    trough = {**TIES, "TIME": [0, 6, 6, 7, 12, 13]}
    assert "event_order" not in build(table, trough, ties="record")


def test_repeats_come_before_the_rows_of_their_time(table):
    columns = {"ID": [1, 1], "TIME": [0, 8], "AMT": [5, 0], "ADDL": [2, 0], "II": [4, 0]}
    columns["DV"] = [NAN, 1.0]
    np.testing.assert_array_equal(
        build(table, columns, ties="record")["event_order"], [[NAN, NAN, 0.0]]
    )
    with pytest.warns(UserWarning, match="a repeat of the dose of row 0 comes before the datum"):
        build(table, columns)


def test_endpoints_on_both_sides_of_a_dose_are_two_visits(table):
    columns = {**TWO, "TIME": [1.0] * 5, "CMT": [1, 2, 3, 3, 2], "EVID": [0, 0, 1, 0, 0]}
    columns |= {"AMT": [0, 0, 5, 0, 0], "DV": [1.0, 2.0, NAN, 3.0, 4.0], "CMT": [2, 3, 1, 3, 2]}
    got = build(table, columns, ties="record", endpoint="CMT")
    assert got["observed"].values.tolist() == [[[1.0, 2.0], [4.0, 3.0]]]
    assert got["event_order"].values.tolist() == [[1.0]]


def test_what_a_warning_of_order_is_not_for(table):
    infusion = {"ID": [1, 1], "TIME": [0, 0], "AMT": [5, 0], "RATE": [1, 0], "DV": [NAN, 1.0]}
    no_datum = {"ID": [1, 1], "TIME": [0, 0], "AMT": [5, 0], "EVID": [1, 2], "DV": [NAN, NAN]}
    both = {"ID": [1], "TIME": [0], "AMT": [5], "DV": [1.0]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for columns in (infusion, no_datum, both):
            build(table, columns)
    with pytest.raises(ValueError, match="ties: 'file' is not known"):
        build(table, both, ties="file")


WEIGHTS = {
    "ID": [2, 2, 2, 1, 1],
    "TIME": [0.0, 1.0, 1.0, 0.0, 3.0],
    "EVID": [1, 0, 1, 0, 0],
    "AMT": [5, 0, 5, 0, 0],
    "DV": [NAN, 1.0, NAN, 2.0, 3.0],
    "WT": [60.0, NAN, 61.0, 70.0, 71.0],
}


def test_inputs_live_at_the_times_of_all_rows(table):
    got = build(table, WEIGHTS, inputs="WT")
    assert got["WT"].dims == got["record_time"].dims == ("subject", "record")
    np.testing.assert_array_equal(got["record_time"], [[0, 3, NAN], [0, 1, 1]])
    np.testing.assert_array_equal(got["WT"], [[70, 71, NAN], [60, 61, 61]])
    assert list(got["WT"].coords) == ["subject", "record_time"]
    assert list(coords(got)) == ["subject", "visit"]
    only_data = {name: values[3:] for name, values in WEIGHTS.items()}
    assert build(table, only_data, inputs="WT")["WT"].dims == ("subject", "time")


def test_what_a_row_without_a_dose_says_of_one(table):
    base = {"ID": [1, 1], "TIME": [0, 1], "AMT": [0, 5], "DV": [1.0, NAN]}
    kinds = {"EVID": [0, 1]}
    for column, part in (("RATE", "rate"), ("DUR", "duration"), ("SS", "steady_state")):
        for more in ({}, kinds):
            with pytest.raises(ValueError, match=rf"\['{part}'\]: .* holds 1 at .*would be lost"):
                build(table, {**base, **more, column: [1, 0]})
    with pytest.raises(ValueError, match=r"\['additional'\]: .* holds 3 at .*would be lost"):
        build(table, {**base, "ADDL": [3, 0], "II": [4, 0]})
    with pytest.raises(ValueError, match=r"\['state'\]: .* holds -2 at .*switched off"):
        build(table, {**base, "CMT": [-2, 1]})
    with pytest.raises(ValueError, match=r"\['missing'\]: .* holds 100 at .*expected 1"):
        build(table, {**base, "MDV": [100, 0]})
    with pytest.raises(ValueError, match="no column 'EVID', but 'evid', which 'nonmem' would"):
        build(table, {**base, "evid": [0, 1]})
    got = build(table, {**base, "evid": [0, 1]}, inputs="evid")
    xr.testing.assert_identical(got.drop_vars(["evid", "record_time"]), build(table, base))
