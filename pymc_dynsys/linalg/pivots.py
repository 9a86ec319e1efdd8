"""Factorization of symmetric matrices whose definiteness is what one wants to know.

``S = L D L'`` without pivoting (Golub and Van Loan 2013, sec. 4.1.2): by Sylvester's law of inertia
S is positive definite if and only if all of D is positive. Nothing is guarded, so there is no
null space here; ``factor.py`` has one.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.linalg.factor import UNROLL, unit_lower_solve


def pivots(S: Float[Array, "n n"]) -> tuple[Float[Array, "n n"], Float[Array, " n"]]:
    """Unit lower triangular L and pivots D of a symmetric matrix, of any sign."""
    n = S.shape[0]
    if n == 1:
        return jnp.ones_like(S), S[0]
    if n == 2:  # half of the time that sweeps take, for the whole of a Laplace gradient
        below = S[1, 0] / S[0, 0]
        one, zero = jnp.ones_like(below), jnp.zeros_like(below)
        L = jnp.stack([jnp.stack([one, zero]), jnp.stack([below, one])])
        return L, jnp.stack([S[0, 0], S[1, 1] - below * S[1, 0]])
    rows = jnp.arange(n)

    def sweep(rest: Array, j: Any) -> tuple[Array, tuple[Array, Array]]:
        pivot = rest[j, j]
        column = jnp.where(rows == j, 1.0, jnp.where(rows > j, rest[:, j] / pivot, 0.0))
        return rest - pivot * column[:, None] * column[None, :], (column, pivot)

    if n > UNROLL:
        columns, D = jax.lax.scan(sweep, S, rows)[1]
        return columns.T, D
    found, rest = [], S
    for j in range(n):
        rest, out = sweep(rest, j)
        found.append(out)
    return jnp.stack([c for c, _ in found], axis=1), jnp.stack([d for _, d in found])


def unit_upper_solve(L: Float[Array, "n n"], B: Float[Array, "n *k"]) -> Float[Array, "n *k"]:
    """Solve ``L' X = B`` for a unit lower triangular ``L`` by back substitution."""
    if L.shape[0] == 1:
        return B
    return unit_lower_solve(L[::-1, ::-1].T, B[::-1])[::-1]


def pivot_solve(
    L: Float[Array, "n n"], D: Float[Array, " n"], B: Float[Array, "n *k"]
) -> Float[Array, "n *k"]:
    """Solve ``L D L' X = B``."""
    if L.shape[0] == 1:
        return B / D[0]
    if L.shape[0] == 2:
        below = L[1, 0]
        second = (B[1] - below * B[0]) / D[1]
        return jnp.stack([B[0] / D[0] - below * second, second])
    half = unit_lower_solve(L, B)
    return unit_upper_solve(L, half / D.reshape(-1, *[1] * (B.ndim - 1)))
