"""Times and spans of the table as numbers: dates in a stated unit, or periods, since the first."""

from typing import Any

import narwhals as nw
import numpy as np

from pymc_dynsys.panels.columns import Table, is_missing, numbers, refuse_missing
from pymc_dynsys.panels.periods import as_steps, frequency, is_frequency
from pymc_dynsys.panels.rows import Rows


def read_times(table: Table, column: str, unit: str | None) -> tuple[np.ndarray, dict[str, str]]:
    """Times as float64, and how to turn them back into dates.

    Dates with a time zone are taken to UTC first, so that a clock change is no gap; where a unit
    counts periods, a date stands for the one that it has in its own zone.

    Returns
    -------
    times : array
        One number a row.
    attrs : dict
        Empty for numbers. For dates ``unit``, ``origin`` (ISO 8601; in UTC where there is a
        zone) and ``time_zone`` if there is one; for durations ``unit``; for periods their frequency
        as ``unit`` and the first day of the first one as ``origin``.
    """
    if is_frequency(unit):
        frequency(str(unit))
    series = table[column]
    refuse_missing("time", column, is_missing(series))
    if isinstance(series.dtype, nw.Date):
        series = series.cast(nw.Datetime("ms"))
    if _holds_dates(series):
        if is_frequency(unit):
            return _counted(_local(series), unit)
        return _since_earliest(series, column, unit)
    if isinstance(series.dtype, nw.Duration):
        _refuse_frequency("time", column, unit)
        length = _one(unit, column, "durations")
        return _array(series, "m") / length, {"unit": str(unit)}
    if len(series) and hasattr(series.item(0), "to_timestamp"):
        return _counted(np.array(series.to_list(), dtype=object), unit)
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
    _refuse_frequency(role, column, unit)
    return _array(series, "m") / np.timedelta64(1, unit)  # type: ignore[call-overload]


def refuse_two_in_a_period(table: Table, column: str, rows: Rows, attrs: dict[str, str]) -> None:
    """Raise for two dates of one subject in one period, where times are numbers of periods."""
    series = table[column]
    if not is_frequency(attrs.get("unit")):
        return
    if not isinstance(series.dtype, nw.Date) and not _holds_dates(series):
        return
    dates = _local(series.cast(nw.Datetime("ms")) if series.dtype == nw.Date else series)
    order, instant = rows.instants()
    both = (np.diff(instant) == 0) & (dates[order][1:] != dates[order][:-1])
    if both.any():
        k = int(np.argmax(both))
        first, second = sorted(order[k : k + 2])
        whose = rows.subjects[rows.subject[first]].item()
        raise ValueError(
            f"time: subject {whose!r} has {str(dates[first])[:10]} and {str(dates[second])[:10]} "
            f"(rows {first} and {second}) in one period of frequency {attrs['unit']!r}; a period "
            "has one date a subject: take their sum or mean, or a shorter unit"
        )


def _counted(items: np.ndarray, unit: str | None) -> tuple[np.ndarray, dict[str, str]]:
    """Dates or periods as numbers of periods since the first."""
    steps, origin = as_steps("time", items, unit, None)
    return steps, {"unit": origin.freq, "origin": str(origin)}


def _holds_dates(series: nw.Series) -> bool:
    """Whether a column holds points in time, with or without a zone."""
    return isinstance(series.dtype, nw.Datetime) or _zone(series) is not None


def _zone(series: nw.Series) -> str | None:
    """Time zone of a column; narwhals does not read names such as America/New_York from pandas."""
    zone = getattr(series.dtype, "time_zone", None)
    if zone is None and series.dtype == nw.Unknown:
        zone = getattr(series.to_native().dtype, "tz", None)
    return None if zone is None else str(zone)


def _without_zone(series: nw.Series, zone: str | None) -> np.ndarray:
    """Dates as they stand in the calendar of their own zone, or in that of another."""
    if series.dtype == nw.Unknown:
        native = series.to_native()
        native = native if zone is None else native.dt.tz_convert(zone)
        return np.asarray(native.dt.tz_localize(None).to_numpy())
    series = series if zone is None else series.dt.convert_time_zone(zone)
    return _array(series.dt.replace_time_zone(None), "M")


def _local(series: nw.Series) -> np.ndarray:
    """Dates as they stand in the calendar of their own time zone."""
    return _array(series, "M") if _zone(series) is None else _without_zone(series, None)


def _refuse_frequency(role: str, column: str, unit: str | None) -> None:
    """Raise for durations where the unit counts periods."""
    if is_frequency(unit):
        raise ValueError(
            f"{role}: column {column!r} holds durations, and unit={unit!r} counts periods, which "
            "have no length; give numbers of periods"
        )


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
    zone = _zone(series)
    dates = _array(series, "M") if zone is None else _without_zone(series, "UTC")
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
    dated = hasattr(first, "isoformat")
    if looks or dated or series.dtype.is_temporal():
        raise TypeError(
            f"time: column {column!r} holds {first!r} in row 0, expected numbers or a column of "
            "dates; convert it first, with pandas.to_datetime(..., utc=True) or polars' "
            "str.to_datetime()"
        )


def clock_of(times: np.ndarray, attrs: dict[str, str]) -> tuple[tuple[str, str], dict[str, Any]]:
    """Dims and coordinates of what varies in time: one clock for all, or one a subject."""
    if (times == times[0]).all():
        return ("subject", "time"), {"time": ("time", times[0], attrs)}
    clocks = (("subject", "visit"), times, attrs)
    return ("subject", "visit"), {"visit": np.arange(times.shape[1]), "time": clocks}
