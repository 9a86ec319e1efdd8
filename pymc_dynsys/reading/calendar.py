"""Months, quarters and years: they differ in length, so they are numbered before they are times."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pymc_dynsys.panels.clock import UNITS


def refuse_periods(role: str, array: np.ndarray) -> None:
    """Raise for pandas periods among objects, with what to make of them."""
    periods = [item for item in array.ravel() if isinstance(item, pd.Period)]
    if periods:
        raise TypeError(
            f"{role}: {str(periods[0])!r} is a period of time, not a time; number the periods, "
            "index.astype('int64') - index.astype('int64')[0], which are the steps of a system in "
            "discrete time, or take when they begin, index.to_timestamp(), with a unit"
        )


def refuse_months(found: Any, times: np.ndarray, unit: str | None, origin: Any) -> None:
    """Raise for dates that are months apart, given to a system that moves in steps.

    `found` are the times as they were given, which may say unit and origin where `times` are
    numbers already, as those of a panel are.
    """
    if origin is None and isinstance(found, xr.DataArray):
        unit, origin = found.attrs.get("unit"), found.attrs.get("origin")
    if origin is None or unit not in UNITS:
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
        "in discrete time; number them so that a step is what you mean, such as "
        "times=np.arange(n), or dates.to_period('M').astype('int64') (months), 'Q' or 'Y'. If a "
        f"step is one of {unit!r}, give the times as numbers of it"
    )
