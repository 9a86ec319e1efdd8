r"""Steady state of a nonlinear ODE under doses that are repeated since ever.

With :math:`\Phi(x)` the state one interval later, after the dose, the steady state solves
:math:`\Phi(x) = x`. A few doses are given, then Newton's steps

.. math:: x \leftarrow x - (\Phi'(x) - I)^{-1} (\Phi(x) - x)

are taken until they are small. One more step, in which only :math:`\Phi` depends on the parameters,
has the derivative of the solution, by the implicit function theorem. A number of doses fixed
beforehand will not do: under saturable elimination near its capacity, hundreds pass before they
balance.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization.steady_state import Repeated, phases
from pymc_dynsys.linalg.lyapunov import decays, stationary_mean
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held

FIRST_DOSES = 3
"""Doses that are given before Newton's steps."""

MOST_STEPS = 40
"""Steps of Newton; where they do not do, there is no steady state, or next to none."""

GUARDED = 10
"""First steps, which do not take amounts below zero."""

SMALL = 1e-7
"""Size of a step, relative to the state, that is the last but one."""

BALANCED = 1e-6
"""Change of the state over an interval, relative to the dose, that counts as none.

Relative to the dose and not to the state, which grows without bound where doses exceed capacity.
"""


@runtime_checkable
class Solver(Protocol):
    """Carries the state of an ODE over a gap whose length may have a slope."""

    def flow(
        self, system: BoundSystem, held: Held, x: Array, gap: Array, *, forwards: bool
    ) -> Float[Array, " state"]:
        """State after the gap; derivatives are taken forwards, or on the way back."""


@dataclass(frozen=True)
class Cycle:
    """One interval between doses of a system whose drift does not depend on time.

    ``amount`` ``(state,)`` is before bioavailability, that of ``given`` after it.
    """

    system: BoundSystem
    solver: Solver
    held: Held
    given: Repeated
    amount: Float[Array, " state"]

    def still(self) -> "Cycle":
        """The same without slopes in parameters."""
        held, given, amount = jax.lax.stop_gradient((self.held, self.given, self.amount))
        return Cycle(self.system, self.solver, held, given, amount)

    def after(self, x: Float[Array, " state"], *, forwards: bool) -> Float[Array, " state"]:
        """State just before the next dose, from that before this one."""
        return self.since(x, self.given.interval, forwards=forwards)

    def since(
        self, x: Float[Array, " state"], gap: Float[Array, ""], *, forwards: bool
    ) -> Float[Array, " state"]:
        """State some time, at most an interval, after this dose, from that before it."""
        # The drift lets what is available of an infusion in, so its rate is that of the whole.
        parts = phases(self.given._replace(amount=self.amount), gap)
        x = x + phases(self.given, gap).bolus
        for k in range(len(parts.gaps)):
            infusion = None if self.given.duration is None else parts.rates[k]
            held = self.held._replace(infusion=infusion)
            x = self.solver.flow(self.system, held, x, parts.gaps[k], forwards=forwards)
        return x


def nonlinear_periodic_state(
    cycle: Cycle, start: Float[Array, " state"], since: Float[Array, ""] | None = None
) -> Float[Array, " state"]:
    """State just before a dose, or since one, found from a state; NaN where there is no balance."""
    still, start = cycle.still(), jax.lax.stop_gradient(start)

    def cycled(x: Array) -> Array:
        return still.after(x, forwards=True)

    x, slope, balanced = jax.lax.stop_gradient(_found(cycled, start, still.given.amount))
    off = cycle.after(x, forwards=False) - x
    x = x + stationary_mean(slope, off)
    if since is not None:
        x = cycle.since(x, since, forwards=False)
    return jnp.where(balanced & decays(slope), x, jnp.nan)


def _found(
    cycled: Callable[[Array], Array], x: Float[Array, " state"], dose: Float[Array, " state"]
) -> tuple[Float[Array, " state"], Float[Array, "state state"], Bool[Array, ""]]:
    """Steady state ``(state,)``, the slope of an interval there, and whether it is one.

    In order: a few doses from `x`, Newton's steps until one is small, and a look at what is left.
    """
    d = x.shape[0]

    def along(x: Array) -> tuple[Array, Array]:
        after, slopes = jax.vmap(lambda v: jax.jvp(cycled, (x,), (v,)), out_axes=(None, -1))(
            jnp.eye(d)
        )
        return after, slopes

    def moving(carry: tuple[Array, Array, Array]) -> Array:
        i, _, small = carry
        return (i < MOST_STEPS) & ~small

    def newton(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, x, _ = carry
        after, slopes = along(x)
        step = stationary_mean(slopes, after - x)
        to = x + step
        to = jnp.where((i < GUARDED) & (x >= 0), jnp.maximum(to, 0.0), to)
        small = jnp.max(jnp.abs(step)) <= SMALL * jnp.max(jnp.abs(x))
        # What is not a number stays so.
        return i + 1, to, small | ~jnp.isfinite(to).all()

    x = jax.lax.fori_loop(0, FIRST_DOSES, lambda _, x: cycled(x), x)
    _, x, _ = jax.lax.while_loop(moving, newton, (jnp.asarray(0), x, jnp.asarray(False)))
    after, slope = along(x)
    size = jnp.max(jnp.abs(dose))
    size = jnp.where(size > 0, size, jnp.max(jnp.abs(x)))
    return x, slope, jnp.max(jnp.abs(after - x)) <= BALANCED * size
