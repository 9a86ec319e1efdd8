import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from pymc_dynsys.panels import panel

NAN = np.nan
ROLES = {"subject": "ID", "time": "TIME", "observed": "DV"}


def build(table, events="nonmem", unit=None, ties=None, **columns):
    return panel(table(columns), **ROLES, events=events, unit=unit, ties=ties)


# The first rows of nlme's Phenobarb, and a subject of a later one.
PHENOBARB = {
    "ID": [1, 1, 1, 1, 2, 2, 2],
    "TIME": [0.0, 2.0, 12.5, 24.5, 0.0, 2.0, 4.0],
    "dose": [25.0, NAN, 3.5, 3.5, 15.0, NAN, 3.8],
    "DV": [NAN, 17.3, NAN, NAN, NAN, 9.7, NAN],
}


def test_amounts_alone(table):
    got = build(table, {"amount": "dose"}, **PHENOBARB)
    expected = xr.Dataset(
        {
            "DV": (("subject", "time"), [[17.3], [9.7]]),
            "event_time": (("subject", "event"), [[0.0, 12.5, 24.5], [0.0, 4.0, NAN]]),
            "event_amount": (("subject", "event"), [[25.0, 3.5, 3.5], [15.0, 3.8, NAN]]),
            "event_rate": (("subject", "event"), [[0.0, 0.0, 0.0], [0.0, 0.0, NAN]]),
            "event_duration": (("subject", "event"), [[0.0, 0.0, 0.0], [0.0, 0.0, NAN]]),
        },
        {"subject": [1, 2], "time": [2.0]},
    )
    xr.testing.assert_identical(got, expected)


def test_missing_amounts_of_every_kind(table):
    columns = {**PHENOBARB, "dose": [25.0, None, 3.5, 3.5, 15.0, 0.0, 3.8]}
    xr.testing.assert_identical(
        build(table, {"amount": "dose"}, **columns), build(table, {"amount": "dose"}, **PHENOBARB)
    )


def test_without_kind_an_amount_beside_a_datum_is_both(table):
    got = build(table, ID=[1, 1], TIME=[0.0, 1.0], AMT=[5.0, 5.0], DV=[NAN, 2.0])
    assert got["time"].values.tolist() == [1.0]
    assert got["DV"].values.tolist() == [[2.0]]
    assert got["event_time"].values.tolist() == [[0.0, 1.0]]


def test_an_event_at_the_time_of_a_datum(table):
    columns = {"ID": [1, 1, 1], "TIME": [0, 1, 1], "AMT": [0, 5, 0], "EVID": [0, 1, 0]}
    message = (
        "dose of row 1 comes before the datum of row 2.* at time 1 of subject 1; .*ties='record'"
    )
    with pytest.warns(UserWarning, match=message):
        got = build(table, **columns, DV=[2.0, 0, 3])
    assert got["DV"].values.tolist() == [[2.0, 3.0]]
    assert got["event_time"].values.tolist() == [[1.0]]
    xr.testing.assert_identical(got, build(table, **columns, DV=[2.0, 0, 3], ties="data"))


def test_two_data_at_one_time_remain_an_error(table):
    with pytest.raises(ValueError, match="subject 1 has time 1 twice, in rows 1 and 2"):
        build(table, ID=[1, 1, 1], TIME=[0, 1, 1], AMT=[5, 0, 0], EVID=[1, 0, 0], DV=[0.0, 1, 3])


def test_kind_two_and_marked_rows_are_visits_without_a_datum(table):
    got = build(
        table,
        ID=[1, 1, 1, 1],
        TIME=[0, 1, 2, 3],
        AMT=[5, 0, 0, 0],
        EVID=[1, 2, 0, 0],
        MDV=[1, 1, 1, 0],
        DV=[7.0, 0.0, 8.0, 9.0],
    )
    assert got["time"].values.tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(got["DV"], [[NAN, NAN, 9.0]])


def test_covariates_of_event_rows_count(table):
    columns = table({**PHENOBARB, "w": [1.4, NAN, NAN, NAN, 1.5, NAN, NAN]})
    got = panel(columns, **ROLES, covariates="w", events={"amount": "dose"})
    assert got["w"].values.tolist() == [1.4, 1.5]


