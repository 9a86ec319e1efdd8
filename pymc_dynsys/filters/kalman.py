r"""Kalman filter for linear SDEs observed linearly with Gaussian noise.

Legend: m, P mean and covariance of the state; F, G, Q transition (x' = F x + G c + noise
of covariance Q); H, d observation matrix and offset; R observation noise; v innovation with
variance s; K gain. Equations: Särkkä (2013), *Bayesian Filtering and Smoothing*, 4.20-4.21.

Components are assimilated one at a time, which needs no matrix inverse; correlated noise is
decorrelated first by R = L D L'. The covariance update is Joseph's product form (Bucy and
Joseph 1968), which stays semi-definite with tiny R and singular P.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import (
    Discretization,
    Exact,
    LinearTransition,
    MomentODE,
    Rows,
    TimeGrid,
)
from pymc_dynsys.discretization.base import linearize
from pymc_dynsys.filters.base import Data, Likelihood
from pymc_dynsys.linalg import congruence, ldl, matmul, matvec, outer, unit_lower_solve
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.gaussian import LOG_2PI

UNROLL = 3
"""Most components assimilated by written-out code instead of a loop."""


class Since(NamedTuple):
    """Slope of the state in what it was at the last row, and the noise it gathered since."""

    F: Float[Array, "state state"]
    Q: Float[Array, "state state"]


class Belief(NamedTuple):
    """Mean and covariance of the state; smoothers also follow what led to it."""

    m: Float[Array, " state"]
    P: Float[Array, "state state"]
    since: Since | None = None


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


class LinearModel(NamedTuple):
    """A system as Gaussian filters see it.

    ``cross(belief, *entry)`` carries a belief over the gap whose entry it is, and
    ``sense(m, t, row)`` gives the sensor, linearized at the mean where it must be.
    """

    cross: Any
    entries: tuple[Any, ...]
    sense: Any


class Sensor(NamedTuple):
    """A linear observation ``y = H x + d + N(0, R)``; R is a vector when independent."""

    H: Float[Array, "component state"]
    d: Float[Array, " component"]
    R: Array


@dataclass(frozen=True)
class Kalman(Likelihood):
    r"""Exact likelihood of a linear-Gaussian system.

    Integrates the latent path out in closed form. The transition over each gap is exact
    (matrix exponential), so irregular and huge gaps, singular diffusions and exactly known
    states cost nothing in accuracy. A visit costs :math:`O(d^3)` for `d` states; distinct
    gaps are discretized once.

    Parameters
    ----------
    discretization : Discretization
        ``Exact()``. ``EulerMaruyama(dt)`` gives the likelihood of the Euler chain instead, for
        comparison with tools that do that.

    Raises
    ------
    ValueError
        When the model is built, if drift, diffusion, observation or initial law are not
        linear and Gaussian; it says which. A covariance that is not positive semi-definite
        during sampling gives minus infinity.

    See Also
    --------
    EKF : for nonlinear systems.

    References
    ----------
    Särkkä (2013), *Bayesian Filtering and Smoothing*, theorem 4.2.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.Kalman()
    Kalman(discretization=Exact())
    """

    discretization: Discretization = field(default_factory=Exact)

    forward_scalars = 1

    def __post_init__(self) -> None:
        if isinstance(self.discretization, MomentODE) or not isinstance(
            self.discretization, Discretization
        ):
            raise ValueError(
                "Kalman: discretization must be Exact() or EulerMaruyama(dt=...), got "
                f"{self.discretization!r}"
            )

    @property
    def scheme(self) -> Discretization:
        """The discretization that cuts the gaps."""
        return self.discretization

    def check(self, system: BoundSystem) -> None:
        """Refuse systems that are not linear and Gaussian."""
        if system.structure.reasons:
            raise ValueError(
                f"Kalman() is exact for linear-Gaussian systems only, but "
                f"{'; '.join(system.structure.reasons)}. Use EKF() or EnKF(), which approximate"
            )

    def log_likelihood(
        self, system: BoundSystem, params: Params, data: Data, grid: TimeGrid, constants: Any
    ) -> Float[Array, " time"]:
        """Exact log-density of each visit's datum given the earlier ones."""
        return filter_linear(system, self.discretization, params, data, grid).log_likelihood


def filter_linear(
    system: BoundSystem,
    discretization: Discretization,
    params: Params,
    data: Data,
    grid: TimeGrid,
) -> Visit:
    """Run the filter over all visits of one trajectory; leaves gain a leading time axis."""
    return run_filter(
        linear_model(system, discretization, params, grid), system, params, data, grid
    )


def linear_model(
    system: BoundSystem, discretization: Discretization, params: Params, grid: TimeGrid
) -> LinearModel:
    """A linear-Gaussian system."""
    cross = tabulated_crossing(system, discretization, params, grid)
    return LinearModel(cross, cross.entries, sensor(system, params))


