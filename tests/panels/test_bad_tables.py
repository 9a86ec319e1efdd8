"""What is wrong is named: the column, the row, the subject, and the mend."""

import datetime
import decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pymc_dynsys.panels import panel

GOOD = {
    "id": ["a", "a", "b"],
    "t": [0.0, 1.0, 0.0],
    "y": [1.0, 2.0, 3.0],
    "u": [0.1, 0.2, 0.3],
    "w": [5.0, 5.0, 6.0],
    "g": ["x", "x", "z"],
}


def build(table, unit=None, observed="y", **columns):
    return panel(
        table({**GOOD, **columns}),
        subject="id",
        time="t",
        observed=observed,
        inputs="u",
        covariates="w",
        groups="g",
        unit=unit,
    )


@pytest.mark.parametrize(
    "values, row, bad, mend",
    [
        (["1.0", "<0.1", "n/a"], 1, "<0.1", "beyond a limit"),
        (["1.0", "2.0", "n/a"], 2, "n/a", "make it missing"),
        (["1.0", "2,5", "3.0"], 1, "2,5", "decimal comma"),
        ([".", "2.5", "3.0"], 0, ".", "'.' as a missing value"),
        (["1.0", None, "3.0"], 0, "1.0", "stored as text"),
    ],
)
@pytest.mark.parametrize("column, role", [("y", "observed"), ("u", "inputs"), ("t", "time")])
def test_text_among_numbers(table, column, role, values, row, bad, mend):
    if column == "t":
        values = [value or "3.5" for value in values]
    message = rf"^{role}: column '{column}' holds '{bad}' in row {row}, expected numbers; .*{mend}"
    with pytest.raises(TypeError, match=message):
        build(table, **{column: values})


def test_text_among_python_objects():
    with pytest.raises(TypeError, match="observed: column 'y' holds 'low' in row 2"):
        build(pd.DataFrame, y=pd.Series([1.0, None, "low"], dtype=object))


@pytest.mark.parametrize(
    "values, shown",
    [
        (pd.Categorical(["1", "2", "1"]), "'1' in row 0"),
        (pd.Series([1j, 2.0, 3.0]), r"1j in row 0"),
        (pd.to_datetime(["2024-01-01"] * 3), "Datetime"),
        (pd.Series([[1.0], [2.0], [3.0]]), r"\[1.0\] in row 0"),
    ],
)
def test_what_is_no_number(values, shown):
    with pytest.raises(
        TypeError, match=f"observed: column 'y' holds .*{shown}.*, expected numbers"
    ):
        build(pd.DataFrame, y=values)


@pytest.mark.parametrize(
    "values",
    [
        pd.array([1, None, 3], dtype="Int64"),
        pd.array([1, None, 3], dtype="Float32"),
        pd.array([1, None, 3], dtype="int64[pyarrow]"),
        pd.Series([1, None, 3], dtype="float32"),
        pd.Series([1, None, decimal.Decimal(3)], dtype=object),
        pd.Series([np.int32(1), np.nan, True + np.float32(2)], dtype=object),
    ],
)
def test_numbers_of_every_kind_in_pandas(values):
    got = build(pd.DataFrame, y=values)["y"]
    assert got.dtype == float
    np.testing.assert_array_equal(got.values, [[1.0, np.nan], [3.0, np.nan]])


@pytest.mark.parametrize("dtype", [pl.Int8, pl.UInt64, pl.Float32, pl.Decimal(10, 2)])
def test_numbers_of_every_kind_in_polars(dtype):
    got = build(pl.DataFrame, y=pl.Series([1, None, 3]).cast(dtype))["y"]
    assert got.dtype == float
    np.testing.assert_array_equal(got.values, [[1.0, np.nan], [3.0, np.nan]])


def test_truth_is_zero_or_one(table):
    got = build(table, y=[True, False, None], w=[True, True, False])
    np.testing.assert_array_equal(got["y"].values, [[1.0, 0.0], [np.nan, np.nan]])
    assert got["w"].values.tolist() == [1.0, 0.0]


def test_column_with_nothing_in_it_is_missing_throughout(table):
    assert np.isnan(build(table, y=[None, None, None])["y"].values).all()


@pytest.mark.parametrize("column, role", [("y", "observed"), ("u", "inputs"), ("w", "covariates")])
def test_infinite_value(table, column, role):
    with pytest.raises(
        ValueError, match=rf"^{role}: column '{column}' holds -inf at subject 'b', time 0, row 2;"
    ):
        build(table, **{column: [5.0, 5.0, -np.inf]})


@pytest.mark.parametrize("missing", [None, np.nan])
@pytest.mark.parametrize("column, role", [("id", "subject"), ("t", "time")])
def test_missing_subject_or_time(table, column, role, missing):
    values = [1.0, missing, 2.0]
    with pytest.raises(
        ValueError, match=rf"^{role}: column '{column}' has no value in row 1 \(1 of"
    ):
        build(table, **{column: values})


def test_missing_text_label(table):
    with pytest.raises(ValueError, match="subject: column 'id' has no value in row 2"):
        build(table, id=["a", "a", None])


def test_infinite_time(table):
    with pytest.raises(ValueError, match="time: column 't' holds inf in row 1"):
        build(table, t=[0.0, np.inf, 1.0])


def test_two_rows_at_one_time(table):
    message = "subject 'a' has time 1.5 twice, in rows 0 and 1; .*average"
    with pytest.raises(ValueError, match=message):
        build(table, t=[1.5, 1.5, 1.5])


def test_covariate_that_varies(table):
    message = (
        "covariates: column 'w' varies within subject 'a': 5.0 in row 0, 5.5 in row 1; .*inputs="
    )
    with pytest.raises(ValueError, match=message):
        build(table, w=[5.0, 5.5, 6.0])