def test_infusions(table):
    got = build(
        table,
        ID=[1] * 5,
        TIME=[0, 1, 2, 3, 4],
        AMT=[100, 100, 100, 60, 0],
        RATE=[50, 0, None, 0, 0],
        DUR=[None, 0, 8, 0, None],
        EVID=[1, 1, 1, 1, 0],
        DV=[NAN, NAN, NAN, NAN, 1.0],
    )
    assert got["event_amount"].values.tolist() == [[100, 100, 100, 60]]
    assert got["event_rate"].values.tolist() == [[50, 0, 0, 0]]
    assert got["event_duration"].values.tolist() == [[0, 0, 8, 0]]


def test_rate_and_duration_may_agree(table):
    columns = {"ID": [1, 1], "TIME": [0, 1], "AMT": [100, 0], "RATE": [50, 0], "DV": [NAN, 1.0]}
    got = build(table, **columns, DUR=[2, 0])
    assert (got["event_rate"].item(), got["event_duration"].item()) == (50.0, 2.0)
    with pytest.raises(ValueError, match="rate times duration is not the amount"):
        build(table, **columns, DUR=[3, 0])


def test_repeats_equal_rows_written_out(table):
    short = build(
        table,
        ID=[2, 1, 1, 2, 2],
        TIME=[0, 0, 30, 5, 100],
        AMT=[10, 20, 0, 7, 0],
        RATE=[0, 5, 0, 0, 0],
        ADDL=[2, 3, 0, 1, None],
        II=[12, 8, 0, 24, None],
        EVID=[1, 1, 0, 1, 0],
        CMT=[1, 2, 2, 1, 2],
        DV=[NAN, NAN, 1.5, NAN, 2.5],
    )
    written = pd.DataFrame(
        [
            (1, 0, 20, 5, 1, 2, NAN),
            (1, 8, 20, 5, 1, 2, NAN),
            (1, 16, 20, 5, 1, 2, NAN),
            (1, 24, 20, 5, 1, 2, NAN),
            (1, 30, 0, 0, 0, 2, 1.5),
            (2, 0, 10, 0, 1, 1, NAN),
            (2, 5, 7, 0, 1, 1, NAN),
            (2, 12, 10, 0, 1, 1, NAN),
            (2, 24, 10, 0, 1, 1, NAN),
            (2, 29, 7, 0, 1, 1, NAN),
            (2, 100, 0, 0, 0, 2, 2.5),
        ],
        columns=["ID", "TIME", "AMT", "RATE", "EVID", "CMT", "DV"],
    )
    xr.testing.assert_identical(short, build(table, **written.to_dict("list")))


def test_intervals_and_durations_may_be_spans_of_time(table):
    hour = datetime.timedelta(hours=1)
    day = datetime.datetime(2024, 3, 29)
    columns = {"ID": [1, 1], "AMT": [100.0, 0.0], "ADDL": [2, 0], "DV": [NAN, 1.0]}
    spans = build(
        table,
        unit="h",
        **columns,
        TIME=[day, day + 50 * hour],
        II=[12 * hour, None],
        DUR=[2 * hour, None],
    )
    assert spans["event_time"].values.tolist() == [[0.0, 12.0, 24.0]]
    assert spans["event_duration"].values.tolist() == [[2.0] * 3]
    assert spans["event_time"].attrs == spans["time"].attrs
    numbers = build(table, **columns, TIME=[0, 50], II=[12, 0], DUR=[2, 0])
    assert spans.drop_attrs().identical(numbers)
    with pytest.raises(TypeError, match="column 'II' holds durations, but the times are numbers"):
        build(table, **columns, TIME=[0, 50], II=[12 * hour, None])


def test_earliest_time_may_be_an_events(table):
    day = datetime.datetime(2024, 3, 29)
    got = build(
        table,
        unit="D",
        ID=[1, 1],
        TIME=[day + datetime.timedelta(days=2), day],
        AMT=[0.0, 5.0],
        DV=[1.0, NAN],
    )
    assert got["time"].values.tolist() == [2.0]
    assert got["event_time"].values.tolist() == [[0.0]]
    assert got["event_time"].attrs == {"unit": "D", "origin": "2024-03-29"}


def test_states_by_number_and_by_name(table):
    columns = {"ID": [1, 1, 2], "TIME": [0, 1, 1], "AMT": [5, 6, 0], "DV": [NAN, NAN, 1.0]}
    got = build(table, **columns, CMT=[2, 1, 0])
    np.testing.assert_array_equal(got["event_state"], [[2.0, 1.0], [NAN, NAN]])
    got = build(table, **columns, CMT=["depot", "central", None])
    assert got["event_state"].values.tolist() == [["depot", "central"], ["", ""]]
    assert "event_state" not in build(table, **columns)


