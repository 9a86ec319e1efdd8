"""Factorizations of positive semi-definite matrices, singular ones included.

``P = L D L'`` with a unit lower triangular ``L`` and a diagonal ``D >= 0`` exists
for every positive semi-definite ``P`` and needs no square root, so it has finite
derivatives where a Cholesky factor has none (known states, noise-free
components). Golub and Van Loan (2013), algorithm 4.1.2, as a right-looking sweep.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

UNROLL = 4
"""Largest dimension whose sweep is written out instead of looped."""

NEGATIVE_PIVOT = 1e-10
"""A pivot below minus this multiple of the largest diagonal entry means: not semi-definite."""

NEGATIVE_EPS = 1000.0
"""The same in units of rounding, which is more in single precision."""

NULL_PIVOT = 1e-14
"""A pivot below this multiple of its own diagonal entry is rounding, hence zero."""

NULL_EPS = 45.0
"""The same in units of rounding."""


def ldl(P: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """Return ``(L, D)`` with ``P = L diag(D) L'``; NaN where ``P`` is not semi-definite.

    A pivot that is zero to rounding gives a zero in ``D`` and a unit column in ``L``.
    """
    n, eps = P.shape[0], float(jnp.finfo(P.dtype).eps)
    null, negative = max(NULL_PIVOT, NULL_EPS * eps), max(NEGATIVE_PIVOT, NEGATIVE_EPS * eps)
    scale = jnp.diagonal(P)
    largest = jnp.max(jnp.abs(scale))
    rows = jnp.arange(n)

    def sweep(rest: Array, j: Any) -> tuple[Array, tuple[Array, Array]]:
        pivot = rest[j, j]
        positive = pivot > null * scale[j]
        safe = jnp.where(positive, pivot, 1.0)
        column = jnp.where(positive, rest[:, j] / safe, 0.0)
        column = jnp.where(rows == j, 1.0, jnp.where(rows > j, column, 0.0))
        kept = jnp.where(positive, pivot, 0.0)
        rest = rest - kept * column[:, None] * column[None, :]
        # Written so that a pivot that is not a number stays one.
        kept = jnp.where(pivot >= -negative * largest, kept, jnp.nan)
        return rest, (column, kept)

    if n <= UNROLL:
        columns, pivots, rest = [], [], P
        for j in range(n):
            rest, (column, pivot) = sweep(rest, j)
            columns.append(column)
            pivots.append(pivot)
        return jnp.stack(columns, axis=1), jnp.stack(pivots)
    _, (rows_of_L, D) = jax.lax.scan(sweep, P, rows)
    return rows_of_L.T, D


def psd_factor(P: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Return a lower triangular ``C`` with ``P = C C'``; ``P`` may be singular."""
    L, D = ldl(P)
    positive = D > 0
    # NaN pivots (P not semi-definite) must survive the guard of the square root.
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, D, 1.0)), D)
    return L * root[None, :]


def unit_lower_solve(L: Float[Array, "n n"], B: Float[Array, "n *k"]) -> Float[Array, "n *k"]:
    """Solve ``L X = B`` for a unit lower triangular ``L`` by forward substitution."""
    n = L.shape[0]
    flat = B.reshape(n, -1)

    def substitute(X: Array, j: Any) -> tuple[Array, None]:
        below = jnp.where(jnp.arange(n) > j, L[:, j], 0.0)
        return X - below[:, None] * X[j][None, :], None

    if n <= UNROLL:
        for j in range(n):
            flat, _ = substitute(flat, j)
    else:
        flat, _ = jax.lax.scan(substitute, flat, jnp.arange(n))
    return flat.reshape(B.shape)
