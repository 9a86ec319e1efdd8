"""Errors of predicted data from the moments of states, for Gaussian observations."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import Rows, TimeGrid, at_row
from pymc_dynsys.linalg import congruence, ldl, linearize, unit_lower_solve
from pymc_dynsys.systems.bound import BoundSystem, Params


def standardised_errors(
    system: BoundSystem,
    params: Params,
    y: Float[Array, "row component"],
    seen: Any,
    grid: TimeGrid,
    means: Float[Array, "row state"],
    covs: Float[Array, "row state state"],
) -> Float[Array, "row component"]:
    """Errors of the data in units of their predicted spread, given states before each row's data.

    Components of one row are predicted one after the other, each from those before it: with
    S = L D L' the covariance of the predicted data, the errors are L^{-1} (y - mean) / sqrt(D).
    NaN where data are missing.
    """

    def visit(m: Array, P: Array, y: Array, seen: Any, t: Array, row: Rows | None) -> Array:
        held = at_row(row, params)
        mean, H = linearize(lambda x: system.observation.moments(x, t, held)[0], m)
        R = system.observation.moments(m, t, held)[1]
        S = congruence(H, P) + (R if R.ndim == 2 else jnp.diag(R))
        v = y - mean
        if seen is not None:
            v = jnp.where(seen, v, 0.0)
            S = jnp.where(seen[:, None] & seen[None, :], S, jnp.eye(len(v)))
        L, D = ldl(S)
        z = unit_lower_solve(L, v) / jnp.sqrt(D)
        return z if seen is None else jnp.where(seen, z, jnp.nan)

    rows = jax.tree.map(jnp.asarray, grid.rows)
    return jax.vmap(visit)(means, covs, y, seen, jnp.asarray(grid.times), rows)
