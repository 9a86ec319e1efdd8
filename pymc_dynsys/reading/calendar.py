"""Months, quarters, years and business days: they differ in length, so they are counted.

In discrete time a date stands for its period, and a step is a difference of the ordinals of
periods. A date is zero (an `Origin`), all others are numbers of steps from there, and results show
the first day of each period.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from pymc_dynsys.panels.clock import UNITS

MONDAY = np.datetime64("1970-01-05", "D")
"""Business day number zero."""


class Origin(NamedTuple):
    """The period that is number zero, and the frequency of all of them as pandas calls it."""

    freq: str
    ordinal: int

    def dates(self, steps: np.ndarray) -> np.ndarray:
        """First day of each period that is so many steps from here; NaT for NaN."""
        known = np.isfinite(steps)
        ordinals = self.ordinal + np.where(known, steps, 0).round().astype(int) * _per_step(self)
        return np.where(known, _starts(ordinals, self.freq), np.datetime64("NaT", "ns"))

    def __str__(self) -> str:
        return str(self.dates(np.zeros(1))[0])[:10]


def is_frequency(unit: object) -> bool:
    """Whether a unit is one of periods, not of lengths of time."""
    return isinstance(unit, str) and unit not in UNITS


def are_periods(array: np.ndarray) -> bool:
    """Whether objects are pandas' periods."""
    return any(isinstance(item, pd.Period) for item in array.ravel())


def as_steps(
    role: str, array: np.ndarray, unit: str | None, origin: Origin | None
) -> tuple[np.ndarray, Origin]:
    """Periods or dates as steps from the origin, by default the first; NaN where missing."""
    there = ~pd.isna(array)
    if not there.any():
        raise ValueError(f"{role}: all dates are missing")
    items = array[there]
    if are_periods(array):
        freq = _freq_of_periods(role, list(items), unit, origin)
    else:
        freq = origin.freq if origin is not None else _frequency(str(unit))
    ordinals = _ordinals(role, items, freq)
    origin = origin or Origin(freq, int(ordinals.min()))
    steps = np.full(array.shape, np.nan)
    steps[there] = (ordinals - origin.ordinal) / _per_step(origin)
    if role == "times" and array.ndim:
        _refuse_two_in_one(array, steps, origin)
    return steps, origin


def inferred(found: object) -> str | None:
    """Frequency of dates that lie one month, quarter or year apart throughout, if they do."""
    values = np.asarray(found.values if isinstance(found, xr.DataArray) else found)
    if values.ndim != 1 or len(values) < 3:
        return None
    if values.dtype == object and not all(hasattr(v, "isoformat") for v in values):
        return None
    if (values.dtype.kind != "M" and values.dtype != object) or pd.isna(values).any():
        return None
    dates = pd.DatetimeIndex(_local(values))
    days = dates.day
    if not (dates.is_month_end.all() or (days == days[0]).all()):
        return None
    apart = set(np.diff(dates.year * 12 + dates.month))
    return {1: "M", 3: "Q", 12: "Y"}.get(apart.pop()) if len(apart) == 1 else None


def refuse_periods(role: str, array: np.ndarray) -> None:
    """Raise for pandas periods where there are only lengths of time, with what to make of them."""
    periods = [item for item in array.ravel() if isinstance(item, pd.Period)]
    if periods:
        raise TypeError(
            f"{role}: {str(periods[0])!r} is a period of time, not a time; continuous time takes "
            "when it begins, index.to_timestamp(), or ends, index.to_timestamp(how='end'), with a "
            "unit; as steps of discrete time number them, index.astype('int64') - "
            "index.astype('int64')[0]"
        )


def refuse_in_continuous_time(found: object, unit: str | None) -> None:
    """Raise for periods as times of an SDE or ODE, or for dates that are to be counted as such."""
    values = np.asarray(found.values if isinstance(found, xr.DataArray) else found)
    refuse_periods("times", values if values.dtype == object else np.empty(0, object))
    objects = values.dtype == object and values.size > 0
    dates = values.dtype.kind == "M" or (objects and hasattr(values.flat[0], "isoformat"))
    if dates and is_frequency(unit):
        _frequency(str(unit))
        raise ValueError(
            f"unit: {unit!r} counts periods, which are steps of discrete time; continuous time has "
            f"lengths, one of {', '.join(map(repr, UNITS))}"
        )


