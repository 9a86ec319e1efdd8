"""Log-densities of many families: values and derivatives, also where a value is missing.

Five derivatives, which the gradient of the second order asks for, take a minute to compile; the
first three, those of the first order, a tenth of it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy import special

import pymc_dynsys as pds
from pymc_dynsys.systems import Held, bind_system
from pymc_dynsys.systems.densities import draw, log_density
from tests.contour import derivatives
from tests.systems.test_tails import complex_log_cdf, nested

CUTS = np.array([-1.0, 0.5, 2.0])
POINTS = np.array([0.0, 0.4, -1.3, 3.0])


def log_logistic(x):
    return -np.log1p(np.exp(-x))


def log_gamma(x):
    return special.loggamma(x + 0j)


def negative_binomial(y, mean, c):
    out = log_gamma(y + c) - log_gamma(c) - log_gamma(y + 1.0)
    return out + c * np.log(c / (c + mean)) + y * np.log(mean / (c + mean))


def beta_density(x):
    a, b = 5 / (1 + np.exp(-x)), 5 / (1 + np.exp(x))
    constant = log_gamma(5.0) - log_gamma(a) - log_gamma(b)
    return (a - 1) * np.log(0.3) + (b - 1) * np.log(0.7) + constant


def student(x):
    constant = log_gamma(2.5) - log_gamma(2.0) - 0.5 * np.log(4 * np.pi) - np.log(0.5)
    return constant - 2.5 * np.log1p(((0.3 - x) / 0.5) ** 2 / 4)


def normal(y, mean, sd):
    return -0.5 * np.log(2 * np.pi) - np.log(sd) - ((y - mean) / sd) ** 2 / 2


# Law of the state, a value, and the complex function that is its log-density.
FAMILIES = {
    "poisson, exposure": (
        lambda x: dist.Poisson(2 * jnp.exp(x)),
        7.0,
        lambda x: 7 * (x + np.log(2)) - 2 * np.exp(x) - log_gamma(8.0),
    ),
    "poisson, zero": (lambda x: dist.Poisson(jnp.exp(x)), 0.0, lambda x: -np.exp(x)),
    "negative binomial": (
        lambda x: dist.NegativeBinomial2(jnp.exp(x), 1.5),
        5.0,
        lambda x: negative_binomial(5.0, np.exp(x), 1.5),
    ),
    "bernoulli, 1": (lambda x: dist.Bernoulli(logits=x), 1.0, log_logistic),
    "bernoulli, 0": (lambda x: dist.Bernoulli(logits=x), 0.0, lambda x: log_logistic(-x)),
    "binomial": (
        lambda x: dist.Binomial(10, logits=x),
        3.0,
        lambda x: np.log(120) + 3 * log_logistic(x) + 7 * log_logistic(-x),
    ),
    "ordered, lowest": (
        lambda x: dist.OrderedLogistic(x, CUTS),
        0.0,
        lambda x: log_logistic(CUTS[0] - x),
    ),
    "ordered, within": (
        lambda x: dist.OrderedLogistic(x, CUTS),
        1.0,
        lambda x: log_logistic(CUTS[1] - x) + log_logistic(x - CUTS[0]) + np.log1p(-np.exp(-1.5)),
    ),
    "ordered, highest": (
        lambda x: dist.OrderedLogistic(x, CUTS),
        3.0,
        lambda x: log_logistic(x - CUTS[2]),
    ),
    "student": (lambda x: dist.StudentT(4.0, x, 0.5), 0.3, student),
    "gamma": (
        lambda x: dist.Gamma(2.0, 2 * jnp.exp(-x)),
        0.7,
        lambda x: 2 * (np.log(2) - x) + np.log(0.7) - 1.4 * np.exp(-x),
    ),
    "log-normal": (
        lambda x: dist.LogNormal(x, 0.3),
        0.7,
        lambda x: normal(np.log(0.7), x, 0.3) - np.log(0.7),
    ),
    "beta": (
        lambda x: dist.Beta(5 * jax.nn.sigmoid(x), 5 * jax.nn.sigmoid(-x)),
        0.3,
        beta_density,
    ),
    "zero-inflated, 0": (
        lambda x: dist.ZeroInflatedPoisson(0.2, jnp.exp(x)),
        0.0,
        lambda x: np.log(0.2 + 0.8 * np.exp(-np.exp(x))),
    ),
    "zero-inflated, 3": (
        lambda x: dist.ZeroInflatedPoisson(0.2, jnp.exp(x)),
        3.0,
        lambda x: np.log(0.8) + 3 * x - np.exp(x) - np.log(6),
    ),
    "zero-inflated by logits": (
        lambda x: dist.ZeroInflatedDistribution(
            dist.NegativeBinomial2(jnp.exp(x), 1.5), gate_logits=-1.0
        ),
        0.0,
        lambda x: np.log(
            special.expit(-1) + special.expit(1) * np.exp(negative_binomial(0.0, np.exp(x), 1.5))
        ),
    ),
    "censored below": (
        lambda x: pds.censored(dist.Normal(x, 0.3), lower=-0.5),
        -0.5,
        lambda x: complex_log_cdf((-0.5 - x) / 0.3),
    ),
    "not censored": (
        lambda x: pds.censored(dist.Normal(x, 0.3), lower=-0.5),
        0.4,
        lambda x: normal(0.4, x, 0.3),
    ),
    "normal": (lambda x: dist.Normal(x, 0.5), 0.2, lambda x: normal(0.2, x, 0.5)),
}
LAWS, VALUES, REFERENCES = (tuple(part) for part in zip(*FAMILIES.values(), strict=True))


@pytest.fixture(
    scope="module", params=[3, pytest.param(5, marks=pytest.mark.slow)], ids="{} of them".format
)
def found(request):
    """Value and derivatives ``(order, family, point)``, of a datum with one component there."""
    system = pds.ODE(
        drift=lambda x: -x,
        initial=1.0,
        observation=lambda x: tuple(law(x[0]) for law in LAWS),
    )
    observation = bind_system(system, {}).observation

    def density(x, seen, y):
        return observation.log_density(y, seen, x[None], 0.0, Held({}))

    def of_all(x):
        seen = jnp.concatenate([jnp.eye(len(LAWS), dtype=bool), jnp.zeros((1, len(LAWS)), bool)])
        # What is missing is not in the support of most of them.
        y = jnp.where(seen, jnp.array(VALUES), -0.5)
        return jax.vmap(lambda s, y, x: jax.vmap(lambda x: density(x, s, y))(x))(seen, y, x)

    return np.asarray(nested(of_all, request.param)(np.tile(POINTS, (len(LAWS) + 1, 1))))


@pytest.mark.parametrize("name", FAMILIES)
def test_derivatives(found, name):
    which = list(FAMILIES).index(name)
    expected = derivatives(REFERENCES[which], POINTS, np.full(len(POINTS), 0.6))
    # The referee divides rounding by 0.6**5.
    np.testing.assert_allclose(found[:, which], expected[: len(found)], rtol=1e-9, atol=1e-9)


def test_nothing_seen_is_zero_with_all_derivatives(found):
    np.testing.assert_array_equal(found[:, -1], 0.0)


def test_far_out_probabilities_do_not_underflow():
    """Where numpyro's own give minus infinity or a slope of zero."""
    ordered = dist.OrderedLogistic(jnp.array(-60.0), CUTS)
    np.testing.assert_allclose(log_density(ordered, jnp.array(3.0)), -62.0, rtol=1e-12)
    slope = jax.grad(lambda x: log_density(dist.Bernoulli(logits=x), jnp.array(1.0)))
    assert slope(0.0) == 0.5
    assert slope(-800.0) == 1.0


def test_draws_where_trials_are_floats():
    """As parameters and inputs are; numpyro's sampler asks for integers."""
    trials, key = jnp.array(12.0), jax.random.PRNGKey(0)
    law = dist.Binomial(trials, logits=0.3)
    laws = (law, dist.ZeroInflatedDistribution(law, gate=0.25), pds.censored(law, upper=7.0))
    found = [np.asarray(draw(law, key, (4000,))) for law in laws]
    mean = 12.0 * special.expit(0.3)
    np.testing.assert_allclose([x.mean() for x in found[:2]], [mean, 0.75 * mean], rtol=0.03)
    np.testing.assert_array_equal(np.unique(found[2])[-2:], [6.0, 7.0])
