"""From a function of one trajectory to one of a batch: all at once, or block by block.

In both, only the axes along which an input really varies are mapped: a batch axis of length one
is dropped, not broadcast.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

STEP = 4095
"""Most numbers in an array that a filter's step sums over, on a CPU: 32 kB, a core's L1 cache.

It is also the most that XLA compiles into a loop of its own. Longer sums it hands to a library
(YNNPACK), which in the batched forms met here takes 1.6 times (two states, 1000 trajectories) to
6 times (eight states, 300) as long for the whole gradient.
"""


class Part(NamedTuple):
    """Entries `start` to ``start + length`` of a batch axis."""

    axis: int
    start: Any
    length: int


def map_batch(
    function: Callable[..., Any], operands: tuple[Any, ...], core: tuple[Any, ...], rank: int
) -> Any:
    """Map ``function`` over `rank` batch axes, skipping those of length one.

    ``core`` gives, per leaf, the number of axes that belong to one trajectory; batch axes
    lead. An operand whose entry is None instead has its batch axes after its first axis
    (time first, so that a scan over it moves nothing).
    """
    tree = jax.tree.structure(operands)
    axes: list[list[int | None]] = [[] for _ in range(rank)]
    arrays = []
    for leaf, first in _leaves(operands, core, rank):
        missing = max(0, -first)
        padded = leaf.reshape((1,) * missing + leaf.shape)
        first = max(0, first)
        lengths = padded.shape[first : first + rank]
        for axis, length in enumerate(lengths):
            axes[axis].append(first if length > 1 else None)
        arrays.append(padded.squeeze(tuple(first + i for i, n in enumerate(lengths) if n == 1)))

    def flat(*leaves: Any) -> Any:
        return function(*jax.tree.unflatten(tree, leaves))

    for along in reversed(axes):
        if any(axis is not None for axis in along):
            flat = jax.vmap(flat, in_axes=tuple(along))
    out = flat(*arrays)
    alone = tuple(i for i, along in enumerate(axes) if all(axis is None for axis in along))
    return jax.tree.map(lambda leaf: jnp.expand_dims(leaf, alone), out)


def map_blocks(
    function: Callable[..., Array],
    operands: tuple[Any, ...],
    core: tuple[Any, ...],
    rank: int,
    part: Part,
    size: int,
) -> Array:
    """Part of the result of ``function(*operands)``, computed `size` entries at a time.

    ``core`` and ``rank`` are as in :func:`map_batch`. The last block overlaps the one before it
    where they do not come out even.
    """
    axis, start, length = part
    tree = jax.tree.structure(operands)
    placed = [
        (leaf, first + axis if first + axis >= 0 and leaf.shape[first + axis] > 1 else None)
        for leaf, first in _leaves(operands, core, rank)
    ]

    def block(first: Any, size: int) -> Array:
        cut = [
            leaf if at is None else jax.lax.dynamic_slice_in_dim(leaf, first, size, at)
            for leaf, at in placed
        ]
        return jnp.moveaxis(function(*jax.tree.unflatten(tree, cut)), axis, 0)

    if size >= length:
        return jnp.moveaxis(block(start, length), 0, axis)
    n_blocks = -(-length // size)
    firsts = start + np.minimum(np.arange(n_blocks) * size, length - size)
    found = jax.lax.map(lambda first: block(first, size), firsts)
    known = n_blocks * size - length
    before = found[:-1].reshape(-1, *found.shape[2:])
    return jnp.moveaxis(jnp.concatenate([before, found[-1, known:]]), 0, axis)


def batch_shape(operands: tuple[Any, ...], core: tuple[Any, ...], rank: int) -> tuple[int, ...]:
    """Lengths of the batch axes, of which single operands may lack some or have one entry."""
    lengths = [1] * rank
    for leaf, first in _leaves(operands, core, rank):
        for axis in range(max(0, -first), rank):
            lengths[axis] = max(lengths[axis], leaf.shape[first + axis])
    return tuple(lengths)


def longest(batch: tuple[int, ...]) -> int:
    """The batch axis with most entries."""
    return max(range(len(batch)), key=lambda i: batch[i])


def block_size(batch: tuple[int, ...], axis: int, tangents: int, numbers: int) -> int:
    """Entries of a batch axis to take at a time, if a step's longest sum is over `numbers`."""
    if numbers == 1:
        return batch[axis]
    others = math.prod(batch) // batch[axis]
    return max(1, STEP // (tangents * numbers * others))


def _leaves(
    operands: tuple[Any, ...], core: tuple[Any, ...], rank: int
) -> Iterator[tuple[Array, int]]:
    """Every leaf with the place of its first batch axis; below zero if it lacks leading ones."""
    for operand, ndims in zip(operands, core, strict=True):
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(operand)]
        cores = [None] * len(leaves) if ndims is None else jax.tree.leaves(ndims)
        for leaf, ndim in zip(leaves, cores, strict=True):
            yield leaf, 1 if ndim is None else leaf.ndim - ndim - rank
