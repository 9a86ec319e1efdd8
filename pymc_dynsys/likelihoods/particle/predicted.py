r"""Where data lie among those that weighted particles predict, as normal quantiles.

Of Gaussian data one component after the other, each given those before it,

.. math:: z_j = \Phi^{-1}\Bigl(\sum_i W_i F_j(y_j \mid x_i)\Bigr), \qquad
          W_i \leftarrow W_i\, p(y_j \mid x_i),

of others each component by itself, from the probability of less to that of up to its value.

Legend: w log-weights that sum to one; errors in units of the spread that each particle predicts.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float

from pymc_dynsys.linalg import ldl, unit_lower_solve
from pymc_dynsys.systems.gaussian import normal_logpdf
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import Observation

Quantiles = tuple[Float[Array, " component"], Float[Array, " component"]]

SMALLEST = 1e-300
"""Least probability, which keeps the quantile finite."""


def of_gaussians(
    w: Float[Array, " particle"],
    errors: Float[Array, "particle component"],
    terms: Float[Array, "particle component"],
) -> Quantiles:
    """Twice the quantile, from errors and log-densities, which are zero where data are missing.

    Each tail is summed by itself, so that both are precise.
    """
    before = jnp.cumsum(terms, axis=1) - terms
    W = jax.nn.softmax(jnp.nan_to_num(w[:, None] + before, nan=-jnp.inf), axis=0)
    lower = (W * jax.scipy.special.ndtr(errors)).sum(0)
    upper = (W * jax.scipy.special.ndtr(-errors)).sum(0)
    z = jax.scipy.special.ndtri(jnp.clip(jnp.minimum(lower, upper), SMALLEST, 0.5))
    z = jnp.where(lower < upper, z, -z)
    return z, z


def of_laws(
    key: Array,
    observation: Observation,
    X: Float[Array, "particle state"],
    w: Float[Array, " particle"],
    y: Float[Array, " component"],
    t: ArrayLike,
    held: Held,
) -> Quantiles:
    """Quantiles of less and of up to the datum, from its distribution at each particle.

    A distribution whose cumulative function is not known is simulated once for each particle.
    """

    def known(x: Array, key: Array) -> tuple[Array, Array]:
        return observation.cdf_bounds(y, x, t, held)

    def simulated(x: Array, key: Array) -> tuple[Array, Array]:
        drawn = observation.sample(key, x, t, held)
        return (drawn < y).astype(float), (drawn <= y).astype(float)

    keys = jax.random.split(key, X.shape[0])
    try:
        less, upto = jax.vmap(known)(X, keys)
    except NotImplementedError:
        less, upto = jax.vmap(simulated)(X, keys)
    W = jnp.exp(w)[:, None]
    below, above = ((W * jnp.where(W > 0, part, 0.0)).sum(0) for part in (less, upto))
    return jax.scipy.special.ndtri(below), jax.scipy.special.ndtri(jnp.minimum(above, 1.0))


def gaussian_errors(
    observation: Observation,
    x: Float[Array, " state"],
    y: Float[Array, " component"],
    seen: Bool[Array, " component"] | None,
    t: ArrayLike,
    held: Held,
) -> tuple[Float[Array, " component"], Float[Array, " component"]]:
    """Error of each component given those before it, and its log-density, at one particle."""
    mean, cov = observation.moments(x, t, held)
    v = y - mean
    if seen is not None:
        v = jnp.where(seen, v, 0.0)
        both = seen if cov.ndim == 1 else seen[:, None] & seen[None, :]
        cov = jnp.where(both, cov, 1.0 if cov.ndim == 1 else jnp.eye(cov.shape[0]))
    if cov.ndim == 2:
        L, cov = ldl(cov)
        v = unit_lower_solve(L, v)
    terms = normal_logpdf(v, cov)
    return v / jnp.sqrt(cov), terms if seen is None else jnp.where(seen, terms, 0.0)
