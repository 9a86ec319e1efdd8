"""Kalman filter for linear systems observed linearly with Gaussian noise.

Legend: A, c, S slope, offset and noise covariance of the dynamics, per unit of time or per step;
F, G, Q transition over a gap (x' = F x + G c + noise of covariance Q). The steps of the filter
are in ``gaussian.py``.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import (
    Discretization,
    Exact,
    LinearTransition,
    MomentODE,
    TimeGrid,
    refuse_discretization,
)
from pymc_dynsys.discretization.grid import substep_length
from pymc_dynsys.filters.base import Data, Likelihood
from pymc_dynsys.filters.diffuse import filter_diffuse
from pymc_dynsys.filters.gaussian import Belief, LinearModel, Visit, predict, run_filter
from pymc_dynsys.filters.reduce import Sensor
from pymc_dynsys.linalg import congruence, linearize, matmul, matvec
from pymc_dynsys.systems.bound import BoundSystem, Params


@dataclass(frozen=True, repr=False)
class Kalman(Likelihood):
    r"""Exact likelihood of a linear-Gaussian system.

    Integrates the latent path out in closed form. The transition over each gap is exact
    (matrix exponential), so irregular and huge gaps, singular diffusions and exactly known
    states cost nothing in accuracy. A visit costs :math:`O(d^3)` for `d` states; distinct
    gaps are discretized once.

    Parameters
    ----------
    discretization : Discretization, optional
        None chooses ``Exact()`` in continuous time, and the system's own steps in discrete time.
        ``EulerMaruyama(dt)`` gives the likelihood of the Euler chain instead, for comparison with
        tools that do that.

    Raises
    ------
    ValueError
        When the model is built, if drift, diffusion, observation or initial law are not
        linear and Gaussian; it says which; or if a system in discrete time is given a
        discretization. A covariance that is not positive semi-definite
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
    Kalman()
    """

    discretization: Discretization | None = None

    usual = Exact()
    forward_scalars = 1

    def __post_init__(self) -> None:
        scheme = self.discretization
        if scheme is not None and (
            isinstance(scheme, MomentODE) or not isinstance(scheme, Discretization)
        ):
            raise ValueError(
                "Kalman: discretization must be Exact() or EulerMaruyama(dt=...), got "
                f"{self.discretization!r}"
            )

    def check(self, system: BoundSystem) -> None:
        """Refuse systems that are not linear and Gaussian."""
        refuse_discretization("Kalman", system, self.discretization)
        if system.structure.reasons:
            raise ValueError(
                f"Kalman() is exact for linear-Gaussian systems only, but "
                f"{'; '.join(system.structure.reasons)}. Use EKF() or EnKF(), which approximate"
            )

    def log_likelihood(
        self, system: BoundSystem, params: Params, data: Data, grid: TimeGrid, constants: Any
    ) -> Float[Array, " time"]:
        """Exact log-density of each visit's datum given the earlier ones."""
        if not system.n_diffuse:
            return filter_linear(system, self.scheme(system), params, data, grid).log_likelihood
        model = linear_model(system, self.scheme(system), params, grid)
        return filter_diffuse(model, system, params, data, grid).log_likelihood


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


class Move(NamedTuple):
    """``x' = F x + shift + N(0, Q)``."""

    F: Float[Array, "*gap state state"]
    shift: Float[Array, "*gap state"]
    Q: Float[Array, "*gap state state"]


class TabulatedCrossing(NamedTuple):
    """Transitions of a linear system over its gaps; called to carry a belief over one.

    ``entries`` holds, per visit, the arguments of the call after the belief: the row in a table of
    transitions that differ, or the transition itself where all do; and where the dynamics are
    driven, the shift or the drift offset `c` that makes it. Transitions that all differ are not
    looked up: the gradient of a look-up in a loop adds to the whole table at every turn. Nor are
    their shifts stacked, which trajectories may have each their own.
    """

    table: Move | None
    c: Float[Array, " state"]
    entries: tuple[Any, ...]

    @property
    def noise(self) -> Float[Array, "gap state state"]:
        """Noise covariances of all transitions that there are."""
        covariances: Array = self.entries[0].Q if self.table is None else self.table.Q
        return covariances

    def at(self, entry: Any, own: Any = None) -> Move:
        """The transition of a gap."""
        if self.table is None:
            F, G, Q = entry
            return Move(F, matvec(G, self.c if own is None else own), Q)
        F, shift, Q = self.table
        return Move(F[entry], shift[entry] if own is None else own, Q[entry])

    def __call__(self, belief: Belief, entry: Any, own: Any = None) -> Belief:
        """Belief at the end of a gap."""
        return predict(belief, *self.at(entry, own))


