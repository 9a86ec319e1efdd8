"""Doses that arrive, and infusions that end, when parameters say: operands without and with them.

Rows are laid out twice. What is known beforehand is the start and the longest gap, without the rows
that move; a program then lays out all rows by JAX, as often as parameters change. A dose counts as
given at its record: that is where a trajectory may begin. So does what a record says of the law of
the state, which is never late; it is an event without a dose.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization.doses import parts_of_doses
from pymc_dynsys.discretization.events import Doses, Law, Laws
from pymc_dynsys.discretization.known import numpy_for
from pymc_dynsys.discretization.lasting import lengths
from pymc_dynsys.discretization.layout import lay_out
from pymc_dynsys.discretization.operands import Design, Operands


def without_moving(design: Design, operands: Operands) -> Operands:
    """Operands whose infusions do not end and whose late doses never come, from a known start."""
    doses = operands.doses
    assert doses is not None
    xp = numpy_for(doses, operands.times, operands.t0)
    if doses.lasting is not None:
        endless = xp.where(xp.asarray(doses.lasting) > 0, xp.inf, doses.durations)
        doses = doses._replace(durations=endless)
    if not design.late:
        return operands._replace(doses=doses)
    times = xp.asarray(doses.times, float)
    # Where the start is given, doses may have been given before it: a forecast waits for them.
    given = xp.isfinite(xp.asarray(operands.t0, float))[..., None]
    records = doses._replace(times=xp.where(given, xp.nan, times))
    start = lay_out(design, operands._replace(doses=records)).start
    stay = xp.where(xp.isnan(xp.asarray(doses.amounts, float)), times, xp.nan)
    return operands._replace(doses=doses._replace(times=stay), t0=start)


def with_moving(
    design: Design, operands: Operands, start: Float[Array, "*batch"] | np.ndarray
) -> tuple[Operands, Bool[Array, "*batch 1"]]:
    """Operands whose doses last and arrive as parameters say, and where these make no sense.

    A late dose comes before what else happens at the time at which it arrives. One that arrived
    before the `start` is in the state there.
    """
    system, params, rank = design.system, operands.params, np.ndim(operands.t0)
    doses, wrong = operands.doses, jnp.zeros((1,) * rank + (1,), bool)
    assert doses is not None
    laws, is_dose = doses.laws, ~jnp.isnan(jnp.asarray(doses.amounts))
    if doses.lasting is not None:
        durations, unclear = lengths(
            system, params, rank, doses.durations, doses.amounts, doses.lasting
        )
        there = is_dose & ~jnp.isnan(jnp.asarray(doses.times))
        wrong = wrong | (unclear & there).any(-1, keepdims=True)
        doses = doses._replace(durations=jnp.where(is_dose, durations, 0.0))
    lag = parts_of_doses(system, "lag", params, rank)
    if laws is not None and laws.interval is not None:
        laws, astray = _laws(design, operands, laws, lag)
        wrong = wrong | astray
    doses = doses._replace(laws=laws)
    if design.late:
        wrong = wrong | ~(lag >= 0)
        order = jnp.full_like(is_dose, jnp.nan, float) if doses.order is None else doses.order
        order = jnp.where(is_dose & (lag > 0), 0.0, order)
        doses = doses._replace(order=jnp.broadcast_to(order, _shape(doses, order)))
    return operands._replace(doses=_arriving(doses, lag, start), t0=start), wrong


def _arriving(
    doses: Doses, lag: Float[Array, "*lags 1"], start: Float[Array, "*batch"] | np.ndarray
) -> Doses:
    """Doses when they arrive, without what a forgotten or a later state does not hold.

    All parts are ``(*batch, event)``. What is under way ends where the state is forgotten, and runs
    from there on where it is of the intervals before a steady state.
    """
    record, amounts = jnp.asarray(doses.times), jnp.asarray(doses.amounts)
    is_dose = ~jnp.isnan(amounts)
    lasts = jnp.zeros_like(record) if doses.durations is None else jnp.asarray(doses.durations)
    begins = record + jnp.where(is_dose, lag, 0.0)
    ends = begins + lasts
    if doses.age is not None:
        begins = jnp.where(jnp.asarray(doses.age) > 0, record, begins)
        ends = ends - doses.age
    if doses.until is not None:
        ends = jnp.minimum(ends, doses.until)
    at_once = lasts == 0
    over = at_once & (begins < jnp.asarray(start)[..., None])
    if doses.until is not None:
        over = over | is_dose & (begins >= doses.until)
    over = over | ~at_once & (ends <= begins)
    # Zero, not what is no number, where there is no infusion: else slopes are no numbers either.
    left = jnp.where(at_once | over | ~is_dose | jnp.isnan(record), 0.0, ends - begins)
    share = jnp.where(at_once, 1.0, left / jnp.where(at_once, 1.0, lasts))
    arriving = jnp.where(is_dose, share * jnp.where(is_dose, amounts, 0.0), jnp.nan)
    doses = doses._replace(times=jnp.where(over, jnp.nan, begins), amounts=arriving)
    return doses if doses.durations is None else doses._replace(durations=left)


def _laws(
    design: Design, operands: Operands, laws: Laws, lag: Float[Array, "*lags 1"]
) -> tuple[Laws, Bool[Array, "*batch 1"]]:
    """Laws of infusions that last as parameters say, and where there is no room for what runs.

    Nor is there a steady state of doses that come a whole interval late, or later.
    """
    doses, rank = operands.doses, np.ndim(operands.t0)
    assert doses is not None
    kind, event = jnp.asarray(laws.kind), jnp.maximum(jnp.asarray(laws.event), 0)
    periodic = (kind == Law.STEADY) | (kind == Law.ADDED)
    wrong = periodic & (lag >= jnp.asarray(laws.interval)) & design.late
    if laws.duration is None:
        return laws, wrong.any(-1, keepdims=True)
    duration = jnp.asarray(laws.duration)
    if doses.lasting is not None:
        lasting = jnp.asarray(doses.lasting)
        lead = np.broadcast_shapes(lasting.shape[:-1], event.shape[:-1])
        lasting = jnp.broadcast_to(lasting, (*lead, lasting.shape[-1]))
        codes = jnp.take_along_axis(lasting, jnp.broadcast_to(event, (*lead, event.shape[-1])), -1)
        found, _ = lengths(design.system, operands.params, rank, duration, laws.amount, codes)
        duration = jnp.where(periodic, found, duration)
    if laws.room is not None:
        most = (jnp.asarray(laws.room) + 1) * jnp.asarray(laws.interval)
        wrong = wrong | periodic & (duration + lag > most)
    return laws._replace(duration=duration), wrong.any(-1, keepdims=True)


def _shape(doses: Doses, order: Array) -> tuple[int, ...]:
    return np.broadcast_shapes(np.shape(doses.times), order.shape)
