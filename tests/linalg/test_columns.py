"""Independent columns, against what they were made of."""

import jax
import numpy as np
import pytest

from pymc_dynsys.linalg.columns import independent_columns

found_in = jax.jit(independent_columns, static_argnums=1)


def matrix(kind: str) -> np.ndarray:
    A = np.random.default_rng(0).normal(size=(7, 4))
    if kind == "dependent":
        A[:, 1] = A[:, 0] - 2.0 * A[:, 3]
    if kind == "zero":
        A[:, [0, 2]] = 0.0
    if kind == "close":
        A[:, 2] = A[:, 0] + 1e-9 * A[:, 2]
    return A


@pytest.mark.parametrize(
    ("kind", "rank"), [("full", 4), ("dependent", 3), ("zero", 2), ("close", 4)]
)
def test_an_orthonormal_basis_of_as_many_columns_as_the_rank(kind, rank):
    A = matrix(kind)
    V, R, order, free = map(np.asarray, found_in(A, 1e-12))
    assert free.sum() == rank and sorted(order) == [0, 1, 2, 3]
    np.testing.assert_allclose(V @ R, A[:, order], atol=1e-14)
    np.testing.assert_allclose(V.T @ V, np.diag(1.0 * free), atol=1e-14)
    np.testing.assert_array_equal(R, np.triu(R))


def test_what_is_not_a_number_does_not_become_one():
    A = matrix("full")
    A[2, 1] = np.nan
    assert np.isnan(np.asarray(found_in(A, 1e-12).R)).any()
