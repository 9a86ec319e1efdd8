"""Small products agree with numpy, on both sides of the size at which BLAS takes over."""

import jax.numpy as jnp
import numpy as np
import pytest

from pymc_dynsys.linalg import congruence, matmul, matvec, outer, symmetrize
from pymc_dynsys.linalg.products import LARGE


@pytest.mark.parametrize("n", [1, 3, LARGE + 1])
def test_products_agree_with_numpy(n):
    rng = np.random.default_rng(n)
    A, B, x = rng.normal(size=(n, n + 1)), rng.normal(size=(n + 1, 2)), rng.normal(size=n + 1)
    P = rng.normal(size=(n + 1, n + 1))
    P = P @ P.T
    A_, B_, x_, P_ = map(jnp.asarray, (A, B, x, P))
    np.testing.assert_allclose(matmul(A_, B_), A @ B, atol=1e-12)
    np.testing.assert_allclose(matvec(A_, x_), A @ x, atol=1e-12)
    np.testing.assert_allclose(outer(x_, A_[0]), np.outer(x, A[0]), atol=1e-12)
    np.testing.assert_allclose(congruence(A_, P_), A @ P @ A.T, rtol=1e-12, atol=1e-10)


def test_congruence_and_symmetrize_are_exactly_symmetric():
    M = jnp.asarray(np.random.default_rng(0).normal(size=(3, 3)))
    P = symmetrize(M)
    np.testing.assert_array_equal(P, P.T)
    np.testing.assert_allclose(P, (np.asarray(M) + np.asarray(M).T) / 2, atol=1e-15)
    C = congruence(M, P)
    np.testing.assert_array_equal(C, C.T)


def test_symmetrize_leaves_a_scalar_alone():
    np.testing.assert_array_equal(symmetrize(jnp.array([[2.0]])), [[2.0]])
