"""Terms with named dims, brought to the dims of what they add up to."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.data import current_value
from pymc_dynsys.bridge.dims import dim_length, named_dims, require_in_model
from pymc_dynsys.effects.lookups import Lookup, read_lookups
from pymc_dynsys.reading.values import place as where


class Layout:
    """The dims of a variable, and what belongs to which group along them.

    Parameters
    ----------
    name : str
        Of the variable, for errors.
    dims : str or sequence of str
        Its dims, all known to the model.
    within : labelled array, sequence or dict of them, optional
        Which member of a coarser dim each member belongs to.
    model : Model
        The model that the variable will be in.
    """

    def __init__(self, name: str, dims: Any, within: Any, model: pm.Model) -> None:
        self.name, self.model = name, model
        self.dims = _as_dims(name, dims)
        for dim in self.dims:
            if dim not in model.dim_lengths:
                raise ValueError(
                    f"{name}: dims has {dim!r}, which the model does not; its dims are "
                    f"{', '.join(map(repr, model.dim_lengths)) or 'none'}. Add it with "
                    f"pm.Model(coords={{{dim!r}: ...}})"
                )
        self.lookups = read_lookups(name, within, self.dims, model)
        self._used: set[str] = set()

    def place(self, role: str, value: Any) -> Any:
        """A term with one axis for each dim, of length one where it does not vary."""
        if value is None or isinstance(value, str):
            raise TypeError(
                f"{self.name}: {role} is {value!r}; give a number, an xr.DataArray or the variable "
                "itself, as pm.Normal(...) returns it"
            )
        tensor, dims = named_dims(role, value, self.model, f"{self.name}: ")
        if None in dims:
            raise ValueError(
                f"{self.name}: {role} has {len(dims)} axes and no names for them; write "
                f"xr.DataArray({role}, dims=...) for numbers, and dims=... where a variable is "
                "defined"
            )
        self.require_known(role, tensor, dims)
        return self.spread(role, pt.as_tensor(tensor).astype("float64"), dims)

    def require_known(self, role: str, tensor: Any, dims: tuple[str | None, ...]) -> None:
        """Refuse axes of one name or a wrong length, other models, and non-finite numbers."""
        named = [str(dim) for dim in dims if dim is not None]
        if len(set(named)) < len(named):
            raise ValueError(f"{self.name}: {role} has a dim twice, {dims}")
        if isinstance(tensor, Variable):
            require_in_model(f"{self.name}: {role}", tensor, self.model)
        self._require_lengths(role, tensor, dims)
        known = current_value(tensor) if isinstance(tensor, Variable) else tensor
        if known is not None:
            self._require_finite(role, known, list(map(str, dims)))

    def _require_lengths(self, role: str, tensor: Any, dims: tuple[str | None, ...]) -> None:
        shape = tensor.type.shape if isinstance(tensor, Variable) else np.shape(tensor)
        for dim, length in zip(dims, shape, strict=True):
            if length is None or dim not in self.model.dim_lengths:
                continue
            expected = dim_length(self.model, dim)
            if length != expected:
                raise ValueError(
                    f"{self.name}: {role} has length {length} along {dim!r}, which has length "
                    f"{expected} in the model"
                )

    def _require_finite(self, role: str, array: np.ndarray, dims: list[str]) -> None:
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            at = where(bad[0], [self.model.coords.get(dim) for dim in dims], dims)
            raise ValueError(
                f"{self.name}: {role} is {array[tuple(bad[0])]} at {at}; it must be finite"
            )

    def spread(self, role: str, tensor: Any, dims: tuple[str | None, ...]) -> Any:
        """Bring a tensor with named axes to the dims of the layout."""
        looked_up = [dim for dim in dims if dim not in self.dims]
        for dim in looked_up:
            if dim not in self.lookups:
                raise ValueError(
                    f"{self.name}: {role} has the dim {dim!r}, which is not among {self.dims}; say "
                    f"to which {dim!r} each belongs, with within={{{dim!r}: labels}}"
                )
        self._used.update(map(str, looked_up))
        if looked_up:
            tensor, dims = self._pick(tensor, dims, [self.lookups[str(dim)] for dim in looked_up])
        if dims == self.dims:
            return tensor
        return tensor.dimshuffle([dims.index(dim) if dim in dims else "x" for dim in self.dims])

    def _pick(
        self, tensor: Any, dims: tuple[str | None, ...], lookups: list[Lookup]
    ) -> tuple[Any, tuple[str | None, ...]]:
        """Take from each coarser dim what belongs to the members of the finer ones."""
        over = [dim for dim in self.dims if any(dim in lookup.over for lookup in lookups)]
        along = [dim for dim in over if dim in dims]
        rest = [dim for dim in dims if dim in self.dims and dim not in along]
        first = [lookup.dim for lookup in lookups] + along
        tensor = tensor.dimshuffle([dims.index(dim) for dim in [*first, *rest]])
        index = [_on_axes(lookup.index, lookup.over, over) for lookup in lookups]
        index += [_on_axes(np.arange(dim_length(self.model, d)), (d,), over) for d in along]
        return tensor[tuple(index)], (*over, *rest)

    def require_used(self) -> None:
        """Refuse labels of a dim that no term has."""
        for dim in self.lookups:
            if dim not in self._used:
                raise ValueError(
                    f"{self.name}: within says which {dim!r}, but no term has the dim {dim!r}"
                )

    def total(self, role: str, terms: Any) -> Any:
        """The sum of one or several terms."""
        if isinstance(terms, Mapping):
            raise TypeError(
                f"{self.name}: {role} must be a variable, a number, an xr.DataArray or a list of "
                "these, which are added; got a dict"
            )
        if not isinstance(terms, list | tuple):
            return self.place(role, terms)
        if not terms:
            raise ValueError(f"{self.name}: {role} is empty; give at least one term, such as 0.0")
        placed = [self.place(f"{role}[{i}]", term) for i, term in enumerate(terms)]
        return sum(placed[1:], start=placed[0])

    def fill(self, tensor: Any) -> Any:
        """Repeat a tensor along the dims on which it does not vary."""
        if not any(tensor.type.broadcastable):
            return tensor
        return pt.broadcast_to(tensor, [self.model.dim_lengths[dim] for dim in self.dims])


def _as_dims(name: str, dims: Any) -> tuple[str, ...]:
    if isinstance(dims, str):
        return (dims,)
    names = tuple(dims) if isinstance(dims, Iterable) else (dims,)
    if not all(isinstance(dim, str) for dim in names):
        raise TypeError(
            f"{name}: dims must be the name of a dim or a tuple of names, such as 'subject'; got "
            f"{dims!r}"
        )
    if len(set(names)) < len(names):
        raise ValueError(f"{name}: dims has a dim twice, {names}")
    return names


def _on_axes(index: Any, have: tuple[str, ...], want: list[str]) -> Any:
    """Axes of length one for the dims along which an index does not vary."""
    return np.expand_dims(index, tuple(i for i, dim in enumerate(want) if dim not in have))


def refuse_taken(name: str, names: list[str], model: pm.Model) -> None:
    """Raise for a name that the toolbox would give and the model already has."""
    for own in names:
        if model.name_for(own) in model.named_vars:
            raise ValueError(
                f"{name}: the model already has a variable {own!r}, and one of that name belongs "
                f"to {name!r}; call yours something else, such as {own + '_mean'!r}"
            )
