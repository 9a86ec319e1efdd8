"""Independent columns of a matrix whose rank is not known.

Gram and Schmidt's sweeps, each over the column of which most is left, orthogonalised twice (Golub
and Van Loan 2013, sec. 5.2.8, 5.4.2): the basis is orthonormal to rounding however close columns
are to each other, and the program does not grow with their number.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pymc_dynsys.linalg.products import outer


class Columns(NamedTuple):
    """``A[:, order] = V R``, with `R` upper triangular.

    Where `free` is False a column depends on those before it: V is zero there, and so is that row
    of R.
    """

    V: Float[Array, "n q"]
    R: Float[Array, "q q"]
    order: Int[Array, " q"]
    free: Bool[Array, " q"]


def independent_columns(A: Float[Array, "n q"], tol: float) -> Columns:
    """Columns of which no less is left than `tol` when those before them are taken out."""
    q = A.shape[1]
    columns = jnp.arange(q)

    def sweep(carry: tuple[Array, ...], i: Array) -> Any:
        rest, V, left = carry
        lengths = jnp.where(left, (rest * rest).sum(0), -1.0)
        here = columns == jnp.argmax(lengths)
        column = jnp.where(here[None, :], rest, 0.0).sum(1)
        column = column - (V * (V * column[:, None]).sum(0)[None, :]).sum(1)
        square = (column * column).sum()
        free = square > tol * tol
        v = jnp.where(free, column / jnp.sqrt(jnp.where(free, square, 1.0)), 0.0)
        V = jnp.where(columns[None, :] == i, v[:, None], V)
        rest = rest - outer(v, (v[:, None] * rest).sum(0))
        return (rest, V, left & ~here), (jnp.argmax(lengths), free)

    start = (A, jnp.zeros(A.shape), jnp.ones(q, bool))
    (_, V, _), (order, free) = jax.lax.scan(sweep, start, columns)
    return Columns(V, jnp.triu(V.T @ A[:, order]), order, free)