def test_subject_with_events_only_has_a_visit_without_a_time(table):
    got = build(table, ID=[1, 1, 2], TIME=[0, 1, 0], AMT=[5, 0, 7], DV=[NAN, 3.0, NAN])
    assert got["DV"].dims == ("subject", "visit")
    np.testing.assert_array_equal(got["time"], [[1.0], [NAN]])
    np.testing.assert_array_equal(got["DV"], [[3.0], [NAN]])
    np.testing.assert_array_equal(got["event_amount"], [[5.0], [7.0]])


def test_table_of_doses_only(table):
    got = build(table, ID=[1, 2], TIME=[0, 1], AMT=[5, 7], DV=[NAN, NAN])
    np.testing.assert_array_equal(got["time"], [[NAN], [NAN]])
    np.testing.assert_array_equal(got["event_time"], [[0.0], [1.0]])


def test_table_without_any_dose(table):
    got = build(table, ID=[1, 1], TIME=[0, 1], AMT=[0, 0], DV=[1.0, 2.0])
    np.testing.assert_array_equal(got["event_amount"], [[NAN]])


@pytest.mark.parametrize("seed", range(5))
def test_order_of_rows_does_not_matter(table, seed):
    columns = {
        "ID": [1, 1, 1, 1, 1, 2],
        "TIME": [0, 0, 0, 0, 24, 0],
        "AMT": [5, 5, 7, 7, 0, 1],
        "RATE": [0, 5, 0, 0, 0, 0],
        "CMT": ["a", "a", "b", "a", None, "a"],
        "ADDL": [1, 0, 0, 0, 0, 0],
        "II": [24, 0, 0, 0, 0, 0],
        "DV": [NAN, NAN, NAN, NAN, 1.0, NAN],
    }
    order = np.random.default_rng(seed).permutation(6)
    shuffled = {name: [values[i] for i in order] for name, values in columns.items()}
    first, second = (build(table, **given, ties="data") for given in (shuffled, columns))
    xr.testing.assert_identical(first, second)


BASE = {"ID": ["a", "a"], "TIME": [0.0, 1.5], "DV": [1.0, NAN]}


@pytest.mark.parametrize(
    "columns, part, shown, mend",
    [
        ({"AMT": [0, -5]}, "amount", "-5", "positive"),
        ({"AMT": [0, None], "EVID": [0, 1]}, "amount", "nothing", "amount above 0"),
        ({"AMT": [0, 0], "EVID": [0, 1]}, "amount", "0", "amount above 0"),
        ({"AMT": [0, 5], "EVID": [0, 0]}, "amount", "5", "make the kind 1"),
        ({"AMT": [0, 0], "EVID": [0, 4]}, "amount", "0", "amount above 0"),
        ({"AMT": [0, 5], "EVID": [0, 3]}, "amount", "5", "make the kind 1"),
        ({"AMT": [0, 0], "EVID": [0, 3], "SS": [0, 1]}, "steady_state", "1", "a reset and a dose"),
        ({"AMT": [0, 0], "EVID": [0, 3], "RATE": [0, 2]}, "rate", "2", "would be lost"),
        ({"AMT": [0, 5], "EVID": [0, 7]}, "kind", "7", "expected 0"),
        ({"AMT": [0, 5], "EVID": [0, None]}, "kind", "nothing", "expected 0"),
        ({"AMT": [0, 5], "EVID": [0, 1], "DV": [1.0, 3.0]}, "kind", "1", "row of its own"),
        ({"AMT": [0, 0], "EVID": [0, 2], "DV": [1.0, 3.0]}, "kind", "2", "row of its own"),
        ({"AMT": [0, 5], "RATE": [0, -2], "DUR": [0, 3]}, "rate", "-2", "knows how long"),
        ({"AMT": [0, 5], "RATE": [0, -3]}, "rate", "-3", "not negative"),
        ({"AMT": [0, 5], "DUR": [0, -1]}, "duration", "-1", "not negative"),
        ({"AMT": [0, None], "RATE": [0, 4]}, "rate", "4", "no amount in this row"),
        ({"AMT": [0, 5], "ADDL": [0, 2]}, "additional", "2", r"events\['interval'\]"),
        ({"AMT": [0, 5], "ADDL": [0, 2], "II": [3, 0]}, "additional", "2", "column 'II'"),
        ({"AMT": [0, 5], "II": [0, 12]}, "interval", "12", r"events\['additional'\]"),
        ({"AMT": [0, 5], "ADDL": [0, 0], "II": [0, 12]}, "interval", "12", "it would do nothing"),
        ({"AMT": [0, 5], "ADDL": [0, -1], "II": [3, 3]}, "additional", "-1", "whole number"),
        ({"AMT": [0, 5], "ADDL": [0, 1.5], "II": [3, 3]}, "additional", "1.5", "whole number"),
        ({"AMT": [0, 5], "CMT": [1, 0]}, "state", "0", "number of a state, from 1"),
        ({"AMT": [0, 5], "CMT": [1, None]}, "state", "nothing", "number of a state, from 1"),
        ({"AMT": [0, 5], "CMT": [1, 1.5]}, "state", "1.5", "number of a state, from 1"),
        ({"AMT": [0, 5], "CMT": ["x", None]}, "state", "nothing", "name the state"),
        ({"AMT": [0, 5], "SS": [0, 1]}, "steady_state", "1", "interval of its doses"),
        ({"AMT": [0, 5], "SS": [0, 3], "II": [0, 6]}, "steady_state", "3", "expected 0"),
        ({"AMT": [0.0, np.inf]}, "amount", "inf", "infinity is never data"),
        ({"AMT": [0, 5], "II": [0.0, np.inf]}, "interval", "inf", "infinity is never data"),
    ],
)
def test_events_that_make_no_sense(table, columns, part, shown, mend):
    where = "at subject 'a', time 1.5, row 1;"
    message = rf"^events\['{part}'\]: column '[A-Z]+' holds {shown} {where} .*{mend}"
    with pytest.raises(ValueError, match=message):
        build(table, **{**BASE, **columns})


