"""Dims, labels and unit of a batch of trajectories: where values of users have to fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from pymc_dynsys.reading.units import NO_UNITS, Units
from pymc_dynsys.reading.values import place


@dataclass(frozen=True, eq=False)
class Frame:
    """Named dims of trajectories, with lengths and labels.

    Attributes
    ----------
    batch_dims : tuple of str
        Dims over which trajectories vary.
    time_dim : str
        Dim of the visits.
    component_dim : str or None
        Dim of the components of one observation; None where it is a number.
    lengths : mapping of str to int
        Lengths of the batch dims.
    labels : mapping of str to array
        Labels along dims; dims without labels are left out, or have their positions.
    unit, origin
        Unit of the times and, where they are dates, the date that is zero.
    units : Units
        What axes say of times that are numbers, and of data.
    """

    batch_dims: tuple[str, ...]
    time_dim: str
    component_dim: str | None
    lengths: Mapping[str, int]
    labels: Mapping[str, Any]
    unit: str | None = None
    origin: Any = None
    units: Units = NO_UNITS

    @property
    def dims(self) -> tuple[str, ...]:
        """Dims of the data."""
        own = (
            (self.time_dim,) if self.component_dim is None else (self.time_dim, self.component_dim)
        )
        return (*self.batch_dims, *own)

    @property
    def known_dims(self) -> tuple[str, ...] | None:
        """Dims of the data; None where nobody named them."""
        return self.dims if self.batch_dims or self.time_dim in self.labels else None

    @property
    def rank(self) -> int:
        """Number of batch dims."""
        return len(self.batch_dims)

    @property
    def batch(self) -> tuple[int, ...]:
        """Lengths of the batch dims."""
        return tuple(self.lengths[dim] for dim in self.batch_dims)

    @property
    def batch_labels(self) -> list[Any]:
        """Labels along the batch dims, None where there are none."""
        return [self.labels.get(dim) for dim in self.batch_dims]

    def who(self, index: Sequence[int]) -> str:
        """Words for one trajectory, such as ``subject='a'``."""
        return place(index, self.batch_labels, self.batch_dims)

    def batch_coords(self) -> dict[str, Any]:
        """Labels of those batch dims that have some."""
        known = {dim: self.labels.get(dim) for dim in self.batch_dims}
        return {dim: labels for dim, labels in known.items() if labels is not None}

    def batch_first(self, array: xr.DataArray, rest: Sequence[str]) -> np.ndarray:
        """Array with one axis a batch dim (length one where it lacks it), then the rest."""
        there = [dim for dim in self.batch_dims if dim in array.dims]
        ordered = array.transpose(*there, *rest).values
        shape = iter(ordered.shape)
        lead = [next(shape) if dim in there else 1 for dim in self.batch_dims]
        return ordered.reshape((*lead, *shape))

    def require_lengths(self, role: str, sizes: Mapping[Any, int]) -> None:
        """Raise for an array whose length along a batch dim is not that of the trajectories."""
        for dim in self.batch_dims:
            if dim in sizes and sizes[dim] != self.lengths[dim]:
                raise ValueError(
                    f"{role}: {sizes[dim]} along {dim!r}, which has length {self.lengths[dim]}"
                )
