"""Scales on which parameters vary: where a normal law of the differences makes sense."""

from dataclasses import dataclass
from typing import Any, Protocol

import pytensor.tensor as pt


class Scale(Protocol):
    """What a scale is: a prefix for the name of the varying quantity, and the way back."""

    @property
    def prefix(self) -> str:
        """Begins the name of the variable on this scale."""
        ...

    def inverse(self, value: Any) -> Any:
        """From this scale to the parameter's own."""
        ...


@dataclass(frozen=True)
class Log:
    r"""The logarithm: for positive parameters, whose differences are ratios.

    :math:`\theta = \exp(\eta)`, so a normal law of :math:`\eta` is a log-normal one of
    :math:`\theta`, and the mean of :math:`\eta` is the logarithm of the median of :math:`\theta`.

    Examples
    --------
    >>> from pymc_dynsys import effects
    >>> effects.Log().inverse(0.0).eval()
    array(1.)
    """

    @property
    def prefix(self) -> str:
        """Begins the name of the variable on this scale: ``log``."""
        return "log"

    def inverse(self, value: Any) -> Any:
        """The exponential of a PyTensor expression or number, of any shape."""
        return pt.exp(pt.cast(value, "float64"))


@dataclass(frozen=True)
class Logit:
    r"""The log-odds: for parameters between two bounds.

    :math:`\theta = l + (u - l) / (1 + \exp(-\eta))`.

    Parameters
    ----------
    lower, upper : float, optional
        The bounds :math:`l < u`, in units of the parameter; those of a probability by default.

    Raises
    ------
    ValueError
        Unless ``lower < upper`` and both are finite.

    Examples
    --------
    >>> from pymc_dynsys import effects
    >>> effects.Logit(lower=-1.0, upper=1.0).inverse(0.0).eval()
    array(0.)
    """

    lower: float = 0.0
    upper: float = 1.0

    def __post_init__(self) -> None:
        """Refuse bounds that enclose nothing."""
        if not -float("inf") < self.lower < self.upper < float("inf"):
            raise ValueError(
                f"Logit: expected finite bounds with lower < upper, got {self.lower} and "
                f"{self.upper}; with one bound only, Log() and a shift do"
            )

    @property
    def prefix(self) -> str:
        """Begins the name of the variable on this scale: ``logit``."""
        return "logit"

    def inverse(self, value: Any) -> Any:
        """From log-odds, a PyTensor expression or number of any shape, to between the bounds."""
        return self.lower + (self.upper - self.lower) * pt.sigmoid(pt.cast(value, "float64"))
