"""What an event does to the state of a bound system."""

from dataclasses import dataclass, field

import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from pymc_dynsys.systems import checks
from pymc_dynsys.systems.binding import BoundFunction
from pymc_dynsys.systems.held import Held, Params


@dataclass(frozen=True, eq=False)
class Dosing:
    """Effect of the events of one trajectory.

    Attributes
    ----------
    states : tuple of str
        Names of the states.
    state : int or None
        Index of the state that doses enter; None if the event table or the user's own jump
        says so, or if there is only one state.
    """

    states: tuple[str, ...]
    state: int | None = None
    _jump: BoundFunction | None = field(default=None, repr=False)
    _bioavailability: BoundFunction | None = field(default=None, repr=False)
    _lag: BoundFunction | None = field(default=None, repr=False)

    @property
    def is_late(self) -> bool:
        """Whether doses arrive some time after they are given."""
        return self._lag is not None

    @property
    def lag_names(self) -> tuple[str, ...]:
        """Parameters on which that time depends."""
        return () if self._lag is None else tuple(self._lag.parameters)

    def lag(self, values: Params) -> Float[Array, ""]:
        """Time after which a dose arrives."""
        if self._lag is None:
            return jnp.zeros(())
        return jnp.asarray(self._lag(None, None, values), float)

    @property
    def has_own_jump(self) -> bool:
        """Whether the user gave a function that returns the state after an event."""
        return self._jump is not None

    def jump(
        self,
        x: Float[Array, " state"],
        t: ArrayLike,
        held: Held,
        amount: ArrayLike,
        target: ArrayLike,
    ) -> Float[Array, " state"]:
        """State after an event of a given amount; `target` is the index of the state it enters."""
        if self._jump is not None:
            after = self._jump(x, t, {**held.values, "amount": amount})
            return checks.as_vector("events", after, self.states)
        return x + jnp.where(jnp.arange(len(self.states)) == target, 1.0, 0.0) * self.available(
            amount, held.values
        )

    def available(self, amount: ArrayLike, values: Params) -> ArrayLike:
        """Part of an amount, or of a rate of infusion, that arrives."""
        if self._bioavailability is None:
            return amount
        return jnp.asarray(self._bioavailability(None, None, values), float) * amount

    @property
    def is_partial(self) -> bool:
        """Whether a fraction of each amount arrives."""
        return self._bioavailability is not None

    @property
    def fraction_names(self) -> tuple[str, ...]:
        """Parameters and inputs on which that fraction depends."""
        return () if self._bioavailability is None else tuple(self._bioavailability.parameters)

    def asks_for(self, name: str) -> bool:
        """Whether the effect of an event depends on a parameter or input."""
        functions = (self._jump, self._bioavailability, self._lag)
        return any(f is not None and name in f.parameters for f in functions)
