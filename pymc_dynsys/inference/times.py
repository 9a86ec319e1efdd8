"""Other times than the visits: merged with them, and found again afterwards."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import xarray as xr

from pymc_dynsys.bridge.data import aligned, as_float, place
from pymc_dynsys.bridge.fitted import Fitted
from pymc_dynsys.bridge.times import as_numbers
from pymc_dynsys.discretization import Schedule


@dataclass(frozen=True, eq=False)
class Asked:
    """Where states are asked for.

    Attributes
    ----------
    y, times, t0 : array
        Data and times of a trajectory with the asked times among them.
    schedule : Schedule or None
        Events and inputs, on times of their own.
    position : array of int, or None
        Place of each asked time among `times`, ``(*batch, asked)``; None: all of them.
    report : array
        The asked times, NaN where there is none.
    dim : str
        Name of the time dim of the result.
    """

    y: np.ndarray
    times: np.ndarray
    t0: np.ndarray
    schedule: Schedule | None
    position: np.ndarray | None
    report: np.ndarray
    dim: str


def asked_times(fitted: Fitted, times: Any) -> Asked:
    """The visits, or `times` merged with them; a datum comes before a state at its own time."""
    start = starts(fitted)
    if times is None:
        report = fitted.times
        return Asked(fitted.y, report, start, fitted.spec.schedule, None, report, fitted.time_dim)
    extra, dim = as_times(times, fitted)
    check_times(extra)
    return merged(fitted, extra, dim)


def merged(fitted: Fitted, extra: np.ndarray, dim: str) -> Asked:
    """Times ``(*batch, asked)`` among the visits."""
    start = starts(fitted)
    _check_start(extra, start, fitted)
    lead = np.broadcast_shapes(fitted.times.shape[:-1], extra.shape[:-1])
    known, new = (np.broadcast_to(t, (*lead, t.shape[-1])) for t in (fitted.times, extra))
    both = np.concatenate([known, new], axis=-1)
    order = np.argsort(np.where(np.isnan(both), np.inf, both), axis=-1, kind="stable")
    place_of = np.argsort(order, axis=-1, kind="stable")
    n_own = fitted.y.ndim - fitted.rank
    unseen = np.full((*fitted.batch, new.shape[-1], *fitted.y.shape[fitted.rank + 1 :]), np.nan)
    y = np.concatenate([fitted.y, unseen], axis=fitted.rank)
    index = order.reshape(*order.shape, *(1,) * (n_own - 1))
    y = np.take_along_axis(y, np.broadcast_to(index, y.shape), axis=fitted.rank)
    return Asked(
        y=y,
        times=np.take_along_axis(both, order, axis=-1),
        t0=start,
        schedule=timed(fitted.spec.schedule, fitted.times),
        position=place_of[..., known.shape[-1] :],
        report=extra,
        dim=dim,
    )


def starts(fitted: Fitted) -> np.ndarray:
    """Time of the initial law of each trajectory: ``t0``, else its first visit or event."""
    records = [fitted.times]
    schedule = fitted.spec.schedule
    if schedule is not None and schedule.event_times is not None:
        records.append(schedule.event_times)
    first = [np.where(np.isfinite(t), t, np.inf).min(-1, initial=np.inf) for t in records]
    earliest = np.minimum(*first) if len(first) == 2 else first[0]
    earliest = np.where(np.isfinite(earliest), earliest, np.nan)
    return np.where(np.isnan(fitted.t0), earliest, fitted.t0)


def last_data(fitted: Fitted) -> np.ndarray:
    """Time of the last datum of each trajectory; that of its initial law where it has none."""
    has = ~np.isnan(fitted.y)
    if fitted.spec.system.n_observed is not None:
        has = has.any(-1)
    times = np.broadcast_to(fitted.times, has.shape)
    last = np.max(np.where(has, times, -np.inf), axis=-1)
    return np.where(np.isfinite(last), last, np.broadcast_to(starts(fitted), last.shape))


def timed(schedule: Schedule | None, times: np.ndarray) -> Schedule | None:
    """The schedule with the visits written out as the times of inputs that have no others."""
    if schedule is None:
        return None
    inputs = {
        name: table if table.times is not None else replace(table, times=times)
        for name, table in schedule.inputs.items()
    }
    return replace(schedule, inputs=inputs)


def as_times(times: Any, fitted: Fitted) -> tuple[np.ndarray, str]:
    """Times ``(*batch, asked)`` with length-one axes where shared, and the name of their dim."""
    if isinstance(times, xr.DataArray):
        own = [str(dim) for dim in times.dims if dim not in fitted.batch_dims]
        if len(own) != 1:
            raise ValueError(
                f"times: dims {times.dims}; expected one dim of their own and, where times differ, "
                f"dims among {fitted.batch_dims}"
            )
        coords = {dim: fitted.coords[dim] for dim in fitted.batch_dims}
        times = aligned("times", times, coords)
        there = [dim for dim in fitted.batch_dims if dim in times.dims]
        values = _numbers(times.transpose(*there, own[0]).values, fitted)
        lead = [times.sizes[dim] if dim in there else 1 for dim in fitted.batch_dims]
        return values.reshape(*lead, values.shape[-1]), own[0]
    values = _numbers(times, fitted)
    if values.ndim == 0:
        values = values[None]
    if values.ndim != 1:
        raise ValueError(
            f"times: expected one axis, got shape {values.shape}; times that differ by trajectory "
            "are an xr.DataArray with named dims"
        )
    shared = all(n == 1 for n in fitted.times.shape[:-1]) and not np.isnan(fitted.times).any()
    return values.reshape(*(1,) * fitted.rank, -1), fitted.time_dim if shared else "time"


def _numbers(times: Any, fitted: Fitted) -> np.ndarray:
    """Times as numbers in the unit of the model, from dates if the model has dates."""
    spec = fitted.spec
    if spec.origin is None:
        if np.asarray(times).dtype.kind == "M":
            raise TypeError(
                "times: the model's times are numbers, and these are dates; if panel() made them "
                "from dates, (dates - origin) / pd.Timedelta(1, unit) are numbers like them, with "
                "unit and origin from panel['time'].attrs"
            )
        return as_float("times", times)
    return as_numbers("times", times, spec.unit, spec.origin)[0]


def dates(times: np.ndarray, fitted: Fitted) -> np.ndarray:
    """Times as the user has them: dates if the model has dates."""
    spec = fitted.spec
    if spec.origin is None:
        return times
    unit: Any = spec.unit
    one = np.timedelta64(1, unit) / np.timedelta64(1, "ns")
    steps = np.where(np.isnan(times), 0.0, times) * one
    whole = spec.origin.astype("datetime64[ns]") + steps.round().astype("timedelta64[ns]")
    return np.where(np.isnan(times), np.datetime64("NaT", "ns"), whole)


def check_times(extra: np.ndarray) -> None:
    """Refuse times that are none, infinite or out of order; NaN is no time."""
    if np.isnan(extra).all():
        raise ValueError("times: there are none")
    if np.isinf(extra).any():
        raise ValueError("times: infinite; leave out what has no time, or NaN in a ragged table")
    latest = np.maximum.accumulate(np.where(np.isnan(extra), -np.inf, extra), axis=-1)
    if (extra < latest).any():
        raise ValueError("times: not ascending")


def _check_start(extra: np.ndarray, start: np.ndarray, fitted: Fitted) -> None:
    """Refuse times before the initial law."""
    first = np.min(np.where(np.isnan(extra), np.inf, extra), axis=-1)
    early = np.argwhere(np.broadcast_to(first < start, fitted.batch))
    if len(early):
        here = tuple(early[0])
        at = f" of {place(here, fitted.labels, fitted.batch_dims)}" if fitted.batch_dims else ""
        raise ValueError(
            f"times: {np.broadcast_to(first, fitted.batch)[here]:g} lies before the start{at} at "
            f"{np.broadcast_to(start, fitted.batch)[here]:g}, and the initial law holds there; to "
            "look further back give Trajectory an earlier t0"
        )
    lost = np.argwhere(np.broadcast_to(np.isnan(start), fitted.batch))
    if len(lost):
        at = place(lost[0], fitted.labels, fitted.batch_dims) if fitted.batch_dims else fitted.name
        raise ValueError(
            f"times: {at} has neither a visit nor an event, so nothing says when its initial law "
            "holds; give Trajectory a t0"
        )