def tabulated_crossing(
    system: BoundSystem, discretization: Discretization, params: Params, grid: TimeGrid
) -> TabulatedCrossing:
    """Discretize a linear system once per distinct gap, or per gap where inputs drive it."""
    now = jnp.zeros(())
    if not system.structure.autonomous:
        return changing_crossing(system, params, grid)

    def cross(gap: Any, steps: Any, params: Params) -> LinearTransition:
        A, _, S = system.linear_dynamics(now, params)
        one = discretization.linear_step(A, S, substep_length(gap, steps))
        return repeat(one, steps, grid.max_steps, idle=system.step is not None)

    if grid.rows is None:
        c, anyhow = system.linear_dynamics(now, params)[1], params
        offsets: tuple[Any, ...] = ()
    else:
        held = jax.tree.map(jnp.asarray, grid.rows)
        of_gaps = jax.vmap(lambda rows: system.linear_dynamics(now, rows.over_gap(params))[1])(held)
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
    F, G, Q = table
    shifts = tuple(jax.vmap(matvec)(G[grid.index], own) for own in offsets)
    moves = Move(F, jax.vmap(lambda G: matvec(G, c))(G), Q)
    return TabulatedCrossing(moves, c, (grid.index, *shifts))


def changing_crossing(system: BoundSystem, params: Params, grid: TimeGrid) -> TabulatedCrossing:
    """Transitions of a system in discrete time whose matrices depend on time, one for each gap."""
    d = system.n_states
    nothing = (jnp.eye(d), jnp.zeros(d), jnp.zeros((d, d)))

    def cross(t: Any, gap: Any, steps: Any, row: Any) -> tuple[LinearTransition, Array]:
        held = params if row is None else row.over_gap(params)
        h = substep_length(gap, steps)

        def compose(total: Any, i: Any) -> tuple[Any, None]:
            F, c, Q = total
            A, b, S = system.linear_dynamics(t + i * h, held)
            more = (matmul(A, F), matvec(A, c) + b, congruence(A, Q) + S)
            return jax.tree.map(lambda new, old: jnp.where(i < steps, new, old), more, total), None

        (F, c, Q), _ = jax.lax.scan(compose, nothing, jnp.arange(grid.max_steps))
        return LinearTransition(F, jnp.eye(d), Q), c

    gaps = jax.tree.map(jnp.asarray, (grid.starts, grid.gaps, grid.steps, grid.rows))
    transitions, offsets = jax.vmap(cross)(*gaps)
    return TabulatedCrossing(None, offsets[0], (transitions, offsets))


def repeat(one: LinearTransition, steps: Any, most: int, idle: bool) -> LinearTransition:
    """Compose a transition with itself `steps` times, at most `most`; perhaps not even once."""

    def compose(total: LinearTransition, i: Any) -> tuple[LinearTransition, None]:
        more = LinearTransition(
            F=matmul(one.F, total.F),
            G=matmul(one.F, total.G) + one.G,
            Q=congruence(one.F, total.Q) + one.Q,
        )
        keep = i < steps
        return jax.tree.map(lambda new, old: jnp.where(keep, new, old), more, total), None

    total = one if most == 1 else jax.lax.scan(compose, one, jnp.arange(1, most))[0]
    if not idle:
        return total
    nothing = LinearTransition(jnp.eye(one.F.shape[0]), *(jnp.zeros_like(M) for M in one[1:]))
    return jax.tree.map(lambda new, old: jnp.where(steps > 0, new, old), total, nothing)


def sensor(system: BoundSystem, params: Params) -> Any:
    """Function of mean, time and row that gives the sensor; computed once if none is used."""
    origin = jnp.zeros(system.n_states)

    def at(t: Any, params: Params) -> Sensor:
        d, H = linearize(lambda x: system.observation_moments(x, t, params)[0], origin)
        return Sensor(H, d, system.observation_moments(origin, t, params)[1])

    if not system.structure.timeless_observation:
        return lambda m, P, t, row: at(t, params if row is None else row.at_row(params))
    fixed = at(jnp.zeros(()), {**params, **_any_inputs(system)})
    return lambda m, P, t, row: fixed


def _any_inputs(system: BoundSystem) -> dict[str, Array]:
    """Stand-ins for inputs that the result was proved not to depend on."""
    return {name: jnp.ones(shape) for name, shape in system.input_shapes.items()}
