"""What is held fixed while a system moves or is observed: parameters, inputs, infusions."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from jaxtyping import Array, Float

Params = Mapping[str, Any]
"""Values of parameters (and of inputs, where there are any) by name."""


class Held(NamedTuple):
    """Values that are constant over a gap, or at a visit.

    Attributes
    ----------
    values : mapping
        Parameters and inputs by name.
    infusion : array of shape (state,), optional
        Rate at which each state is infused over the gap, before bioavailability. None where
        nothing is infused.
    """

    values: Params
    infusion: Float[Array, " state"] | None = None
