"""Long work on many draws: in blocks that fit in memory, with PyMC's progress bar."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from pymc.progress_bar import create_simple_progress

BLOCK_BYTES = 2**25
"""Working memory of one block."""


def block_length(n_draws: int, each: float) -> int:
    """Draws in a block: as many as fit, shared out evenly."""
    most = max(1, min(n_draws, int(BLOCK_BYTES / max(each, 1.0))))
    return -(-n_draws // -(-n_draws // most))


def blocks(n_draws: int, length: int, title: str, progressbar: bool) -> Iterator[np.ndarray]:
    """Positions of the draws of each block, all equally many; the last draw fills the last."""
    progress = create_simple_progress(progressbar=progressbar and n_draws > length)
    with progress:
        task = progress.add_task(title, completed=0, total=n_draws)
        for first in range(0, n_draws, length):
            yield np.minimum(np.arange(first, first + length), n_draws - 1)
            progress.update(task, refresh=True, completed=min(first + length, n_draws))


def run(
    work: Callable[[np.ndarray], Any],
    n_draws: int,
    each: float,
    title: str,
    progressbar: bool,
) -> Any:
    """Results of ``work(positions)`` for all draws, in front; a draw takes `each` bytes."""
    length = block_length(n_draws, each)
    whole: list[np.ndarray] = []
    tree: Any = None
    for which in blocks(n_draws, length, title, progressbar):
        leaves, tree = jax.tree.flatten(work(which))
        if not whole:
            whole = [np.empty((n_draws, *leaf.shape[1:])) for leaf in leaves]
        first, last = which[0], which[-1] + 1
        for out, leaf in zip(whole, leaves, strict=True):
            # What does not vary by draw comes with an axis of length one.
            out[first:last] = np.asarray(leaf)[: last - first]
    return jax.tree.unflatten(tree, whole)


def draw_keys(random_seed: Any, n_draws: int, batch: tuple[int, ...]) -> np.ndarray:
    """One key for each draw of each trajectory, ``(draw, *batch, 2)``."""
    seed = np.random.default_rng(random_seed).integers(2**32, size=2, dtype=np.uint32)
    n = n_draws * int(np.prod(batch, dtype=int))
    return np.asarray(jax.random.split(jnp.asarray(seed), n)).reshape(n_draws, *batch, 2)
