r"""States behind the exact diffuse likelihood.

Given the diffuse states :math:`\delta` at ``t0`` the states are those of the ordinary smoother,
and their mean is linear in :math:`\delta`, of which the data leave a normal law (``filters/
diffuse.py``). So a path is drawn in two stages, and moments are :math:`m + M \hat\delta` and
:math:`V + M C M'`, M the slope of the mean (de Jong 1991). Not a number where the data do not yet
tell all diffuse states.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.filters.base import Data
from pymc_dynsys.filters.diffuse import Diffuse, filter_diffuse, spread_of
from pymc_dynsys.filters.gaussian import LinearModel
from pymc_dynsys.linalg import congruence, matvec, psd_factor
from pymc_dynsys.smoothers import gaussian
from pymc_dynsys.systems.bound import DIFFUSE, BoundSystem, Params

TOLD = 1e-8
"""Size of what is left of the unknown from which on it counts as told."""


def moments(
    model: LinearModel, system: BoundSystem, params: Params, data: Data, grid: TimeGrid, given: str
) -> tuple[Float[Array, "time state"], Float[Array, "time state state"]]:
    """Mean and covariance of the state at every row, given the data up to it or all of them."""

    def of(delta: Array) -> Any:
        m, P = gaussian.moments(
            model, system, {**params, DIFFUSE: (delta, spread_of(data))}, data, grid, given
        )
        return m, (m, P)

    slope, (m, P) = jax.jacfwd(of, has_aux=True)(jnp.zeros(system.n_diffuse))
    known = filter_diffuse(model, system, params, data, grid).known
    if given == "all":
        known = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[-1], leaf.shape), known)
    delta, C = jax.vmap(_told)(known)
    return m + jax.vmap(matvec)(slope, delta), P + jax.vmap(congruence)(slope, C)


def draw(
    model: LinearModel,
    system: BoundSystem,
    params: Params,
    data: Data,
    grid: TimeGrid,
    given: str,
    key: Any,
) -> Float[Array, "time state"]:
    """One path given all the data; or, given the past, states that are each drawn alone."""
    if given == "past":
        return gaussian.each_alone(*moments(model, system, params, data, grid, given), key)
    of_start, of_path = jax.random.split(key)
    known = filter_diffuse(model, system, params, data, grid).known
    delta, C = _told(jax.tree.map(lambda leaf: leaf[-1], known))
    delta = delta + matvec(psd_factor(C), jax.random.normal(of_start, delta.shape))
    return gaussian.draw(
        model, system, {**params, DIFFUSE: (delta, spread_of(data))}, data, grid, given, of_path
    )


def innovations(
    model: LinearModel, system: BoundSystem, params: Params, data: Data, grid: TimeGrid
) -> Float[Array, "time component"]:
    """Standardised errors of predictions; NaN if missing or spent on the diffuse states."""
    z = filter_diffuse(model, system, params, data, grid, project=False).innovation
    return z if data.seen is None else jnp.where(data.seen, z, jnp.nan)


def _told(known: Diffuse) -> tuple[Array, Array]:
    told = jnp.abs(known.unknown).max() < TOLD
    return jnp.where(told, known.m, jnp.nan), jnp.where(told, known.P, jnp.nan)
