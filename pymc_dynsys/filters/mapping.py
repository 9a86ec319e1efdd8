"""From a function of one trajectory to one of a batch: all at once, or block by block.

In both, only the axes along which an input really varies are mapped: a batch axis of length one
is dropped, not broadcast.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

STEP = 4095
"""Most numbers in an array that a filter's step sums over, on a CPU: 32 kB, a core's L1 cache.

It is also the most that XLA compiles into a loop of its own. Longer sums it hands to a library
(YNNPACK), which in the batched forms met here takes 1.6 times (two states, 1000 trajectories) to
6 times (eight states, 300) as long for the whole gradient.
"""


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


def block_size(batch: tuple[int, ...], axis: int, numbers: int) -> int:
    """Entries of the axis `axis` to take at a time, when one trajectory's step sums `numbers`."""
    for i, length in enumerate(batch):
        numbers *= 1 if i == axis else length
    return max(1, STEP // max(1, numbers))


def map_blocks(
    function: Callable[..., Array],
    operands: tuple[Any, ...],
    core: tuple[Any, ...],
    batch: tuple[int, ...],
    numbers: int,
) -> Array:
    """``function(*operands)`` of shape `batch`, computed so many trajectories at a time.

    Blocks are cut along the longest batch axis, so that no sum within a filter's step is over more
    than :data:`STEP` numbers. The last overlaps the one before it where they do not come out even.
    """
    if not batch:
        return function(*operands)
    axis = max(range(len(batch)), key=lambda i: batch[i])
    length, size = batch[axis], block_size(batch, axis, numbers)
    if size >= length:
        return function(*operands)
    tree = jax.tree.structure(operands)
    placed = [
        (leaf, first + axis if first + axis >= 0 and leaf.shape[first + axis] > 1 else None)
        for leaf, first in _leaves(operands, core, len(batch))
    ]
    n_blocks = -(-length // size)

    def block(i: Any) -> Array:
        start = jnp.minimum(i * size, length - size)
        cut = [
            leaf if at is None else jax.lax.dynamic_slice_in_dim(leaf, start, size, at)
            for leaf, at in placed
        ]
        return jnp.moveaxis(function(*jax.tree.unflatten(tree, cut)), axis, 0)

    found = jax.lax.map(block, jnp.arange(n_blocks))
    known = n_blocks * size - length
    first = found[:-1].reshape(-1, *found.shape[2:])
    return jnp.moveaxis(jnp.concatenate([first, found[-1, known:]]), 0, axis)


def _leaves(
    operands: tuple[Any, ...], core: tuple[Any, ...], rank: int
) -> Iterator[tuple[Array, int]]:
    """Every leaf with the place of its first batch axis; below zero if it lacks leading ones."""
    for operand, ndims in zip(operands, core, strict=True):
        leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(operand)]
        cores = [None] * len(leaves) if ndims is None else jax.tree.leaves(ndims)
        for leaf, ndim in zip(leaves, cores, strict=True):
            yield leaf, 1 if ndim is None else leaf.ndim - ndim - rank
