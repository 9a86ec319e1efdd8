"""Where the times of a trajectory come from, as numbers in the user's unit."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.graph.basic import Variable
from pytensor.xtensor.type import XTensorVariable

from pymc_dynsys.bridge.data import aligned, as_float, current_value, labelled, place
from pymc_dynsys.bridge.dims import dim_length
from pymc_dynsys.discretization import Exact
from pymc_dynsys.discretization.grid import build_grid
from pymc_dynsys.discretization.stepping import WHOLE
from pymc_dynsys.panels.clock import UNITS


def find_times(
    times: Any, observed: Any, batch_dims: Sequence[str], time_dim: str | None, model: Any
) -> Any:
    """Times from the argument, else the data's time coordinate, else the model's coord."""
    if times is not None:
        return times
    if isinstance(observed, xr.DataArray):
        for name in ("time", time_dim):
            if name in observed.coords and time_dim in observed.coords[name].dims:
                return observed.coords[name].reset_coords(drop=True)
    labels = None if model is None or time_dim is None else model.coords.get(time_dim)
    if labels is not None and time_dim == "visit":
        raise ValueError(
            "times: the coords of the dim 'visit' number the visits; pass times=panel['time'], or "
            "observed=panel[...], which brings its times along"
        )
    if labels is None:
        where = "" if time_dim is None else f" and the dim {time_dim!r} has no coordinate values"
        raise ValueError(
            f"times: none given{where}; pass times=..., or give the time dim numeric coords in "
            "pm.Model(coords=...)"
        )
    return np.asarray(labels)


def as_times(
    role: str,
    value: Any,
    batch_dims: Sequence[str],
    lengths: Sequence[int],
    time_dim: str | None,
    model: Any,
    unit: str | None,
    origin: Any = None,
) -> tuple[Variable, Any]:
    """Tensor with one axis a batch dim (length one where shared), then time; and its origin.

    ``time_dim=None`` is for ``t0``, which has no time axis. Dates become numbers of `unit`
    since the earliest one.
    """
    core = 0 if time_dim is None else 1
    full = (*batch_dims, *([time_dim] if time_dim is not None else []))
    coords = {} if model is None else dict(model.coords)
    if isinstance(value, pd.Series | pd.DataFrame) and pd.api.types.is_numeric_dtype(
        np.asarray(value).dtype
    ):
        value = labelled(role, value, full[len(full) - value.ndim :], coords)
    if isinstance(value, XTensorVariable):
        value, dims = value.values, tuple(value.type.dims)
    elif isinstance(value, xr.DataArray):
        array = aligned(role, value, {} if model is None else dict(model.coords))
        unknown = [str(dim) for dim in array.dims if dim not in (*batch_dims, time_dim)]
        if unknown:
            raise ValueError(
                f"{role}: dims {tuple(array.dims)} have {unknown[0]!r}, which is neither a batch "
                f"dim {tuple(batch_dims)} nor the time dim"
            )
        value, dims = array.values, tuple(str(dim) for dim in array.dims)
    else:
        named = _model_dims(value, model)
        ndim = value.type.ndim if isinstance(value, Variable) else np.ndim(value)
        if named is not None:
            dims = named
        elif ndim == core:
            dims = full[len(full) - core :]
        elif ndim == len(full):
            dims = full
        else:
            raise ValueError(
                f"{role}: expected {_axes(full[len(full) - core :])} for all trajectories or "
                f"{_axes(full)}, got {ndim} axes"
            )
    tensor: Any
    if isinstance(value, Variable):
        if current_value(value) is None:
            raise TypeError(
                f"{role}: must be data, not something that depends on a random variable"
            )
        tensor = pt.as_tensor(value).astype("float64")
    else:
        numbers, origin = as_numbers(role, value, unit, origin)
        _check_lengths(role, numbers, dims, dict(zip(batch_dims, lengths, strict=True)))
        tensor = pt.constant(numbers)
    order: list[Any] = [dims.index(dim) if dim in dims else "x" for dim in batch_dims]
    if core:
        order.append(dims.index(time_dim))
    return tensor.dimshuffle(*order), origin


def _model_dims(value: Any, model: Any) -> tuple[str, ...] | None:
    if isinstance(model, pm.Model) and isinstance(value, Variable):
        if model.root.named_vars.get(value.name) is value:
            return model.root.named_vars_to_dims.get(value.name)
    return None


def _axes(dims: Sequence[str]) -> str:
    return "a number" if not dims else f"shape ({', '.join(dims)})"


def _check_lengths(
    role: str, numbers: np.ndarray, dims: Sequence[str], lengths: dict[str, int]
) -> None:
    for dim, found in zip(dims, numbers.shape, strict=True):
        if dim in lengths and found != lengths[dim]:
            raise ValueError(
                f"{role}: {found} along {dim!r}, which has length {lengths[dim]} in the model"
            )


def as_numbers(role: str, value: Any, unit: str | None, origin: Any) -> tuple[np.ndarray, Any]:
    """Times as float64; dates as multiples of the unit since the earliest."""
    array = np.asarray(value)
    if array.dtype == object and array.size:
        array = _from_objects(role, array)
    if array.dtype.kind == "M":
        if role == "t0" and origin is None:
            raise TypeError("t0: times are numbers, so t0 must be a number too")
        if unit is None:
            raise ValueError(
                f"{role}: dates need a unit; pass unit='D' (days), 'h', 'm' (minutes) or 's'"
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


def require_whole_steps(
    step: float, times: np.ndarray, t0: np.ndarray, labels: list[Any], batch_dims: Sequence[str]
) -> None:
    """Raise for visits of a system in discrete time that do not lie whole steps apart."""
    grid = build_grid(times, t0, Exact())
    counts = grid.gaps / step
    broken = np.argwhere(np.abs(counts - np.round(counts)) > WHOLE)
    if len(broken):
        here = tuple(broken[0])
        of = f" of {place(here[:-1], labels, batch_dims)}" if batch_dims else ""
        raise ValueError(
            f"times: {grid.times[here]:g}{of} comes {grid.gaps[here]:g} after what is before it, "
            f"no whole number of steps of {step:g}; number the visits, times=np.arange(n), or "
            "state the step, DiscreteTime(step=...)"
        )


def check_time_dim(model: Any, dims: tuple[str, ...], n_batch: int, times: np.ndarray) -> None:
    """Raise where the model's time dim is not as long as the times."""
    if model is None or not dims:
        return
    time_dim = dims[n_batch]
    expected = dim_length(model, time_dim)
    if times.shape[-1] != expected:
        raise ValueError(
            f"times: {times.shape[-1]} times, but the dim {time_dim!r} has length {expected} in "
            "the model"
        )
