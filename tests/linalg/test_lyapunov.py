"""Stationary moments against scipy, in value and derivative, and where there are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import solve_continuous_lyapunov, solve_discrete_lyapunov

from pymc_dynsys.linalg import lyapunov

stationary_covariance = jax.jit(lyapunov.stationary_covariance)
stationary_moments = jax.jit(lyapunov.stationary_moments, static_argnames="continuous")


def stable(n: int, radius: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng([n, seed])
    F = rng.normal(size=(n, n))
    return F * radius / np.abs(np.linalg.eigvals(F)).max()


@pytest.mark.parametrize("n", [1, 2, 3, 6])
@pytest.mark.parametrize("radius", [0.0, 0.5, 0.98, 1 - 1e-6])
def test_discrete_time(n, radius):
    F, L = stable(n, radius), np.random.default_rng(n).normal(size=(n, max(1, n - 1)))
    Q = L @ L.T
    found = stationary_covariance(F, Q)
    expected = solve_discrete_lyapunov(F, Q)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("n", [1, 2, 4])
def test_continuous_time(n):
    A = stable(n, 1.0) - 1.5 * np.eye(n)
    c, L = np.arange(1.0, n + 1), np.random.default_rng(n).normal(size=(n, n))
    mean, cov = stationary_moments(A, c, L @ L.T, continuous=True)
    np.testing.assert_allclose(A @ mean + c, 0, atol=1e-12)
    np.testing.assert_allclose(cov, solve_continuous_lyapunov(A, -L @ L.T), rtol=1e-10)


@pytest.mark.parametrize("forward", [True, False])
@pytest.mark.parametrize("n", [1, 3])
def test_derivatives(n, forward):
    F, Q = stable(n, 0.8), np.eye(n) + 0.1
    weight = np.random.default_rng(5).normal(size=(n, n))

    def total(F, Q):
        return (weight * stationary_covariance(F, Q)).sum()

    jacobian = jax.jacfwd if forward else jax.jacrev
    found = jacobian(total, argnums=(0, 1))(jnp.asarray(F), jnp.asarray(Q))
    for which, slope in enumerate(found):
        for i, j in np.ndindex(n, n):
            values = []
            for h in (-1e-6, 1e-6):
                args = [F.copy(), Q.copy()]
                args[which][i, j] += h
                P = solve_discrete_lyapunov(args[0], 0.5 * (args[1] + args[1].T))
                values.append((weight * 0.5 * (P + P.T)).sum())
            np.testing.assert_allclose(slope[i, j], (values[1] - values[0]) / 2e-6, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("radius", [1.0, 1.5])
def test_what_does_not_settle_is_not_a_number(n, radius):
    F = stable(n, radius)
    assert np.isnan(stationary_covariance(F, np.eye(n))).all()
    _, cov = stationary_moments(F * 0 + radius, np.ones(n), np.eye(n), continuous=True)
    assert np.isnan(cov).all()


def test_an_unstable_mode_without_noise_is_not_stationary():
    F, Q = np.diag([0.5, 1.2]), np.diag([1.0, 0.0])
    assert np.isnan(stationary_covariance(F, Q)).any()


def test_a_batch_of_systems():
    F = np.stack([stable(2, r) for r in (0.1, 0.9, 1.1)])
    found = jax.vmap(stationary_covariance, in_axes=(0, None))(F, np.eye(2))
    assert np.isfinite(found[:2]).all() and np.isnan(found[2]).all()
    np.testing.assert_allclose(found[1], solve_discrete_lyapunov(F[1], np.eye(2)), rtol=1e-9)