def test_text_among_amounts(table):
    with pytest.raises(TypeError, match=r"events\['amount'\]: column 'AMT' holds '\.' in row 0"):
        build(table, **BASE, AMT=[".", "5"])


def test_which_columns(table):
    frame = {**BASE, "AMT": [0, 5], "amount": [0, 5]}
    with pytest.raises(ValueError, match="events: 'dose' is not one of 'amount', 'rate'"):
        build(table, {"dose": "AMT"}, **frame)
    with pytest.raises(ValueError, match="events: no column for 'amount'"):
        build(table, {"kind": "AMT"}, **frame)
    with pytest.raises(ValueError, match="events: 'NONMEM' is not known; pass 'nonmem' or"):
        build(table, "NONMEM", **frame)
    with pytest.raises(ValueError, match=r"events\['amount'\]: the frame has no column 'AMT'"):
        build(table, **BASE, amt=[0, 5])
    with pytest.raises(ValueError, match=r"'DV' is already given as observed"):
        build(table, {"amount": "DV"}, **frame)
    with pytest.raises(TypeError, match=r"events\['amount'\]: expected the name of a column"):
        build(table, {"amount": 3}, **frame)
    with pytest.raises(TypeError, match="events: expected 'nonmem' or a mapping"):
        build(table, ["AMT"], **frame)


def test_a_reset_ends_repeats_of_earlier_rows_and_a_steady_state_too(table):
    """Doses of the row itself go on; the order of rows counts where something begins anew."""
    columns = {
        "ID": [1] * 5,
        "TIME": [0.0, 5.0, 5.0, 20.0, 21.0],
        "EVID": [1, 3, 1, 1, 0],
        "AMT": [10.0, 0.0, 7.0, 4.0, 0.0],
        "ADDL": [9, 0, 2, 1, 0],
        "II": [2.0, 0.0, 6.0, 6.0, 0.0],
        "SS": [0, 0, 0, 1, 0],
        "DV": [NAN, NAN, NAN, NAN, 1.0],
    }
    got = build(table, **columns, ties="record").sel(subject=1)
    assert got["event_time"].values.tolist() == [0, 2, 4, 5, 5, 11, 17, 20, 26]
    assert got["event_amount"].values.tolist() == [10, 10, 10, 0, 7, 7, 7, 4, 4]
    assert got["event_reset"].values.tolist() == [0, 0, 0, 1, 0, 0, 0, 0, 0]
    assert got["event_steady_state"].values.tolist() == [0] * 7 + [1, 0]
    assert got["event_interval"].values.tolist() == [0] * 7 + [6, 0]


def test_the_steady_state_of_an_infusion_since_ever(table):
    columns = {"EVID": [0, 1], "AMT": [0, 0], "RATE": [0, 4], "SS": [0, 1], "II": [0, 0]}
    got = build(table, **BASE, **columns)
    assert got["event_rate"].values.tolist() == [[4.0]]
    with pytest.raises(ValueError, match=r"events\['additional'\]: .* ends here"):
        build(table, **BASE, **columns, ADDL=[0, 2])
