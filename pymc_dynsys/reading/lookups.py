"""Inputs that are looked up by a label: which of the values of an occasion holds when."""

from collections.abc import Iterable, Sequence

import numpy as np
import xarray as xr

from pymc_dynsys.reading.labels import is_missing, keys, shown
from pymc_dynsys.reading.values import place, plain


def lookup_dim(name: str, dims: Sequence[str | None], batch_dims: Sequence[str], by: object) -> str:
    """The dim along which values are looked up: the only one of their own, or that of the table.

    `dims` are those of the values, None for an axis without a name.
    """
    own = [dim for dim in dims if dim not in batch_dims]
    called = getattr(by, "name", None)
    if called in own:
        return str(called)
    if len(own) == 1 and own[0] is not None:
        return own[0]
    if not own:
        raise ValueError(
            f"inputs: {name!r} has dims {tuple(dims)}, none of which is left to look its values up "
            "in by their labels; what is the same at all times goes into "
            f"params={{{name!r}: ...}}"
        )
    raise ValueError(
        f"inputs: {name!r} has dims {tuple(dims)}; give `by` the name of the one in which its "
        f"values are looked up, by=table.rename({next((d for d in own if d), 'occasion')!r})"
    )


def positions(
    name: str, by: object, dim: str, labels: Iterable[object], batch_dims: Sequence[str]
) -> xr.DataArray:
    """Position of each label of a table along a dim, NaN where it is missing."""
    if not isinstance(by, xr.DataArray):
        raise TypeError(
            f"inputs: {name!r} is looked up by a {type(by).__name__}; give an xr.DataArray of "
            f"labels along {dim!r} with the dims of the data, such as by=panel[{dim!r}]"
        )
    known = keys(labels)
    place_of = {label: float(i) for i, label in enumerate(known)}
    found = np.full(by.shape, np.nan)
    for index, label in zip(np.ndindex(by.shape), keys(by.values.ravel().tolist()), strict=True):
        if is_missing(label):
            continue
        if label not in place_of:
            along = [by.indexes[d] if d in by.indexes else None for d in by.dims]
            raise ValueError(
                f"inputs: {name!r} is looked up by {plain(label)} at "
                f"{place(index, along, list(map(str, by.dims)))}, which {dim!r} does not have "
                f"({shown(known)}); {_remedy(label, known)}"
            )
        found[index] = place_of[label]
    strange = [d for d in map(str, by.dims) if d == dim and d not in batch_dims]
    return by.copy(data=found).drop_vars(dim if dim in by.coords and not strange else [])


def _remedy(label: object, known: Sequence[object]) -> str:
    """What to do about a label that is not there."""
    if str(label) in map(str, known):
        return "text and numbers are different labels, so convert one side"
    return "name it in the coords of the model, or make it missing (NaN)"


def looked_up(name: str, values: xr.DataArray, by: object, batch_dims: Sequence[str]) -> object:
    """Known values at the labels of a table, with the dims and times of the table."""
    dim = lookup_dim(name, tuple(map(str, values.dims)), batch_dims, by)
    labels = values.indexes[dim] if dim in values.indexes else range(values.sizes[dim])
    at = positions(name, by, dim, labels, batch_dims)
    values = values.drop_vars([c for c in values.coords if dim in values[c].dims])
    for shared in (d for d in batch_dims if d in values.dims and d in at.dims):
        if shared in values.indexes and shared in at.indexes:
            if set(keys(values.indexes[shared])) != set(keys(at.indexes[shared])):
                raise ValueError(
                    f"inputs: {name!r} and its `by` have different labels along {shared!r}"
                )
            values = values.sel({shared: at.indexes[shared]})
    found = values.isel({dim: at.fillna(0).astype(int)}).where(at.notnull())
    return found.transpose(*at.dims, ...)
