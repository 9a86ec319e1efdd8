"""Log-densities that may be differentiated five times, and distribution functions, of scalar laws.

numpyro's own are used where they are smooth. Where they are not (a Bernoulli's at a logit of zero,
whose slope is that of one side) or lose digits far out, there are others here.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array
from numpyro import distributions as dist

from pymc_dynsys.systems.gaussian import gaussian_moments
from pymc_dynsys.systems.tails import log_logistic, logistic_log_interval, normal_log_cdf


def plain_law(law: dist.Distribution) -> dist.Distribution:
    """The distribution inside those that only say which axes belong to one value."""
    while isinstance(law, dist.Independent) or (
        isinstance(law, dist.ExpandedDistribution) and law.base_dist.shape() == law.shape()
    ):
        law = law.base_dist
    return law


def is_discrete(law: dist.Distribution) -> bool:
    """Whether a distribution has probabilities and no density."""
    return bool(law.support.is_discrete)


def draw(law: dist.Distribution, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
    """Values drawn from a distribution, as floats.

    Trials of a binomial that are inputs or parameters are floats, which numpyro's sampler refuses.
    """
    law = plain_law(law)
    if isinstance(law, dist.BinomialProbs | dist.BinomialLogits):
        n = jnp.asarray(law.total_count).astype(int)
        law = dist.BinomialProbs(total_count=n, probs=law.probs)
    if isinstance(law, dist.discrete.ZeroInflatedProbs):
        of_gate, of_base = jax.random.split(key)
        zero = jax.random.bernoulli(of_gate, law.gate, sample_shape + law.batch_shape)
        return jnp.where(zero, 0.0, draw(law.base_dist, of_base, sample_shape))
    return jnp.asarray(law.sample(key, sample_shape), float)


def log_density(law: dist.Distribution, y: Array) -> Array:
    """Log-density, or log-probability, of values; elementwise where the law has batch axes.

    Values are floats, also of counts and categories, and must be in the support.
    """
    if isinstance(law, dist.BernoulliLogits):
        return log_logistic(jnp.where(y > 0.5, law.logits, -law.logits))
    if isinstance(law, dist.BinomialLogits):
        n, logits = jnp.asarray(law.total_count, float), law.logits
        of_data = _log_choose(n, y)
        return of_data + y * log_logistic(logits) + (n - y) * log_logistic(-logits)
    if isinstance(law, dist.Poisson):
        # A rate of zero has no logarithm, and a count of zero needs none.
        log_rate = jnp.log(jnp.where(y > 0, law.rate, 1.0))
        return y * log_rate - law.rate - jax.scipy.special.gammaln(y + 1.0)
    if isinstance(law, dist.OrderedLogistic):
        return logistic_log_interval(*_between_cutpoints(law, y))
    if isinstance(law, dist.CategoricalProbs | dist.CategoricalLogits):
        return jnp.asarray(law.log_prob(y.astype(int)))
    if isinstance(law, dist.discrete.ZeroInflatedProbs):
        return _zero_inflated(law, y)
    return jnp.asarray(law.log_prob(y))


def _zero_inflated(law: dist.discrete.ZeroInflatedProbs, y: Array) -> Array:
    """Log-probability of values of which some are zero in any case."""
    of_base = log_density(plain_law(law.base_dist), y)
    if isinstance(law, dist.discrete.ZeroInflatedLogits):
        odds = of_base - law.gate_logits
        log_gate = log_logistic(law.gate_logits)
        return log_gate + jnp.where(y == 0, -log_logistic(-odds), odds)
    counted = jnp.log1p(-law.gate) + of_base
    return jnp.where(y == 0, jnp.log(law.gate + jnp.exp(counted)), counted)


def _log_choose(n: Array, k: Array) -> Array:
    gammaln = jax.scipy.special.gammaln
    return gammaln(n + 1.0) - gammaln(k + 1.0) - gammaln(n - k + 1.0)


def _between_cutpoints(law: dist.OrderedLogistic, y: Array) -> tuple[Array, Array]:
    """Ends of the interval of each category on the scale of the predictor, perhaps infinite."""
    cuts = jnp.asarray(law.cutpoints, float)
    k, last = y.astype(int), cuts.shape[-1]

    def at(index: Array) -> Array:
        index = jnp.clip(index, 0, last - 1)
        if cuts.ndim == 1:
            return cuts[index]
        return jnp.take_along_axis(cuts, index[..., None], axis=-1)[..., 0]

    low = jnp.where(k > 0, at(k - 1) - law.predictor, -jnp.inf)
    return low, jnp.where(k < last, at(k) - law.predictor, jnp.inf)


def cdf_bounds(law: dist.Distribution, y: Array) -> tuple[Array, Array]:
    """Probabilities of values below y, and up to y; they are the same where there is a density.

    Raises
    ------
    NotImplementedError
        For a distribution whose distribution function is not known.
    """
    law = plain_law(law)
    own = getattr(law, "cdf_bounds", None)
    if own is not None:
        found: tuple[Array, Array] = own(y)
        return found
    if is_discrete(law):
        return _cdf(law, y - 1.0), _cdf(law, y)
    upto = _cdf(law, y)
    return upto, upto


def _cdf(law: dist.Distribution, y: Array) -> Array:
    """Probability of values up to y, which may lie below the support."""
    moments = gaussian_moments(law)
    if moments is not None:
        return jnp.exp(normal_log_cdf((y - moments[0]) / jnp.sqrt(moments[1])))
    if isinstance(law, dist.LogNormal):
        logs = jnp.log(jnp.where(y > 0, y, 1.0))
        return jnp.where(y > 0, jnp.exp(normal_log_cdf((logs - law.loc) / law.scale)), 0.0)
    if isinstance(law, dist.StudentT):
        return _student_cdf(law, y)
    if isinstance(law, dist.discrete.ZeroInflatedProbs):
        inner = _cdf(plain_law(law.base_dist), y)
        return jnp.where(y >= 0, law.gate + (1 - law.gate) * inner, 0.0)
    if isinstance(law, dist.GammaPoisson):
        p = law.rate / (1.0 + law.rate)
        k = jnp.maximum(jnp.floor(y), 0.0)
        return jnp.where(y >= 0, jax.scipy.special.betainc(law.concentration, k + 1.0, p), 0.0)
    finite = _cdf_of_finite(law, y)
    if finite is not None:
        return finite
    inside = jnp.asarray(law.support.feasible_like(y), float)
    low = y < getattr(law.support, "lower_bound", -jnp.inf)
    high = y > getattr(law.support, "upper_bound", jnp.inf)
    value = jnp.asarray(law.cdf(jnp.where(low | high, inside, y)))
    return jnp.where(low, 0.0, jnp.where(high, 1.0, value))


def _cdf_of_finite(law: dist.Distribution, y: Array) -> Array | None:
    """Probability of values up to y of a law that takes few; None for another."""
    if isinstance(law, dist.BernoulliProbs | dist.BernoulliLogits):
        return jnp.where(y >= 1, 1.0, jnp.where(y >= 0, 1.0 - law.probs, 0.0))
    if isinstance(law, dist.BinomialProbs | dist.BinomialLogits):
        n, p = jnp.asarray(law.total_count, float), law.probs
        k = jnp.clip(jnp.floor(y), 0.0, jnp.maximum(n - 1.0, 0.0))
        within = jax.scipy.special.betainc(jnp.maximum(n - k, 1.0), k + 1.0, 1.0 - p)
        return jnp.where(y >= n, 1.0, jnp.where(y >= 0, within, 0.0))
    if isinstance(law, dist.CategoricalProbs | dist.CategoricalLogits):
        probs = law.probs
        categories = jnp.arange(probs.shape[-1], dtype=float).reshape((1,) * y.ndim + (-1,))
        upto = categories <= y[..., None]
        return jnp.sum(jnp.where(upto, probs, 0.0), axis=-1)
    return None


def _student_cdf(law: dist.StudentT, y: Array) -> Array:
    """From the incomplete beta function of the shorter side, which loses nothing in the tails."""
    return _t_cdf((y - law.loc) / law.scale, jnp.asarray(law.df, float))


@jax.custom_jvp
def _t_cdf(z: Array, df: Array) -> Array:
    z, df = jnp.broadcast_arrays(z, df)
    tail = 0.5 * jax.scipy.special.betainc(0.5 * df, 0.5, df / (df + z * z))
    return jnp.where(z > 0, 1.0 - tail, tail)


def _t_cdf_tangents(primals: tuple[Any, Any], tangents: tuple[Any, Any]) -> tuple[Any, Any]:
    """The slope is the density; there is none in the degrees of freedom.

    That is a TypeError, as any gradient that there is not: PyMC takes NotImplementedError as a
    hint to choose a sampler without gradients.
    """
    z, df = (primal.value for primal in primals)
    if primals[1].perturbed:
        raise TypeError(
            "the distribution function of StudentT has no derivative in its degrees of freedom; "
            "make df a number where such a law is censored"
        )
    density = jnp.exp(dist.StudentT(df).log_prob(z))
    slope = tangents[0]
    if type(slope) is jax.custom_derivatives.SymbolicZero:
        slope = jnp.zeros_like(z)
    return _t_cdf(z, df), density * slope


_t_cdf.defjvp(_t_cdf_tangents, symbolic_zeros=True)
