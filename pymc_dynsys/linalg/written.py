"""Products of small matrices, very many at once, with their sums written out.

XLA's reductions over two or three terms, at ten thousand places, cost ten times what the terms
do. Written as sums of products they are plain loops, in which a chain of products would compute
each entry of the first once for every entry of the last: ``once`` stands between its links. For
the recursions of filters, which go through few matrices at a time, ``products.py`` is faster.
"""

import jax
from jaxtyping import Array, Float

from pymc_dynsys.linalg import products

UNROLLED = 4
"""Dimension up to which sums are written out."""


def once[Arrays](values: Arrays) -> Arrays:
    """The same arrays, which whatever uses them reads instead of computing them anew.

    A single number is cheaper to compute again.
    """
    if all(leaf.size == 1 for leaf in jax.tree.leaves(values)):
        return values
    same: Arrays = jax.lax.optimization_barrier(values)
    return same


def matmul(A: Float[Array, "n k"], B: Float[Array, "k m"]) -> Float[Array, "n m"]:
    """Product ``A B``."""
    if A.shape[1] > UNROLLED:
        return products.matmul(A, B)
    total = A[:, 0, None] * B[None, 0, :]
    for i in range(1, A.shape[1]):
        total = total + A[:, i, None] * B[None, i, :]
    return total


def matvec(A: Float[Array, "n k"], x: Float[Array, " k"]) -> Float[Array, " n"]:
    """Product ``A x``."""
    if A.shape[1] > UNROLLED:
        return products.matvec(A, x)
    total = A[:, 0] * x[0]
    for i in range(1, A.shape[1]):
        total = total + A[:, i] * x[i]
    return total


def congruence(A: Float[Array, "n k"], P: Float[Array, "k k"]) -> Float[Array, "n n"]:
    """Product ``A P A'`` for a symmetric ``P``."""
    return products.symmetrize(matmul(once(matmul(A, P)), A.T))
