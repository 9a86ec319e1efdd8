r"""States behind the exact diffuse likelihood.

Given the diffuse states :math:`\delta` at ``t0`` the states are those of the ordinary smoother,
and their mean is linear in :math:`\delta`, of which the data leave a normal distribution
(``regression.py``). So a path is drawn in two stages, and moments are :math:`m + M \hat\delta` and
:math:`V + M C M'`, M the slope of the mean (de Jong 1991). A state is not a number where it depends
on what the data do not tell, where :math:`M N \ne 0`; other states are what they are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float

from pymc_dynsys.likelihoods.answers import Faults, Moments, Present
from pymc_dynsys.likelihoods.base import Given, Problem
from pymc_dynsys.likelihoods.gaussian import backward
from pymc_dynsys.likelihoods.gaussian.diffuse import (
    Slopes,
    diffuse_start,
    first_slope,
    slopes_of_data,
)
from pymc_dynsys.likelihoods.gaussian.forward import LinearModel
from pymc_dynsys.likelihoods.gaussian.one_by_one import beside, one_by_one
from pymc_dynsys.likelihoods.gaussian.reduce import reduce_data
from pymc_dynsys.likelihoods.gaussian.regression import Told, null_space, told_by
from pymc_dynsys.linalg import congruence, matmul, matvec, outer
from pymc_dynsys.systems.bound import BoundSystem

DEPENDS = 1e-9
"""Share of the largest slope of a state from which on it depends on what is not known."""


class View(NamedTuple):
    r"""How states at all rows depend on the diffuse ones.

    ``slope`` is M in the order and the scales of `Told`, and ``largest`` are the largest absolute
    slopes at any row, which say what the rounding of a slope is.
    """

    slope: Float[Array, "row state q"]
    largest: Float[Array, "state q"]


def moments(model: LinearModel, system: BoundSystem, problem: Problem, given: Given) -> Moments:
    """Mean and covariance of the state at every row, given the data up to it or all of them."""
    slopes, told = regression(model, system, problem)
    record, seen = _filtered(model, system, problem)
    found = backward.moments_of(record, seen, given)
    view = _view(record, seen, system, told, given)
    a, lost = in_basis(view.slope, told), depends(view, told)
    if given == "all":
        mean = a @ (told.V.T @ slopes.z.reshape(-1))
        cov = a @ jnp.swapaxes(a, -1, -2)
    else:
        known = one_by_one(slopes, told).known
        mean = jax.vmap(matvec)(a, known.m)
        cov = jax.vmap(congruence)(a, known.P)
        rest = jax.vmap(jax.vmap(beside, in_axes=(0, None)))(a, known.B)
        size = _length(in_basis(view.largest, told, jnp.abs))
        lost = lost | (_length(rest) > DEPENDS * size[None, :])
    either = lost[:, :, None] | lost[:, None, :]
    return Moments(
        jnp.where(lost, jnp.nan, found.mean + mean), jnp.where(either, jnp.nan, found.cov + cov)
    )


def draw(
    model: LinearModel, system: BoundSystem, problem: Problem, given: Given, key: Array
) -> Float[Array, "row state"]:
    """One path given all the data; or, given the past, states that are each drawn alone."""
    if given == "past":
        mean, cov = moments(model, system, problem, given)
        return backward.each_alone(mean, jnp.where(jnp.isnan(cov), 0.0, cov), key)
    path, view, told = _path(model, system, problem, key)
    return jnp.where(depends(view, told), jnp.nan, path)


def present(model: LinearModel, system: BoundSystem, problem: Problem, key: Array) -> Present:
    """A path whatever is not known, and how it may move along with that."""
    path, view, told = _path(model, system, problem, key)
    # One direction shows, with probability one, whatever any of them would.
    weights = jax.random.uniform(jax.random.key(0), told.free.shape, minval=0.5, maxval=1.0)
    free = view.slope @ (null_space(told) @ weights)
    free = jnp.where(depends(view, told), free, 0.0)
    return Present(path, free, jnp.broadcast_to(_length(view.largest), free.shape))


def innovations(
    model: LinearModel, system: BoundSystem, problem: Problem
) -> Float[Array, "row component"]:
    """Standardised errors of predictions; NaN if missing or spent on the diffuse states."""
    slopes, told = regression(model, system, problem, project=False)
    z = one_by_one(slopes, told).innovation
    seen = problem.data.seen
    return z if seen is None else jnp.where(seen, z, jnp.nan)


def pointwise(model: LinearModel, system: BoundSystem, problem: Problem) -> Float[Array, " row"]:
    """Log-density of the data at each row given the earlier ones."""
    slopes, rest = slopes_of_data(model, system, problem)
    found = one_by_one(slopes, told_of(slopes)).log_likelihood
    return found if rest is None else found + rest


def faults(model: LinearModel, system: BoundSystem, problem: Problem) -> Faults:
    """Diffuse states that the data do not tell, alone or apart, and data without variance."""
    told = regression(model, system, problem)[1]
    free = jnp.abs(null_space(told)).max(1) > DEPENDS
    record, _ = _filtered(model, system, problem, project=False)
    untold = jnp.zeros_like(free).at[told.order].set(free)
    return Faults(untold, backward.without_variance(record))


def regression(
    model: LinearModel, system: BoundSystem, problem: Problem, project: bool = True
) -> tuple[Slopes, Told]:
    """The regression on the diffuse states, and what its data tell."""
    slopes, _ = slopes_of_data(model, system, problem, project)
    return slopes, told_of(slopes)


def told_of(slopes: Slopes) -> Told:
    """What the data tell."""
    q = slopes.h.shape[-1]
    return told_by(slopes.h.reshape(-1, q), slopes.size.reshape(-1, q))


def in_basis(
    slope: Float[Array, "*row state q"],
    told: Told,
    of: Callable[[Array], Array] = lambda matrix: matrix,
) -> Float[Array, "*row state q"]:
    """Slopes in the coordinates of V, in which the data leave independent unit normals."""
    inverse = of(solve_triangular(told.A, jnp.diag(1.0 * told.free)))
    return slope @ inverse


def depends(view: View, told: Told) -> Bool[Array, "row state"]:
    """Where a state depends on what the data do not tell."""
    N = null_space(told)
    return _length(view.slope @ N) > DEPENDS * _length(view.largest @ jnp.abs(N))[None, :]


def _length(rows: Float[Array, "*row q"]) -> Float[Array, "*row"]:
    return jnp.sqrt((rows * rows).sum(-1))


def _filtered(
    model: LinearModel,
    system: BoundSystem,
    problem: Problem,
    key: Array | None = None,
    project: bool = True,
) -> tuple[backward.Record, Any]:
    """Forward pass with diffuse states of mean zero and of the variance that the filter gives."""
    reduced = reduce_data(model.sense, system, problem.data, problem.grid, project)
    start = diffuse_start(model, system, problem, reduced)
    return backward.forward(model, system, problem, key, project, start)


def _path(
    model: LinearModel, system: BoundSystem, problem: Problem, key: Array
) -> tuple[Float[Array, "row state"], View, Told]:
    """A path given all the data, with zero for what they do not tell."""
    of_start, of_path = jax.random.split(key)
    slopes, told = regression(model, system, problem)
    record, seen = _filtered(model, system, problem, of_path)
    view = _view(record, seen, system, told, "all")
    z = told.V.T @ slopes.z.reshape(-1) + jax.random.normal(of_start, told.free.shape)
    return backward.path_of(record, seen) + in_basis(view.slope, told) @ z, view, told


def _view(
    record: backward.Record, seen: Array | None, system: BoundSystem, told: Told, given: Given
) -> View:
    """Slopes of the means of the states in the diffuse ones.

    Forwards as the means go, over the gap ``(state, q)`` and through each component ``(q,)`` of a
    datum; and if `given` is "all" the slopes of the innovations backwards, one column each.
    """
    since: Any = record.predicted.since

    def component(M: Array, part: tuple[Any, ...]) -> tuple[Array, Array]:
        h, gain, seen = part
        dv = -matvec(M.T, h)
        dv = dv if seen is None else jnp.where(seen, dv, 0.0)
        return M + outer(gain, dv), dv

    def row(M: Array, k: tuple[Any, ...]) -> tuple[Array, Any]:
        F, *parts = k
        ahead = matmul(F, M)
        after, dv = jax.lax.scan(component, ahead, tuple(parts))
        return after, (ahead, after, dv)

    rows = (since.F, record.H, record.data.gain, seen)
    ahead, slope, dv = jax.lax.scan(row, first_slope(system), rows)[1]
    if given == "all":

        def of_later(dv: Array) -> Array:
            r, _ = backward.backward(record._replace(data=record.data._replace(v=dv)), seen)
            return r

        r = jax.vmap(of_later, in_axes=-1, out_axes=-1)(dv)
        slope = ahead + jax.vmap(matmul)(record.predicted.P, r)
    largest = jnp.maximum(jnp.abs(ahead), jnp.abs(slope)).max(0)
    scale = told.scale[None, :]
    return View(slope[..., told.order] * scale[None], largest[:, told.order] * scale)
