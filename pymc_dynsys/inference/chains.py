"""Several Markov chains at once: in pieces short enough for a progress bar and for Ctrl-C."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

ChainMethod = Literal["vectorized", "parallel"]

PIECE_SECONDS = 0.25
"""How long the work between two updates of the progress bar should take."""


@dataclass(frozen=True)
class Chains:
    """How the chains are mapped over one device or several, and where their progress is shown."""

    method: ChainMethod
    progress: Any

    def map(self, function: Callable, *arguments: Any) -> Any:
        """``function(*arguments)`` of each chain, which is the first axis; the result is NumPy's.

        So it has no weak types, with which a loop would be compiled a second time.
        """
        mapped = jax.jit(jax.vmap(function)) if self.method == "vectorized" else jax.pmap(function)
        return jax.device_get(mapped(*arguments))

    def run(
        self, step: Callable, carry: Any, keys: np.ndarray, n_steps: int, title: str
    ) -> tuple[Any, Any]:
        """Take ``step(carry, key, i)``, which gives a carry and what to keep, `n_steps` times.

        Parameters
        ----------
        step : callable
            Of one chain. Compiled once, however many pieces there are.
        carry
            Where the chains start; the first axis of all leaves is the chain.
        keys : array, (chain, 2)
            Random keys, each split for the steps as BlackJAX's own loops do.
        n_steps : int
            Number of steps.
        title : str
            For the progress bar.

        Returns
        -------
        carry, kept
            The last carry, and what was kept with the axes ``(chain, step, ...)``.
        """

        def piece(carry: Any, kept: Any, key: Any, first: Any, last: Any) -> Any:
            keys = jax.random.split(key, n_steps)

            def body(i: Any, both: Any) -> Any:
                new, out = step(both[0], keys[i], i)
                return new, jax.tree.map(lambda all_, one: all_.at[i].set(one), both[1], out)

            return jax.lax.fori_loop(first, last, body, (carry, kept))

        axes = (0, 0, 0, None, None)
        if self.method == "vectorized":
            compiled = jax.jit(jax.vmap(piece, in_axes=axes), donate_argnums=(0, 1))
        else:
            compiled = jax.pmap(piece, in_axes=axes, donate_argnums=(0, 1))
        _, shapes = jax.eval_shape(jax.vmap(step, in_axes=(0, 0, None)), carry, keys, 0)
        kept = jax.tree.map(lambda s: np.zeros((len(keys), n_steps, *s.shape[1:]), s.dtype), shapes)
        task = self.progress.add_task(title, completed=0, total=n_steps)
        # No steps first, so that the time of the compilation is not taken for that of a step.
        carry, kept = compiled(carry, kept, keys, 0, 0)
        done, length = 0, 1
        while done < n_steps:
            start, until = perf_counter(), min(done + length, n_steps)
            carry, kept = jax.block_until_ready(compiled(carry, kept, keys, done, until))
            self.progress.update(task, refresh=True, completed=until)
            growth = PIECE_SECONDS / max(perf_counter() - start, 1e-9)
            done, length = until, max(1, int(length * min(growth, 10.0)))
        return jax.device_get((carry, kept))

    def at_once(self, work: Callable[[], Any], n_steps: int, title: str) -> Any:
        """Result of `work`, which is a loop of BlackJAX's own and shows no progress inside."""
        task = self.progress.add_task(title, completed=0, total=n_steps)
        out = jax.block_until_ready(work())
        self.progress.update(task, refresh=True, completed=n_steps)
        return out


def require_devices(method: ChainMethod, chains: int) -> None:
    """Refuse more parallel chains than there are devices."""
    if method == "parallel" and chains > jax.local_device_count():
        raise ValueError(
            f"chain_method: 'parallel' gives each chain a device of its own, but JAX has "
            f"{jax.local_device_count()} for {chains} chains; use chain_method='vectorized', or, "
            "on a CPU, import pymc_dynsys before JAX does its first computation"
        )


def split(key: Any, chains: int) -> np.ndarray:
    """One key for each chain."""
    return np.asarray(jax.random.split(jnp.asarray(key), chains))
