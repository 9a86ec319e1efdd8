"""Doses that arrive, and infusions that end, when parameters say: operands without and with them.

Rows are laid out twice. What is known beforehand is the start and the longest gap, without the rows
that move; a program then lays out all rows by JAX, as often as parameters change. A dose counts as
given at its record: that is where a trajectory may begin.
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization.doses import fractions, lags
from pymc_dynsys.discretization.known import numpy_for
from pymc_dynsys.discretization.layout import lay_out
from pymc_dynsys.discretization.operands import Design, Operands


def without_moving(design: Design, operands: Operands) -> Operands:
    """Operands whose infusions do not end and whose late doses never come, from a known start."""
    doses = operands.doses
    assert doses is not None
    xp = numpy_for(doses, operands.times, operands.t0)
    if doses.stretched is not None:
        endless = xp.where(xp.asarray(doses.stretched) > 0, xp.inf, doses.durations)
        doses = doses._replace(durations=endless)
    if not design.late:
        return operands._replace(doses=doses)
    times = xp.asarray(doses.times, float)
    # Where the start is given, doses may have been given before it: a forecast waits for them.
    given = xp.isfinite(xp.asarray(operands.t0, float))[..., None]
    records = doses._replace(times=xp.where(given, xp.nan, times))
    start = lay_out(design, operands._replace(doses=records)).start
    never = xp.full_like(times, xp.nan)
    return operands._replace(doses=doses._replace(times=never), t0=start)


def with_moving(
    design: Design, operands: Operands, start: Float[Array, "*batch"] | np.ndarray
) -> tuple[Operands, Bool[Array, "*batch 1"]]:
    """Operands whose doses last and arrive as parameters say, and where these make no sense.

    A late dose comes before what else happens at the time at which it arrives. One that arrived
    before the `start` is in the state there.
    """
    system, rank = design.system, np.ndim(operands.t0)
    doses, wrong = operands.doses, jnp.zeros((1,) * rank + (1,), bool)
    assert doses is not None
    if doses.stretched is not None:
        fraction = fractions(system, operands.params, rank)[..., None]
        durations = jnp.asarray(doses.durations)
        durations = jnp.where(jnp.asarray(doses.stretched) > 0, fraction * durations, durations)
        doses, wrong = doses._replace(durations=durations), wrong | (fraction < 0)
    if not design.late:
        return operands._replace(doses=doses), wrong
    lag = lags(system, operands.params, rank)[..., None]
    times = jnp.asarray(doses.times) + lag
    at_once = True if doses.durations is None else jnp.asarray(doses.durations) == 0
    times = jnp.where(at_once & (times < jnp.asarray(start)[..., None]), jnp.nan, times)
    order = jnp.nan if doses.order is None else jnp.asarray(doses.order)
    order = jnp.broadcast_to(jnp.where(lag > 0, 0.0, order), times.shape)
    doses = doses._replace(times=times, order=order)
    return operands._replace(doses=doses, t0=start), wrong | ~(lag >= 0)
