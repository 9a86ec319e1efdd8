"""What resets and steady states of one trajectory make of its state, from its parameters.

A steady state of a linear system is in closed form; that of a nonlinear ODE is found by Newton's
method (``steady_state.py``). Each is computed once, where the table says one, and looked up by row.
"""

from dataclasses import replace

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.discretization.events import Law
from pymc_dynsys.discretization.laws import LawsAtRows
from pymc_dynsys.discretization.rows import Fresh, Rows
from pymc_dynsys.discretization.steady_state import (
    Repeated,
    constant_state,
    periodic_state,
    state_since,
)
from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.likelihoods.ode import ODESolve
from pymc_dynsys.likelihoods.steady_state import Cycle, Solver, nonlinear_periodic_state
from pymc_dynsys.linalg.lyapunov import stationary_moments
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.held import Held

Moments = tuple[Float[Array, " state"], Float[Array, "state state"]]


def with_laws(system: BoundSystem, params: Params, grid: TimeGrid, by: object) -> TimeGrid:
    """The grid of one trajectory with the laws of its resets and steady states at their rows.

    A nonlinear ODE is solved `by` the likelihood or simulator, where that is a solver.
    """
    if grid.laws is None:
        return grid
    steady = grid.laws.interval is not None
    if isinstance(by, Likelihood):
        require_laws(by, system, steady)
    solver = by if isinstance(by, Solver) else ODESolve()
    rows, times = jax.tree.map(jnp.asarray, (grid.rows, grid.times))
    laws: LawsAtRows = jax.tree.map(jnp.asarray, grid.laws)

    def law(one: LawsAtRows) -> Moments:
        at = jnp.maximum(one.row, 0)
        row = jax.tree.map(lambda leaf: leaf[at], rows)
        return _law(system, solver, params, one, times[at], row)

    means, covs = jax.vmap(law)(laws)
    here = laws.row[None, :] == jnp.arange(times.shape[0])[:, None]
    there, which = here.any(1), here.argmax(1)
    forgetting = jnp.asarray([kind.forgets for kind in Law])
    forgets = there & forgetting[laws.kind[which]]
    fresh = Fresh(
        forgets,
        jnp.where(there[:, None], means[which], 0.0),
        # What is added to a state is a mean, and brings no variance of its own.
        None if is_known(system, steady) else jnp.where(forgets[:, None, None], covs[which], 0.0),
    )
    return replace(grid, rows=replace(rows, fresh=fresh), laws=None)


def is_known(system: BoundSystem, steady: bool) -> bool:
    """Whether the state is known after a reset, and after a steady state if there are any."""
    return system.proof.start.known and (system.is_deterministic or not steady)


def require_laws(likelihood: Likelihood, system: BoundSystem, steady: bool) -> None:
    """Raise for a likelihood that does not know resets, or steady states if there are any."""
    if not likelihood.begins_anew and not is_known(system, steady):
        raise ValueError(
            f"likelihood: {likelihood!r} cannot draw states anew where the events of the table "
            "reset an uncertain initial state, or say the steady state of an SDE; use Kalman(), "
            "EKF() or Laplace()"
        )
    if steady and not system.proof.dynamics.linear and not isinstance(likelihood, Solver):
        raise ValueError(
            f"likelihood: {likelihood!r} does not find the steady state of a nonlinear system; use "
            "ODESolve()"
        )


def _law(
    system: BoundSystem, solver: Solver, params: Params, law: LawsAtRows, t: Array, row: Rows
) -> Moments:
    """Mean and covariance of the state after what one event says of its law.

    The mean ``(state,)`` is what is added where the event forgets nothing. Values of what is not
    asked for are replaced before they are computed, so that gradients stay finite.
    """
    start = system.start.moments(params)
    if law.interval is None:
        return start
    held = row.at_row(params)
    periodic = (law.kind == Law.STEADY) | (law.kind == Law.ADDED)
    amount = jnp.where(law.kind == Law.RESET, 0.0, law.amount)
    into = jnp.where(jnp.arange(system.n_states) == row.target, amount, 0.0)
    available = jnp.asarray(system.dosing.available(into, held.values))
    interval, since = jnp.where(periodic, law.interval, 1.0), None
    if system.dosing.has("lag"):
        # Within an interval, since a program makes nothing of what comes later than that.
        lag = system.dosing.value("lag", params)
        since = jnp.where((lag >= 0) & (lag < interval), interval - lag, interval)
    given = Repeated(available, interval, law.duration)
    if system.proof.dynamics.linear:
        mean, cov = _linear(system, held, t, given, into, law.kind, since)
    else:
        cycle = Cycle(system, solver, held, given, into)
        mean = nonlinear_periodic_state(cycle, start[0], since)
        cov = jnp.zeros((system.n_states, system.n_states))
    is_reset = law.kind == Law.RESET
    return jnp.where(is_reset, start[0], mean), jnp.where(is_reset, start[1], cov)


def _linear(
    system: BoundSystem,
    held: Held,
    t: Array,
    given: Repeated,
    rate: Float[Array, " state"],
    kind: Array,
    since: Array | None,
) -> Moments:
    """Steady state of a linear system just before a dose, or since one, of the shapes of a law.

    `rate` is that of an infusion without end, all of which arrives.
    """
    rates, fed_by = system.continuous.linear(t, held), system.proof.dynamics.fed_by
    added = (kind == Law.ADDED) | (kind == Law.SINCE_EVER_ADDED)
    # What an offset of the drift leads to would be added twice.
    offset = jnp.where(added, jnp.where(rates.c == 0, 0.0, jnp.nan), rates.c)
    endless = (kind == Law.SINCE_EVER) | (kind == Law.SINCE_EVER_ADDED)
    periodic = periodic_state(rates, given, offset, fed_by)
    if since is not None:
        periodic = state_since(rates, given, offset, periodic, since, fed_by)
    mean = periodic
    if given.duration is not None:
        mean = jnp.where(endless, constant_state(rates, rate, offset), periodic)
    if system.is_deterministic:
        return mean, jnp.zeros_like(rates.A)
    return mean, stationary_moments(rates.A, 0 * rates.c, rates.S, continuous=True)[1]
