r"""Exact diffuse likelihood: what the data say of initial states of which nothing was known.

Legend: :math:`\delta` the diffuse states at ``t0``; z standardised innovations of the filter that
takes them for known; h how z falls with them; m, P, :math:`P_\infty` mean, covariance and diffuse
part of the covariance of :math:`\delta`.

The filter is linear, so :math:`z(\delta) = z(0) - h'\delta` are independent standard normals at
the true :math:`\delta`: data of a regression (de Jong 1991). They are taken in one after the
other by the exact initial filter of Durbin and Koopman (2012, sec. 5.2 and 6.4),

.. math:: K = P_\infty h / F_\infty, \quad \log p = -\tfrac12 \log(2 \pi F_\infty), \qquad
          F_\infty = h' P_\infty h > 0,

and as usual where :math:`F_\infty = 0`, where a datum says nothing of what is still unknown.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.filters.base import Data
from pymc_dynsys.filters.gaussian import (
    Belief,
    LinearModel,
    give_dose,
    initial_belief,
    over_visits,
    sensor_at,
    update_each,
)
from pymc_dynsys.filters.reduce import reduce_data
from pymc_dynsys.linalg import congruence, matvec, outer
from pymc_dynsys.systems.bound import DIFFUSE, BoundSystem, Params

UNKNOWN = 1e-11
"""Share of h that lies in what is unknown, from which on a datum counts as informing of it."""


class Diffuse(NamedTuple):
    """What is known of the diffuse states."""

    m: Float[Array, "*time q"]
    P: Float[Array, "*time q q"]
    unknown: Float[Array, "*time q q"]


class Taken(NamedTuple):
    """What a visit brought: log-density, what is known then, innovations (NaN: not yet known)."""

    log_likelihood: Float[Array, "*time"]
    known: Diffuse
    innovation: Float[Array, "*time component"]


def filter_diffuse(
    model: LinearModel,
    system: BoundSystem,
    params: Params,
    data: Data,
    grid: TimeGrid,
    project: bool = True,
) -> Taken:
    """Run over all visits of one trajectory; leaves are time first."""
    reduced = reduce_data(model.sense, system, data, grid, project)
    q = system.n_diffuse

    def innovations(delta: Array) -> tuple[Array, Any]:
        def visit(belief: Belief, k: Any) -> Any:
            y, seen, sensor, t, entry, row = k
            predicted = give_dose(system, params, model.cross(belief, *entry), t, row)
            H, d, R = sensor_at(model, reduced, sensor, predicted, t, row)
            filtered, datum = update_each(predicted, y - d, seen, H, R)
            z = datum.v / jnp.sqrt(datum.s)
            return filtered, (z, datum.log_density + 0.5 * z**2)

        visits = (*reduced.data, reduced.sensors, grid.times, model.entries, grid.rows)
        z, constant = over_visits(visit, initial_belief(system, {**params, DIFFUSE: delta}), visits)
        return z, (z, constant)

    found: Any = jax.jacfwd(innovations, has_aux=True)(jnp.zeros(q))
    slope, (z, constant) = found

    def visit(known: Diffuse, k: Any) -> tuple[Diffuse, Taken]:
        def component(known: Diffuse, part: Any) -> Any:
            known, log_density, e = learn(known, *part)
            return known, (log_density, e)

        known, (log_density, e) = jax.lax.scan(component, known, k)
        return known, Taken(log_density.sum(), known, e)

    nothing = Diffuse(jnp.zeros(q), jnp.zeros((q, q)), jnp.eye(q))
    taken: Taken = jax.lax.scan(visit, nothing, (z, -slope, constant))[1]
    if reduced.rest is None:
        return taken
    return taken._replace(log_likelihood=taken.log_likelihood + reduced.rest)


def learn(
    known: Diffuse, z: Float[Array, ""], h: Float[Array, " q"], constant: Float[Array, ""]
) -> tuple[Diffuse, Float[Array, ""], Float[Array, ""]]:
    """Take in ``z = h delta + N(0, 1)``; also its log-density and standardised innovation."""
    m, P, unknown = known
    of_unknown = matvec(unknown, h)
    F_inf = (h * of_unknown).sum()
    # A gain per unit of h, so that slopes of any size count alike.
    first = F_inf > UNKNOWN * (h * h).sum()
    Ph = matvec(P, h)
    F = (h * Ph).sum() + 1.0
    v = z - (h * m).sum()
    safe = jnp.where(first, F_inf, 1.0)
    gain = jnp.where(first, of_unknown / safe, Ph / F)
    A = jnp.eye(m.shape[0]) - outer(gain, h)
    P = congruence(A, P) + outer(gain, gain)
    unknown = jnp.where(first, congruence(A, unknown), unknown)
    log_density = constant - 0.5 * jnp.where(first, jnp.log(safe), jnp.log(F) + v * v / F)
    e = jnp.where(first, jnp.nan, v / jnp.sqrt(F))
    return Diffuse(m + gain * v, P, unknown), log_density, e
