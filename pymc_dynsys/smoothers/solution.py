"""States of an ODE: its solution, whatever the data say."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.filters.base import Data
from pymc_dynsys.filters.ode_solve import ODESolve
from pymc_dynsys.filters.reduce import independent
from pymc_dynsys.systems.bound import BoundSystem, Params


def states(
    likelihood: ODESolve, system: BoundSystem, params: Params, grid: TimeGrid
) -> Float[Array, "time state"]:
    """The solution at every row."""
    start, _ = system.initial_moments(params)
    return likelihood.solve(system, params, start, grid)


def innovations(
    likelihood: ODESolve, system: BoundSystem, params: Params, data: Data, grid: TimeGrid
) -> Float[Array, "time component"]:
    """Standardised distances of the data from the solution; NaN if missing."""

    def visit(x: Array, t: Array, y: Array, seen: Any, row: Any) -> Array:
        here = params if row is None else row.at_row(params)
        mean, R = system.observation_moments(x, t, here)
        y = y - mean
        if R.ndim == 2:
            nothing = jnp.zeros((y.shape[0], x.shape[0]))
            y, _, R = independent(y, seen, nothing, R)
        z = y / jnp.sqrt(R)
        return z if seen is None else jnp.where(seen, z, jnp.nan)

    rows = jax.tree.map(jnp.asarray, grid.rows)
    path = states(likelihood, system, params, grid)
    return jax.vmap(visit)(path, jnp.asarray(grid.times), data.y, data.seen, rows)
