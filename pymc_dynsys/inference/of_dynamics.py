"""Questions to linear dynamics: what the matrices of each draw make of it, without any data."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array

from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.bridge.draws import OperandDraws
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.inference.draws import in_blocks
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.dynamics import LinearDynamics
from pymc_dynsys.systems.held import Held

Ask = Callable[[LinearDynamics], dict[str, Array]]


class Lengths(NamedTuple):
    """Times over which effects are asked for, ascending; in discrete time also as steps."""

    values: np.ndarray
    steps: np.ndarray | None

    @property
    def key(self) -> tuple[float, ...]:
        """What a compiled question is found again by."""
        each = self.values if self.steps is None else self.steps
        return tuple(each.tolist())


def require_linear(study: Study, role: str) -> None:
    """Raise for dynamics whose effects are not the same in all states and at all times."""
    proof = study.system.proof
    if proof.dynamics.linear and proof.dynamics.autonomous and not proof.dynamics.varying:
        return
    reasons = proof.of("dynamics") or ("time or inputs enter the slope of the dynamics",)
    raise ValueError(
        f"{role}: the dynamics of {study.name!r} are not linear with a constant slope "
        f"({'; '.join(reasons)}), so an effect depends on the state and the time at which it "
        "begins; compare two forecasts instead, one of them pushed (forecast with other inputs or "
        "events)"
    )


def read_lengths(role: str, values: object, step: float | None) -> Lengths:
    """Lengths of time as ascending numbers, whole steps in discrete time."""
    array = np.atleast_1d(np.asarray(values))
    if array.ndim != 1 or not array.size or array.dtype.kind not in "fiu":
        raise TypeError(f"{role}: expected numbers, got {values!r}")
    array = array.astype(float)
    if not np.isfinite(array).all() or (array < 0).any() or (np.diff(array) <= 0).any():
        raise ValueError(f"{role}: expected ascending finite numbers from zero on, got {array}")
    if step is None:
        return Lengths(array, None)
    steps = np.round(array / step).astype(int)
    if np.abs(array / step - steps).max() > 1e-6:
        raise ValueError(
            f"{role}: {array[np.argmax(np.abs(array / step - steps))]:g} is no whole number of "
            f"steps of {step:g}; in discrete time there is nothing between steps"
        )
    return Lengths(array, steps)


def of_each_draw(
    draws: OperandDraws, ask: Ask, n_rows: int, title: str, progressbar: bool
) -> dict[str, np.ndarray]:
    """Answers ``(draw, *batch, ...)`` from the matrices of each draw and trajectory.

    `ask` is a frozen dataclass, by which compiled code is found again.
    """
    study = draws.study
    full = (*study.frame.batch,)

    def work(which: np.ndarray) -> Any:
        params = dict(draws.at(which).params)
        found = _answers(study.system, ask, len(full) + 1, params)
        return jax.tree.map(
            lambda leaf: np.broadcast_to(
                np.asarray(leaf), (len(which), *full, *leaf.shape[len(full) + 1 :])
            ),
            found,
        )

    answers: dict[str, np.ndarray] = in_blocks(draws, work, n_rows, title, progressbar)
    return answers


def labelled_effects(
    study: Study,
    draws: xr.Dataset,
    found: dict[str, np.ndarray],
    along: str,
    lengths: np.ndarray,
    pair: tuple[str, str],
    states: list[str] | None = None,
) -> xr.Dataset:
    """Answers ``(draw, *batch, [length,] state, state)`` with names."""
    frame = study.frame
    sample = (draws.sizes["chain"], draws.sizes["draw"])
    rank = 1 + frame.rank
    data = xr.Dataset(
        {
            name: (
                ("chain", "draw", *frame.batch_dims, *(along,) * (value.ndim - rank - 2), *pair),
                value.reshape(*sample, *value.shape[1:]),
            )
            for name, value in found.items()
        },
        coords={
            "chain": draws["chain"].values,
            "draw": draws["draw"].values,
            **frame.batch_coords(),
            along: lengths,
            **dict.fromkeys(pair, states or list(study.system.states)),
        },
    )
    for name in data.data_vars:
        if along in data[name].dims:
            data[name].attrs["time_dim"] = along
    if frame.unit is not None:
        data[along].attrs["units"] = frame.unit
    return data


@partial(jax.jit, static_argnums=(0, 1, 2))
def _answers(system: BoundSystem, ask: Ask, rank: int, params: dict[str, Array]) -> Any:
    """Answers ``(*batch, ...)``; inputs enter the offset only, so zeros stand for them."""
    zeros = {name: jnp.zeros(shape) for name, shape in system.input_shapes.items()}

    def one(params: dict[str, Array]) -> dict[str, Array]:
        return ask(system.dynamics.linear(0.0, Held({**params, **zeros})))

    cores = {name: len(shape) for name, shape in system.param_shapes.items()}
    return map_batch(one, (params,), (cores,), rank)


SQUARINGS = 64
"""Most squarings of a matrix exponential; what JAX allows by default is NaN far out."""


def expm(A: Array) -> Array:
    """Matrix exponential."""
    exponential: Array = jax.scipy.linalg.expm(A, max_squarings=SQUARINGS)
    return exponential


def propagators(A: Array, lengths: tuple[float, ...], continuous: bool) -> Array:
    """What becomes of a state over each length, ``(length, state, state)``."""
    if continuous:
        return jax.vmap(lambda h: expm(A * h))(jnp.array(lengths))
    return powers(A, int(lengths[-1]))[np.array(lengths, int)]


def powers(F: Array, most: int) -> Array:
    """Powers from the zeroth on, ``(most + 1, state, state)``."""

    def step(power: Array, _: None) -> tuple[Array, Array]:
        return jnp.matmul(F, power), power

    return jax.lax.scan(step, jnp.eye(len(F)), None, length=most + 1)[1]
