r"""Data of a linear sensor made independent, and no more of them than there are states.

Legend: ``y = H x + d + e``, e of covariance R = L D L'; W = L^{-1} H, w = L^{-1} (y - d), of
independent noises D.

Correlated noises are decorrelated by L, missing components left out of the mixing. Where a datum
has more components than the system has states, the sweeps of Gram and Schmidt in the metric
:math:`D^{-1}` split it exactly into a pseudo-datum

.. math:: \hat y = T x + N(0, C), \qquad T \text{ unit upper triangular}, C \text{ diagonal},

of one component a state, and a remainder e that says nothing of the state,

.. math:: \log p(y \mid x) = \log N(\hat y; T x, C)
          - \tfrac12 \left[(n - d) \log 2\pi + \log|D| - \log|C| + e' D^{-1} e\right]

(Jungbacker and Koopman 2015, sec. 2). All of this is done for all visits at once, before the
filter runs. The modified sweeps, applied to the data along with the columns of W, are as accurate
as Householder's (Björck 1967). A column that depends on earlier ones brings none: a zero seen with
unit noise stands in for it, so that no mask is left.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.filters.base import Data
from pymc_dynsys.linalg import ldl, matvec, outer, unit_lower_solve
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.gaussian import LOG_2PI

UNROLL = 4
"""Most states whose sweeps are written out instead of looped."""

DEPENDENT = 1e-26
"""Share of its squared length below which what is left of a column is rounding."""


class Sensor(NamedTuple):
    """A linear observation ``y = H x + d + N(0, R)``; R is a vector when independent."""

    H: Float[Array, "*time component state"]
    d: Float[Array, "*time component"]
    R: Array


class Reduced(NamedTuple):
    """Data as a filter takes them in.

    ``sensors`` has a leading time axis where they differ from visit to visit; it is None where
    the model is to be asked at the predicted mean. ``rest`` is what remains of the log-density.
    """

    data: Data
    sensors: Sensor | None
    fixed: Sensor | None
    rest: Float[Array, " time"] | None


def reduce_data(
    sense: Any, system: BoundSystem, data: Data, grid: TimeGrid, project: bool = True
) -> Reduced:
    """Decorrelate all data and, if asked, project them; as they are if the sensor is not linear."""
    structure = system.structure
    if not (structure.affine_observation and structure.constant_noise):
        return Reduced(data, None, None, None)
    anywhere = jnp.zeros(system.n_states)
    n, d = data.y.shape[1], system.n_states
    project = project and structure.definite_noise and n > d

    def one(y: Any, seen: Any, sensor: Sensor) -> tuple[Data, Sensor, Array]:
        y, H, R = independent(y - sensor.d[:, None], seen, sensor.H, sensor.R)
        if not project:
            return Data(y, seen), Sensor(H, jnp.zeros(n), R), jnp.zeros(y.shape[1])
        return projected(y, seen, H, R)

    if structure.timeless_observation:
        sensor = sense(anywhere, None, grid.times[0], _first(grid.rows))
        if not project and sensor.R.ndim == 1:
            return Reduced(data, None, sensor, None)
        if data.seen is None:
            (y, _), sensor, rest = one(data.y.T, None, sensor)
            return Reduced(Data(y.T, None), None, sensor, rest)
        sensors: Any = sensor
    else:
        sensors = jax.vmap(lambda t, row: sense(anywhere, None, t, row))(grid.times, grid.rows)

    def visit(y: Any, seen: Any, sensor: Any) -> Any:
        (y, seen), sensor, rest = one(y[:, None], seen, sensor)
        return Data(y[:, 0], seen), sensor, rest[0]

    axis = None if structure.timeless_observation else 0
    of_seen = None if data.seen is None else 0
    found, sensors, rest = jax.vmap(visit, in_axes=(0, of_seen, axis))(data.y, data.seen, sensors)
    return Reduced(found, sensors, None, rest)


def _first(rows: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], rows)


def independent(
    y: Float[Array, "component *k"], seen: Any, H: Float[Array, "component state"], R: Array
) -> tuple[Array, Array, Array]:
    """Equivalent data with independent noises; missing components are left out of the mixing."""
    if seen is not None:
        H = jnp.where(seen[:, None], H, 0.0)
        y = jnp.where(seen.reshape(-1, *(1,) * (y.ndim - 1)), y, 0.0)
    if R.ndim == 1:
        return y, H, R if seen is None else jnp.where(seen, R, 1.0)
    if seen is not None:
        R = jnp.where(seen[:, None] & seen[None, :], R, jnp.eye(R.shape[0]))
    L, D = ldl(R)
    return unit_lower_solve(L, y), unit_lower_solve(L, H), D


def projected(
    w: Float[Array, "component k"],
    seen: Any,
    W: Float[Array, "component state"],
    D: Float[Array, " component"],
) -> tuple[Data, Sensor, Float[Array, " k"]]:
    """Pseudo-data ``(state, k)`` of `k` data with the same sensor, and what remains of each."""
    d = W.shape[1]
    positive = D > 0
    safe = jnp.where(positive, D, 1.0)
    there = jnp.ones(D.shape, bool) if seen is None else seen
    g = jnp.where(there, 1.0 / safe, 0.0)
    lengths = (g[:, None] * W * W).sum(0)
    columns = jnp.arange(d)

    def sweep(rest: Any, j: Any) -> Any:
        W, w = rest
        column = W[:, j]
        gc = g * column
        precision = matvec(gc[None, :], column)[0]
        informs = precision > DEPENDENT * lengths[j]
        over = jnp.where(informs, 1.0 / jnp.where(informs, precision, 1.0), 0.0)
        of_W = jnp.where(columns > j, (gc[:, None] * W).sum(0) * over, 0.0)
        of_w = (gc[:, None] * w).sum(0) * over
        row = jnp.where(columns == j, jnp.where(informs, 1.0, 0.0), of_W)
        return (W - outer(column, of_W), w - outer(column, of_w)), (of_w, row, precision, informs)

    if d <= UNROLL:
        rest, found = (W, w), []
        for j in range(d):
            rest, part = sweep(rest, j)
            found.append(part)
        y, T, precision, informs = (jnp.stack(part) for part in zip(*found, strict=True))
    else:
        rest, (y, T, precision, informs) = jax.lax.scan(sweep, (W, w), columns)
    precise = jnp.where(informs, precision, 1.0)
    constant = (
        (there.sum() - d) * LOG_2PI
        + jnp.where(there, jnp.log(safe), 0.0).sum()
        + jnp.log(precise).sum()
    )
    remains = -0.5 * (constant + (g[:, None] * rest[1] ** 2).sum(0))
    valid = (positive | ~there).all()
    sensor = Sensor(T, jnp.zeros(d), 1.0 / precise)
    return Data(y, None), sensor, jnp.where(valid, remains, -jnp.inf)