def run_filter(
    model: LinearModel, system: BoundSystem, params: Params, data: Data, grid: TimeGrid
) -> Visit:
    """Predict and update at every visit."""

    def visit(belief: Belief, k: Any) -> tuple[Belief, Visit]:
        y, seen, t, entry, row = k
        predicted = give_dose(system, params, model.cross(belief, *entry), t, row)
        H, d, R = model.sense(predicted.m, t, row)
        filtered, loglik = update(predicted, y - d, seen, H, R)
        return filtered, Visit(loglik, predicted, filtered)

    visits = (data.y, data.seen, grid.times, model.entries, grid.rows)
    return over_visits(visit, initial_belief(system, params), visits)


def over_visits(visit: Any, start: Belief, visits: Any) -> Visit:
    """Scan `visit` over the visits; a gradient keeps the beliefs between them and nothing else.

    What lies between is computed again on the way back, which takes less time than memory does.
    """
    return jax.lax.scan(jax.checkpoint(visit, prevent_cse=False), start, visits)[1]


def initial_belief(system: BoundSystem, params: Params) -> Belief:
    """Belief at ``t0``; not a number if its covariance is not positive semi-definite."""
    m, P = system.initial_moments(params)
    indefinite = jnp.isnan(ldl(P)[1]).any()
    return Belief(m, jnp.where(indefinite, jnp.nan, P))


class TabulatedCrossing(NamedTuple):
    """Transitions of a linear system over its gaps; called to carry a belief over one.

    ``entries`` holds, per visit, the arguments of the call after the belief: the transition, or
    its row in a table of those that differ, and the drift offset where it varies in time.
    Transitions that all differ are not looked up: the gradient of a look-up in a loop adds to
    the whole table at every turn.
    """

    table: LinearTransition | None
    c: Float[Array, " state"]
    entries: tuple[Any, ...]

    @property
    def transitions(self) -> LinearTransition:
        """All transitions that there are; leaves have a leading axis."""
        stacked: LinearTransition = self.entries[0] if self.table is None else self.table
        return stacked

    def __call__(self, belief: Belief, entry: Any, c: Any = None) -> Belief:
        """Belief at the end of the gap whose transition or row `entry` is."""
        F, G, Q = entry if self.table is None else (M[entry] for M in self.table)
        return predict(belief, F, matvec(G, self.c if c is None else c), Q)


def tabulated_crossing(
    system: BoundSystem, discretization: Discretization, params: Params, grid: TimeGrid
) -> TabulatedCrossing:
    """Discretize a linear system once per distinct gap, or per gap where inputs drive it."""
    origin, now = jnp.zeros(system.n_states), jnp.zeros(())

    def cross(gap: Any, steps: Any, params: Params) -> LinearTransition:
        A = linearize(lambda x: system.drift(x, now, params), origin)[1]
        S = system.noise_covariance(origin, now, params)
        one = discretization.linear_step(A, S, gap / steps)
        return repeat(one, steps, grid.max_steps)

    if grid.rows is None:
        c, anyhow = system.drift(origin, now, params), params
        offsets: tuple[Any, ...] = ()
    else:
        held = jax.tree.map(jnp.asarray, grid.rows)
        of_gaps = jax.vmap(lambda rows: system.drift(origin, now, rows.over_gap(params)))(held)
        c, offsets = of_gaps[0], (of_gaps,)
        if system.structure.varying_dynamics:
            transitions = jax.vmap(
                lambda gap, steps, rows: cross(gap, steps, rows.over_gap(params))
            )(jnp.asarray(grid.gaps), jnp.asarray(grid.steps), held)
            return TabulatedCrossing(None, c, (transitions, *offsets))
        anyhow = jax.tree.map(lambda leaf: leaf[0], held).over_gap(params)
    table = jax.vmap(cross, in_axes=(0, 0, None))(
        jnp.asarray(grid.distinct_gaps), jnp.asarray(grid.distinct_steps), anyhow
    )
    if grid.index is None:
        return TabulatedCrossing(None, c, (table, *offsets))
    return TabulatedCrossing(table, c, (grid.index, *offsets))


def give_dose(
    system: BoundSystem, params: Params, belief: Belief, t: Any, row: Rows | None
) -> Belief:
    """Belief after the event at a row, if there is one; a nonlinear jump is linearized."""
    if row is None or row.amount is None:
        return belief
    given = ~jnp.isnan(row.amount)
    amount = jnp.where(given, row.amount, 0.0)
    m, J = linearize(lambda x: system.jump(x, t, row.at_row(params), amount, row.target), belief.m)
    after = moved(belief, m, J, jnp.zeros_like(belief.P))
    return jax.tree.map(lambda a, b: jnp.where(given, a, b), after, belief)


