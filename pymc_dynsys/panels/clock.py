"""Times and spans of the table as numbers: dates in a stated unit since the earliest."""

import narwhals as nw
import numpy as np

from pymc_dynsys.panels.columns import Table, is_missing, numbers, refuse_missing

UNITS = ("W", "D", "h", "m", "s", "ms")
"""Units into which dates convert; months and years have no fixed length."""


def read_times(table: Table, column: str, unit: str | None) -> tuple[np.ndarray, dict[str, str]]:
    """Times as float64, and how to turn them back into dates.

    Dates with a time zone are taken to UTC first, so that a clock change is no gap.

    Returns
    -------
    times : array
        One number a row.
    attrs : dict
        Empty for numbers. For dates ``unit``, ``origin`` (ISO 8601; in UTC where there is a
        zone) and ``time_zone`` if there is one; for durations ``unit``.
    """
    if unit is not None and unit not in UNITS:
        raise ValueError(f"unit: {unit!r} is not one of {', '.join(map(repr, UNITS))}")
    series = table[column]
    refuse_missing("time", column, is_missing(series))
    if isinstance(series.dtype, nw.Date):
        series = series.cast(nw.Datetime("ms"))
    if isinstance(series.dtype, nw.Datetime):
        return _since_earliest(series, column, unit)
    if isinstance(series.dtype, nw.Duration):
        length = _one(unit, column, "durations")
        return _array(series, "m") / length, {"unit": str(unit)}
    _refuse_other_dates(series, column)
    times = numbers(table, "time", column)
    if unit is not None:
        raise ValueError(
            f"unit: the times in column {column!r} are numbers already and are never rescaled; "
            f"unit={unit!r} is for dates and durations, leave it out"
        )
    if np.isinf(times).any():
        row = int(np.argmax(np.isinf(times)))
        raise ValueError(f"time: column {column!r} holds {times[row]} in row {row}; drop the row")
    return times, {}


def read_spans(table: Table, role: str, column: str, unit: str | None) -> np.ndarray:
    """Lengths of time as float64, NaN where missing; numbers are in the unit of the times."""
    series = table[column]
    if not isinstance(series.dtype, nw.Duration):
        return numbers(table, role, column)
    if unit is None:
        raise TypeError(
            f"{role}: column {column!r} holds durations, but the times are numbers; convert it to "
            "numbers in their unit"
        )
    return _array(series, "m") / np.timedelta64(1, unit)  # type: ignore[call-overload]


def _one(unit: str | None, column: str, kind: str) -> np.timedelta64:
    """One unit of time; an error if none was stated."""
    if unit is None:
        raise ValueError(
            f"unit: column {column!r} holds {kind}, which need one; pass unit='D' (days), 'h', 'm' "
            "(minutes) or 's'"
        )
    return np.timedelta64(1, unit)  # type: ignore[call-overload]


def _since_earliest(
    series: nw.Series, column: str, unit: str | None
) -> tuple[np.ndarray, dict[str, str]]:
    length = _one(unit, column, "dates")
    zone = series.dtype.time_zone  # type: ignore[attr-defined]
    if zone is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    dates = _array(series, "M")
    origin = dates.min()
    attrs = {"unit": str(unit), "origin": str(np.datetime_as_string(origin, unit="auto"))}
    return (dates - origin) / length, attrs if zone is None else {**attrs, "time_zone": zone}


def _array(series: nw.Series, kind: str) -> np.ndarray:
    """Dates ('M') or durations ('m') as NumPy has them, in the resolution they came in."""
    values = series.to_numpy()
    if values.dtype.kind == kind:
        return values
    return values.astype(f"{kind}8[{series.dtype.time_unit}]")  # type: ignore[attr-defined]


def _refuse_other_dates(series: nw.Series, column: str) -> None:
    """Dates as text are the user's to read: their format is not ours to guess."""
    first = series.item(0)
    looks = isinstance(first, str) and any(mark in first for mark in "-/:") and first[:1].isdigit()
    if hasattr(first, "to_timestamp"):
        raise TypeError(
            f"time: column {column!r} holds the period {str(first)!r} in row 0, which is no time; "
            "number the periods, frame[...].astype('int64'), or take when they begin, "
            "frame[...].dt.to_timestamp(), with a unit"
        )
    dated = hasattr(first, "isoformat")
    if looks or dated or series.dtype.is_temporal():
        raise TypeError(
            f"time: column {column!r} holds {first!r} in row 0, expected numbers or a column of "
            "dates; convert it first, with pandas.to_datetime(..., utc=True) or polars' "
            "str.to_datetime()"
        )
