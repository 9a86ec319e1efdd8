"""M06: twelve ragged, irregular subjects with their own means and rates, all scales unknown."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
from jax import numpy as jnp
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.helpers import finite_differences
from tests.oracles.cases import load, to_panel
from tests.oracles.posteriors import assert_posterior_matches, sample

CASE = load("M06")
TIMES, Y = to_panel(CASE.subject, CASE.t, CASE.y)
COORDS = {"subject": np.arange(12), "visit": np.arange(Y.shape[1])}
SYSTEM = pds.SDE(
    states="level",
    drift=lambda level, mu, log_theta: -jnp.exp(log_theta) * (level - mu),
    diffusion=lambda sigma: sigma,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level, s_obs: dist.Normal(level, s_obs),
)


def add_trajectories(**params) -> None:
    pds.Trajectory(
        "y", SYSTEM, params=params, observed=Y, times=TIMES, t0=0.0, dims=("subject", "visit")
    )


def build_model() -> pm.Model:
    with pm.Model(coords=COORDS) as model:
        mu_global = pm.Normal("mu_global", 0.0, 3.0)
        tau_mu = pm.HalfNormal("tau_mu", 1.0)
        log_theta_global = pm.Normal("log_theta_global", 0.0, 1.0)
        tau_theta = pm.HalfNormal("tau_theta", 0.5)
        # The data say much about each mean and little about each rate, hence the two forms.
        z = pm.Normal("z", dims="subject")
        add_trajectories(
            mu=pm.Normal("mu_i", mu_global, tau_mu, dims="subject"),
            log_theta=pm.Deterministic(
                "log_theta_i", log_theta_global + tau_theta * z, dims="subject"
            ),
            sigma=pm.HalfNormal("sigma", 1.0),
            s_obs=pm.HalfNormal("s_obs", 0.5),
        )
    return model


POPULATION = ("mu_global", "tau_mu", "log_theta_global", "tau_theta", "sigma", "s_obs")
NAMES = (*POPULATION, "mu_i", "log_theta_i")


@pytest.fixture(scope="module")
def flat_model():
    with pm.Model(coords=COORDS) as model:
        add_trajectories(
            mu=pm.Flat("mu", dims="subject"),
            log_theta=pm.Flat("log_theta", dims="subject"),
            sigma=pm.HalfFlat("sigma", default_transform=None),
            s_obs=pm.HalfFlat("s_obs", default_transform=None),
        )
    return model


TRUTH = {
    "mu": CASE.mu_true,
    "log_theta": np.log(CASE.theta_true),
    "sigma": CASE.sigma_true,
    "s_obs": CASE.s_obs_true,
}


@pytest.fixture(scope="module")
def both(flat_model):
    """Value and gradient, in one program."""
    return flat_model.compile_fn([flat_model.logp(), flat_model.dlogp()])


def test_likelihood_at_the_truth(both):
    assert np.isnan(Y).any()
    np.testing.assert_allclose(both(TRUTH)[0], CASE.out.loglik_at_truth, rtol=0, atol=1e-7)


def test_gradient_at_the_truth(flat_model, both):
    gradient = both(TRUTH)[1]
    expected = finite_differences(lambda point: both(point)[0], TRUTH)
    ravelled = np.concatenate([np.ravel(expected[rv.name]) for rv in flat_model.free_RVs])
    np.testing.assert_allclose(gradient, ravelled, rtol=1e-6, atol=1e-6)


@pytest.mark.slow  # its likelihood and gradients are compared above
def test_posterior_by_sampling():
    posterior = sample(build_model(), draws=500, tune=500, chains=2, target_accept=0.9)
    assert float(az.rhat(posterior[[*NAMES]]).to_array().max()) < 1.05
    assert_posterior_matches(posterior, CASE.out, NAMES)
    # Slow subjects have long-tailed means; their spread takes the long run below.
    assert_posterior_matches(posterior, CASE.out, POPULATION, sd_ratio=(0.7, 1.4))


@pytest.mark.slow
def test_posterior_by_long_sampling():
    posterior = sample(build_model(), draws=2500, tune=1500, chains=4, target_accept=0.95)
    assert_posterior_matches(posterior, CASE.out, NAMES, sd_ratio=(0.85, 1.15))
