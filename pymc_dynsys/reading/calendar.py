"""Periods and dates that are months apart: where they are steps, and where they are refused."""

import numpy as np
import pandas as pd
import xarray as xr

from pymc_dynsys.panels.periods import UNITS, Origin, frequency, is_frequency, local


def inferred(found: object) -> str | None:
    """Frequency of dates that lie one month, quarter or year apart throughout, if they do."""
    values = np.asarray(found.values if isinstance(found, xr.DataArray) else found)
    if values.ndim != 1 or len(values) < 3:
        return None
    if values.dtype == object and not all(hasattr(v, "isoformat") for v in values):
        return None
    if (values.dtype.kind != "M" and values.dtype != object) or pd.isna(values).any():
        return None
    dates = pd.DatetimeIndex(local(values))
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
    if isinstance(found, xr.DataArray) and "origin" in found.attrs:
        unit_of_panel = found.attrs.get("unit")
        if is_frequency(unit_of_panel):
            raise ValueError(
                f"times: {found.name!r} counts periods (unit={unit_of_panel!r}), which are steps "
                "of discrete time; continuous time has lengths, pds.panel(unit='D')"
            )
    objects = values.dtype == object and values.size > 0
    dates = values.dtype.kind == "M" or (objects and hasattr(values.flat[0], "isoformat"))
    if dates and is_frequency(unit):
        frequency(str(unit))
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
