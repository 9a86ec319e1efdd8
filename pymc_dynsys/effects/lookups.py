"""Which group each subject belongs to: labels of one dim as positions along another."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

from pymc_dynsys.bridge.coords import hold_array
from pymc_dynsys.bridge.dims import dim_length
from pymc_dynsys.reading.labels import aligned, has_labels, key, shown
from pymc_dynsys.reading.values import place


@dataclass(frozen=True)
class Lookup:
    """Where along `dim` each member of the dims `over` belongs.

    Attributes
    ----------
    dim : str
        The coarser dim, such as ``group``.
    over : tuple of str
        The dims whose members belong to it, such as ``("subject",)``, in the target's order.
    index : ndarray of int
        Positions along `dim`, with one axis for each of `over`.
    """

    dim: str
    over: tuple[str, ...]
    index: np.ndarray


def read_lookups(
    name: str, within: Any, dims: tuple[str, ...], model: pm.Model
) -> dict[str, Lookup]:
    """Every way of saying which group, as positions; labels are checked against the model's."""
    found: dict[str, Lookup] = {}
    for dim, labels in _by_dim(name, within, dims, model):
        if dim in found:
            raise ValueError(f"{name}: within says twice which {dim!r}; leave one out")
        if dim in dims:
            raise ValueError(
                f"{name}: within says which {dim!r}, but {dim!r} is one of its own dims {dims}"
            )
        if dim not in model.dim_lengths:
            raise ValueError(
                f"{name}: within says which {dim!r}, a dim that the model does not have; its dims "
                f"are {', '.join(map(repr, model.dim_lengths))}"
            )
        found[dim] = _lookup(name, dim, labels, dims, model)
    return found


def _by_dim(
    name: str, within: Any, dims: tuple[str, ...], model: pm.Model
) -> list[tuple[str, Any]]:
    """Pairs of a dim and labels along it."""
    if within is None:
        return []
    if isinstance(within, Mapping) and not isinstance(within, xr.Dataset):
        return [(str(dim), labels) for dim, labels in within.items()]
    if isinstance(within, xr.DataArray | pd.Series):
        return [(_dim_of(name, within, dims, model), within)]
    if isinstance(within, Sequence) and all(
        isinstance(labels, xr.DataArray | pd.Series) for labels in within
    ):
        return [(_dim_of(name, labels, dims, model), labels) for labels in within]
    raise TypeError(
        f"{name}: within must be a labelled array, several of them, or a dict such as "
        f"{{'group': labels}}; got {type(within).__qualname__}"
    )


def _dim_of(name: str, labels: Any, dims: tuple[str, ...], model: pm.Model) -> str:
    """The dim that labels speak of: their name, or what `panel` makes of it."""
    own = str(labels.name)
    for ending in ("", *(f"_of_{dim}" for dim in dims)):
        if own.endswith(ending) and own.removesuffix(ending) in model.dim_lengths:
            return own.removesuffix(ending)
    raise ValueError(
        f"{name}: within is named {own!r}, and the model has no such dim; write "
        f"within={{dim: labels}} with one of {', '.join(map(repr, model.dim_lengths))}"
    )


def _lookup(name: str, dim: str, labels: Any, dims: tuple[str, ...], model: pm.Model) -> Lookup:
    """Positions in the model's `dim` of the labels given for each member of `dims`.

    Labels are aligned with the members first, then each is found among the model's labels; the
    index has an axis for each of `dims` along which the labels vary.
    """
    labels = _labelled(name, dim, labels, dims, model)
    unknown = [str(d) for d in labels.dims if d not in dims]
    if unknown:
        raise ValueError(
            f"{name}: within[{dim!r}] varies along {unknown[0]!r}, which is not among {dims}"
        )
    coords = dict(model.coords)
    labels = aligned(f"{name}: within[{dim!r}]", labels, coords)
    hold_array(f"{name}: within[{dim!r}]", [*map(str, labels.dims), dim], model)
    over = tuple(d for d in dims if d in labels.dims)
    values = labels.transpose(*over).values
    if values.dtype.kind == "M":  # as objects, NumPy makes plain integers of nanoseconds
        values = np.array(pd.to_datetime(values.ravel()), object).reshape(values.shape)
    values = np.asarray(values, object)
    for own, length in zip(over, values.shape, strict=True):
        if length != dim_length(model, own):
            raise ValueError(
                f"{name}: within[{dim!r}] has {length} labels along {own!r}, which has length "
                f"{dim_length(model, own)}"
            )
    known = coords.get(dim)
    if known is None:
        known = tuple(range(dim_length(model, dim)))
    where = {key(label): i for i, label in enumerate(known)}
    if len(where) < len(known):
        twice = next(label for i, label in enumerate(known) if where[key(label)] != i)
        raise ValueError(
            f"{name}: {dim!r} has the label {twice!r} twice in the model, so within[{dim!r}] "
            "cannot say which is meant; give each member a label of its own"
        )
    index = np.empty(values.shape, np.intp)
    for at, label in np.ndenumerate(values):
        hashable = isinstance(label, Hashable) and label is not np.ma.masked
        label = key(label)
        if not hashable or pd.isna(label) or label not in where:
            raise ValueError(
                f"{name}: within[{dim!r}] says {label!r} for "
                f"{place(at, [coords.get(own) for own in over], over)}, which is not among the "
                f"model's labels of {dim!r}: {shown(known)}"
            )
        index[at] = where[label]
    return Lookup(dim, over, index)


def _labelled(
    name: str, dim: str, labels: Any, dims: tuple[str, ...], model: pm.Model
) -> xr.DataArray:
    """Labels with names for their axes; a pandas index of its own is kept, to be matched."""
    if isinstance(labels, xr.DataArray):
        return labels
    if len(dims) != 1:
        raise ValueError(
            f"{name}: within[{dim!r}] needs named dims, as {name!r} has several, {dims}; give an "
            "xr.DataArray with dims"
        )
    if not isinstance(labels, pd.Series):
        return xr.DataArray(_one_axis(name, dim, labels), dims=dims)
    own = labels.index
    if isinstance(own, pd.MultiIndex):
        raise ValueError(
            f"{name}: within[{dim!r}] has an index of several levels, {list(own.names)}; keep the "
            f"one of {dims[0]!r}"
        )
    known = model.coords.get(dims[0]) or range(dim_length(model, dims[0]))
    matched = {dims[0]: own.rename(None)} if has_labels(own, dims[0], known) else {}
    return xr.DataArray(labels.to_numpy(object), dims=dims, coords=matched)


def _one_axis(name: str, dim: str, labels: Any) -> np.ndarray:
    """A sequence of labels as an array of them; a label that is a tuple stays one."""
    ordered = isinstance(labels, Sequence | pd.Index | pd.api.extensions.ExtensionArray)
    array = isinstance(labels, np.ndarray) and labels.ndim == 1
    if isinstance(labels, str) or not (ordered or array):
        got = f"of shape {labels.shape}" if isinstance(labels, np.ndarray) else repr(labels)[:60]
        raise TypeError(
            f"{name}: within[{dim!r}] must be a labelled array or a sequence with one label for "
            f"each member; got {type(labels).__qualname__} {got}"
        )
    values = np.empty(len(labels), object)
    for i, label in enumerate(labels):
        values[i] = label
    return values
