"""Log-probabilities of intervals under scalar distributions: those of censored values."""

import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro import distributions as dist

from pymc_dynsys.systems.densities import cdf_bounds, plain_law
from pymc_dynsys.systems.gaussian import gaussian_moments
from pymc_dynsys.systems.tails import logistic_log_interval, normal_log_interval, normal_log_tail


def log_probability(
    law: dist.Distribution, start: Array, end: Array, half_open: bool = False
) -> Array:
    """Log-probability of values from `start` to `end`, ends included; they may be infinite.

    `half_open` says that one of them is, at every place: one tail instead of the difference of two.
    """
    law = plain_law(law)
    moments = gaussian_moments(law)
    of_normal = normal_log_tail if half_open else normal_log_interval
    if moments is not None:
        mean, sd = moments[0], jnp.sqrt(moments[1])
        return of_normal(_standard(start, mean, sd), _standard(end, mean, sd))
    if isinstance(law, dist.LogNormal):
        start, end = (_logarithm(bound) for bound in (start, end))
        loc, scale = law.loc, law.scale
        return of_normal(_standard(start, loc, scale), _standard(end, loc, scale))
    if isinstance(law, dist.Logistic):
        loc, scale = law.loc, law.scale
        return logistic_log_interval(_standard(start, loc, scale), _standard(end, loc, scale))
    return _by_distribution_function(law, start, end)


def _standard(bound: Array, loc: Array, scale: Array) -> Array:
    """A bound in standard units, without slopes where it is infinite."""
    finite = jnp.isfinite(bound)
    return jnp.where(finite, (jnp.where(finite, bound, 0.0) - loc) / scale, bound)


def _logarithm(bound: Array) -> Array:
    positive = (bound > 0) & (bound < jnp.inf)
    logs = jnp.log(jnp.where(positive, bound, 1.0))
    return jnp.where(positive, logs, jnp.where(bound > 0, jnp.inf, -jnp.inf))


def _by_distribution_function(law: dist.Distribution, start: Array, end: Array) -> Array:
    """From the distribution function: of small probabilities on the right the complement is off."""
    inside = jnp.asarray(law.support.feasible_like(start), float)
    low, high = jnp.isfinite(start), jnp.isfinite(end)
    below = jnp.where(low, cdf_bounds(law, jnp.where(low, start, inside))[0], 0.0)
    upto = jnp.where(high, cdf_bounds(law, jnp.where(high, end, inside))[1], 1.0)
    possible = upto > below
    return jnp.where(possible, jnp.log(jnp.where(possible, upto - below, 1.0)), -jnp.inf)


def has_cdf(law: dist.Distribution) -> bool:
    """Whether the distribution function of a scalar distribution is known."""
    law = plain_law(law)
    if gaussian_moments(law) is not None:
        return True
    try:
        jax.eval_shape(lambda: cdf_bounds(law, jnp.asarray(law.support.feasible_like(0.0), float)))
    except NotImplementedError:
        return False
    return True
