"""Months, quarters, years and business days: they differ in length, so they are counted.

In discrete time a date stands for its period, and a step is a difference of the ordinals of
periods. A date is zero (an `Origin`), all others are numbers of steps from there, and results show
the first day of each period.
"""

from typing import NamedTuple

import numpy as np
import pandas as pd

UNITS = ("W", "D", "h", "m", "s", "ms")
"""Units of fixed length, into which dates convert; months and years have none."""

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
        freq = origin.freq if origin is not None else frequency(str(unit))
    ordinals = _ordinals(role, items, freq)
    origin = origin or Origin(freq, int(ordinals.min()))
    steps = np.full(array.shape, np.nan)
    steps[there] = (ordinals - origin.ordinal) / _per_step(origin)
    if role == "times" and array.ndim:
        _refuse_two_in_one(array, steps, origin)
    return steps, origin


def frequency(unit: str) -> str:
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
    return frequency(unit) if is_frequency(unit) else unit


def _ordinals(role: str, items: np.ndarray, freq: str) -> np.ndarray:
    """Numbers of periods, or of the periods of dates."""
    if freq == "B":
        dates = local(np.array([getattr(item, "start_time", item) for item in items]))
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
    index = pd.DatetimeIndex(local(items)).to_period(freq)
    return np.asarray(index.asi8)


def local(items: np.ndarray) -> np.ndarray:
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
