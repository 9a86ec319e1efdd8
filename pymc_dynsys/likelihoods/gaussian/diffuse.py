r"""Exact diffuse likelihood: what the data say of initial states without prior information.

Legend: :math:`\delta` mean of the diffuse states at ``t0``; z standardised innovations; h how z
falls with :math:`\delta`; m, P, :math:`U U'` mean, covariance and diffuse part of the covariance
of :math:`\delta`.

A diffuse state is as diffuse when something of finite variance is added to it. So the filter takes
the states for :math:`N(\delta, c)`, with any c, of the size of the data: then no innovation is
without variance, even where nothing is measured with noise. The filter is linear, so
:math:`z(\delta) = z(0) - h'\delta` are independent standard normals at the true
:math:`\delta`: data of a regression (de Jong 1991). Its columns are made orthonormal, T being what
that takes, so that neither units nor a long wait for the first datum matter; and the data are taken
in one after the other by the exact initial filter of Durbin and Koopman (2012, sec. 5.2, 6.4),

.. math:: K = U U' h / F_\infty, \quad \log p = -\tfrac12 \log(2 \pi F_\infty), \qquad
          F_\infty = |U' h|^2 > 0,

and as usual where :math:`F_\infty = 0`, where a datum says nothing of what is still unknown.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.base import Data, Problem
from pymc_dynsys.likelihoods.gaussian.forward import (
    Belief,
    LinearModel,
    RowData,
    at_visit,
    initial_belief,
    over_visits,
    rows_of,
)
from pymc_dynsys.likelihoods.gaussian.reduce import reduce_data
from pymc_dynsys.linalg import congruence, matvec, outer
from pymc_dynsys.systems.bound import BoundSystem

RANK_TOL = 1e-26
"""Squared share of h in the diffuse part from which on a datum counts as informing of it."""


class Known(NamedTuple):
    """What is known of the diffuse states; `diffuse_factor` is U."""

    m: Float[Array, "*time q"]
    P: Float[Array, "*time q q"]
    diffuse_factor: Float[Array, "*time q q"]


class DiffuseStep(NamedTuple):
    """What a visit brought: log-density, what is known then, innovations (NaN: not yet known)."""

    log_likelihood: Float[Array, "*time"]
    known: Known
    innovation: Float[Array, "*time component"]


def filter_diffuse(
    model: LinearModel, system: BoundSystem, problem: Problem, project: bool = True
) -> DiffuseStep:
    """Run over all rows of one trajectory; leaves lead with a row axis.

    Three phases: the filter gives innovations ``(row, component)`` and their slopes ``(row,
    component, q)`` in the diffuse states; the slopes are made orthonormal; and the regression
    takes the innovations in one by one.
    """
    params, data, grid, _ = problem
    reduced = reduce_data(model.sense, system, data, grid, project)
    q, spread = system.n_diffuse, spread_of(data)

    def innovations(delta: Array) -> tuple[Array, Any]:
        def visit(belief: Belief, k: RowData) -> Any:
            _, filtered, datum = at_visit(model, reduced, system, params, belief, k)
            z = datum.v / jnp.sqrt(datum.s)
            return filtered, (z, datum.log_density + 0.5 * z**2)

        visits = rows_of(model, reduced, problem)
        start = initial_belief(system, params, (delta, spread))
        z, constant = over_visits(visit, start, visits)
        return z, (z, constant)

    found: Any = jax.jacfwd(innovations, has_aux=True)(jnp.zeros(q))
    slope, (z, constant) = found

    def visit(known: Known, k: Any) -> tuple[Known, DiffuseStep]:
        def component(known: Known, part: Any) -> Any:
            known, log_density, e = absorb(known, *part)
            return known, (log_density, e)

        known, (log_density, e) = jax.lax.scan(component, known, k)
        return known, DiffuseStep(log_density.sum(), known, e)

    h, T = orthonormal(-slope.reshape(-1, q))
    nothing = Known(jnp.zeros(q), jnp.zeros((q, q)), jnp.eye(q))
    visits = (z, h.reshape(slope.shape), constant)
    steps: DiffuseStep = jax.lax.scan(visit, nothing, visits)[1]
    # Of the volume that T changes, each direction's share goes to the visit that identifies it.
    total = jnp.log(jnp.diagonal(T)).sum()
    left = (steps.known.diffuse_factor**2).sum((-1, -2))
    identified = -jnp.diff(left, prepend=float(q))
    density = steps.log_likelihood - total * identified / jnp.maximum(identified.sum(), 1.0)
    if reduced.rest is not None:
        density = density + reduced.rest
    back = jnp.linalg.inv(T)
    known = Known(
        jax.vmap(matvec, in_axes=(None, 0))(back, steps.known.m),
        jax.vmap(congruence, in_axes=(None, 0))(back, steps.known.P),
        steps.known.diffuse_factor,
    )
    return DiffuseStep(density, known, steps.innovation)


def spread_of(data: Data) -> Float[Array, ""]:
    """A variance of the size of the data."""
    seen = jnp.ones(data.y.shape, bool) if data.seen is None else data.seen
    mean = jnp.where(seen, data.y**2, 0.0).sum() / jnp.maximum(seen.sum(), 1)
    size: Array = jax.lax.stop_gradient(jnp.where(mean > 0, mean, 1.0))
    return size


def orthonormal(h: Float[Array, "n q"]) -> tuple[Float[Array, "n q"], Float[Array, "q q"]]:
    """Orthonormal columns V and an upper triangular T with ``V T = h``.

    A column that depends on earlier ones is zero in V, and has one on the diagonal of T.
    """
    q = h.shape[1]
    columns, rows = jnp.arange(q), []
    lengths = (h * h).sum(0)
    for j in range(q):
        square = (h[:, j] ** 2).sum()
        free = square > RANK_TOL * lengths[j]
        norm = jnp.sqrt(jnp.where(free, square, 1.0))
        v = jnp.where(free, h[:, j] / norm, 0.0)
        along = jnp.where(columns > j, (v[:, None] * h).sum(0), 0.0)
        h = jnp.where(columns[None, :] == j, v[:, None], h - outer(v, along))
        rows.append(along + jnp.where(columns == j, norm, 0.0))
    return h, jnp.stack(rows)


def absorb(
    known: Known, z: Float[Array, ""], h: Float[Array, " q"], constant: Float[Array, ""]
) -> tuple[Known, Float[Array, ""], Float[Array, ""]]:
    """Take in ``z = h delta + N(0, 1)``; also its log-density and standardised innovation."""
    m, P, U = known
    w = matvec(U.T, h)
    F_inf = (w * w).sum()
    first = F_inf > RANK_TOL * (h * h).sum()
    safe = jnp.where(first, F_inf, 1.0)
    Ph = matvec(P, h)
    F = (h * Ph).sum() + 1.0
    v = z - (h * m).sum()
    gain = jnp.where(first, matvec(U, w) / safe, Ph / F)
    A = jnp.eye(m.shape[0]) - outer(gain, h)
    P = congruence(A, P) + outer(gain, gain)
    U = jnp.where(first, U - outer(matvec(U, w), w) / safe, U)
    log_density = constant - 0.5 * jnp.where(first, jnp.log(safe), jnp.log(F) + v * v / F)
    e = jnp.where(first, jnp.nan, v / jnp.sqrt(F))
    return Known(m + gain * v, P, U), log_density, e
