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
filter runs. A column that depends on earlier ones brings no datum: a zero seen with unit noise
stands in for it, and for missing components, so that no mask is left. At columns that depend on
each other exactly, the value is right and the derivative only along changes that keep them so.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import Rows, TimeGrid
from pymc_dynsys.likelihoods.base import Data
from pymc_dynsys.linalg import ldl, outer, unit_lower_solve
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.gaussian import LOG_2PI

UNROLL = 4
"""Most states whose sweeps are written out instead of looped."""

SWEPT = 4
"""Most components whose noise covariance is factored without LAPACK where that would do."""

DEPENDENT = 1e-26
"""Share of its squared length below which what is left of a column is rounding."""

DEPENDENT_EPS = 450.0
"""The root of the same in units of rounding, which is more in single precision."""


class Sensor(NamedTuple):
    """A linear observation ``y = H x + d + N(0, R)``; R is a vector when independent."""

    H: Float[Array, "*time component state"]
    d: Float[Array, "*time component"]
    R: Array


@runtime_checkable
class Sense(Protocol):
    """Gives the sensor at a row, linearized about a mean and covariance where it must be.

    Where nothing is seen it has no slopes; None: all is known to be seen.
    """

    def __call__(
        self, m: Array, P: Array | None, t: Array, row: Rows | None, seen: Array | None = None, /
    ) -> Sensor:
        """The sensor."""


class Reduced(NamedTuple):
    """Data as a filter takes them in, and where it finds the sensor.

    ``rest`` is what remains of the log-density of each row after projection::

        observation                                   sensors     fixed     rest
        not linear: asked at the predicted mean       None        None      None
        one sensor, independent noises, no projection None        sensor    None
        one sensor, complete data                     None        sensor    (row,)
        else                                          by row      None      (row,)
    """

    data: Data
    sensors: Sensor | None
    fixed: Sensor | None
    rest: Float[Array, " time"] | None


def reduce_data(
    sense: Sense, system: BoundSystem, data: Data, grid: TimeGrid, project: bool = True
) -> Reduced:
    """Decorrelate all data and, if asked, project them; as they are if the sensor is not linear."""
    proof = system.proof.observation
    if not (proof.affine and proof.constant_noise):
        return Reduced(data, None, None, None)
    anywhere = jnp.zeros(system.n_states)
    n, d = data.y.shape[1], system.n_states
    project = project and proof.definite and n > d

    def one(y: Any, seen: Any, sensor: Sensor) -> tuple[Data, Sensor, Array]:
        H, offset, R = sensor
        if project:
            return projected(y - offset[None, :], seen, H, R)
        y, H, R = independent(y.T - offset[:, None], seen, H, R)
        return Data(y.T, seen), Sensor(H, jnp.zeros(n), R), jnp.zeros(y.shape[1])

    if proof.timeless:
        sensor = sense(anywhere, None, grid.times[0], _first(grid.rows))
        if not project and sensor.R.ndim == 1:
            return Reduced(data, None, sensor, None)
        if data.seen is None:
            found, sensor, rest = one(data.y, None, sensor)
            return Reduced(found, None, sensor, rest)
        sensors: Any = sensor
    else:
        sensors = jax.vmap(lambda t, row, seen: sense(anywhere, None, t, row, seen))(
            grid.times, grid.rows, data.seen
        )

    def visit(y: Any, seen: Any, sensor: Any) -> Any:
        (y, seen), sensor, rest = one(y[None, :], seen, sensor)
        return Data(y[0], seen), sensor, rest[0]

    axis = None if proof.timeless else 0
    of_seen = None if data.seen is None else 0
    found, sensors, rest = jax.vmap(visit, in_axes=(0, of_seen, axis))(data.y, data.seen, sensors)
    return Reduced(found, sensors, None, rest)


def _first(rows: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf[0], rows)


