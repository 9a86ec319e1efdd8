r"""Smoothed means, covariances and paths behind the Kalman filter and its extension.

Legend, beyond that of the filter: r, N slope and curvature of the log-density of all later data
in the predicted mean; u error of the prediction of a simulated path; e innovation.

The data from a row onwards shift its prediction (m, P) to

.. math:: \hat x = m + P r, \qquad V = P - P N P

where, backwards through each number of a datum and then over the gap into the row,

.. math:: r \leftarrow h e / s + (I - K h)' r, \quad N \leftarrow h h' / s + (I - K h)' N (I - K h),
          \qquad r \leftarrow F' r, \quad N \leftarrow F' N F

(de Jong 1989; Durbin and Koopman 2012, sec. 4.4). Nothing is inverted, so states known exactly and
singular noise are as good as any. These are the moments of the Rauch-Tung-Striebel smoother.

A path is drawn by mean correction (Durbin and Koopman 2002): a path simulated from the linear
model is filtered together with the data, and what the smoother says of its errors is taken off.
For nonlinear systems the model is the one linearized along the filtered path.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.likelihoods.answers import Moments
from pymc_dynsys.likelihoods.base import Given, Problem
from pymc_dynsys.likelihoods.gaussian.forward import (
    Belief,
    Datum,
    LinearModel,
    Propagator,
    assimilate,
    give_dose,
    initial_belief,
    rows_of,
    sensor_at,
)
from pymc_dynsys.likelihoods.gaussian.reduce import independent, reduce_data
from pymc_dynsys.linalg import congruence, matvec, outer, psd_factor, symmetrize
from pymc_dynsys.systems.bound import BoundSystem


class Record(NamedTuple):
    """What the forward pass leaves behind at a row."""

    predicted: Belief
    filtered: Belief
    u: Float[Array, " state"]
    H: Float[Array, "component state"]
    data: Datum


def forward(
    model: LinearModel,
    system: BoundSystem,
    problem: Problem,
    key: Any = None,
    project: bool = True,
    diffuse: Any = None,
) -> tuple[Record, Any]:
    """Filter one trajectory, and with a `key` simulate one beside it; leaves lead with a row axis.

    At each row the belief crosses the gap, with the propagator since the last row; the data are
    made independent; and each component is assimilated, in the filter and in the simulated error.
    Also returns which of the data are there ``(row, component)``, after they were reduced.
    """
    params, data, grid, _ = problem
    reduced = reduce_data(model.sense, system, data, grid, project)
    d, n = system.n_states, grid.times.shape[0]
    start = initial_belief(system, params, diffuse)
    if key is None:
        u, keys = jnp.zeros(d), None
    else:
        of_start, of_path = jax.random.split(key)
        u = matvec(psd_factor(start.P), jax.random.normal(of_start, (d,)))
        keys = jax.random.split(of_path, n)

    def row(carry: Any, k: Any) -> Any:
        belief, u = carry
        k, key = k
        nothing = Propagator(jnp.eye(d), jnp.zeros((d, d)))
        predicted = model.cross(belief._replace(since=nothing), *k.entry)
        predicted = give_dose(system, params, predicted, k.t, k.row)
        since: Any = predicted.since
        H, offset, R = sensor_at(model, reduced, predicted, k)
        y, seen = k.y - offset, k.seen
        if R.ndim == 2:
            y, H, R = independent(y, seen, H, R)
        z, noise = jnp.zeros(d), jnp.zeros(R.shape)
        if key is not None:
            z = jax.random.normal(key, (d + R.shape[0],))
            noise = jnp.sqrt(jnp.maximum(R, 0.0)) * z[d:]
            z = matvec(psd_factor(since.Q), z[:d])
        u = matvec(since.F, u) + z
        filtered, ahead = Belief(predicted.m, predicted.P), u

        def component(carry: Any, part: Any) -> Any:
            filtered, u = carry
            y, seen, h, r, noise = part
            filtered, datum = assimilate(filtered, y, seen, h, r)
            off = (h * u).sum() + noise
            if seen is not None:
                off = jnp.where(seen, off, 0.0)
            return (filtered, u - datum.gain * off), datum._replace(v=datum.v - off)

        (filtered, u), data = jax.lax.scan(component, (filtered, u), (y, seen, H, R, noise))
        return (filtered, u), Record(predicted, filtered, ahead, H, data)

    rows = (rows_of(model, reduced, problem), keys)
    return jax.lax.scan(row, (start, u), rows)[1], reduced.data.seen


def backward(record: Record, seen: Array | None) -> tuple[Array, Array]:
    """Slope and curvature ``(r, N)`` of the log-density of the data from each row onwards."""
    d = record.u.shape[-1]

    def component(carry: Any, part: Any) -> Any:
        r, N = carry
        h, datum, seen = part
        A = jnp.eye(d) - outer(datum.gain, h)
        r = h * (datum.v / datum.s) + matvec(A.T, r)
        N = outer(h, h) / datum.s + congruence(A.T, N)
        if seen is None:
            return (r, N), None
        return jax.tree.map(lambda new, old: jnp.where(seen, new, old), (r, N), carry), None

    def row(carry: Any, k: Any) -> Any:
        H, data, F, seen = k
        here, _ = jax.lax.scan(component, carry, (H, data, seen), reverse=True)
        r, N = here
        return (matvec(F.T, r), congruence(F.T, N)), here

    since: Any = record.predicted.since
    rows = (record.H, record.data, since.F, seen)
    return jax.lax.scan(row, (jnp.zeros(d), jnp.zeros((d, d))), rows, reverse=True)[1]


def moments(model: LinearModel, system: BoundSystem, problem: Problem, given: Given) -> Moments:
    """Mean and covariance of the state at every row, given the data up to it or all of them."""
    return moments_of(*forward(model, system, problem), given)


def moments_of(record: Record, seen: Array | None, given: Given) -> Moments:
    """Moments from what the forward pass left behind."""
    if given == "past":
        return Moments(record.filtered.m, record.filtered.P)
    r, N = backward(record, seen)
    P = record.predicted.P
    return Moments(
        record.predicted.m + jax.vmap(matvec)(P, r),
        jax.vmap(symmetrize)(P - jax.vmap(congruence)(P, N)),
    )


def draw(
    model: LinearModel, system: BoundSystem, problem: Problem, given: Given, key: Any
) -> Float[Array, "row state"]:
    """One path given all the data; or, given the past, states that are each drawn alone."""
    if given == "past":
        return each_alone(*moments(model, system, problem, given), key)
    return path_of(*forward(model, system, problem, key))


def path_of(record: Record, seen: Array | None) -> Float[Array, "row state"]:
    """The path whose errors the forward pass simulated, corrected."""
    r, _ = backward(record, seen)
    return record.predicted.m + record.u + jax.vmap(matvec)(record.predicted.P, r)


def each_alone(
    m: Float[Array, "row state"], P: Float[Array, "row state state"], key: Any
) -> Float[Array, "row state"]:
    """States of their own moments, independent of each other."""
    z = jax.random.normal(key, m.shape)
    return m + jax.vmap(lambda P, z: matvec(psd_factor(P), z))(P, z)


def without_variance(record: Record) -> Bool[Array, "row component"]:
    """Data predicted without variance, from a state that is still defined."""
    defined = jnp.isfinite(record.predicted.P).all((1, 2))
    return defined[:, None] & jnp.isnan(record.data.s)


def innovations(
    model: LinearModel, system: BoundSystem, problem: Problem
) -> Float[Array, "row component"]:
    """Standardised errors of the predictions of each number from all before it; NaN if missing."""
    record, _ = forward(model, system, problem, project=False)
    z, seen = record.data.v / jnp.sqrt(record.data.s), problem.data.seen
    return z if seen is None else jnp.where(seen, z, jnp.nan)
