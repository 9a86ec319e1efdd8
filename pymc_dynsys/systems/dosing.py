"""What an event does to the state of a bound system."""

from dataclasses import dataclass, field

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from pymc_dynsys.systems import checks
from pymc_dynsys.systems.binding import BoundFunction
from pymc_dynsys.systems.event_functions import EventFunctions, Part
from pymc_dynsys.systems.held import Held, Params

RESTART = -1
"""Index, in place of that of a state, of an event that sets accumulated states to zero."""


@dataclass(frozen=True, eq=False)
class Dosing:
    """Effect of the events of one trajectory.

    Attributes
    ----------
    states : tuple of str
        Names of the states.
    functions : EventFunctions
        What the user gave of them.
    """

    states: tuple[str, ...]
    functions: EventFunctions = field(repr=False)

    @property
    def state(self) -> int | None:
        """Index of the state that doses enter, where the system says which."""
        return self.functions.state

    def has(self, part: Part) -> bool:
        """Whether a part of a dose is said."""
        return getattr(self.functions, part) is not None

    def names(self, part: Part) -> tuple[str, ...]:
        """Parameters and inputs on which a part of a dose depends."""
        function: BoundFunction | None = getattr(self.functions, part)
        return () if function is None else tuple(function.parameters)

    def value(self, part: Part, values: Params) -> Float[Array, ""]:
        """A part of a dose; where it is not said, all of it arrives, and at once."""
        function: BoundFunction | None = getattr(self.functions, part)
        if function is None:
            return jnp.asarray(1.0 if part == "bioavailability" else 0.0)
        return jnp.asarray(function(None, None, values), float)

    @property
    def accumulated(self) -> tuple[str, ...]:
        """Names of the states that begin again after every visit."""
        return tuple(self.states[i] for i in self.functions.accumulated)

    @property
    def has_own_jump(self) -> bool:
        """Whether the user gave a function that returns the state after a dose."""
        return self.functions.jump is not None

    def jump(
        self,
        x: Float[Array, " state"],
        t: ArrayLike,
        held: Held,
        amount: ArrayLike,
        target: ArrayLike,
    ) -> Float[Array, " state"]:
        """State after an event: a dose of an amount into the state of index `target`, or a restart.

        A restart, of the target ``RESTART``, sets states to zero that count since the last visit.
        """
        dosed = self._dosed(x, t, held, amount, target)
        if not self.functions.accumulated:
            return dosed
        counts = jnp.isin(jnp.arange(len(self.states)), jnp.array(self.functions.accumulated))
        return jnp.where(jnp.asarray(target) == RESTART, jnp.where(counts, 0.0, x), dosed)

    def _dosed(
        self,
        x: Float[Array, " state"],
        t: ArrayLike,
        held: Held,
        amount: ArrayLike,
        target: ArrayLike,
    ) -> Float[Array, " state"]:
        """State after a dose."""
        if self.functions.jump is not None:
            after = self.functions.jump(x, t, {**held.values, "amount": amount})
            return checks.as_vector("events", after, self.states)
        return x + jnp.where(jnp.arange(len(self.states)) == target, 1.0, 0.0) * self.available(
            amount, held.values
        )

    def available(self, amount: ArrayLike, values: Params) -> ArrayLike:
        """Part of an amount, or of a rate of infusion, that arrives."""
        if not self.has("bioavailability"):
            return amount
        return self.value("bioavailability", values) * amount

    def asks_for(self, name: str) -> bool:
        """Whether the effect of an event depends on a parameter or input."""
        functions = (f for f in self.functions if isinstance(f, BoundFunction))
        return any(name in f.parameters for f in functions)
