"""Matrix products that compile to plain loops when the matrices are small."""

from jaxtyping import Array, Float

LARGE = 16
"""Dimension from which a BLAS call is worth its overhead."""


def matmul(A: Float[Array, "n k"], B: Float[Array, "k m"]) -> Float[Array, "n m"]:
    """Product ``A B``."""
    if max(A.shape + B.shape) >= LARGE:
        return A @ B
    return (A[:, :, None] * B[None, :, :]).sum(1)


def matvec(A: Float[Array, "n k"], x: Float[Array, " k"]) -> Float[Array, " n"]:
    """Product ``A x``."""
    if max(A.shape) >= LARGE:
        return A @ x
    return (A * x[None, :]).sum(1)


def outer(x: Float[Array, " n"], y: Float[Array, " m"]) -> Float[Array, "n m"]:
    """Product ``x y'``."""
    return x[:, None] * y[None, :]


def symmetrize(P: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """Symmetric part of ``P``."""
    return P if P.shape == (1, 1) else 0.5 * (P + P.T)


def congruence(A: Float[Array, "n k"], P: Float[Array, "k k"]) -> Float[Array, "n n"]:
    """Product ``A P A'`` for a symmetric ``P``."""
    return symmetrize(matmul(matmul(A, P), A.T))
