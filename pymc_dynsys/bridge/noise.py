"""Noise that inputs scale: positive at every row where it is used."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held


def require_noise(study: Study, params: Mapping[str, Any], grid: TimeGrid | None) -> None:
    """Raise where an input makes a variance negative, such as a standard error below zero.

    Looked at where the noise is free of the state, so that the input alone is at fault.
    """
    if grid is None or grid.rows is None or grid.marks is None:
        return
    proof, rank = study.system.proof, study.frame.rank
    if not proof.start.gaussian:
        return
    roles, when = {}, {"observation": "at", "transition": "over the gap before"}
    if proof.observation.gaussian and proof.observation.constant_noise:
        used = [n for n in study.system.input_shapes if study.system.observation.asks_for(n)]
        roles["observation"] = (used, grid.rows.row_inputs, grid.marks.is_visit)
    if study.system.step is not None and proof.dynamics.linear:
        used = [n for n in study.system.input_shapes if study.system.drives(n)]
        roles["transition"] = (used, grid.rows.gap_inputs, grid.gaps > 0)
    for role, (names, inputs, there) in roles.items():
        if not names:
            continue
        given = {name: np.expand_dims(np.asarray(p), rank) for name, p in params.items()}
        given |= {name: np.asarray(value) for name, value in inputs.items()}
        variances = np.asarray(_variances(study.system, role, rank + 1, given, grid.times))
        bad = ~(variances >= 0).all(-1) & np.asarray(there)
        for name in names:
            own = tuple(range(rank + 1, given[name].ndim))
            bad = bad & np.isfinite(given[name]).all(own)
        where = np.argwhere(bad)
        if len(where):
            here = tuple(where[0])
            shown = ", ".join(f"{name} = {_at(given[name], here)}" for name in names)
            of = f" for {study.frame.who(here[:-1])}" if rank else ""
            raise ValueError(
                f"inputs: {role}() has a negative scale or variance{of} {when[role]} time "
                f"{_at(np.asarray(grid.times), here)}, where {shown}; a standard "
                "deviation is positive"
            )


def _at(values: np.ndarray, index: tuple[int, ...]) -> str:
    """The value at a place along axes that may have length one."""
    found = values[tuple(0 if n == 1 else i for i, n in zip(index, values.shape, strict=False))]
    return f"{found:.4g}" if found.ndim == 0 else str(found)


@partial(jax.jit, static_argnums=(0, 1, 2))
def _variances(
    system: BoundSystem, role: str, rank: int, values: dict[str, Array], times: Array
) -> Array:
    """Variances ``(*batch, row, component)`` of the noise, at the mean of the initial state."""
    moments = system.observation.moments if role == "observation" else system.discrete.moments
    core = {k: len(s) for k, s in {**system.param_shapes, **system.input_shapes}.items()}

    def one(values: dict[str, Array], t: Array) -> Array:
        m, _ = system.start.moments(values)
        cov = moments(m, t, Held(values))[1]
        return jnp.diagonal(cov) if cov.ndim == 2 else cov

    found: Array = map_batch(one, (values, times), (core, 0), rank)
    return found
