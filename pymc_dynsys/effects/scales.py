"""Scales on which parameters vary: where a normal distribution of the differences makes sense."""

from dataclasses import dataclass
from numbers import Real
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

    :math:`\theta = \exp(\eta)`, so a normal distribution of :math:`\eta` is a log-normal one of
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
    TypeError, ValueError
        Unless both are numbers, ``lower < upper`` and finite.

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
        bounds: tuple[Any, Any] = (self.lower, self.upper)
        if not all(isinstance(bound, Real) for bound in bounds):
            raise TypeError(
                f"Logit: lower and upper must be numbers, got {bounds[0]!r} and {bounds[1]!r}; "
                "bounds that are themselves unknown need a Logit() and a sum of your own"
            )
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


def require_scale(name: str, role: str, scale: Any) -> None:
    """Raise for what is no scale: a class that was not called, or its name."""
    if isinstance(scale, type) or not (hasattr(scale, "prefix") and hasattr(scale, "inverse")):
        raise TypeError(
            f"{name}: {role} must be a scale, such as effects.Log() or effects.Logit(0.0, 1.0); "
            f"got {scale!r}"
        )