@pytest.mark.parametrize("column, role", [("g", "groups"), ("w", "covariates")])
def test_label_that_varies(table, column, role):
    message = f"{role}: column '{column}' varies within subject 'a': 'x' in row 0, 'z' in row 1"
    with pytest.raises(ValueError, match=message):
        build(table, **{column: ["x", "z", "z"]})


@pytest.mark.parametrize("column, role", [("g", "groups"), ("w", "covariates")])
def test_subject_without_a_label(table, column, role):
    message = f"{role}: column '{column}' has no label at subject 'b', time 0, row 2.*'unknown'"
    with pytest.raises(ValueError, match=message):
        build(table, **{column: ["x", None, None]})


def test_group_without_any_label(table):
    with pytest.raises(ValueError, match="groups: column 'g' has no label at subject 'a'"):
        build(table, g=[None, None, None])


@pytest.mark.parametrize(
    "values", [[1, "b", 1], [datetime.date(2024, 1, 1)] * 3, [(1,), (2,), (3,)]]
)
def test_labels_are_text_or_numbers(values):
    with pytest.raises(TypeError, match=r"subject: column 'id' holds|all text or all integers"):
        build(pd.DataFrame, id=pd.Series(values, dtype=object))


def test_dates_are_no_labels():
    with pytest.raises(TypeError, match=r"holds .*2024-01-01.* in row 0, expected labels"):
        build(pd.DataFrame, id=pd.to_datetime(["2024-01-01"] * 3))


@pytest.mark.parametrize(
    "asked, mend",
    [("Y", "did you mean 'y'"), ("yy", "did you mean 'y'"), ("conc", "its columns are 'id', 't'")],
)
def test_absent_column(table, asked, mend):
    with pytest.raises(ValueError, match=f"observed: the frame has no column '{asked}'.*{mend}"):
        build(table, observed=asked)


def test_column_that_is_the_index():
    frame = pd.DataFrame(GOOD).set_index("id")
    with pytest.raises(
        ValueError, match=r"'id'; it is the frame's index, so pass frame.reset_index"
    ):
        panel(frame, subject="id", time="t", observed="y")


@pytest.mark.parametrize("observed", ["id", "u", "g", ["y", "y"]])
def test_column_in_two_roles(table, observed):
    with pytest.raises(ValueError, match="is already given as"):
        build(table, observed=observed)


@pytest.mark.parametrize("name", ["subject", "visit", "time", "component", "event", "event_time"])
@pytest.mark.parametrize("role", ["observed", "inputs", "covariates", "groups"])
def test_name_that_the_panel_needs(table, name, role):
    roles = {"subject": "id", "time": "t", "observed": "y", role: name}
    with pytest.raises(ValueError, match=f"{role}: column '{name}' would be '{name}'.*rename"):
        panel(table({**GOOD, name: [1.0, 1.0, 2.0]}), **roles)


def test_names_made_from_groups_do_not_clash(table):
    frame = table({**GOOD, "g_index": [1.0, 1.0, 2.0]})
    with pytest.raises(ValueError, match=r"column 'g' would be 'g_index'.*covariates"):
        panel(frame, subject="id", time="t", observed="y", covariates="g_index", groups="g")


def test_observed_is_a_name_of_its_own_only_with_several(table):
    frame = table({**GOOD, "observed": [1.0, 2.0, 3.0]})
    assert "observed" in panel(frame, subject="id", time="t", observed="observed")
    with pytest.raises(ValueError, match="column 'observed' would be 'observed'"):
        panel(frame, subject="id", time="t", observed=["y", "u"], inputs="observed")


def test_columns_may_be_called_as_the_panel_calls_them(table):
    frame = table({"subject": [1, 2], "time": [0.0, 0.0], "y": [1.0, 2.0]})
    got = panel(frame, subject="subject", time="time", observed="y")
    assert dict(got.sizes) == {"subject": 2, "time": 1}


def test_empty_frame(table):
    with pytest.raises(ValueError, match="frame: it has no rows"):
        panel(table({"id": [], "t": [], "y": []}), subject="id", time="t", observed="y")


@pytest.mark.parametrize("observed", [(), []])
def test_nothing_observed(table, observed):
    with pytest.raises(ValueError, match="observed: name at least one column"):
        build(table, observed=observed)


@pytest.mark.parametrize("frame", [np.ones((3, 3)), GOOD, pl.LazyFrame(GOOD)])
def test_not_a_frame(frame):
    with pytest.raises(TypeError, match="frame: expected a pandas or polars DataFrame, got"):
        panel(frame, subject="id", time="t", observed="y")


@pytest.mark.parametrize("role", ["subject", "time", "observed", "inputs", "groups"])
@pytest.mark.parametrize("name", [3, None])
def test_roles_are_names(table, role, name):
    value = [name] if role in ("observed", "inputs", "groups") else name
    roles = {"subject": "id", "time": "t", "observed": "y", role: value}
    with pytest.raises(TypeError, match=f"{role}: expected .*, got {name}"):
        panel(table(GOOD), **roles)


@pytest.mark.parametrize("names", [{"y", "u"}, 3])
def test_several_columns_have_an_order(table, names):
    with pytest.raises(TypeError, match="observed: expected a name or names of columns in order"):
        build(table, observed=names)


def test_columns_of_one_name():
    frame = pd.DataFrame([["a", 0.0, 1.0, 2.0]], columns=["id", "t", "y", "y"])
    with pytest.raises(ValueError, match="unique column names"):
        panel(frame, subject="id", time="t", observed="y")