def independent(
    y: Float[Array, "component *k"], seen: Any, H: Float[Array, "component state"], R: Array
) -> tuple[Array, Array, Array]:
    """Equivalent data with independent noises; missing components are left out of the mixing."""
    y, H, R = _without_missing(y, seen, H, R)
    if R.ndim == 1:
        return y, H, R
    L, D = ldl(R)
    return unit_lower_solve(L, y), unit_lower_solve(L, H), D


def _without_missing(y: Array, seen: Any, H: Array, R: Array) -> tuple[Array, Array, Array]:
    """Zeros seen with unit noise in place of missing components."""
    if seen is None:
        return y, H, R
    y = jnp.where(seen.reshape(-1, *(1,) * (y.ndim - 1)), y, 0.0)
    both = seen if R.ndim == 1 else seen[:, None] & seen[None, :]
    alone = jnp.ones(R.shape) if R.ndim == 1 else jnp.eye(R.shape[0])
    return y, jnp.where(seen[:, None], H, 0.0), jnp.where(both, R, alone)


def projected(
    y: Float[Array, "k component"], seen: Any, H: Float[Array, "component state"], R: Array
) -> tuple[Data, Sensor, Float[Array, " k"]]:
    """Pseudo-data ``(k, state)`` of `k` data with the same sensor, and what remains of each."""
    n, d = H.shape
    rest, g, log_det = _whitened(y, seen, H, R)
    columns = jnp.arange(rest.shape[1])
    dependent = max(DEPENDENT, float(DEPENDENT_EPS * jnp.finfo(rest.dtype).eps) ** 2)
    lengths = (g[:, None] * rest[:, :d] ** 2).sum(0)

    def sweep(rest: Array, j: Any) -> tuple[Array, Any]:
        column = rest[:, j]
        weighted = g * column
        precision = (weighted * column).sum()
        informs = precision > dependent * lengths[j]
        over = jnp.where(informs, 1.0 / jnp.where(informs, precision, 1.0), 0.0)
        along = jnp.where(columns > j, (weighted[:, None] * rest).sum(0) * over, 0.0)
        return rest - outer(column, along), (along, jnp.where(informs, precision, 0.0))

    if d <= UNROLL:
        found = []
        for j in range(d):
            rest, part = sweep(rest, j)
            found.append(part)
        along, precision = (jnp.stack(part) for part in zip(*found, strict=True))
    else:
        rest, (along, precision) = jax.lax.scan(sweep, rest, jnp.arange(d))
    informs = precision > 0
    precise = jnp.where(informs, precision, 1.0)
    constant = (_count(seen, n) - d) * LOG_2PI + log_det + jnp.log(precise).sum()
    remains = -0.5 * (constant + (g[:, None] * rest[:, d:] ** 2).sum(0))
    T = along[:, :d] + jnp.where(informs[None, :], jnp.eye(d), 0.0)
    return Data(along[:, d:].T, None), Sensor(T, jnp.zeros(d), 1.0 / precise), remains


def _whitened(y: Array, seen: Any, H: Array, R: Array) -> tuple[Array, Array, Array]:
    """Sensor and data side by side with independent noises, their precisions, and log det R.

    Not a number where R is not positive definite.
    """
    n = H.shape[0]
    y, H, R = _without_missing(y.T, seen, H, R)
    both = jnp.concatenate([H, y], axis=1)
    if R.ndim == 2 and n > SWEPT:
        C = jnp.linalg.cholesky(R)
        both = jax.scipy.linalg.solve_triangular(C, both, lower=True)
        return both, jnp.ones(n), 2 * jnp.log((C * jnp.eye(n)).sum(1)).sum()
    if R.ndim == 2:
        L, R = ldl(R)
        both = unit_lower_solve(L, both)
    positive = R > 0
    safe = jnp.where(positive, R, 1.0)
    log_det = jnp.where(positive.all(), jnp.log(safe).sum(), jnp.nan)
    return both, 1.0 / safe, log_det


def _count(seen: Any, n: int) -> Any:
    return n if seen is None else seen.sum()
