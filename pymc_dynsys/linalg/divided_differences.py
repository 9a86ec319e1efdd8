r"""Divided differences of the exponential, accurate where arguments coincide and where they do not.

.. math:: \exp[a] = e^a, \qquad
          \exp[a, \dots, b] = \frac{\exp[\dots, b] - \exp[a, \dots]}{b - a}

whatever the order of the arguments. Exponentials of triangular matrices are sums of them (McCurdy,
Ng and Parlett 1984, *Accurate computation of divided differences of the exponential function*).
With a and b the two that are farthest apart the recursion loses nothing, unless they are near. All
arguments are then near their mean m, and with :math:`x_i = a_i - m`

.. math:: \exp[a_0, \dots, a_n] = e^m \sum_k \frac{h_k(x_0, \dots, x_n)}{(k + n)!}

with the complete homogeneous symmetric polynomials :math:`h_k = e_1 h_{k-1} - e_2 h_{k-2} + \dots`
and :math:`e_1 = 0`. Both are smooth, so automatic derivatives of any order are accurate too.
"""

import math
from collections.abc import Sequence
from itertools import combinations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

NEAR = 1.0
"""Distance of arguments up to which the series is taken; beyond, a difference loses one digit."""

TERMS = 19
"""Terms of the series, which leave less than 1e-17 of the first one, in the slope as well."""

Scalar = Float[Array, ""]


def divided_exps(points: Sequence[Scalar]) -> dict[tuple[int, ...], Scalar]:
    """Divided differences over all subsets of some points, by the ascending places of these.

    Differences over equally many points are computed side by side, which keeps programs small.
    """
    found: dict[tuple[int, ...], Scalar] = {}
    found |= {(i,): jnp.exp(point) for i, point in enumerate(points)}
    for size in range(2, len(points) + 1):
        subsets = list(combinations(range(len(points)), size))
        columns = [jnp.stack([points[s[i]] for s in subsets]) for i in range(size)]
        without = [jnp.stack([found[s[:i] + s[i + 1 :]] for s in subsets]) for i in range(size)]
        values = _difference(columns, without)
        found |= {s: values[k] for k, s in enumerate(subsets)}
    return found


def _difference(
    points: Sequence[Float[Array, " subset"]], without: Sequence[Float[Array, " subset"]]
) -> Float[Array, " subset"]:
    """Differences over points, from the differences without each of these."""
    apart = jnp.zeros_like(points[0])
    top = below = apart
    for i, j in combinations(range(len(points)), 2):
        distance = points[j] - points[i]
        farther = jnp.abs(distance) > jnp.abs(apart)
        apart = jnp.where(farther, distance, apart)
        top, below = (
            jnp.where(farther, new, old) for new, old in ((without[i], top), (without[j], below))
        )
    near = jnp.abs(apart) < NEAR
    far = (top - below) / jnp.where(near, 1.0, apart)
    # Where the series is not taken its arguments are zero, and it has no slope.
    mean = jnp.where(near, sum(points[1:], points[0]) / len(points), 0.0)
    off = [jnp.where(near, point - mean, 0.0) for point in points]
    return jnp.where(near, jnp.exp(mean) * _series(off), far)


def _series(off: Sequence[Float[Array, " subset"]]) -> Float[Array, " subset"]:
    """Sum of ``h_k / (k + n)!`` for n + 1 points whose sum is zero."""
    n = len(off) - 1
    if n == 1:
        return _even_series(off[0] * off[0])
    signed = [(-1.0) ** j * e for j, e in enumerate(_elementary(off))][2:]
    zero = jnp.zeros_like(off[0])

    def term(carry: tuple[Array, ...], weight: Array) -> tuple[tuple[Array, ...], None]:
        total, *h = carry
        new = -sum((e * of for e, of in zip(signed, h[1:], strict=True)), zero)
        return (total + weight * new, new, *h[:-1]), None

    weights = [1.0 / math.factorial(k + n) for k in range(TERMS)]
    start = (weights[0] + zero, 1.0 + zero, *(zero for _ in range(n)))
    (total, *_), _ = jax.lax.scan(term, start, jnp.asarray(weights[1:]))
    return total


def _even_series(square: Float[Array, " subset"]) -> Float[Array, " subset"]:
    """The same for two points, ``sinh(x) / x`` of their distance from the mean."""
    total = jnp.zeros_like(square)
    for k in reversed(range(TERMS // 2)):
        total = 1.0 / math.factorial(2 * k + 1) + square * total
    return total


def _elementary(off: Sequence[Array]) -> list[Array]:
    """Elementary symmetric polynomials, from that of degree zero on."""
    found = [jnp.ones_like(off[0])]
    for x in off:
        longer = [*found, jnp.zeros_like(x)]
        found = [longer[0], *(longer[j] + x * longer[j - 1] for j in range(1, len(longer)))]
    return found
