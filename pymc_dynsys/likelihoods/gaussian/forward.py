"""What Gaussian filters share: beliefs, their steps, and the run over all visits.

Legend: m, P mean and covariance of the state; F, Q slope and noise covariance of a step; H, d
observation matrix and offset; R observation noise; v innovation with variance s; K gain.
Equations: Särkkä (2013), *Bayesian Filtering and Smoothing*, 4.20-4.21.

Components are assimilated one at a time, which needs no matrix inverse; correlated noise is
decorrelated first (``reduce.py``). The covariance update is Joseph's product form (Bucy and
Joseph 1968), which stays semi-definite with tiny R and singular P.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import Rows
from pymc_dynsys.discretization.doses import dose_at
from pymc_dynsys.likelihoods.base import Problem
from pymc_dynsys.likelihoods.gaussian.reduce import Reduced, Sense, Sensor, independent, reduce_data
from pymc_dynsys.linalg import congruence, ldl, linearize, matmul, matvec, outer, symmetrize
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.gaussian import LOG_2PI

UNROLL = 3
"""Most components assimilated by written-out code instead of a loop."""


class Propagator(NamedTuple):
    """Slope of the state in what it was at the last row, and the noise it gathered since."""

    F: Float[Array, "state state"]
    Q: Float[Array, "state state"]


class Belief(NamedTuple):
    """Mean and covariance of the state; smoothers also follow what led to it."""

    m: Float[Array, " state"]
    P: Float[Array, "state state"]
    since: Propagator | None = None


class Visit(NamedTuple):
    """What a filter knows at a visit."""

    log_likelihood: Float[Array, ""]
    predicted: Belief
    filtered: Belief


class Datum(NamedTuple):
    """What one component of a datum brought: innovation, its variance, gain, log-density."""

    v: Float[Array, ""]
    s: Float[Array, ""]
    gain: Float[Array, " state"]
    log_density: Float[Array, ""]


@runtime_checkable
class Cross(Protocol):
    """Carries a belief over the gap whose entry it is given."""

    def __call__(self, belief: Belief, /, *entry: Any) -> Belief:
        """Belief at the end of the gap."""


class LinearModel(NamedTuple):
    """A system as Gaussian filters see it: how beliefs cross gaps, and what is seen of a state.

    ``entries`` are the arguments of ``cross`` after the belief; leaves lead with a row axis.
    """

    cross: Cross
    entries: tuple[Any, ...]
    sense: Sense


class RowData(NamedTuple):
    """What a filter needs to know of a row; leaves of all rows lead with a row axis.

    ``sensor`` is None where that of all rows is one, or depends on the belief.
    """

    y: Float[Array, "*row component"]
    seen: Bool[Array, "*row component"] | None
    sensor: Sensor | None
    t: Float[Array, "*row"]
    entry: tuple[Any, ...]
    row: Rows | None


def run_filter(model: LinearModel, system: BoundSystem, problem: Problem) -> Visit:
    """Predict and update at every row of one trajectory; leaves gain a leading row axis."""
    params, data, grid, _ = problem
    reduced = reduce_data(model.sense, system, data, grid)

    def visit(belief: Belief, k: RowData) -> tuple[Belief, Visit]:
        predicted, filtered, data = at_visit(model, reduced, system, params, belief, k)
        return filtered, Visit(data.log_density.sum(), predicted, filtered)

    visits = rows_of(model, reduced, problem)
    found: Visit = over_visits(visit, initial_belief(system, params), visits)
    if reduced.rest is None:
        return found
    return found._replace(log_likelihood=found.log_likelihood + reduced.rest)


def rows_of(model: LinearModel, reduced: Reduced, problem: Problem) -> RowData:
    """What a filter needs to know of every row."""
    grid = problem.grid
    return RowData(*reduced.data, reduced.sensors, grid.times, model.entries, grid.rows)


def at_visit(
    model: LinearModel,
    reduced: Reduced,
    system: BoundSystem,
    params: Params,
    belief: Belief,
    k: RowData,
) -> tuple[Belief, Belief, Datum]:
    """Beliefs before and after the data of a visit, and what each component brought."""
    predicted = give_dose(system, params, model.cross(belief, *k.entry), k.t, k.row)
    H, d, R = sensor_at(model, reduced, predicted, k)
    return (predicted, *update_each(predicted, k.y - d, k.seen, H, R))


def sensor_at(model: LinearModel, reduced: Reduced, belief: Belief, k: RowData) -> Sensor:
    """The sensor of all rows, that of this one, or the one linearized about a belief."""
    if reduced.fixed is not None:
        return reduced.fixed
    if k.sensor is not None:
        return k.sensor
    return model.sense(belief.m, belief.P, k.t, k.row, k.seen)


def over_visits(visit: Any, start: Belief | tuple[Belief, Array], visits: Any) -> Any:
    """Scan `visit` over the visits; a gradient keeps the beliefs between them and nothing else.

    What lies between is computed again on the way back, which takes less time than memory does.
    """
    return jax.lax.scan(jax.checkpoint(visit, prevent_cse=False), start, visits)[1]


def initial_belief(system: BoundSystem, params: Params, diffuse: Any = None) -> Belief:
    """Belief at ``t0``; not a number if its covariance is not positive semi-definite.

    ``diffuse`` is the mean ``(q,)`` and the variance of the diffuse states.
    """
    m, P = system.start.moments(params, diffuse)
    indefinite = jnp.isnan(ldl(P)[1]).any()
    return Belief(m, jnp.where(indefinite, jnp.nan, P))


def give_dose(
    system: BoundSystem, params: Params, belief: Belief, t: Any, row: Rows | None
) -> Belief:
    """Belief after the event at a row, if there is one; a nonlinear jump is linearized."""
    if row is None or row.amount is None:
        return belief
    if row.fresh is not None:
        after = row.fresh.moved(belief.m)
        belief = propagate(belief, after, row.fresh.slope, row.fresh.noise)
    (given, amount), held = dose_at(row), row.at_row(params)
    m, J = linearize(lambda x: system.dosing.jump(x, t, held, amount, row.target), belief.m)
    dosed = propagate(belief, m, J, jnp.zeros_like(belief.P))
    return jax.tree.map(lambda a, b: jnp.where(given, a, b), dosed, belief)


def predict(
    belief: Belief, F: Float[Array, "state state"], offset: Float[Array, " state"], Q: Array
) -> Belief:
    """Belief at the end of a gap."""
    return propagate(belief, matvec(F, belief.m) + offset, F, Q)


def propagate(
    belief: Belief, m: Float[Array, " state"], F: Float[Array, "state state"], Q: Array
) -> Belief:
    """Belief with the mean `m` after a step of slope `F` and noise covariance `Q`."""
    since = belief.since
    if since is not None:
        since = Propagator(matmul(F, since.F), congruence(F, since.Q) + Q)
    return Belief(m, congruence(F, belief.P) + Q, since)


def update(
    belief: Belief,
    y: Float[Array, " component"],
    seen: Bool[Array, " component"] | None,
    H: Float[Array, "component state"],
    R: Array,
) -> tuple[Belief, Float[Array, ""]]:
    """Belief after the data ``y = H x + N(0, R)``, and their log-density."""
    belief, data = update_each(belief, y, seen, H, R)
    return belief, data.log_density.sum()


def update_each(
    belief: Belief,
    y: Float[Array, " component"],
    seen: Bool[Array, " component"] | None,
    H: Float[Array, "component state"],
    R: Array,
) -> tuple[Belief, Datum]:
    """Belief after the data ``y = H x + N(0, R)``, and what each component brought.

    Missing components change nothing. Not a number from where a noise variance is negative, or an
    innovation variance not positive.
    """
    if R.ndim == 2:
        y, H, R = independent(y, seen, H, R)

    belief = Belief(belief.m, belief.P)
    return over_components(
        lambda belief, part: assimilate(belief, *part), belief, (y, seen, H, R), y.shape[0]
    )


def over_components(step: Any, carry: Any, components: Any, n: int) -> tuple[Any, Any]:
    """Scan `step` over `n` components; a few are written out."""
    if n > UNROLL:
        return jax.lax.scan(step, carry, components)
    found = []
    for j in range(n):
        carry, out = step(carry, jax.tree.map(lambda part: part[j], components))  # noqa: B023
        found.append(out)
    return carry, jax.tree.map(lambda *parts: jnp.stack(parts), *found)


def assimilate(
    belief: Belief, y: Float[Array, ""], seen: Any, h: Float[Array, " state"], r: Any
) -> tuple[Belief, Datum]:
    """Belief after one number ``y = h x + N(0, r)``; `seen` None if it is known to be there."""
    m, P, _ = belief
    if seen is not None:
        h, r = jnp.where(seen, h, 0.0), jnp.where(seen, r, 1.0)
    gain, s, P = conditioned(P, h, r)
    v = y - (h * m).sum()
    loglik = log_density(v, s)
    if seen is not None:
        v = jnp.where(seen, v, 0.0)
        loglik = jnp.where(seen, loglik, 0.0)
    return Belief(m + gain * v, P), Datum(v, s, gain, loglik)


@jax.custom_jvp
def conditioned(
    P: Float[Array, "state state"], h: Float[Array, " state"], r: Any
) -> tuple[Float[Array, " state"], Float[Array, ""], Float[Array, "state state"]]:
    """Gain, variance of the innovation and covariance after one number.

    (I - K h') P (I - K h')' + r K K' is Joseph's form, here by changes of rank one. Not a number
    unless the variance is positive and that of the noise not negative.
    """
    Ph = matvec(P, h)
    s = (h * Ph).sum() + r
    s = jnp.where((s > 0) & (r >= 0), s, jnp.nan)
    gain = Ph / s
    half = P - outer(gain, Ph)
    return gain, s, symmetrize(half - outer(matvec(half, h), gain) + r * outer(gain, gain))


@conditioned.defjvp
def _conditioned_tangents(primals: Any, tangents: Any) -> Any:
    """Derivatives of the equal P - s K K', which are fewer."""
    P, h, r = primals
    dP, dh, dr = tangents
    gain, s, after = conditioned(P, h, r)
    dPh = matvec(dP, h) + matvec(P, dh)
    ds = (dh * gain).sum() * s + (h * dPh).sum() + dr
    dgain = (dPh - gain * ds) / s
    off = outer(0.5 * ds * gain - dPh, gain)
    return (gain, s, after), (dgain, ds, dP + off + off.T)


@jax.custom_jvp
def log_density(v: Float[Array, ""], s: Float[Array, ""]) -> Float[Array, ""]:
    """Log-density of an innovation under its variance."""
    return -0.5 * (LOG_2PI + jnp.log(s) + v * v / s)


@log_density.defjvp
def _log_density_tangents(primals: Any, tangents: Any) -> Any:
    """Derivatives in terms of one quotient."""
    (v, s), (dv, ds) = primals, tangents
    u = v / s
    return log_density(v, s), 0.5 * (u * u - 1 / s) * ds - u * dv
