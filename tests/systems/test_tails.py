"""Tails and intervals far out, with five derivatives, against complex functions of scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from pymc_dynsys.systems.tails import (
    logistic_log_interval,
    normal_log_cdf,
    normal_log_interval,
    normal_log_tail,
)
from tests.contour import derivatives


def nested(function, order=5):
    """Value and derivatives ``(order + 1, *x)`` of an elementwise function."""

    def more(known):
        def one_more(x):
            below, slopes = jax.jvp(known, (x,), (jnp.ones_like(x),))
            return (*below, slopes[-1])

        return one_more

    functions = lambda x: (function(x),)  # noqa: E731
    for _ in range(order):
        functions = more(functions)
    return jax.jit(lambda x: jnp.stack(functions(x)))


def complex_log_cdf(z):
    """By the scaled complementary error function, of which nothing underflows on either side."""
    left = np.where(z.real < 0, z, -1.0)
    right = np.where(z.real < 0, 1.0, z)
    below = np.log(0.5 * special.wofz(-1j * left / np.sqrt(2))) - left * left / 2
    above = np.log1p(-0.5 * special.wofz(1j * right / np.sqrt(2)) * np.exp(-right * right / 2))
    return np.where(z.real < 0, below, above)


def test_five_derivatives_of_the_tail():
    z = np.array([-100.0, -40.0, -10.0, -5.001, -4.999, -2.5, -1.0, 0.0, 1.0, 1.9])
    expected = derivatives(complex_log_cdf, z, np.maximum(0.3 * np.abs(z), 0.5))
    found = np.asarray(nested(normal_log_cdf)(z))
    np.testing.assert_allclose(found[:3], expected[:3], rtol=2e-11)
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-11)


def test_value_and_slope_on_the_right_and_at_the_infinities():
    z = np.array([2.6, 5.0, 8.0, 30.0])
    value, slope = np.asarray(nested(normal_log_cdf, 1)(z))
    np.testing.assert_allclose(value, stats.norm.logcdf(z), rtol=1e-12)
    np.testing.assert_allclose(
        slope, np.exp(stats.norm.logpdf(z) - stats.norm.logcdf(z)), rtol=1e-9
    )
    ends = np.asarray(normal_log_cdf(jnp.array([-jnp.inf, jnp.inf])))
    np.testing.assert_array_equal(ends, [-np.inf, 0.0])


# Logarithms of the probability and two derivatives in the location, by mpmath with 50 digits.
INTERVALS = [
    (-40.0, -39.9, -800.62947416012146, -39.923161943563495, -0.99956447031736781),
    (39.0, 41.0, -765.08315656437754, 39.025607419930108, -0.99934511722970672),
    (-0.1, 0.1, -2.5300420015472385, 0.0, -0.9966711089933002),
    (0.0, 1e-06, -14.734449091169114, 4.9999999999995831e-7, -0.99999999999991667),
    (10.0, 10.000000001, -71.642204292410717, 10.0000000005, -1.0),
    (-8.0, 30.0, -6.2209605742717861e-16, 5.0522710835368954e-15, -4.0418168668295189e-14),
]


# Open ones, one that is everything, and one that is empty.
OPEN = [(-np.inf, -40.0), (3.0, np.inf), (-np.inf, np.inf), (2.0, 1.0)]


@pytest.fixture(scope="module")
def intervals():
    """Value and five derivatives of all intervals, their mirror images and the open ones.

    One program for all, since it is long to compile.
    """
    closed = np.array(INTERVALS)[:, :2]
    low, high = np.concatenate([closed, -closed[:, ::-1], np.array(OPEN)]).T
    found = nested(lambda m: normal_log_interval(low - m, high - m))(np.zeros(len(low)))
    n = len(closed)
    return {1: found[:, :n], -1: found[:, n : 2 * n], "open": found[:, 2 * n :]}


@pytest.mark.parametrize("flip", [1, -1])
def test_intervals_lose_no_digits(intervals, flip):
    found, rows = np.asarray(intervals[flip]), np.array(INTERVALS)
    np.testing.assert_allclose(found[0], rows[:, 2], rtol=1e-12)
    np.testing.assert_allclose(found[1], flip * rows[:, 3], rtol=1e-8, atol=1e-12)
    np.testing.assert_allclose(found[2], rows[:, 4], rtol=1e-7, atol=1e-12)
    assert np.isfinite(found).all()


def test_intervals_that_are_open_or_empty(intervals):
    found = np.asarray(intervals["open"])
    a, b = np.array(OPEN[:3]).T
    tail = nested(lambda m: normal_log_tail(a - m, b - m), 2)(np.zeros(3))
    np.testing.assert_allclose(tail, found[:3, :3], rtol=1e-12)
    assert normal_log_tail(jnp.inf, jnp.inf) == -np.inf
    np.testing.assert_allclose(found[0, :3], [stats.norm.logcdf(-40), stats.norm.logsf(3), 0.0])
    assert found[0, 3] == -np.inf
    assert np.isfinite(found[1:]).all()


def test_logistic_intervals():
    a = np.array([-np.inf, -1.0, 2.0, 30.0, 0.5])
    b = np.array([-30.0, 0.5, np.inf, 40.0, 0.5 + 1e-9])
    open_low, open_high = np.isinf(a), np.isinf(b)
    low, high = np.where(open_low, 0, a), np.where(open_high, 0, b)

    def log_logistic(z):
        return -np.log1p(np.exp(-z))

    def reference(m):
        at = lambda v: v[:, None] - m  # noqa: E731
        value = np.where(open_low[:, None], 0, log_logistic(-at(low)))
        value = value + np.where(open_high[:, None], 0, log_logistic(at(high)))
        both = ~open_low & ~open_high
        width = np.where(both, high - low, 1.0)
        return value + np.where(both, np.log(-np.expm1(-width)), 0.0)[:, None]

    found = np.asarray(nested(lambda m: logistic_log_interval(a - m, b - m))(np.zeros(5)))
    np.testing.assert_allclose(
        found, derivatives(reference, np.zeros(5), np.full(5, 1.0)), atol=1e-9
    )
    np.testing.assert_allclose(np.exp(found[0, 1]), special.expit(0.5) - special.expit(-1))
