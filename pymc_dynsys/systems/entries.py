"""Matrices written entry by entry: nested lists of numbers and of scalar variables."""

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.systems.linear_gaussian import Values
from pymc_dynsys.systems.values import known_value, shape_of

Index = tuple[int, ...]


class Entries:
    """An array that is one parameter, or whose entries that are not known are parameters.

    Entries keep the dims that they have: one over the subjects makes the matrix vary by subject.

    Attributes
    ----------
    params : dict
        What becomes a parameter, by name.
    shape : tuple of int
        Shape of the array; that of a parameter has batch axes too.
    """

    def __init__(self, role: str, label: str, value: object, name: str | None = None) -> None:
        self.role, self.label, self.name = role, label, name or label
        self.entries: dict[Index, object] | None = None
        if isinstance(value, list | tuple):
            entries = dict(_flat(value, ()))
            if any(known_value(entry) is None for entry in entries.values()):
                self.entries = entries
                self.shape = _shape(role, label, entries)
        if self.entries is None:
            self.params: dict[str, object] = {self.name: value}
            self.shape = shape_of(value)
        else:
            self.params = {self._name(i): v for i, v in self.entries.items() if not _is_number(v)}

    def __call__(self, values: Values) -> Array:
        """The array of one trajectory."""
        if self.entries is None:
            return jnp.asarray(values[self.name], float)
        found = []
        for index, entry in self.entries.items():
            at = values.get(self._name(index), entry)
            if jnp.shape(at) != ():
                raise ValueError(
                    f"{self.role}: the entry {list(index)} of {self.label} has shape "
                    f"{jnp.shape(at)} for one trajectory; an entry is one number"
                )
            found.append(jnp.asarray(at, float))
        return jnp.stack(found).reshape(self.shape)

    def on_diagonal(self) -> Iterator[object]:
        """Entries of a vector, or on the diagonal of a matrix, that are known by themselves."""
        for index, entry in (self.entries or {}).items():
            if len(set(index)) == 1:
                yield entry

    def _name(self, index: Index) -> str:
        return "_".join((self.name, *map(str, index)))


def _is_number(entry: object) -> bool:
    return known_value(entry) is not None and shape_of(entry) == ()


def _flat(value: object, index: Index) -> Iterator[tuple[Index, object]]:
    """Entries of nested lists, in order."""
    if isinstance(value, list | tuple):
        for i, part in enumerate(value):
            yield from _flat(part, (*index, i))
    else:
        yield index, value


def _shape(role: str, label: str, entries: dict[Index, object]) -> tuple[int, ...]:
    """Shape of an array of these entries, which must fill it."""
    indices: Sequence[Index] = tuple(entries)
    ranks = {len(index) for index in indices}
    shape = tuple(max(axis) + 1 for axis in zip(*indices, strict=False))
    if len(ranks) > 1 or len(indices) != _size(shape):
        raise ValueError(
            f"{role}: {label} is a nested list whose rows differ in length; write a number or a "
            "variable for each entry"
        )
    return shape


def _size(shape: tuple[int, ...]) -> int:
    n = 1
    for length in shape:
        n *= length
    return n
