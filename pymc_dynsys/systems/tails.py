r"""Logarithms of tail and interval probabilities, exact far out, with derivatives of every order.

The tail of the standard normal distribution is :math:`\Phi(z) = \phi(z) R(-z)` with Mills' ratio
:math:`R(t) = E[t / (t^2 + X^2)]`, X standard normal (Abramowitz and Stegun, 7.1.4 and 7.1.15): a
Gauss-Hermite sum of positive terms, smooth in t, that nothing cancels in. A narrow interval is
integrated by Gauss-Legendre, a wide one is a difference of tails on the side where both are small.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from pymc_dynsys.systems.gaussian import LOG_2PI

TAIL = 5.0
"""Distance on the left from which the sum is exact to rounding, and five derivatives of it."""

RIGHT = 2.5
"""Distance on the right from which the logarithm is that of a number next to one."""


def _half_hermite(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Squares of the positive half of 2n nodes for the standard normal density, and weights."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(2 * n)
    return nodes[n:] ** 2, weights[n:] / weights[n:].sum()


_SQUARES, _WEIGHTS = _half_hermite(14)
_NODES, _NODE_WEIGHTS = np.polynomial.legendre.leggauss(20)


def normal_log_cdf(z: ArrayLike) -> Array:
    r"""Logarithm of :math:`\Phi(z)`, elementwise; minus infinity and zero at the infinities."""
    z = jnp.asarray(z, float)
    far, near = z < -TAIL, z <= RIGHT
    t = jnp.where(far & (z > -jnp.inf), -z, TAIL)
    squares, weights = _beyond(t, _SQUARES, _WEIGHTS)
    mills = jnp.sum(weights / (1.0 + squares / (t * t)[..., None]), axis=-1)
    tail = -0.5 * (t * t + LOG_2PI) - jnp.log(t) + jnp.log(mills)
    root_half = np.sqrt(0.5)
    middle = jnp.log(0.5 * jax.scipy.special.erfc(-root_half * jnp.where(~far & near, z, 0.0)))
    above = jnp.where(~near & (z < jnp.inf), z, RIGHT)
    right = jnp.log1p(-0.5 * jax.scipy.special.erfc(root_half * above))
    value = jnp.where(far, tail, jnp.where(near, middle, right))
    return jnp.where(z == jnp.inf, 0.0, jnp.where(z == -jnp.inf, -jnp.inf, value))


def normal_log_interval(a: ArrayLike, b: ArrayLike) -> Array:
    r"""Logarithm of :math:`\Phi(b) - \Phi(a)`, elementwise; minus infinity unless a < b."""
    a, b = jnp.broadcast_arrays(jnp.asarray(a, float), jnp.asarray(b, float))
    closed = jnp.isfinite(a) & jnp.isfinite(b) & (a < b)
    low, high = jnp.where(closed, a, -1.0), jnp.where(closed, b, 1.0)
    middle, half = 0.5 * (low + high), 0.5 * (high - low)
    narrow = half * (jnp.abs(middle) + half) < 1.0
    inside = _narrow(jnp.where(narrow, middle, 0.0), jnp.where(narrow, half, 1.0))
    flip, half_open = middle > 0, jnp.isinf(a) | jnp.isinf(b)
    left = jnp.where(narrow | half_open, -2.0, jnp.where(flip, -high, low))
    right = jnp.where(narrow, 2.0, jnp.where(flip, -low, high))
    right = jnp.where(half_open, _open_end(a, b), right)
    upto = normal_log_cdf(right)
    # Where it is open, any two numbers stand here, whose difference has derivatives.
    wide = log_difference(normal_log_cdf(left), jnp.where(half_open, 0.0, upto))
    value = jnp.where(half_open, upto, jnp.where(narrow, inside, wide))
    return jnp.where(a < b, value, -jnp.inf)


def normal_log_tail(a: ArrayLike, b: ArrayLike) -> Array:
    r"""Logarithm of :math:`\Phi(b) - \Phi(a)`, of which at least one is infinite, elementwise."""
    a, b = jnp.asarray(a, float), jnp.asarray(b, float)
    return jnp.where(a < b, normal_log_cdf(_open_end(a, b)), -jnp.inf)


def _open_end(a: Array, b: Array) -> Array:
    """Where the tail begins on the left that is as probable as an interval with an infinite end."""
    return jnp.where(a == -jnp.inf, b, -jnp.where(a == -jnp.inf, 0.0, a))


def _narrow(middle: Array, half: Array) -> Array:
    """Log-probability of ``middle +- half`` by Gauss-Legendre, for intervals of slight change."""
    nodes, weights = _beyond(half, _NODES, _NODE_WEIGHTS)
    u = half[..., None] * nodes
    mean = jnp.sum(0.5 * weights * jnp.exp(-u * (middle[..., None] + 0.5 * u)), axis=-1)
    return -0.5 * (middle * middle + LOG_2PI) + jnp.log(2.0 * half) + jnp.log(mean)


def _beyond(array: Array, *nodes: np.ndarray) -> list[np.ndarray]:
    """Nodes along one more axis than an array has."""
    return [each.reshape((1,) * array.ndim + each.shape) for each in nodes]


def log_difference(small: Array, large: Array) -> Array:
    """Logarithm of ``exp(large) - exp(small)``, for `small` below `large`."""
    gap = small - large
    close = gap > -0.7
    of_close = jnp.log(-jnp.expm1(jnp.where(close, jnp.minimum(gap, -1e-300), -1.0)))
    return large + jnp.where(close, of_close, jnp.log1p(-jnp.exp(jnp.where(close, -1.0, gap))))


def logistic_log_interval(a: ArrayLike, b: ArrayLike) -> Array:
    """Logarithm of the logistic probability between a and b, elementwise; they may be infinite."""
    a, b = jnp.broadcast_arrays(jnp.asarray(a, float), jnp.asarray(b, float))
    lower, upper = a > -jnp.inf, b < jnp.inf
    low, high = jnp.where(lower, a, 0.0), jnp.where(upper, b, 0.0)
    value = jnp.where(lower, log_logistic(-low), 0.0) + jnp.where(upper, log_logistic(high), 0.0)
    both = lower & upper & (a < b)
    width = jnp.where(both, high - low, 1.0)
    value = value + jnp.where(both, log_difference(-width, jnp.zeros_like(width)), 0.0)
    return jnp.where(a < b, value, -jnp.inf)


def log_logistic(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Logarithm of 1 / (1 + exp(-x)), with derivatives of every order also at 0."""
    positive = x > 0
    right = -jnp.log1p(jnp.exp(-jnp.where(positive, x, 0.0)))
    below = jnp.where(positive, 0.0, x)
    return jnp.where(positive, right, below - jnp.log1p(jnp.exp(below)))
