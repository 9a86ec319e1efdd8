r"""Exact diffuse likelihood: what the data say of initial states without prior information.

Legend: :math:`\delta` mean of the diffuse states at ``t0``; M slope of the state's mean in it; z
standardised innovations; h how z falls with :math:`\delta`.

A diffuse state is as diffuse when something of finite variance is added to it. So the filter takes
the states for :math:`N(\delta, c)`, with any c: then no innovation is without variance, even where
nothing is measured with noise. The filter is linear, so :math:`z(\delta) = z(0) - h'\delta` are
independent standard normals at the true :math:`\delta`: data of a regression (de Jong 1991), which
``regression.py`` solves, also where they do not tell all of :math:`\delta`.

The value does not depend on c, its rounding does: a c far above the variance of what is seen costs
the digits of a covariance, so each state has its own, at which it is seen with a variance as small
as that of the noise.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.base import Problem
from pymc_dynsys.likelihoods.gaussian.forward import (
    Belief,
    LinearModel,
    RowData,
    give_dose,
    initial_belief,
    over_visits,
    rows_of,
    sensor_at,
    update_each,
)
from pymc_dynsys.likelihoods.gaussian.reduce import Reduced, reduce_data
from pymc_dynsys.likelihoods.gaussian.regression import fit
from pymc_dynsys.linalg import matvec
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.gaussian import LOG_2PI

LARGEST = 1e60
"""Size at which the slopes of an explosive system are cut, where only their scale is asked for."""


class Slopes(NamedTuple):
    """Data of the regression on the diffuse states, in units of their noise.

    ``size`` is the sum of the absolute terms whose sum ``h`` is, which says what its rounding is;
    ``constant`` is what the log-density has besides ``-z**2 / 2``.
    """

    z: Float[Array, "row component"]
    h: Float[Array, "row component q"]
    size: Float[Array, "row component q"]
    constant: Float[Array, "row component"]


def terms(model: LinearModel, system: BoundSystem, problem: Problem) -> Float[Array, " term"]:
    """Numbers whose sum is the log-likelihood: constants of the rows, and the regression."""
    slopes, rest = slopes_of_data(model, system, problem)
    q = system.n_diffuse
    X, size = slopes.h.reshape(-1, q), slopes.size.reshape(-1, q)
    log_pdet, squares = fit(X, slopes.z.reshape(-1), size)
    constants = slopes.constant.sum(-1) + (0.0 if rest is None else rest)
    return jnp.append(constants, -0.5 * (log_pdet + squares))


def slopes_of_data(
    model: LinearModel, system: BoundSystem, problem: Problem, project: bool = True
) -> tuple[Slopes, Any]:
    """Filter the trajectory, and carry the slope of the mean along.

    Also what remains of the log-density of each row after projection, ``(row,)`` or None.
    """
    params, data, grid, _ = problem
    reduced = reduce_data(model.sense, system, data, grid, project)

    def visit(carry: tuple[Belief, Array], k: RowData) -> tuple[tuple[Belief, Array], Slopes]:
        belief, M = carry

        def means(m: Array) -> tuple[Any, Any]:
            before = Belief(m, belief.P)
            predicted = give_dose(system, params, model.cross(before, *k.entry), k.t, k.row)
            H, d, R = sensor_at(model, reduced, predicted, k)
            after, datum = update_each(predicted, k.y - d, k.seen, H, R)
            return (after.m, datum.v, predicted.m), (after, datum, H)

        tangents, (after, datum, H) = _along(means, belief.m, M)
        M, dv, ahead = tangents
        sd = jnp.sqrt(datum.s)
        z = datum.v / sd
        size = jax.lax.stop_gradient(jnp.abs(H) @ jnp.abs(ahead) / sd[:, None])
        constant = -0.5 * (LOG_2PI + jnp.log(datum.s))
        if k.seen is not None:
            size = jnp.where(k.seen[:, None], size, 0.0)
            constant = jnp.where(k.seen, constant, 0.0)
        found = Slopes(z, -dv / sd[:, None], size, constant)
        return (after, M), found

    start = (initial_belief(system, params, diffuse_start(model, system, problem, reduced)),)
    visits = rows_of(model, reduced, problem)
    return over_visits(visit, (*start, first_slope(system)), visits), reduced.rest


def _along(
    function: Callable[[Array], tuple[Any, Any]], x: Array, M: Float[Array, "state q"]
) -> tuple[Any, Any]:
    """Derivatives ``(..., q)`` of the first result along the columns of M; and the second."""

    def one(direction: Array) -> tuple[Any, Any]:
        _, tangents, rest = jax.jvp(function, (x,), (direction,), has_aux=True)
        return tangents, rest

    found: tuple[Any, Any] = jax.vmap(one, in_axes=1, out_axes=(-1, None))(M)
    return found


def first_slope(system: BoundSystem) -> Float[Array, "state q"]:
    """Slope of the initial state in the diffuse states."""
    return jnp.eye(system.n_states)[:, np.flatnonzero(system.start.diffuse)]


def diffuse_start(
    model: LinearModel, system: BoundSystem, problem: Problem, reduced: Reduced
) -> tuple[Array, Array]:
    r"""Means (zero) and variances c of the diffuse states, no derivative with them.

    States are predicted without data: the smallest variance :math:`\sigma^2` with which anything
    is seen then is divided by the square of the largest slope of what is seen in each state.
    """
    params, q = problem.params, system.n_diffuse

    def visit(carry: tuple[Belief, Array], k: RowData) -> tuple[tuple[Belief, Array], Any]:
        belief, M = carry

        def mean(m: Array) -> tuple[Any, Any]:
            before = Belief(m, belief.P)
            ahead = give_dose(system, params, model.cross(before, *k.entry), k.t, k.row)
            return ahead.m, ahead

        M, ahead = _along(mean, belief.m, M)
        H, _, R = sensor_at(model, reduced, ahead, k)
        s = (H * jax.vmap(matvec, in_axes=(None, 0))(ahead.P, H)).sum(1) + R
        bound = (jnp.abs(H) @ jnp.sqrt(jnp.maximum(jnp.diagonal(ahead.P), 0.0))) ** 2 + R
        there = (s > 1e-12 * bound) & jnp.isfinite(s)
        size = jnp.abs(H) @ jnp.abs(M)
        if k.seen is not None:
            there, size = there & k.seen, jnp.where(k.seen[:, None], size, 0.0)
        return (ahead, M), (jnp.where(there, s, jnp.inf).min(), size.max(0))

    start = (initial_belief(system, params), first_slope(system))
    visits = rows_of(model, reduced, problem)
    smallest, sizes = jax.lax.scan(visit, start, visits)[1]
    variance = smallest.min()
    variance = jnp.where(jnp.isfinite(variance), variance, 1.0)
    size = jnp.where(jnp.isnan(sizes), 0.0, sizes).max(0)
    size = jnp.where(size > 0, jnp.clip(size, 1.0 / LARGEST, LARGEST), 1.0)
    return jnp.zeros(q), jax.lax.stop_gradient(variance / size**2)
