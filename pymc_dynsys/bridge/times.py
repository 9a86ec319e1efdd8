"""Where the times of a trajectory come from, as numbers in the user's unit."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.graph.basic import Variable
from pytensor.xtensor.type import XTensorVariable

from pymc_dynsys.bridge.data import constant, current_value, refuse_minibatch
from pymc_dynsys.bridge.dims import dim_length, require_in_model
from pymc_dynsys.bridge.expressions import Unproved, known_dims, proved_dims
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.times import as_times


def find_times(times: Any, observed: Any, time_dim: str | None, model: Any) -> Any:
    """Times from the argument, else the data's time coordinate, else the model's coord."""
    if times is not None:
        return times
    of_data = _times_of_data(observed, time_dim)
    if of_data is not None:
        return of_data
    if time_dim != "time" and getattr(getattr(observed, "tag", None), "had_times", False):
        raise ValueError(
            f"times: the data that {observed.name!r} was made from have a coordinate 'time', and "
            "data variables keep values only; pass times=panel['time'], or times=pm.Data(...) if "
            "they are to change with the data"
        )
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


def _times_of_data(observed: object, time_dim: str | None) -> xr.DataArray | None:
    """Time coordinate of labelled data; None where there is none, as numbers of visits are not."""
    if isinstance(observed, xr.DataArray):
        for name in ("time", time_dim if time_dim != "visit" else "time"):
            if name in observed.coords and time_dim in observed.coords[name].dims:
                return observed.coords[name].reset_coords(drop=True)
    return None


def takes_labels(times: object, observed: object, time_dim: str) -> bool:
    """Whether the times are the labels of the time dim."""
    if times is not None:
        return False
    of_data = _times_of_data(observed, time_dim)
    return of_data is None or of_data.name == time_dim


def register_times(name: str, times: np.ndarray, frame: Frame, model: pm.Model) -> None:
    """Keep times that are not the labels of their dim as ``<name>_time`` among the model's data.

    PyMC puts them into ``constant_data`` of whatever it draws. `times` are ``(*batch, time)``.
    """
    labels, own = model.coords.get(frame.time_dim), f"{name}_time"
    ragged = any(n > 1 for n in times.shape[:-1])
    if labels is not None and not ragged and np.array_equal(labels, times.reshape(-1)):
        return
    if model.root.named_vars.tree_contains(own) or own in model.coords:
        raise ValueError(
            f"{own}: the model has something of this name already, under which the times of "
            f"{name!r} go into constant_data; give it another name"
        )
    shape = (*frame.batch, times.shape[-1])
    values = np.broadcast_to(times, shape) if ragged else times.reshape(-1)
    dims = (*frame.batch_dims, frame.time_dim) if ragged else (frame.time_dim,)
    model.register_data_var(constant(values, own), dims=dims)


def read_times(
    role: str, value: Any, frame: Frame, time_dim: str | None, model: Any
) -> tuple[Variable, np.ndarray, Any]:
    """Tensor ``(*batch, time)`` with length-one axes where shared, its current value, the origin.

    ``time_dim=None`` is for ``t0``, which has no time axis.
    """
    if isinstance(value, XTensorVariable):
        value, named = value.values, tuple(map(str, value.type.dims))
    else:
        named = _model_dims(value, model) or ()
    known: dict[str, Any] = {"coords": frame.labels, "lengths": frame.lengths}
    if not isinstance(value, Variable):
        numbers, dim, origin = as_times(
            role, value, frame.batch_dims, time_dim, unit=frame.unit, origin=frame.origin, **known
        )
        if time_dim is not None and dim != time_dim:
            raise ValueError(
                f"{role}: dims {tuple(value.dims)} have {dim!r}, which is neither a batch dim "
                f"{frame.batch_dims} nor the time dim"
            )
        return pt.constant(numbers), numbers, origin
    refuse_minibatch(role, value)
    current = current_value(value)
    if current is None:
        raise TypeError(f"{role}: must be data, not something that depends on a random variable")
    if model is not None:
        require_in_model(role, value, model)
    full = (*frame.batch_dims, *([] if time_dim is None else [time_dim]))
    core = len(full) - frame.rank
    dims = named or {core: full[len(full) - core :], len(full): full}.get(current.ndim, ())
    numbers, _, origin = as_times(
        role, current, frame.batch_dims, time_dim, named=dims or None, **known
    )
    order: list[Any] = [dims.index(dim) if dim in dims else "x" for dim in frame.batch_dims]
    if time_dim is not None:
        order.append(dims.index(time_dim))
    return pt.as_tensor(value).astype("float64").dimshuffle(*order), numbers, origin


def _model_dims(value: object, model: pm.Model | None) -> tuple[str, ...] | None:
    """Dims of a variable, or of an elementwise expression of variables."""
    if not isinstance(value, Variable):
        return None
    given = known_dims(value, model)
    if given is not None:
        return None if None in given else tuple(map(str, given))
    try:
        return proved_dims(value, model)
    except Unproved:
        return None


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
