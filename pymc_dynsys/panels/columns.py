"""One column of the user's table as an array, refused where it is not what its role needs."""

import decimal
import numbers as abstract
from typing import Any

import narwhals as nw
import numpy as np

Table = nw.DataFrame[Any]


def numbers(table: Table, role: str, column: str) -> np.ndarray:
    """A column as float64, NaN where missing; booleans are 0 and 1.

    Raises
    ------
    TypeError
        For anything but numbers, naming the first such value and its row.
    """
    series = table[column]
    if series.dtype.is_numeric() or series.dtype == nw.Boolean:
        return np.array(series.cast(nw.Float64).to_numpy(), dtype=float)
    if series.dtype.is_temporal():
        raise TypeError(
            f"{role}: column {column!r} holds {series.dtype}, expected numbers; convert it to a "
            "number in a unit of your choice"
        )
    values, missing = series.to_list(), is_missing(series)
    strange = [
        row for row, value in enumerate(values) if not missing[row] and not _is_number(value)
    ]
    if strange:
        row = next((row for row in strange if not _reads_as_number(values[row])), strange[0])
        raise TypeError(
            f"{role}: column {column!r} holds {values[row]!r} in row {row}, expected numbers; "
            f"{_mend(values[row])}"
        )
    return np.array([np.nan if gone else float(v) for v, gone in zip(values, missing, strict=True)])


def _is_number(value: object) -> bool:
    return isinstance(value, abstract.Real | decimal.Decimal | np.bool_)


def _reads_as_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _mend(value: object) -> str:
    """How to turn a value that is not a number into one."""
    if not isinstance(value, str):
        return "convert the column to float"
    text = value.strip()
    if _reads_as_number(text):
        return "the numbers are stored as text, convert the column to float"
    if text == ".":
        return "read the file with '.' as a missing value"
    if _reads_as_number(text.replace(",", ".", 1)):
        return "read the file with a decimal comma"
    if text[:1] in "<>":
        return "a value beyond a limit is not a number: make it missing and convert to float"
    return "make it missing and convert the column to float"


def is_missing(series: nw.Series[Any]) -> np.ndarray:
    """Where a column has None, NaN, NaT or a null."""
    missing = series.is_null().to_numpy().astype(bool)
    if series.dtype.is_float():
        missing |= np.isnan(series.to_numpy().astype(float))
    return missing


def is_text(series: nw.Series[Any]) -> bool:
    """Whether a column holds names rather than numbers."""
    dtype = series.dtype
    if dtype == nw.Object:
        present = series.to_numpy()[~is_missing(series)]
        return len(present) > 0 and isinstance(present[0], str)
    return dtype in (nw.String, nw.Categorical) or isinstance(dtype, nw.Enum)


def labels(table: Table, role: str, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Distinct labels of a column, in order, and the position of each row's label among them.

    The order is that of the declared levels if there are any, else ascending. Missing labels
    have position -1.
    """
    series = table[column]
    missing = is_missing(series)
    rows = np.flatnonzero(~missing)
    values = _plain(role, column, series.to_numpy()[rows], rows)
    distinct, position = np.unique(values, return_inverse=True)
    declared = declared_levels(series)
    if declared is not None:
        rank = {level: i for i, level in enumerate(declared)}
        order = np.argsort([rank[label] for label in distinct.tolist()])
        distinct, position = distinct[order], np.argsort(order)[position]
    positions = np.full(len(missing), -1)
    positions[rows] = position
    return distinct, positions


def _plain(role: str, column: str, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Labels as an array of text or of numbers, whole numbers being integers."""
    if values.dtype.kind == "f":
        # A column of integers with a hole in it is one of floats in pandas.
        whole = (values == np.floor(values)) & (np.abs(values) < 2**53)
        return values.astype(np.int64) if whole.all() else values
    if values.dtype.kind in "iub":
        return values.astype(np.int64) if np.can_cast(values.dtype, np.int64) else values
    items = values.tolist()
    if values.dtype.kind in "mM" or not items:
        kinds: tuple[type, ...] = (str,)
    else:
        kinds = (str,) if isinstance(items[0], str) else (int, np.integer)
    strange = [i for i, item in enumerate(items) if not isinstance(item, kinds)]
    if strange:
        item, row = values[strange[0]], rows[strange[0]]
        raise TypeError(
            f"{role}: column {column!r} holds {item!r} in row {row}, expected labels that are "
            "all text or all integers; convert the column to text"
        )
    return np.array(items, dtype=str if kinds == (str,) else np.int64)


def declared_levels(series: nw.Series[Any]) -> list[Any] | None:
    """Levels that the type of a column declares, in order.

    A polars Categorical declares none: its categories are shared by all columns.
    """
    if isinstance(series.dtype, nw.Enum) and not series.implementation.is_pandas_like():
        return list(series.dtype.categories)
    categories = getattr(getattr(series.to_native(), "cat", None), "categories", None)
    return None if categories is None else categories.tolist()


def refuse_unused_levels(table: Table, role: str, column: str, used: np.ndarray) -> None:
    """Raise if a declared level of a column has no row."""
    levels = declared_levels(table[column]) or []
    unused = [level for level in levels if level not in set(used.tolist())]
    if unused:
        raise ValueError(
            f"{role}: column {column!r} has the level {unused[0]!r}, but no row ({len(unused)} of "
            f"{len(levels)} levels are unused); a level without rows has no data. Drop it with "
            f"frame[{column!r}].cat.remove_unused_categories() in pandas, or make the column text"
        )


def refuse_missing(role: str, column: str, missing: np.ndarray) -> None:
    """Raise if a column that must be complete is not."""
    if missing.any():
        raise ValueError(
            f"{role}: column {column!r} has no value in row {np.argmax(missing)} "
            f"({missing.sum()} of {len(missing)} rows lack one); drop these rows or fill them in"
        )
