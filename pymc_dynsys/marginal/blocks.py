"""Algebra of many small matrices at once, one for each member."""

import numpy as np
from jaxtyping import Float

Matrices = Float[np.ndarray, "member effect effect"]

FLOOR = 1e-4
"""Least eigenvalue of a curvature that is used, next to the largest."""


def cholesky(matrices: Matrices) -> Matrices:
    """Lower factors; NaN where a matrix is not positive definite."""
    q = matrices.shape[-1]
    lower = np.zeros_like(matrices)
    with np.errstate(invalid="ignore", divide="ignore"):
        for j in range(q):
            pivot = matrices[:, j, j] - (lower[:, j, :j] ** 2).sum(-1)
            lower[:, j, j] = np.sqrt(np.where(pivot > 0, pivot, np.nan))
            for i in range(j + 1, q):
                inner = (lower[:, i, :j] * lower[:, j, :j]).sum(-1)
                lower[:, i, j] = (matrices[:, i, j] - inner) / lower[:, j, j]
    return lower


def divided(roots: Matrices, lower: Matrices) -> Matrices:
    """The products V L^-T of roots V and lower factors L."""
    out = np.empty_like(roots)
    with np.errstate(invalid="ignore"):
        for j in range(roots.shape[-1]):
            inner = np.einsum("nik,nk->ni", out[:, :, :j], lower[:, j, :j])
            out[:, :, j] = (roots[:, :, j] - inner) / lower[:, j, j][:, None]
    return out


def times(matrices: Matrices, vectors: Float[np.ndarray, "member effect"]) -> np.ndarray:
    """Products of each member's matrix and vector."""
    return np.einsum("nij,nj->ni", matrices, vectors)


def transposed(matrices: Matrices, vectors: Float[np.ndarray, "member effect"]) -> np.ndarray:
    """Products of each member's transposed matrix and vector."""
    return np.einsum("nji,nj->ni", matrices, vectors)


def log_volume(roots: Matrices) -> Float[np.ndarray, " member"]:
    """Logarithms of the absolute determinants."""
    if roots.shape[-1] == 1:
        return np.log(np.abs(roots[:, 0, 0]))
    return np.linalg.slogdet(roots)[1]


def root_of_inverse(curvatures: Matrices, roots: Matrices) -> tuple[Matrices, np.ndarray]:
    """Roots of inverse curvatures, which come in units of other roots; and which are positive.

    Where V'BV is a curvature B in units of V, the result W has W W' = 1/B. Where B is not
    positive definite, its eigenvalues are replaced by their sizes.

    Parameters
    ----------
    curvatures : array, (member, effect, effect)
        V'BV.
    roots : array, (member, effect, effect)
        V.

    Returns
    -------
    roots : array, (member, effect, effect)
    positive : array of bool, (member,)
    """
    found = divided(roots, cholesky(curvatures))
    positive = np.isfinite(found).all((1, 2))
    if not positive.all():
        size, vectors = np.linalg.eigh(curvatures[~positive])
        size = np.abs(size)
        size = np.maximum(size, FLOOR * size.max(1, keepdims=True) + 1e-300)
        found[~positive] = roots[~positive] @ (vectors / np.sqrt(size)[:, None, :])
    return found, positive
