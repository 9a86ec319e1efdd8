"""Times of users as numbers in their unit, with the dims of the trajectories."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pymc_dynsys.discretization.grid import build_grid
from pymc_dynsys.discretization.stepping import WHOLE
from pymc_dynsys.panels.periods import UNITS, Origin, are_periods, as_steps, is_frequency
from pymc_dynsys.reading.calendar import refuse_periods
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.labels import aligned, labelled
from pymc_dynsys.reading.values import as_float, place


def as_times(
    role: str,
    value: Any,
    batch_dims: Sequence[str],
    time_dim: str | None,
    *,
    coords: Mapping[str, Any],
    lengths: Mapping[str, int],
    unit: str | None = None,
    origin: Any = None,
    named: Sequence[str] | None = None,
) -> tuple[np.ndarray, str, Any]:
    """Times ``(*batch, time)`` with length-one axes where shared, the name of their dim, an origin.

    ``time_dim=None`` is for ``t0``, which has no time axis. A labelled array may call its time
    axis as it likes. Dates become numbers of `unit` since `origin`, by default the earliest one.
    `named` are the dims of a plain array, where they are known. `coords` are labels of batch dims,
    and of the time dim where times are matched with them.
    """
    core = 0 if time_dim is None else 1
    full = (*batch_dims, *([time_dim] if time_dim is not None else []))
    if isinstance(value, pd.Series | pd.DataFrame) and value.ndim <= len(full):
        value = labelled(role, value, full[len(full) - value.ndim :], coords)
    if isinstance(value, xr.DataArray):
        array = aligned(role, value, coords)
        dims = tuple(map(str, array.dims))
        own = [dim for dim in dims if dim not in batch_dims]
        if len(own) != core:
            of_time = "one dim of their own" if core else "no dim of their own"
            raise ValueError(
                f"{role}: dims {dims}; expected {of_time} and, where they differ, batch dims "
                f"among {tuple(batch_dims)}"
            )
        time_dim = own[0] if core else None
        value = array.values
    elif named is not None:
        dims = tuple(named)
    else:
        dims = _dims_of(role, np.ndim(value), full, core)
    numbers, origin = as_numbers(role, value, unit, origin)
    for dim, found in zip(dims, numbers.shape, strict=True):
        if lengths.get(dim, found) != found and dim in batch_dims:
            raise ValueError(f"{role}: {found} along {dim!r}, which has length {lengths[dim]}")
    frame_order = [dim for dim in (*batch_dims, time_dim) if dim in dims]
    numbers = numbers.transpose([dims.index(dim) for dim in frame_order])
    lead = [numbers.shape[frame_order.index(dim)] if dim in dims else 1 for dim in batch_dims]
    tail = numbers.shape[len(numbers.shape) - core :] if core else ()
    return numbers.reshape((*lead, *tail)), time_dim or "", origin


def time_labels(
    times: object, numbers: np.ndarray, dim: str, unit: str | None = None, origin: Any = None
) -> Any:
    """Labels along the dim of times: their own, else the times themselves, else positions.

    `numbers` are ``(*batch, time)``, with length-one axes where they are shared.
    """
    if isinstance(times, xr.DataArray) and dim in times.indexes:
        return times.indexes[dim]
    if np.isnan(numbers).any() or any(n > 1 for n in numbers.shape[:-1]):
        return np.arange(numbers.shape[-1])
    return as_dates(numbers.reshape(-1), unit, origin)


def _dims_of(role: str, ndim: int, full: tuple[str, ...], core: int) -> tuple[str, ...]:
    """Dims of an array without names: those of one trajectory, or all."""
    if ndim == core:
        return full[len(full) - core :]
    if ndim == len(full):
        return full
    or_all = f" for all trajectories or {_axes(full)}" if len(full) > core else ""
    raise ValueError(
        f"{role}: expected {_axes(full[len(full) - core :])}{or_all}, got {ndim} axes; what "
        "differs by trajectory may be an xr.DataArray with named dims"
    )


def _axes(dims: Sequence[str]) -> str:
    return "a number" if not dims else f"shape ({', '.join(dims)})"


def as_numbers(role: str, value: Any, unit: str | None, origin: Any) -> tuple[np.ndarray, Any]:
    """Times as float64; dates as multiples of the unit since the earliest."""
    array = np.asarray(value)
    objects = array.dtype == object and array.size > 0
    counted = isinstance(origin, Origin) or (origin is None and is_frequency(unit))
    dates = array.dtype.kind == "M" or (objects and hasattr(array.flat[0], "isoformat"))
    if (objects and are_periods(array)) or (counted and dates):
        if role == "t0" and origin is None:
            raise TypeError("t0: times are numbers, so t0 must be a number too")
        if origin is not None and not isinstance(origin, Origin):
            refuse_periods(role, array)
        return as_steps(role, array, unit, origin)
    if objects:
        array = _from_objects(role, array)
    if array.dtype.kind == "M":
        if role == "t0" and origin is None:
            raise TypeError("t0: times are numbers, so t0 must be a number too")
        if unit is None:
            raise ValueError(
                f"{role}: dates need a unit; pass unit='D' (days), 'h', 'm' (minutes) or 's'. "
                "Months, quarters and years have no fixed length: in discrete time say unit='M', "
                "'Q' or 'Y', or number them, times=np.arange(n)"
            )
        if origin is None:
            if np.isnat(array).all():
                raise ValueError(f"{role}: all dates are missing")
            origin = array[~np.isnat(array)].min()
        return (array - origin) / _one(unit), origin
    if array.dtype.kind == "m":
        if unit is None:
            raise ValueError(
                f"{role}: durations need a unit; pass unit='D' (days), 'h', 'm' (minutes) or 's'"
            )
        return array / _one(unit), origin
    if array.dtype.kind not in "fiu":
        first = array.flat[0] if array.size else None
        raise TypeError(f"{role}: expected numbers or dates, got {str(first)!r}")
    if origin is not None:
        raise TypeError(f"{role}: times are dates, so {role} must be a date too")
    return array.astype(float), None


def _from_objects(role: str, array: np.ndarray) -> np.ndarray:
    """Python or pandas dates as datetime64 in UTC, numbers as floats."""
    if not hasattr(array.flat[0], "isoformat"):
        return as_float(role, array)
    try:
        dates = pd.to_datetime(array.ravel(), utc=True).tz_localize(None)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{role}: these dates cannot be converted ({error}); convert to datetime64 in UTC"
        ) from error
    return dates.to_numpy().reshape(array.shape)


def _one(unit: Any) -> np.timedelta64:
    """One unit of time."""
    if unit not in UNITS:
        raise ValueError(f"unit: {unit!r} is not one of {', '.join(map(repr, UNITS))}")
    return np.timedelta64(1, unit)


def check_times(
    times: np.ndarray,
    t0: np.ndarray,
    labels: Sequence[Any] | None = None,
    dims: Sequence[str] | None = None,
) -> None:
    """Raise unless times ascend along the last axis and start at or after ``t0``.

    Equal times are allowed: they are two data at one instant. NaN is no visit.
    """
    if np.isinf(times).any() or np.isinf(t0).any():
        raise ValueError("times and t0 must be finite; NaN in times means no visit")
    n_batch = times.ndim - 1
    labels = labels or [np.arange(n) for n in times.shape[:-1]]
    dims = dims or [f"trajectory axis {i}" for i in range(n_batch)]
    known = np.where(np.isnan(times), -np.inf, times)
    before = np.maximum.accumulate(known, axis=-1)[..., :-1]
    late = np.argwhere(known[..., 1:] < np.where(np.isnan(times[..., 1:]), -np.inf, before))
    if len(late):
        *batch, k = late[0]
        where = place(batch, labels, dims) + ": " if batch else ""
        here = tuple(late[0][:-1])
        raise ValueError(
            f"times: {where}the time at index {k + 1} is {times[(*here, k + 1)]:g}, before "
            f"{before[(*here, k)]:g}; sort the rows by time"
        )
    first = np.where(np.isnan(times), np.inf, times).min(-1, initial=np.inf)
    early = np.argwhere(np.broadcast_arrays(t0 > first, first)[0])
    if len(early):
        here = tuple(early[0])
        where = place(here, labels, dims) + ": " if here else ""
        start = np.broadcast_to(t0, np.broadcast_shapes(t0.shape, first.shape))[here]
        raise ValueError(
            f"t0: {where}t0 is {start:g}, after the first observation at "
            f"{np.broadcast_to(first, np.broadcast_shapes(t0.shape, first.shape))[here]:g}"
        )


def require_whole_steps(step: float, times: np.ndarray, t0: np.ndarray, frame: Frame) -> None:
    """Raise for visits of a system in discrete time that do not lie whole steps apart."""
    grid = build_grid(times, t0)
    counts = grid.gaps / step
    broken = np.argwhere(np.abs(counts - np.round(counts)) > WHOLE)
    if len(broken):
        here = tuple(broken[0])
        of = f" of {frame.who(here[:-1])}" if frame.rank else ""
        raise ValueError(
            f"times: {grid.times[here]:g}{of} comes {grid.gaps[here]:g} after what is before it, "
            f"not a whole number of steps of {step:g}; number the visits, times=np.arange(n), or "
            "state the step, DiscreteTime(step=...)"
        )


def as_dates(times: np.ndarray, unit: Any, origin: Any) -> np.ndarray:
    """Times as the user has them: dates if there is an origin."""
    if origin is None:
        return times
    if isinstance(origin, Origin):
        return origin.dates(times)
    one = np.timedelta64(1, unit) / np.timedelta64(1, "ns")
    steps = np.where(np.isnan(times), 0.0, times) * one
    whole = origin.astype("datetime64[ns]") + steps.round().astype("timedelta64[ns]")
    return np.where(np.isnan(times), np.datetime64("NaT", "ns"), whole)
