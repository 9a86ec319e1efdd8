r"""States behind the exact diffuse likelihood.

Given the diffuse states :math:`\delta` at ``t0`` the states are those of the ordinary smoother,
and their mean is linear in :math:`\delta`, of which the data leave a normal distribution
(``diffuse.py``). So a path is drawn in two stages, and moments are :math:`m + M \hat\delta` and
:math:`V + M C M'`, M the slope of the mean (de Jong 1991). Not a number where the data do not yet
identify all diffuse states.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.base import Given, Moments, Problem
from pymc_dynsys.likelihoods.gaussian import backward
from pymc_dynsys.likelihoods.gaussian.diffuse import Known, filter_diffuse, spread_of
from pymc_dynsys.likelihoods.gaussian.forward import LinearModel
from pymc_dynsys.linalg import congruence, matvec, psd_factor
from pymc_dynsys.systems.bound import BoundSystem

IDENTIFIED = 1e-8
"""Size of what is left of the diffuse part from which on the states count as identified."""


def moments(model: LinearModel, system: BoundSystem, problem: Problem, given: Given) -> Moments:
    """Mean and covariance of the state at every row, given the data up to it or all of them."""
    spread = spread_of(problem.data)

    def of(delta: Array) -> Any:
        found = backward.moments(model, system, problem, given, (delta, spread))
        return found.mean, found

    slope, (m, P) = jax.jacfwd(of, has_aux=True)(jnp.zeros(system.n_diffuse))
    known = filter_diffuse(model, system, problem).known
    if given == "all":
        known = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf[-1], leaf.shape), known)
    delta, C = jax.vmap(_identified)(known)
    return Moments(m + jax.vmap(matvec)(slope, delta), P + jax.vmap(congruence)(slope, C))


def draw(
    model: LinearModel, system: BoundSystem, problem: Problem, given: Given, key: Any
) -> Float[Array, "row state"]:
    """One path given all the data; or, given the past, states that are each drawn alone."""
    if given == "past":
        return backward.each_alone(*moments(model, system, problem, given), key)
    of_start, of_path = jax.random.split(key)
    known = filter_diffuse(model, system, problem).known
    delta, C = _identified(jax.tree.map(lambda leaf: leaf[-1], known))
    delta = delta + matvec(psd_factor(C), jax.random.normal(of_start, delta.shape))
    return backward.draw(model, system, problem, given, of_path, (delta, spread_of(problem.data)))


def innovations(
    model: LinearModel, system: BoundSystem, problem: Problem
) -> Float[Array, "row component"]:
    """Standardised errors of predictions; NaN if missing or spent on the diffuse states."""
    z = filter_diffuse(model, system, problem, project=False).innovation
    seen = problem.data.seen
    return z if seen is None else jnp.where(seen, z, jnp.nan)


def _identified(known: Known) -> tuple[Array, Array]:
    """Mean and covariance of the diffuse states; NaN until the data identify all of them."""
    enough = jnp.abs(known.diffuse_factor).max() < IDENTIFIED
    return jnp.where(enough, known.m, jnp.nan), jnp.where(enough, known.P, jnp.nan)
