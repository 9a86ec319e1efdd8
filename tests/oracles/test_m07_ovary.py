"""M07: eleven mares, a random intercept, an Ornstein-Uhlenbeck process and white noise."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function, values_and_gradient
from tests.oracles.cases import load, to_panel

CASE = load("M07")
TIMES, Y = to_panel(CASE.subject, CASE.t, CASE.y)


def mean(u, ou, t, beta):
    """Fixed effects of the season, plus the two latent terms."""
    return beta[0] + beta[1] * jnp.sin(2 * jnp.pi * t) + beta[2] * jnp.cos(2 * jnp.pi * t) + u + ou


SYSTEM = pds.SDE(
    states=("intercept", "ou"),
    drift=lambda ou, log_rate: (0.0, -jnp.exp(log_rate) * ou),
    diffusion=lambda log_rate, log_sd: (0.0, jnp.exp(log_sd) * jnp.sqrt(2 * jnp.exp(log_rate))),
    initial=lambda log_sd_mare, log_sd: dist.Normal(
        jnp.zeros(2), jnp.exp(jnp.stack([log_sd_mare, log_sd]))
    ).to_event(1),
    observation=lambda intercept, ou, t, beta, log_sd_obs: dist.Normal(
        mean(intercept, ou, t, beta), jnp.exp(log_sd_obs)
    ),
)
MLE = {
    "beta": CASE.beta,
    "log_sd_mare": np.log(CASE.sd_mare),
    "log_rate": np.log(CASE.ou_rate),
    "log_sd": np.log(CASE.ou_stat_sd),
    "log_sd_obs": np.log(CASE.obs_sd),
}


SHAPES = {name: np.shape(value) for name, value in MLE.items()}


@pytest.fixture(scope="module")
def evaluate():
    return values_and_gradient(likelihood_function(SYSTEM, pds.Kalman(), Y, TIMES, SHAPES))


def test_the_design_is_that_of_the_case():
    columns = [np.ones(308), np.sin(2 * np.pi * CASE.t), np.cos(2 * np.pi * CASE.t)]
    np.testing.assert_allclose(CASE.X, np.stack(columns, axis=1), atol=1e-8)
    np.testing.assert_allclose(CASE.ou_diffusion, CASE.ou_stat_sd * np.sqrt(2 * CASE.ou_rate))


@pytest.mark.parametrize("name", ["Kalman", "EKF"])
def test_likelihood_of_every_subject(name, evaluate):
    by_subject, _ = evaluate(as_arrays(MLE))
    if name == "EKF":
        function = likelihood_function(SYSTEM, pds.EKF(), Y, TIMES, SHAPES)
        by_subject = function(as_arrays(MLE))
    np.testing.assert_allclose(by_subject, CASE.out.loglik_subject, rtol=0, atol=1e-6)
    np.testing.assert_allclose(by_subject.sum(), CASE.out.loglik_dense, rtol=0, atol=1e-5)


def test_the_gradient_vanishes_at_the_maximum(evaluate):
    """The case states the estimates to ten digits, so the gradient there is that of rounding."""
    _, gradient = evaluate(as_arrays(MLE))
    assert all(np.all(np.abs(slope) < 0.05) for slope in gradient.values())
    np.testing.assert_allclose(gradient["beta"], CASE.out.grad_at_mle[:3], rtol=0, atol=1e-6)


def test_the_gradient_is_that_of_a_maximum(evaluate):
    """Away from it every coordinate pulls back, as strongly as its standard error says."""
    for j, error in enumerate(CASE.out.beta_se):
        beta = CASE.beta.copy()
        beta[j] += error
        values, gradient = evaluate(as_arrays({**MLE, "beta": beta}))
        assert values.sum() < CASE.out.loglik_dense
        # One standard error from the maximum of a log-likelihood the slope is about -1/error.
        assert -2.0 / error < gradient["beta"][j] < -0.5 / error
