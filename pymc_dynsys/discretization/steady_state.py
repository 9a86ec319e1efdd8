r"""Steady state of a linear system under doses that are repeated since ever.

For :math:`dx = (A x + c)\,dt` and what is given every :math:`\tau`, with :math:`F(h) = e^{A h}` and
:math:`G(h) = \int_0^h e^{A s} ds`, the state just before a dose solves

.. math:: x = F(\tau) x + d + G(\tau) c

where d is what one interval adds: :math:`F(\tau)\, a` for a bolus a, and for an infusion at rates r
over :math:`T = n \tau + q`, :math:`0 \le q < \tau`,

.. math:: d = n\, G(\tau) r + F(\tau - q)\, G(q)\, r

(Bertrand and Mentré 2008, *Mathematical expressions of the pharmacokinetic and pharmacodynamic
models implemented in the Monolix software*, have the sums for one to three compartments). Under an
infusion without end :math:`A x + c + r = 0`. In an SDE these are means; the covariance is the
stationary one, which doses do not move.

Where doses arrive a lag :math:`\ell < \tau` after their records, those before did too: the state at
a record is the one :math:`\tau - \ell` after a dose.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization.exact import noiseless_transition
from pymc_dynsys.discretization.triangular import (
    is_triangular,
    solved_in_order,
    triangle_decays,
)
from pymc_dynsys.linalg import matvec
from pymc_dynsys.linalg.lyapunov import decays, solved, stationary_mean
from pymc_dynsys.systems.dynamics import LinearDynamics
from pymc_dynsys.systems.proof import FedBy


class Repeated(NamedTuple):
    """What is given since ever: amounts (or rates of an infusion without end) of the states.

    ``duration`` is zero for a bolus; None: all are.
    """

    amount: Float[Array, " state"]
    interval: Float[Array, ""]
    duration: Float[Array, ""] | None


def periodic_state(
    rates: LinearDynamics,
    given: Repeated,
    offset: Float[Array, " state"],
    fed_by: FedBy | None = None,
) -> Float[Array, " state"]:
    """State just before a dose; NaN where what is given does not decay."""
    A = rates.A
    gaps = given.interval[None]
    if given.duration is not None:
        whole = jax.lax.stop_gradient(jnp.floor(given.duration / given.interval))
        rest = given.duration - whole * given.interval
        gaps = jnp.stack([given.interval, rest, given.interval - rest])
    # Side by side, which makes the program a third as long.
    crossed = jax.vmap(lambda gap: noiseless_transition(A, gap, fed_by))(gaps)
    F, G = crossed.F[0], crossed.G[0]
    added = matvec(F, given.amount)
    if given.duration is not None:
        lasts = given.duration > 0
        rate = given.amount / jnp.where(lasts, given.duration, 1.0)
        part = matvec(crossed.F[2], matvec(crossed.G[1], rate))
        added = jnp.where(lasts, whole * matvec(G, rate) + part, added)
    added = added + matvec(G, offset)
    if fed_by is not None and is_triangular(fed_by):
        x, decaying = solved_in_order(jnp.eye(len(A)) - F, added, fed_by), triangle_decays(F)
    else:
        x, decaying = stationary_mean(F, added), decays(F)
    return jnp.where(decaying, x, jnp.nan)


def state_since(
    rates: LinearDynamics,
    given: Repeated,
    offset: Float[Array, " state"],
    x: Float[Array, " state"],
    since: Float[Array, ""],
    fed_by: FedBy | None = None,
) -> Float[Array, " state"]:
    """State some time, shorter than the interval, after a dose, from the `x` just before it.

    Infusions of n whole intervals and a rest run n + 1 side by side until the rest is over, and
    then n.
    """
    parts = phases(given, since)
    crossed = jax.vmap(lambda gap: noiseless_transition(rates.A, gap, fed_by))(parts.gaps)
    x = x + parts.bolus
    for k in range(len(parts.gaps)):
        x = matvec(crossed.F[k], x) + matvec(crossed.G[k], parts.rates[k] + offset)
    return x


class Phases(NamedTuple):
    """What is given at a dose, and lengths and rates of infusion of what follows it."""

    bolus: Float[Array, " state"]
    gaps: Float[Array, " part"]
    rates: Float[Array, "part state"]


def phases(given: Repeated, since: Float[Array, ""]) -> Phases:
    """What is given from a dose up to some time, at most an interval, after it."""
    amount, interval, duration = given
    if duration is None:
        return Phases(amount, since[None], jnp.zeros((1, *amount.shape)))
    lasts = duration > 0
    rate = jnp.where(lasts, amount / jnp.where(lasts, duration, 1.0), 0.0)
    whole = jax.lax.stop_gradient(jnp.floor(duration / interval))
    rest = jnp.where(lasts, duration - whole * interval, 0.5 * interval)
    first = jnp.minimum(rest, since)
    gaps = jnp.stack([first, since - first])
    return Phases(
        jnp.where(lasts, 0.0, amount), gaps, jnp.stack([(whole + 1) * rate, whole * rate])
    )


def constant_state(
    rates: LinearDynamics, rate: Float[Array, " state"], offset: Float[Array, " state"]
) -> Float[Array, " state"]:
    """State under an infusion without end; NaN where what is given does not decay."""
    A = rates.A
    step = jax.lax.stop_gradient(1.0 / jnp.maximum(jnp.max(jnp.abs(A).sum(1)), 1e-300))
    F = noiseless_transition(A, step).F
    return jnp.where(decays(F), solved(-A, rate + offset), jnp.nan)
