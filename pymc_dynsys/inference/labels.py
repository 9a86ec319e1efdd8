"""Arrays of draws as labelled results, with the times as users have them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.inference.times import OutputTimes
from pymc_dynsys.reading.times import as_dates


def draws_of(idata: Any, group: str) -> xr.Dataset:
    """The dataset with the draws of the parameters; one without any where there is no `idata`.

    That is enough where all parameters are known, and else an error when they are asked for.
    """
    if idata is None:
        return xr.Dataset(coords={"chain": [0], "draw": [0]})
    if not isinstance(idata, xr.DataTree):
        raise TypeError(f"idata: expected the DataTree of pm.sample, got {type(idata).__name__}")
    if group not in idata.children:
        raise ValueError(f"idata: no group {group!r}; it has {', '.join(idata.children)}")
    draws = idata[group].dataset
    if not {"chain", "draw"} <= set(draws.dims):
        raise ValueError(f"idata: {group} has no dims chain and draw, but {tuple(draws.dims)}")
    return draws


def select_rows(values: np.ndarray, at: OutputTimes, study: Study) -> np.ndarray:
    """Rows at the requested times, ``(draw, *batch, time, ...)``; NaN where there is no time."""
    batch = (len(values), *study.frame.batch)
    axis = len(batch)
    values = np.broadcast_to(values, (*batch, *values.shape[axis:]))
    if at.position is not None:
        index = at.position
        index = index.reshape(1, *index.shape, *(1,) * (values.ndim - axis - 1))
        shape = (*batch, index.shape[axis], *values.shape[axis + 1 :])
        values = np.take_along_axis(values, np.broadcast_to(index, shape), axis=axis)
    nowhere = np.isnan(at.requested)
    if not nowhere.any():
        return values
    nowhere = nowhere.reshape(1, *nowhere.shape, *(1,) * (values.ndim - axis - 1))
    return np.where(nowhere, np.nan, values)


def labelled(
    study: Study,
    at: OutputTimes,
    draws: xr.Dataset,
    arrays: Mapping[str, tuple[np.ndarray, tuple[str, ...]]],
) -> xr.Dataset:
    """Arrays ``(draw, *batch, time, ...)`` with their dims and labels."""
    frame = study.frame
    sample = (draws.sizes["chain"], draws.sizes["draw"])
    front = ("chain", "draw", *frame.batch_dims, at.dim)
    states = list(study.system.states)
    data = xr.Dataset(
        {
            name: ((*front, *tail), values.reshape(*sample, *values.shape[1:]))
            for name, (values, tail) in arrays.items()
        },
        coords={
            "chain": draws["chain"].values,
            "draw": draws["draw"].values,
            **{dim: frame.labels[dim] for dim in frame.batch_dims},
        },
        attrs={"likelihood": repr(study.program.likelihood)},
    )
    written = {dim for _, tail in arrays.values() for dim in tail}
    data = data.assign_coords({dim: states for dim in ("state", "state_2") if dim in written})
    if frame.component_dim in written:
        data = data.assign_coords({frame.component_dim: frame.labels[frame.component_dim]})
    return with_times(data, study, at.requested, at.dim)


def with_times(data: xr.Dataset, study: Study, times: np.ndarray, dim: str) -> xr.Dataset:
    """The dataset with its times: an index where all share them, else a coordinate ``time``."""
    frame = study.frame
    shared = all(n == 1 for n in times.shape[:-1])
    own = study.operands.times is times
    for array in data.data_vars.values():
        array.attrs["time_dim"] = dim
    about = {} if frame.origin is not None else frame.units.of_time()
    if shared and not np.isnan(times).any():
        shown = as_dates(times.reshape(-1), frame.unit, frame.origin)
        return data.assign_coords({dim: (dim, shown, about)})
    dims = [d for d, n in zip(frame.batch_dims, times.shape, strict=False) if n > 1]
    values = times.reshape(*(n for n in times.shape[:-1] if n > 1), times.shape[-1])
    if dim == "time":
        data, dim = data.rename({"time": "visit"}), "visit"
        for array in data.data_vars.values():
            array.attrs["time_dim"] = dim
    elif own and dim in frame.labels:
        data = data.assign_coords({dim: frame.labels[dim]})
    shown = as_dates(values, frame.unit, frame.origin)
    return data.assign_coords(time=((*dims, dim), shown, about))


def data_groups(study: Study) -> dict[str, xr.Dataset]:
    """Groups of what was known: the data, and their times unless those label a dim."""
    groups = {"observed_data": observed_data(study)}
    times = groups["observed_data"].coords.get("time")
    if times is not None and times.dims != ("time",):
        frame, kept = study.frame, study.operands.times
        ragged = any(n > 1 for n in kept.shape[:-1])
        dims = (*frame.batch_dims, times.dims[-1]) if ragged else times.dims
        values = np.broadcast_to(kept, study.seen.shape) if ragged else kept.reshape(-1)
        shown = as_dates(values, frame.unit, frame.origin)
        labels = {d: frame.labels[d] for d in frame.batch_dims if ragged}
        groups["constant_data"] = xr.Dataset({f"{study.name}_time": (dims, shown)}, coords=labels)
    return groups


def observed_data(study: Study) -> xr.Dataset:
    """The data, under the name of the trajectory."""
    frame = study.frame
    coords = {dim: frame.labels[dim] for dim in frame.dims if dim != frame.time_dim}
    data = xr.Dataset({study.name: (frame.dims, study.y, frame.units.of_data())}, coords=coords)
    return with_times(data, study, study.operands.times, frame.time_dim)