def repeat(one: LinearTransition, steps: Any, most: int) -> LinearTransition:
    """Compose a transition with itself `steps` times, at most `most` times."""

    def compose(total: LinearTransition, i: Any) -> tuple[LinearTransition, None]:
        more = LinearTransition(
            F=matmul(one.F, total.F),
            G=matmul(one.F, total.G) + one.G,
            Q=congruence(one.F, total.Q) + one.Q,
        )
        keep = i < steps
        return jax.tree.map(lambda new, old: jnp.where(keep, new, old), more, total), None

    if most == 1:
        return one
    total, _ = jax.lax.scan(compose, one, jnp.arange(1, most))
    return total


def sensor(system: BoundSystem, params: Params) -> Any:
    """Function of mean, time and row that gives the sensor; computed once if none is used."""
    origin = jnp.zeros(system.n_states)

    def at(t: Any, params: Params) -> Sensor:
        d, H = linearize(lambda x: system.observation_moments(x, t, params)[0], origin)
        return Sensor(H, d, system.observation_moments(origin, t, params)[1])

    if not system.structure.timeless_observation:
        return lambda m, t, row: at(t, params if row is None else row.at_row(params))
    fixed = at(jnp.zeros(()), {**params, **_any_inputs(system)})
    return lambda m, t, row: fixed


def _any_inputs(system: BoundSystem) -> dict[str, Array]:
    """Stand-ins for inputs that the result was proved not to depend on."""
    return {name: jnp.ones(shape) for name, shape in system.input_shapes.items()}


def predict(
    belief: Belief, F: Float[Array, "state state"], offset: Float[Array, " state"], Q: Array
) -> Belief:
    """Belief at the end of a gap."""
    return moved(belief, matvec(F, belief.m) + offset, F, Q)


def moved(
    belief: Belief, m: Float[Array, " state"], F: Float[Array, "state state"], Q: Array
) -> Belief:
    """Belief with the mean `m` after a step of slope `F` and noise covariance `Q`."""
    since = belief.since
    if since is not None:
        since = Since(matmul(F, since.F), congruence(F, since.Q) + Q)
    return Belief(m, congruence(F, belief.P) + Q, since)


def update(
    belief: Belief,
    y: Float[Array, " component"],
    seen: Bool[Array, " component"] | None,
    H: Float[Array, "component state"],
    R: Array,
) -> tuple[Belief, Float[Array, ""]]:
    """Belief after the data ``y = H x + N(0, R)``, and their log-density.

    Missing components change nothing. A negative noise variance, or an innovation variance that
    is not positive, gives minus infinity.
    """
    if R.ndim == 2:
        y, H, R = decorrelate(y, seen, H, R)

    def step(carry: Any, component: Any) -> Any:
        belief, total = carry
        belief, datum = assimilate(belief, *component)
        return (belief, total + datum.log_density), None

    carry = (Belief(belief.m, belief.P), jnp.zeros(()))
    components = (y, seen, H, R)
    if y.shape[0] <= UNROLL:
        for j in range(y.shape[0]):
            carry, _ = step(carry, jax.tree.map(lambda part: part[j], components))  # noqa: B023
    else:
        carry, _ = jax.lax.scan(step, carry, components)
    return carry


def assimilate(
    belief: Belief, y: Float[Array, ""], seen: Any, h: Float[Array, " state"], r: Any
) -> tuple[Belief, Datum]:
    """Belief after one number ``y = h x + N(0, r)``; `seen` None if it is known to be there."""
    m, P, _ = belief
    Ph = matvec(P, h)
    s = (h * Ph).sum() + r
    v = y - (h * m).sum()
    positive = (s > 0) & (r >= 0)
    safe = jnp.where(positive, s, 1.0)
    gain = Ph / safe
    loglik = -0.5 * (LOG_2PI + jnp.log(safe) + v * v / safe)
    loglik = jnp.where(positive, loglik, -jnp.inf)
    if seen is not None:
        gain = jnp.where(seen, gain, 0.0)
        v = jnp.where(seen, v, 0.0)
        loglik = jnp.where(seen, loglik, 0.0)
    A = jnp.eye(m.shape[0]) - outer(gain, h)
    after = Belief(m + gain * v, congruence(A, P) + r * outer(gain, gain))
    return after, Datum(v, safe, gain, loglik)


def decorrelate(
    y: Float[Array, " component"],
    seen: Bool[Array, " component"] | None,
    H: Float[Array, "component state"],
    R: Float[Array, "component component"],
) -> tuple[Array, Array, Array]:
    """Equivalent data with independent noises; missing components are left out of the mixing."""
    if seen is not None:
        both = seen[:, None] & seen[None, :]
        R = jnp.where(both, R, jnp.eye(R.shape[0]))
        H = jnp.where(seen[:, None], H, 0.0)
        y = jnp.where(seen, y, 0.0)
    L, D = ldl(R)
    return unit_lower_solve(L, y), unit_lower_solve(L, H), D
