"""The regression on diffuse states, against singular values: any rank, order and units."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from pymc_dynsys.likelihoods.gaussian.diffuse import Slopes
from pymc_dynsys.likelihoods.gaussian.one_by_one import one_by_one
from pymc_dynsys.likelihoods.gaussian.regression import fit, told_by

SCALES = np.array([1.0, 1e7, 1e-5, 1.0])


@jax.jit
def log_likelihood(X, z):
    """Without the constants of the data."""
    return -0.5 * sum(fit(X, z, jnp.abs(X)))


@jax.jit
def taken_in(X, z):
    slopes = Slopes(z[:, None], X[:, None], jnp.abs(X)[:, None], jnp.zeros((len(z), 1)))
    return one_by_one(slopes, told_by(X, jnp.abs(X)))


def expected(X, z):
    U, s, _ = np.linalg.svd(X)
    r = int((s > 1e-10 * s[0]).sum())
    e = z - U[:, :r] @ (U[:, :r].T @ z)
    return -np.log(s[:r]).sum() - 0.5 * e @ e


def slopes(kind):
    X = np.random.default_rng(1).integers(-2, 3, size=(6, 4)).astype(float)
    if kind == "dependent":
        X[:, 3] = X[:, 0] - 2.0 * X[:, 1]
    if kind == "never seen":
        X[:, [1, 3]] = 0.0
    if kind == "few data":
        X[2:] = 0.0
    if kind == "a small coefficient":
        X[2:], X[1] = 0.0, [0.5, 1e-10, 0.6, 0.0]
    if kind == "one datum":
        X[1:] = 0.0
    return X


KINDS = ("full", "dependent", "never seen", "few data", "a small coefficient", "one datum")


@pytest.mark.parametrize("kind", KINDS)
def test_the_pseudo_determinant_in_any_order(kind):
    X, z = slopes(kind), np.random.default_rng(2).normal(size=6)
    for order in ([0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]):
        np.testing.assert_allclose(log_likelihood(X[:, order], z), expected(X, z), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_ranks_do_not_depend_on_units(kind):
    X, z = slopes(kind), np.random.default_rng(2).normal(size=6)
    one, two = taken_in(X, z), taken_in(X * SCALES, z)
    np.testing.assert_array_equal(one.known.rank, two.known.rank)
    assert int(one.known.rank[-1]) == np.linalg.matrix_rank(X, 1e-14)
    # Innovations of size one; where the data are all used up they are zero but for rounding.
    np.testing.assert_allclose(one.innovation, two.innovation, rtol=1e-9, atol=1e-12)
    if kind == "full":
        shift = np.log(SCALES).sum()
        found = log_likelihood(X * SCALES, z) + shift
        np.testing.assert_allclose(found, expected(X, z), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_data_taken_in_one_by_one_add_up(kind):
    """Each has the density that it has in the limit: totals up to each of them are limits too."""
    X, z = slopes(kind), np.random.default_rng(2).normal(size=6)
    found = np.cumsum(np.asarray(taken_in(X, z).log_likelihood))
    for k in range(1, 7):
        # Terms of size one add up, and some sums are zero.
        np.testing.assert_allclose(found[k - 1], expected(X[:k], z[:k]), rtol=1e-10, atol=1e-12)


def test_derivatives_along_changes_that_keep_the_rank():
    rng = np.random.default_rng(3)
    A, B, z = rng.normal(size=(6, 2)), rng.normal(size=(2, 4)), rng.normal(size=6)
    dA, dB, dz = rng.normal(size=(6, 2)), rng.normal(size=(2, 4)), rng.normal(size=6)

    def X(t):
        return (A + t * dA) @ (B + t * dB)

    def value(t):
        return log_likelihood(X(t), z + t * dz)

    def numerical(f, t, e=1e-3):
        return (8 * (f(t + e) - f(t - e)) - f(t + 2 * e) + f(t - 2 * e)) / (12 * e)

    slope = jax.jit(jax.grad(value))
    by_hand = numerical(lambda t: expected(X(t), z + t * dz), 0.0)
    np.testing.assert_allclose(slope(0.0), by_hand, rtol=1e-8)
    second = jax.jit(jax.hessian(value))(0.0)
    np.testing.assert_allclose(second, numerical(slope, 0.0, 1e-4), rtol=1e-6)
