"""LDL' and its square root against numpy, singular and indefinite matrices included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pymc_dynsys.linalg import ldl, psd_factor, unit_lower_solve
from pymc_dynsys.linalg.factor import UNROLL

SIZES = (1, 2, 3, UNROLL + 2)


def positive_definite(n: int, rank: int | None = None) -> np.ndarray:
    rng = np.random.default_rng(n)
    root = rng.normal(size=(n, n if rank is None else rank))
    return root @ root.T


@pytest.mark.parametrize("n", SIZES)
def test_ldl_of_a_definite_matrix_is_that_of_its_cholesky_factor(n):
    P = positive_definite(n)
    L, D = ldl(jnp.asarray(P))
    C = np.linalg.cholesky(P)
    np.testing.assert_allclose(L, C / np.diag(C), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(D, np.diag(C) ** 2, rtol=1e-10)


@pytest.mark.parametrize("n", SIZES)
def test_psd_factor_of_a_definite_matrix_is_its_cholesky_factor(n):
    P = positive_definite(n)
    np.testing.assert_allclose(psd_factor(jnp.asarray(P)), np.linalg.cholesky(P), atol=1e-10)


@pytest.mark.parametrize(
    "P",
    [
        np.zeros((2, 2)),
        np.diag([0.0, 1.0, 0.0]),
        np.ones((3, 3)),
        np.array([[4.0, 0.0, 2.0], [0.0, 0.0, 0.0], [2.0, 0.0, 1.0]]),
        positive_definite(UNROLL + 2, rank=2),
        1e-20 * np.array([[1.0, 1.0], [1.0, 1.0]]),
    ],
    ids=["zero", "diagonal", "ones", "hole", "low rank", "tiny"],
)
def test_singular_matrices_are_factored(P):
    L, D = ldl(jnp.asarray(P))
    C = psd_factor(jnp.asarray(P))
    scale = np.abs(P).max()
    assert np.all(D >= 0)
    assert int((np.asarray(D) > 1e-12 * scale).sum()) == np.linalg.matrix_rank(P / (scale or 1.0))
    np.testing.assert_array_equal(np.diag(L), 1.0)
    np.testing.assert_allclose(L @ jnp.diag(D) @ L.T, P, atol=1e-13 * scale)
    np.testing.assert_allclose(C @ C.T, P, atol=1e-13 * scale)


@pytest.mark.parametrize(
    "P", [np.diag([1.0, -1e-6]), np.array([[1.0, 2.0], [2.0, 1.0]]), -np.eye(UNROLL + 2)]
)
def test_indefinite_matrices_give_nan(P):
    assert np.isnan(ldl(jnp.asarray(P))[1]).any()
    assert np.isnan(psd_factor(jnp.asarray(P))).any()


@pytest.mark.parametrize("n", [1, 2, UNROLL + 2])
def test_what_is_not_a_number_stays_so(n):
    P = np.eye(n)
    P[-1, -1] = np.nan
    assert np.isnan(ldl(jnp.asarray(P))[1][-1])
    assert np.isnan(psd_factor(jnp.asarray(P))[-1, -1])


def test_rounding_below_zero_is_not_indefinite():
    P = np.diag([1.0, -1e-15])
    np.testing.assert_array_equal(ldl(jnp.asarray(P))[1], [1.0, 0.0])


@pytest.mark.parametrize("n", SIZES)
def test_unit_lower_solve(n):
    rng = np.random.default_rng(n)
    L = np.tril(rng.normal(size=(n, n)), -1) + np.eye(n)
    b, B = rng.normal(size=n), rng.normal(size=(n, 3))
    np.testing.assert_allclose(
        unit_lower_solve(jnp.asarray(L), jnp.asarray(b)), np.linalg.solve(L, b), atol=1e-10
    )
    np.testing.assert_allclose(
        unit_lower_solve(jnp.asarray(L), jnp.asarray(B)), np.linalg.solve(L, B), atol=1e-10
    )


@pytest.mark.parametrize("n", [2, UNROLL + 2])
def test_gradients_of_a_definite_matrix_agree_with_differences(n):
    P = positive_definite(n)
    weights = np.random.default_rng(0).normal(size=(n, n))

    @jax.jit
    def score(P):
        L, D = ldl(0.5 * (P + P.T))
        return (L * weights).sum() + (D**1.5).sum() + (psd_factor(P) ** 2 * weights).sum()

    direction = weights + weights.T
    slope = (jax.grad(score)(jnp.asarray(P)) * direction).sum()
    h = 1e-5
    difference = (score(jnp.asarray(P + h * direction)) - score(jnp.asarray(P - h * direction))) / (
        2 * h
    )
    np.testing.assert_allclose(slope, difference, rtol=1e-6)


@pytest.mark.parametrize("P", [np.zeros((2, 2)), np.diag([0.0, 1.0]), np.ones((UNROLL + 2,) * 2)])
def test_gradients_of_singular_matrices_are_finite(P):
    for function in (psd_factor, lambda P: ldl(P)[0], lambda P: ldl(P)[1]):
        gradient = jax.jit(jax.grad(lambda P, f=function: f(P).sum()))(jnp.asarray(P))
        assert np.isfinite(gradient).all()
