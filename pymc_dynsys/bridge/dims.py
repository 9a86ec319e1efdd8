"""Named dims become batch axes: never an axis position, never a guess from a shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.random.type import RandomType
from pytensor.xtensor.type import XTensorVariable

from pymc_dynsys.bridge.coords import hold_array
from pymc_dynsys.bridge.data import current_value, refuse_minibatch
from pymc_dynsys.bridge.expressions import Unproved, known_dims, proved_dims
from pymc_dynsys.reading.labels import aligned, named
from pymc_dynsys.reading.values import as_float


@dataclass(frozen=True)
class Placed:
    """A value with one axis per batch dim (length one where it does not vary), then its own.

    Attributes
    ----------
    tensor : Variable
        The padded tensor, float64.
    core_shape : tuple of int
        Shape that one trajectory sees.
    dims : tuple of str or None
        All its dims as the user named them; the axes of a plain array have no names.
    """

    tensor: Variable
    core_shape: tuple[int, ...]
    dims: tuple[str | None, ...]


def named_dims(
    name: str, value: Any, model: pm.Model | None, place: str = "params: "
) -> tuple[Any, tuple[str | None, ...]]:
    """Split a value into a tensor (or array) and the names of its axes, None for own axes.

    `place` is where the user wrote it, for the error.
    """
    value = named(f"{place}{name!r}", value)
    if isinstance(value, xr.DataArray):
        array = aligned(f"{place}{name!r}", value, {} if model is None else model.coords)
        dims = tuple(map(str, array.dims))
        hold_array(f"{place}{name!r}", dims, model)
        return as_float(name, array.values), dims
    if isinstance(value, XTensorVariable):
        return value.values, tuple(value.type.dims)
    if not isinstance(value, Variable):
        numbers = as_float(name, value)
        return numbers, (None,) * numbers.ndim
    refuse_minibatch(f"{place}{name!r}", value)
    known = known_dims(value, model)
    if known is not None:
        return value, known
    if value.type.ndim == 0 or isinstance(value, Constant):
        return value, (None,) * value.type.ndim
    try:
        return value, proved_dims(value, model)
    except Unproved as reason:
        raise ValueError(
            f"{place}{name!r} is an expression with {value.type.ndim} axes and no names for "
            f"them ({reason}); name them with  {name} = pm.Deterministic({name!r}, ..., dims=...)  "
            "or a pymc.dims expression"
        ) from None


def suggest_dims(
    error: ValueError, value: Any, batch_dims: Sequence[str], model: pm.Model | None
) -> ValueError:
    """Fill the likely dims, those of the same length, into the remedy for an unnamed expression."""
    if model is None or "dims=...)" not in str(error):
        return error
    candidates = [*batch_dims, *(dim for dim in model.dim_lengths if dim not in batch_dims)]
    found: list[str] = []
    for length in static_shape(value, (None,) * value.type.ndim, model):
        fits = [d for d in candidates if d not in found and dim_length(model, d) == length]
        if not fits:
            return error
        found.append(fits[0])
    dims = repr(found[0]) if len(found) == 1 else repr(tuple(found))
    return ValueError(str(error).replace("dims=...)", f"dims={dims})", 1))


def place(
    name: str,
    value: Any,
    batch_dims: Sequence[str],
    other_dims: Sequence[str],
    model: pm.Model | None,
) -> Placed:
    """Order the axes of a parameter: batch dims first, as the trajectory has them, then its own.

    `other_dims` are the trajectory's time dim, which a parameter cannot carry.
    """
    if isinstance(value, Variable) and model is not None:
        require_in_model(f"params: {name!r}", value, model)
    try:
        tensor, dims = named_dims(name, value, model)
    except ValueError as error:
        raise suggest_dims(error, value, batch_dims, model) from None
    for dim in dims:
        if dim is not None and dim in other_dims:
            raise ValueError(
                f"params: {name!r} varies along the time dim {dim!r}; what varies in time goes "
                f"into inputs={{{name!r}: ...}}, or is a function of the argument t"
            )
    if not isinstance(value, Variable | XTensorVariable):
        _refuse_not_finite(name, tensor, dims)
    named = [dim for dim in dims if dim is not None]
    if len(set(named)) < len(named):
        raise ValueError(f"params: {name!r} has a dim twice in {dims}")
    order: list[int | str] = [dims.index(dim) if dim in dims else "x" for dim in batch_dims]
    own = [axis for axis, dim in enumerate(dims) if dim is None or dim not in batch_dims]
    check_lengths(name, value, dims, batch_dims, model)
    tensor = pt.as_tensor(tensor).astype("float64")
    shape = static_shape(tensor, dims, model)
    return Placed(
        tensor=tensor.dimshuffle(*order, *own),
        core_shape=tuple(shape[axis] for axis in own),
        dims=tuple(dims),
    )


def _refuse_not_finite(name: str, array: Any, dims: Sequence[str | None]) -> None:
    """Raise for a constant that is missing or infinite: a parameter has no missing values."""
    bad = np.argwhere(~np.isfinite(array))
    if len(bad):
        where = ", ".join(f"{d or 'index'}={i}" for d, i in zip(dims, bad[0], strict=True))
        raise ValueError(
            f"params: {name!r} is {array[tuple(bad[0])]}{' at ' + where if where else ''}; "
            "parameters must be finite"
        )


def require_in_model(what: str, tensor: Variable, model: pm.Model) -> None:
    """Raise for variables of other models, and expressions of them."""
    own = {*model.root.named_vars.values(), *model.root.dim_lengths.values()}
    blockers = [v for v in own if isinstance(v, Variable)]
    for variable in ancestors([tensor], blockers=blockers):
        if variable in own:
            continue
        is_random = variable.owner is not None and isinstance(variable.owner.op, RandomVariable)
        is_data = isinstance(variable, SharedVariable) and variable.name is not None
        if is_random or (is_data and not isinstance(variable.type, RandomType)):
            kind = "a random variable" if is_random else f"the data {variable.name!r}"
            inside = "mu = pm.Normal('mu', ...)" if is_random else "pm.Data(...)"
            raise ValueError(
                f"{what} depends on {kind} that is not in this model; define it inside the model, "
                f"such as {inside}"
            )


def check_lengths(
    name: str,
    value: Any,
    dims: Sequence[str | None],
    batch_dims: Sequence[str],
    model: pm.Model | None,
) -> None:
    """Refuse a labelled constant whose length along a batch dim is not the model's."""
    if model is None or not isinstance(value, xr.DataArray):
        return
    for dim in batch_dims:
        if dim in dims:
            expected = dim_length(model, dim)
            if value.sizes[dim] != expected:
                raise ValueError(
                    f"params: {name!r} has length {value.sizes[dim]} along {dim!r}, which has "
                    f"length {expected} in the model"
                )


def static_shape(
    tensor: Any, dims: Sequence[str | None], model: pm.Model | None
) -> tuple[int, ...]:
    """Shape as numbers, from the type, else from the named dims, else computed."""
    known = [
        dim_length(model, dim) if length is None and is_dim(dim, model) else length
        for length, dim in zip(tensor.type.shape, dims, strict=True)
    ]
    if None in known:
        known = [int(length) for length in tensor.shape.eval(mode="FAST_COMPILE")]
    return tuple(known)


def is_dim(dim: str | None, model: pm.Model | None) -> bool:
    """Whether the model has a dim of this name."""
    return model is not None and dim in model.dim_lengths


def dim_length(model: Any, dim: str | None) -> int:
    """Return the current length of a dim of the model."""
    length: Any = current_value(model.dim_lengths[dim])
    return int(length)
