"""How an ensemble takes in a number: deterministically, or with perturbed data.

Legend: a anomalies of the predicted number; r noise variance; s innovation variance; root the
square root of r / s. The anomalies A of an ensemble change to A + along K' with the gain K.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float


class Variant(ABC):
    """Base of the analysis steps of an ensemble Kalman filter."""

    def n_perturbed(self, n_components: int) -> int:
        """Components of a datum for which each member needs a normal."""
        return 0

    @abstractmethod
    def change(
        self, a: Float[Array, " member"], root: Array, s: Array, normals: Array | None
    ) -> Float[Array, " member"]:
        """How far each member moves along the gain, apart from the mean."""


@dataclass(frozen=True)
class SquareRoot(Variant):
    """Deterministic analysis: anomalies shrink so that their covariance is the Kalman filter's.

    References
    ----------
    Whitaker and Hamill (2002), *Monthly Weather Review* 130, 1913-1924, eq. 10-13.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.EnKF(variant=pds.SquareRoot()) == pds.EnKF()
    True
    """

    def change(
        self, a: Float[Array, " member"], root: Array, s: Array, normals: Array | None
    ) -> Float[Array, " member"]:
        """Anomalies of the number shrink by the root of r / s."""
        return -a / (1 + root)


@dataclass(frozen=True)
class Perturbed(Variant):
    """The original analysis: each member takes in a datum of its own, perturbed by noise.

    Its error is larger than that of :class:`SquareRoot`; members stay a sample where the
    predicted state is far from normal.

    References
    ----------
    Burgers, van Leeuwen and Evensen (1998), *Monthly Weather Review* 126, 1719-1724, eq. 9-13.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.EnKF(variant=pds.Perturbed()).variant
    Perturbed()
    """

    def n_perturbed(self, n_components: int) -> int:
        """All of them."""
        return n_components

    def change(
        self, a: Float[Array, " member"], root: Array, s: Array, normals: Array | None
    ) -> Float[Array, " member"]:
        """Members move towards their own perturbed number."""
        assert normals is not None, "drawn where the variant asks for them"
        return root * jnp.sqrt(s) * normals - a
