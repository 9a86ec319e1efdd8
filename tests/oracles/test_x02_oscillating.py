"""X02: two hundred oscillating subjects seen without noise; a published maximum of likelihood."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from scipy.optimize import minimize

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function, total_and_gradient
from tests.oracles.cases import load

CASE = load("X02")
TIMES = np.cumsum(np.pad(CASE.dT, ((0, 0), (1, 0))), axis=1)


def initial(m0, root):
    """Law at the first visit, its covariance by the entries of a Cholesky factor."""
    L = jnp.array([[jnp.exp(root[0]), 0.0], [root[1], jnp.exp(root[2])]])
    return pds.Gaussian(m0, L @ L.T)


SYSTEM = pds.SDE(
    states=("position", "speed"),
    drift=lambda position, speed, a: (1e-5 * position + speed, a[0] * position + a[1] * speed),
    diffusion=lambda log_sd: (0.0, jnp.exp(log_sd)),
    initial=initial,
    observation=lambda position: pds.Gaussian(position, 0.0),
)
FACTOR = np.linalg.cholesky(CASE.out.P0)
ESTIMATE = {
    "a": CASE.out.A[1],
    "log_sd": np.log(CASE.out.Q[1, 1]) / 2,
    "m0": CASE.out.m0,
    "root": np.array([np.log(FACTOR[0, 0]), FACTOR[1, 0], np.log(FACTOR[1, 1])]),
}
SHAPES = {name: np.shape(value) for name, value in ESTIMATE.items()}


@pytest.fixture(scope="module")
def evaluate():
    return total_and_gradient(likelihood_function(SYSTEM, pds.Kalman(), CASE.Y, TIMES, SHAPES))


def test_likelihood_at_the_estimate(evaluate):
    np.testing.assert_array_equal(CASE.out.A[0], [1e-5, 1.0])
    value, _ = evaluate(as_arrays(ESTIMATE))
    np.testing.assert_allclose(value, CASE.out.loglik, rtol=0, atol=1e-5)
    np.testing.assert_allclose(-2 * value, CASE.out.minus2LL_published, rtol=0, atol=0.05)


def test_maximum_of_likelihood_from_elsewhere(evaluate):
    start, unravel = ravel_pytree(
        as_arrays({"a": [-30.0, -1.0], "log_sd": 0.5, "m0": np.zeros(2), "root": np.zeros(3)})
    )

    def objective(flat):
        value, gradient = evaluate(unravel(jnp.asarray(flat)))
        return -2 * float(value), -2 * np.asarray(ravel_pytree(gradient)[0])

    found = minimize(objective, start, jac=True, method="BFGS", options={"gtol": 1e-2})
    assert abs(found.fun - CASE.out.minus2LL_published) < 0.05
    estimate = unravel(jnp.asarray(found.x))
    np.testing.assert_allclose(estimate["a"], ESTIMATE["a"], rtol=1e-3)
