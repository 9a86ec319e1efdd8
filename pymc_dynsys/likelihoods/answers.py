"""What a run answers, by row of one trajectory."""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float


class Moments(NamedTuple):
    """Mean and covariance of the states at every row."""

    mean: Float[Array, "row state"]
    cov: Float[Array, "row state state"]


class Present(NamedTuple):
    """A path given all the data, and what may be added to it as they do not tell.

    ``free`` is a direction, zero where a state does not depend on diffuse ones that the data do
    not tell; ``size`` is the scale of such a state, of which rounding is a part.
    """

    path: Float[Array, "row state"]
    free: Float[Array, "row state"]
    size: Float[Array, "row state"]


class Faults(NamedTuple):
    """What is at fault with the data.

    Attributes
    ----------
    untold : array of bool
        Diffuse states that the data do not tell, alone or apart from others.
    certain : array of bool
        Data that are predicted without variance.
    """

    untold: Bool[Array, "*batch diffuse"]
    certain: Bool[Array, "*row component"]
