r"""Probability integral transforms of data predicted by weighted particles.

.. math:: u_j = \sum_i W_i F_j(y_j \mid x_i), \qquad W_i \leftarrow W_i\, p(y_j \mid x_i)

one component after the other, each given those before it. Where a value has a probability of its
own, as in discrete data, the transform is drawn evenly from P(Y < y) to P(Y <= y). A distribution
without a cumulative function in numpyro is simulated once for each particle instead.

Legend: w log-weights that sum to one; below, upto P(Y < y) and P(Y <= y) of one particle; z normal
quantiles of the transforms.
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float
from numpyro import distributions as dist

from pymc_dynsys.linalg import ldl, unit_lower_solve
from pymc_dynsys.systems.gaussian import gaussian_moments, normal_logpdf
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import Observation

SMALLEST = 1e-300
"""Least probability, which keeps the quantile finite."""


def quantiles(
    w: Float[Array, " particle"],
    below: Float[Array, "particle component"],
    upto: Float[Array, "particle component"],
    above: Float[Array, "particle component"],
    terms: Float[Array, "particle component"],
    u: Float[Array, " component"],
) -> Float[Array, " component"]:
    """Normal quantiles of the transforms, from probabilities and log-densities of each particle.

    `terms` are zero where a component is missing. The upper tail is taken from `above`, the
    probability of a larger value, so that it is as precise as the lower one.
    """
    before = jnp.cumsum(terms, axis=1) - terms
    before = jnp.where(jnp.isnan(before), -jnp.inf, before)
    weights = jax.nn.softmax(w[:, None] + before, axis=0)
    low, high, rest = ((weights * part).sum(0) for part in (below, upto, above))
    lower, upper = low + u * (high - low), rest + (1 - u) * (high - low)
    tail = jnp.clip(jnp.minimum(lower, upper), SMALLEST, 0.5)
    z = jax.scipy.special.ndtri(tail)
    return jnp.where(lower < upper, z, -z)


def of_gaussians(
    w: Float[Array, " particle"],
    errors: Float[Array, "particle component"],
    terms: Float[Array, "particle component"],
) -> Float[Array, " component"]:
    """Quantiles from errors in units of the spread that each particle predicts."""
    below, above = jax.scipy.special.ndtr(errors), jax.scipy.special.ndtr(-errors)
    return quantiles(w, below, below, above, terms, jnp.zeros(errors.shape[1]))


def of_laws(
    key: Array,
    observation: Observation,
    X: Float[Array, "particle state"],
    w: Float[Array, " particle"],
    y: Float[Array, " component"],
    seen: Bool[Array, " component"] | None,
    t: ArrayLike,
    held: Held,
) -> Float[Array, " component"]:
    """Quantiles of a datum from its distribution at each particle."""
    of_values, of_ties = jax.random.split(key)
    keys = jax.random.split(of_values, X.shape[0])
    m = observation.n_components

    def one(x: Array, key: Array) -> tuple[Array, Array, Array, Array]:
        law = observation.law(x, t, held)
        moments = gaussian_moments(law)
        if moments is not None:
            return _gaussian(moments[0].reshape(m), moments[1], y, seen)
        while isinstance(law, dist.Independent):
            law = law.base_dist
        if law.event_dim:
            return _simulated(observation.sample(key, x, t, held), law, y)
        value = y[0] if observation.scalar else y
        term = jnp.broadcast_to(law.log_prob(value), value.shape)
        at_most = _cumulative(law, value)
        if at_most is None:
            return _simulated(observation.sample(key, x, t, held), law, y, term.reshape(m))
        mass = jnp.exp(term) if law.is_discrete else jnp.zeros(value.shape)
        parts = (at_most - mass, at_most, 1 - at_most, term)
        return tuple(jnp.broadcast_to(part, value.shape).reshape(m) for part in parts)  # type: ignore[return-value]

    below, upto, above, terms = jax.vmap(one)(X, keys)
    terms = jnp.where(jnp.isnan(terms), -jnp.inf, terms)
    if seen is not None:
        terms = jnp.where(seen[None, :], terms, 0.0)
    return quantiles(w, below, upto, above, terms, jax.random.uniform(of_ties, (m,)))


def _gaussian(
    mean: Array, cov: Array, y: Array, seen: Array | None
) -> tuple[Array, Array, Array, Array]:
    """Probabilities of each component given those before it, and its log-density."""
    v = y - mean
    if cov.ndim == 2:
        if seen is not None:
            v = jnp.where(seen, v, 0.0)
            cov = jnp.where(seen[:, None] & seen[None, :], cov, jnp.eye(cov.shape[0]))
        L, cov = ldl(cov)
        v = unit_lower_solve(L, v)
    cov = cov.reshape(v.shape)
    error = v / jnp.sqrt(cov)
    below, above = jax.scipy.special.ndtr(error), jax.scipy.special.ndtr(-error)
    return below, below, above, normal_logpdf(v, cov)


def _cumulative(law: dist.Distribution, value: Array) -> Array | None:
    """P(Y <= y), by its formula or as a sum over all values; None where numpyro has neither."""
    try:
        return jnp.asarray(law.cdf(value))
    except NotImplementedError:
        pass
    if not law.has_enumerate_support:
        return None
    support = law.enumerate_support(expand=False).reshape(-1, *(1,) * value.ndim)
    masses = jnp.exp(law.log_prob(jnp.broadcast_to(support, (len(support), *value.shape))))
    return jnp.where(support <= value[None], masses, 0.0).sum(0)


def _simulated(
    drawn: Array, law: dist.Distribution, y: Array, term: Array | None = None
) -> tuple[Array, Array, Array, Array]:
    """Indicators of a value drawn at one particle; components of a joint law are taken alone."""
    below, upto = (drawn < y).astype(float), (drawn <= y).astype(float)
    return below, upto, 1 - upto, jnp.zeros(y.shape) if term is None else term
