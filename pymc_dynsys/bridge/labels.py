"""Dims and labels of a trajectory: those of the model, and those that values bring along."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import xarray as xr
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.data import bring_labels
from pymc_dynsys.bridge.dims import dim_length
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.inputs import own_part
from pymc_dynsys.reading.labels import (
    Labels,
    aligned,
    gathered,
    keys,
    labelled,
    named,
    require_names,
    shown,
)
from pymc_dynsys.reading.values import plain

OF_RESULTS = ("chain", "draw", "state", "state_2", "datum")


class Given(NamedTuple):
    """What may bring labels to a trajectory besides its data."""

    params: Mapping[str, Any]
    inputs: Mapping[str, Any]
    times: Any
    t0: Any
    events: Any


def require_dims(model: pm.Model, dims: Sequence[str], observed: Any) -> None:
    """Add dims, and labels of dims, that labelled data bring along; refuse other unknown dims."""
    for dim in dims:
        if dim in OF_RESULTS:
            raise ValueError(
                f"dims: {dim!r} is a dim that results have of their own; call yours otherwise"
            )
    observed = labelled("observed", observed, dims, model.coords)
    array = observed if isinstance(observed, xr.DataArray) else xr.DataArray(0.0)
    for dim in dims:
        if dim in model.dim_lengths:
            bring_labels(model, dim, array)
        elif dim in array.dims:
            labels = list(array.indexes[dim]) if dim in array.indexes else None
            model.add_coord(dim, labels, length=array.sizes[dim])
        else:
            raise ValueError(
                f"dims: the model has no dim {dim!r}; its coords have "
                f"{', '.join(map(repr, model.dim_lengths)) or 'nothing'}. Add it with "
                f"pm.Model(coords={{{dim!r}: ...}})"
            )


def require_order(observed: object, frame: Frame) -> None:
    """Raise where data were put in the order of the model, for an observation without names.

    A vector keeps the order of the data, as the user has them before their eyes.
    """
    dim = frame.component_dim
    if dim is None:
        return
    if isinstance(observed, Variable):
        given = getattr(observed.tag, "labels", {}).get(dim)
    else:
        array = labelled("observed", observed, frame.dims, frame.labels)
        given = array.indexes.get(dim) if isinstance(array, xr.DataArray) else None
    known = keys(frame.labels[dim])
    if given is not None and keys(given) != known:
        first = ", ".join(f"{plain(label)}: ..." for label in keys(given)[:2])
        raise ValueError(
            f"observed: along {dim!r} the data come as {shown(keys(given))}, and the model's "
            f"coords are {shown(known)}; the vector that observation() returns does not say which "
            f"is which. Let it return a mapping, {{{first}, ...}} with dist.Normal for each, or "
            "give the coords in the order of the data"
        )


def by_label(
    source: object, params: Mapping[str, Any], known: Labels
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parameters in the order of known labels or, along other dims, of each other's; all labels."""
    params = {name: named(f"params: {name!r}", value) for name, value in params.items()}
    labels = gathered(params.values(), known)
    states = getattr(source, "states", None)
    for dim in [dim for dim in labels if dim not in known]:
        if states is not None and set(keys(labels[dim])) == set(states):
            labels[dim] = states
    for name, value in params.items():
        if isinstance(value, xr.DataArray):
            params[name] = aligned(f"params: {name!r}", value, labels)
    return params, labels


def require_state_order(
    name: str, dims: Sequence[str | None], states: Sequence[str], known: Labels
) -> None:
    """Raise for a parameter over states which the coords have in another order than the system."""
    along = keys(known["state"] or ()) if "state" in dims and "state" in known else []
    if set(along) == set(states) and along != list(states):
        raise ValueError(
            f"params: {name!r} has the dim 'state', whose coords are {shown(along)}, and the "
            f"system has the states {shown(states)}; write the coords in the order of the system"
        )


def make_frame(
    dims: tuple[str, ...], n_batch: int, given: Given, labels: Labels, model: pm.Model | None
) -> Frame:
    """Dims of the trajectories with lengths and labels, and labels of what each of them holds.

    `labels` are those of the model and of parameters. Outside of a model, times, starts and events
    bring labels of batch dims. Dims without labels have their positions.
    """
    batch_dims, time_dim = dims[:n_batch], dims[n_batch] if dims else "time"
    component_dim = dims[n_batch + 1] if len(dims) > n_batch + 1 else None
    lengths = {dim: _length(model, dim, given) for dim in batch_dims}
    if dims and model is not None and isinstance(given.times, xr.DataArray):
        bring_labels(model, time_dim, given.times)
        labels = {**labels, **{d: model.coords[d] for d in dims if d in model.coords}}
    events = given.events.values() if isinstance(given.events, xr.Dataset) else ()
    found = gathered([given.times], labels, dims[: n_batch + 1])
    found = gathered([given.t0, *events], found, batch_dims)
    parts = [own_part(value, batch_dims, time_dim) for value in given.inputs.values()]
    found = {dim: known for dim, known in gathered(parts, found).items() if known is not None}
    if not dims:
        found.pop(time_dim, None)
    for dim in dims:
        length = lengths.get(dim) or (dim_length(model, dim) if _is_dim(dim, model) else None)
        if length is None and dim == time_dim:
            length = np.shape(given.times)[-1] if np.ndim(given.times) else None
        if dim not in found and length is not None:
            found[dim] = np.arange(length)
    _require_names(found, [dim for dim in dims if dim != time_dim], time_dim, model)
    return Frame(batch_dims, time_dim, component_dim, lengths, found)


def _require_names(
    labels: Labels, dims: Sequence[str], time_dim: str, model: pm.Model | None
) -> None:
    """Raise for labels of a trajectory or of free variables that results could not carry."""
    of_variables: list[str] = []
    if model is not None:
        for rv in model.free_RVs:
            of_variables += map(str, model.named_vars_to_dims.get(rv.name) or ())
    for dim in dict.fromkeys([*dims, *of_variables]):
        known = labels.get(dim)
        if known is not None and dim != time_dim:
            require_names(dim, known)


def _is_dim(dim: str, model: pm.Model | None) -> bool:
    return model is not None and dim in model.dim_lengths


def _length(model: pm.Model | None, dim: str, given: Given) -> int:
    """Length of a batch dim, from the model or else from a labelled value."""
    if _is_dim(dim, model):
        return dim_length(model, dim)
    for value in (*given.params.values(), given.times):
        if isinstance(value, xr.DataArray) and dim in value.dims:
            return int(value.sizes[dim])
    raise ValueError(
        f"dims: cannot infer the length of dim {dim!r}: no parameter or times array has it"
    )


def labels_of(model: pm.Model, dims: Sequence[str]) -> list[np.ndarray]:
    """Labels along each dim, positions where there are none."""
    labels = []
    for dim in dims:
        values = model.coords.get(dim)
        labels.append(
            np.arange(dim_length(model, dim)) if values is None else np.asarray(values, object)
        )
    return labels


def how_dims_are_read(frame: Frame, model: pm.Model) -> str | None:
    """How the dims of a lone series are read, where its components might be meant as times.

    Labels of components mostly are names; a table of subjects by days whose system observes as many
    components as there are days has days there.
    """
    component, time = frame.component_dim, frame.time_dim
    if frame.batch_dims or component is None or not frame.known_dims:
        return None
    labels = model.coords.get(component)
    if labels is None or len(labels) < 2 or not np.issubdtype(np.asarray(labels).dtype, np.number):
        return None
    return f"{time!r} is the time, and {component!r} holds the {len(labels)} components of a visit"
