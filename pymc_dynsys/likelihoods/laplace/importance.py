r"""Importance draws from the normal approximation, which correct Laplace's approximation.

Paths :math:`z \pm e` in antithetic pairs, :math:`e \sim N(0, H^{-1})` made of fixed normals
:math:`\epsilon`, weigh :math:`\exp[f(z \pm e) + \tfrac12|\epsilon|^2]`; the log of their mean
estimates the likelihood (Shephard and Pitt 1997; Durbin and Koopman 1997). With fixed normals it
is smooth in the parameters.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.laplace.riccati import deviations
from pymc_dynsys.likelihoods.laplace.value import Approximation, joint


def log_weights(
    about: Approximation, eps: Float[Array, "stage pair noise"]
) -> Float[Array, " draw"]:
    """Log-weights of the draws, first those to one side, relative to the mode's own density."""

    def pair(eps: Array) -> Array:
        off = deviations(about.stages, about.factor, eps)
        sides = jnp.stack([about.z + off, about.z - off])
        densities = jax.vmap(lambda z: joint(about.path, about.sight, z))(sides)
        return densities + 0.5 * (eps * eps).sum()

    at_mode = joint(about.path, about.sight, about.z)
    weights = jax.vmap(pair, in_axes=1, out_axes=1)(eps) - at_mode
    return weights.reshape(-1)


def correction(about: Approximation, eps: Float[Array, "stage pair noise"]) -> Float[Array, ""]:
    """Logarithm of the mean weight, in nats."""
    weights = log_weights(about, eps)
    found: Array = jax.nn.logsumexp(weights) - jnp.log(weights.shape[0])
    return found


def effective_sample_size(weights: Float[Array, " draw"]) -> Float[Array, ""]:
    """Number of draws of equal weight that would be worth as much (Kong 1992)."""
    return jnp.exp(2 * jax.nn.logsumexp(weights) - jax.nn.logsumexp(2 * weights))
