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
    C = jnp.cumsum(jnp.exp(w))
    u = jax.random.uniform(key)
    # Positions below each running sum; the last sum is one, whatever rounding made of it.
    below = jnp.ceil(n * C / C[-1] - u).astype(jnp.int32)
    below = jnp.clip(below, 0, n).at[-1].set(n)
    return jnp.cumsum(jnp.zeros(n, jnp.int32).at[below].add(1, mode="drop"))
