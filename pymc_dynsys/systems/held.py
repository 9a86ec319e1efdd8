"""What is held fixed while a system moves or is observed: parameters, inputs, infusions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jax.typing import ArrayLike
from jaxtyping import Array, Float

Params = Mapping[str, Any]
"""Values of parameters (and of inputs, where there are any) by name."""


class Lines(NamedTuple):
    """Inputs that are straight lines over a gap: rates of change, and when each has its mean."""

    rates: Params
    middle: Any


class Held(NamedTuple):
    """Values that are constant over a gap, or at a visit; or lines, of which they are the means.

    Attributes
    ----------
    values : mapping
        Parameters and inputs by name.
    infusion : array of shape (state,), optional
        Rate at which each state is infused over the gap, before bioavailability. None where
        nothing is infused.
    lines : Lines, optional
        Inputs that change over the gap. None where none does.
    """

    values: Params
    infusion: Float[Array, " state"] | None = None
    lines: Lines | None = None

    @property
    def mean(self) -> "Held":
        """The same with lines held at their means."""
        return self if self.lines is None else self._replace(lines=None)

    def at(self, t: ArrayLike) -> "Held":
        """What holds at a time; the same where nothing changes."""
        if self.lines is None:
            return self
        rates, middle = self.lines
        now = {name: self.values[name] + rate * (t - middle) for name, rate in rates.items()}
        return self._replace(values={**self.values, **now}, lines=None)

    def over_step(self, t: ArrayLike, h: ArrayLike) -> "Held":
        """Means over the step of length `h` from a time; the same where nothing changes."""
        return self if self.lines is None else self.at(t + 0.5 * h)
