"""Weights of particles: their effective number, and systematic resampling.

Legend: W weights that sum to one, as logarithms w; C their running sums; u a uniform number.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def normalise(
    w: Float[Array, " particle"],
) -> tuple[Float[Array, " particle"], Float[Array, ""]]:
    """Log-weights whose weights sum to one, and the logarithm of what they summed to.

    Weights that are not a number count as zero. Where all are zero the sum is zero, and they become
    equal.
    """
    w = jnp.where(jnp.isnan(w), -jnp.inf, w)
    total = jax.nn.logsumexp(w)
    return jnp.where(jnp.isfinite(total), w - total, uniform(w.shape[0])), total


def uniform(n: int) -> Float[Array, " particle"]:
    """Equal log-weights."""
    return jnp.full(n, -jnp.log(float(n)))


def effective_number(w: Float[Array, " particle"]) -> Float[Array, ""]:
    """Particles of equal weight that are worth as much, 1 / sum of W squared."""
    return 1.0 / jnp.exp(2 * w).sum()


def systematic(key: Array, w: Float[Array, " particle"]) -> Int[Array, " particle"]:
    """Ancestors: as many of each particle as there are of (j + u) / n within its share of [0, 1].

    Their number differs from n W by less than one, and is n W on average (Kitagawa 1996, appendix).
    """
    n = w.shape[0]
    return places(w, (jnp.arange(n) + jax.random.uniform(key)) / n)


def places(w: Float[Array, " particle"], u: Float[Array, " draw"]) -> Int[Array, " draw"]:
    """Particles whose shares of [0, 1] hold given numbers."""
    # Without the barrier XLA sums again at every step of the search.
    C = jax.lax.optimization_barrier(jnp.cumsum(jnp.exp(w)))
    found = jnp.searchsorted(C, u * C[-1], side="right")
    return jnp.minimum(found, w.shape[0] - 1).astype(jnp.int32)
