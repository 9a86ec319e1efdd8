"""What may be meant by parameters and inputs whose shapes do not fit, for the end of an error."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.dims import Placed, dim_length, is_dim
from pymc_dynsys.reading.inputs import Input


def array_hint(
    params: Mapping[str, object], placed: Mapping[str, Placed], lengths: Mapping[str, int]
) -> str:
    """What may be meant by arrays of which each trajectory sees all, after a shape error."""
    hints = []
    for name, value in placed.items():
        if not value.core_shape:
            continue
        named = tuple(dim for dim in value.dims if dim is not None)
        if not named:
            hints += _unnamed_hint(name, value, params[name], lengths)
        elif not lengths:
            hints.append(
                f"{name!r} has dims {named}, and the trajectory has none of them; if it varies by "
                f"{named[0]}, the Trajectory needs dims=({named[0]!r}, ..., 'time')"
            )
        elif not set(named) & set(lengths):
            finest = list(lengths)[-1]
            hints.append(
                f"{name!r} has dims {named}, none of which is a batch dim {tuple(lengths)}, so "
                f"every trajectory sees all of it; to give each {finest} that of its own "
                f"{named[0]}, write effects.combine('{name}_of_{finest}', {name}, "
                f"dims={finest!r}, within={{{named[0]!r}: labels}})"
            )
    return "".join(f". {hint}" for hint in hints)


def input_hint(inputs: Mapping[str, Any], dims: Sequence[str], model: pm.Model | None) -> str:
    """What may be meant by inputs without names of their axes, after a shape error."""
    hints, known = [], (*dims, "...")
    expected = tuple(dim_length(model, dim) if is_dim(dim, model) else None for dim in dims)
    for name, given in inputs.items():
        value = given.values if isinstance(given, Input) else given
        if isinstance(value, Variable):
            named: object = getattr(value.type, "dims", None)
            named = named or (model and model.root.named_vars_to_dims.get(value.name))
            if not named and value.type.ndim > 1:
                hints.append(f"{name!r} has no named dims; say dims={known} where it is defined")
        elif not isinstance(value, xr.DataArray) and np.ndim(value) > 1:
            if np.shape(value) != expected:
                hints.append(
                    f"{name!r} of shape {np.shape(value)} has no names of its axes, so each of its "
                    f"values is taken for a number; a vector is xr.DataArray({name}, dims={known})"
                )
    return "".join(f". {hint}" for hint in hints)


def _unnamed_hint(name: str, value: Placed, given: object, lengths: Mapping[str, int]) -> list[str]:
    """Dims of the length of an array without names."""
    hints = []
    for dim, length in lengths.items():
        if value.core_shape[0] == length:
            how = (
                f"dims={dim!r} where {name!r} is defined"
                if isinstance(given, Variable)
                else f"xr.DataArray({name}, dims={dim!r})"
            )
            hints.append(
                f"{name!r} has no named dims, so every trajectory sees all of it; if it varies "
                f"by {dim}, write {how}"
            )
    if not hints and lengths:
        hints.append(
            f"{name!r} of shape {value.core_shape} has no named dims, so every trajectory sees "
            "all of it"
        )
    return hints
