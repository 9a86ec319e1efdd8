"""Several Markov chains at once: in pieces short enough for a progress bar and for Ctrl-C."""

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Literal

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

ChainMethod = Literal["vectorized", "parallel"]

PIECE_SECONDS = 0.25
"""How long the work between two updates of the progress bar should take."""


@dataclass(frozen=True)
class Chains:
    """How the chains are mapped over one device or several, and where their progress is shown.

    What is mapped has the chain as the first axis of all leaves, and so has what comes back.
    """

    method: ChainMethod
    n: int
    progress: Any

    def map(self, function: Callable, *arguments: Any) -> Any:
        """``function(*arguments)`` of each chain, as NumPy arrays.

        These have no weak types, with which a loop would be compiled a second time.
        """
        mapped = self._compiled(jax.vmap(function), len(arguments))
        return jax.device_get(mapped(*self._placed(arguments)))

    def run(
        self, step: Callable, carry: Any, keys: np.ndarray, n_steps: int, title: str
    ) -> tuple[Any, Any]:
        """Take ``step(carry, key, i)`` of each chain, which gives a carry and what to keep.

        Parameters
        ----------
        step : callable
            Compiled once, however many pieces there are.
        carry
            Where the chains start.
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

        def piece(carry: Any, kept: Any, keys: Any, first: Any, last: Any) -> Any:
            def body(i: Any, both: Any) -> Any:
                new, out = step(both[0], keys[i], i)
                return new, jax.tree.map(lambda all_, one: all_.at[i].set(one), both[1], out)

            return jax.lax.fori_loop(first, last, body, (carry, kept))

        _, shapes = jax.eval_shape(jax.vmap(step, in_axes=(0, 0, None)), carry, keys, 0)
        keys = self.map(lambda key: jax.random.split(key, n_steps), keys)
        kept = jax.tree.map(lambda s: np.zeros((self.n, n_steps, *s.shape[1:]), s.dtype), shapes)
        carry, kept, keys = self._placed((carry, kept, keys))
        compiled = self._compiled(jax.vmap(piece, in_axes=(0, 0, 0, None, None)), 3, 2)
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

    @property
    def _mesh(self) -> Mesh:
        return Mesh(np.array(jax.local_devices()[: self.n]), ("chain",))

    def _placed(self, tree: Any) -> Any:
        spread = NamedSharding(self._mesh, PartitionSpec("chain"))
        return jax.device_put(tree, spread if self.method == "parallel" else None)

    def _compiled(self, mapped: Callable, n_mapped: int, n_shared: int = 0) -> Callable:
        if self.method == "parallel":
            chain, all_ = PartitionSpec("chain"), PartitionSpec()
            mapped = jax.shard_map(
                mapped,
                mesh=self._mesh,
                in_specs=(chain,) * n_mapped + (all_,) * n_shared,
                out_specs=chain,
                check_vma=False,
            )
        # The first two arguments come back changed: what is kept is written in place.
        return jax.jit(mapped, donate_argnums=(0, 1) if n_shared else ())

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
