"""D18: noise in the dynamics and an error that is additive and proportional, so not Gaussian data.

Referees are a grid filter, and for the first order Laplace's formula on the states in dense
matrices.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.test_dose_tables import evaluate, panel_of, params_of

CASE = load("D18")
SYSTEM = pds.SDE(
    states="A",
    drift=lambda A, k: -k * A,
    diffusion=lambda sigma: sigma,
    initial=dist.Delta(0.0),
    observation=lambda A, V, add, prop: dist.Normal(A / V, jnp.sqrt(add**2 + (prop * A / V) ** 2)),
    events="A",
)


def found(likelihood):
    """Log-likelihood of each subject, and the gradient of their sum."""
    return evaluate(SYSTEM, panel_of(CASE), params_of(CASE), likelihood=likelihood)


def laplace(discretization=None, **options):
    return pds.Laplace(discretization or pds.Exact(), **options)


def dense_laplace(params):
    """Laplace's formula on the noise of the states at the visits, with matrices of all of them."""
    k, sigma, V, add, prop = params
    total = steepest = 0.0
    for subject in np.unique(CASE.ID):
        mine = subject == CASE.ID
        times, amounts, y = CASE.TIME[mine], CASE.AMT[mine], CASE.DV[mine]
        dose = CASE.EVID[mine] == 1
        since = times[~dose][:, None] - times[dose][None, :]
        mean = jnp.where(since >= 0, jnp.exp(-k * since), 0.0) @ amounts[dose]
        t = times[~dose] - times[0]
        far, near = jnp.maximum(t[:, None], t[None, :]), jnp.minimum(t[:, None], t[None, :])
        cov = sigma**2 / (2 * k) * (jnp.exp(-k * (far - near)) - jnp.exp(-k * (far + near)))
        root, data = jnp.linalg.cholesky(cov), y[~dose]

        def log_density(z, mean=mean, root=root, data=data):
            f = (mean + root @ z) / V
            law = dist.Normal(f, jnp.sqrt(add**2 + (prop * f) ** 2))
            return law.log_prob(data).sum() - 0.5 * z @ z

        # From the data, near which the most probable path is.
        z = jnp.linalg.solve(root, V * data - mean)
        slope, curvature = jax.grad(log_density), jax.hessian(log_density)

        def turn(z, slope=slope, curvature=curvature):
            return z - jnp.linalg.solve(curvature(z), slope(z))

        z = jax.lax.stop_gradient(jax.lax.fori_loop(0, 15, lambda _, z, turn=turn: turn(z), z))
        steepest = jnp.maximum(steepest, jnp.abs(slope(z)).max())
        z = turn(z)  # by which it moves with the parameters
        pivots = jnp.diagonal(jnp.linalg.cholesky(-curvature(z)))
        total = total + log_density(z) - jnp.log(pivots).sum()
    return total, steepest


def test_the_first_order_is_laplaces_formula():
    """Also for the second subject, whose last datum has an explanation 20 nats less likely."""
    value, slopes = found(laplace())
    params = jnp.array(list(params_of(CASE).values()))
    dense = jax.jit(jax.value_and_grad(dense_laplace, has_aux=True))
    (expected, steepest), gradient = dense(params)
    assert steepest < 1e-10
    # Both are Laplace's formula; they are equal to 2e-12.
    np.testing.assert_allclose(value.sum(), expected, rtol=0, atol=1e-10)
    np.testing.assert_allclose(slopes, gradient, rtol=1e-8)
    # The first order leaves -0.238 nats here.
    np.testing.assert_allclose(value.sum(), CASE.out.loglik, rtol=0, atol=0.24)


@pytest.mark.slow
def test_the_second_order_beside_a_grid():
    value, slopes = found(laplace(order=2))
    # It leaves 0.0205 nats, and slopes in which it is a tenth of the first order's.
    np.testing.assert_allclose(value.sum(), CASE.out.loglik, rtol=0, atol=0.021)
    np.testing.assert_allclose(slopes, CASE.out.grad, rtol=0.2, atol=0.2)


def test_the_extended_filter_takes_the_noise_at_the_predicted_mean():
    value, _ = found(pds.EKF())
    np.testing.assert_allclose(value.sum(), CASE.out.loglik_gaussian_filter, rtol=0, atol=1e-10)