def refuse_months(found: object, times: np.ndarray, unit: str | None, origin: object) -> None:
    """Raise for dates that are months apart, given to a system that moves in steps.

    `found` are the times as they were given, which may say unit and origin where `times` are
    numbers already, as those of a panel are.
    """
    if origin is None and isinstance(found, xr.DataArray):
        unit, origin = found.attrs.get("unit"), found.attrs.get("origin")
    if origin is None or isinstance(origin, Origin) or unit not in UNITS:
        return
    known = np.unique(times[np.isfinite(times)])
    dates = pd.DatetimeIndex(pd.Timestamp(origin) + pd.to_timedelta(known, unit=unit))
    if dates.tz is not None:
        dates = dates.tz_localize(None)
    ends, days = dates.is_month_end, dates.day
    months = dates.year * 12 + dates.month
    if len(dates) < 3 or not months.is_unique or not (ends.all() or (days == days[0]).all()):
        return
    steps = np.diff(known)
    raise ValueError(
        f"times: {dates[0]:%Y-%m-%d}, {dates[1]:%Y-%m-%d}, {dates[2]:%Y-%m-%d}, ... are months "
        f"apart, which with unit={unit!r} are {steps.min():g} to {steps.max():g} steps of a system "
        "in discrete time; say what a step is, Trajectory(unit='M') (months), 'Q' or 'Y', or "
        "number them, times=np.arange(n) or dates.to_period('M').astype('int64'). If a step is one "
        f"of {unit!r}, give the times as numbers of it"
    )


def _frequency(unit: str) -> str:
    """A frequency as pandas calls it."""
    if unit == "B":
        return unit
    try:
        return str(pd.PeriodIndex([], freq=unit).freqstr)
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"unit: {unit!r} is not one of {', '.join(map(repr, UNITS))} nor, in discrete time, a "
            "frequency of periods: 'M' (months), 'Q', 'Q-MAR', 'Y', 'B' (business days)"
        ) from error


def _freq_of_periods(
    role: str, periods: list[pd.Period], unit: str | None, origin: Origin | None
) -> str:
    """The frequency that all periods have, which nothing else may contradict."""
    freqs = sorted({str(period.freqstr) for period in periods})
    if len(freqs) > 1:
        raise ValueError(f"{role}: periods of frequencies {freqs[0]!r} and {freqs[1]!r}")
    expected = unit if origin is None else origin.freq
    if expected is not None and freqs[0] not in (expected, _frequency_or(expected)):
        if origin is not None:
            raise ValueError(
                f"{role}: {str(periods[0])!r} is a period of frequency {freqs[0]!r}, and those of "
                f"the model have {expected!r}"
            )
        raise ValueError(
            f"unit: times are periods of frequency {freqs[0]!r}, one step each; leave "
            f"unit={unit!r} out"
        )
    return freqs[0]


def _frequency_or(unit: str) -> str:
    return _frequency(unit) if is_frequency(unit) else unit


def _ordinals(role: str, items: np.ndarray, freq: str) -> np.ndarray:
    """Numbers of periods, or of the periods of dates."""
    if freq == "B":
        dates = _local(np.array([getattr(item, "start_time", item) for item in items]))
        days = dates.astype("datetime64[D]")
        free = ~np.is_busday(days)
        if free.any():
            raise ValueError(
                f"{role}: {days[free][0]} is no business day, and unit='B' counts those from "
                "Monday to Friday; leave it out, or say unit='D'"
            )
        return np.asarray(np.busday_count(MONDAY, days))
    if isinstance(items[0], pd.Period):
        return np.array([period.ordinal for period in items])
    index = pd.DatetimeIndex(_local(items)).to_period(freq)
    return np.asarray(index.asi8)


def _local(items: np.ndarray) -> np.ndarray:
    """Dates as they stand in the calendar of their own time zone."""
    if items.dtype.kind == "M":
        return items
    local = [pd.Timestamp(item).tz_localize(None).to_datetime64() for item in items]
    return np.array(local, dtype="datetime64[ns]")


def _per_step(origin: Origin) -> int:
    """Ordinals in a step: a frequency of two months counts months."""
    return 1 if origin.freq == "B" else int(pd.PeriodIndex([], freq=origin.freq).freq.n)


def _starts(ordinals: np.ndarray, freq: str) -> np.ndarray:
    """First day of each period."""
    if freq == "B":
        days = np.busday_offset(MONDAY, ordinals)
        return np.asarray(days).astype("datetime64[ns]")
    index = pd.PeriodIndex.from_ordinals(ordinals.ravel(), freq=freq)
    return index.start_time.to_numpy().astype("datetime64[ns]").reshape(ordinals.shape)


def _refuse_two_in_one(array: np.ndarray, steps: np.ndarray, origin: Origin) -> None:
    """Raise for two rows of one trajectory in the same period."""
    twice = np.argwhere(np.diff(steps, axis=-1) == 0)
    if len(twice):
        *batch, k = twice[0]
        both = [str(array[(*batch, i)])[:10] for i in (k, k + 1)]
        period = str(origin.dates(steps[(*batch, slice(k, k + 1))])[0])[:10]
        raise ValueError(
            f"times: {both[0]} and {both[1]} (rows {k} and {k + 1}) lie in one period of frequency "
            f"{origin.freq!r}, the one from {period} on; in discrete time a period has one row"
        )
