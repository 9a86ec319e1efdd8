"""What the named components of time series share: one block of a linear-Gaussian system."""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.systems.initial import Diffuse, Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Matrices, first_law

Initial = Stationary | Diffuse


def component(
    name: str,
    states: tuple[str, ...],
    params: dict[str, Any],
    matrices: Any,
    initial: Any,
    step: float,
) -> LinearGaussian:
    """A block without measurement noise; its initial state is diffuse unless stated otherwise."""
    law = Diffuse() if initial is None else initial
    if not isinstance(law, Stationary | Diffuse):
        raise TypeError(f"{name}: initial must be Stationary() or Diffuse(), got {law!r}")
    return LinearGaussian(
        name, states, params, matrices, lambda params: first_law(law, matrices(params)), step
    )


def block(F: Array, noise: Array, H: Array) -> Matrices:
    """Matrices of a scalar component with independent noises."""
    n = len(F)
    return Matrices(F, jnp.zeros(n), jnp.diag(noise), H, jnp.zeros(()), None)


def variances(sigma: Any) -> Array:
    """Variance as a vector of one; NaN for a negative standard deviation."""
    s = jnp.reshape(jnp.asarray(sigma, float), (1,))
    return jnp.where(s >= 0, s * s, jnp.nan)
