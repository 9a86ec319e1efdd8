"""M03: ten Ornstein-Uhlenbeck subjects around a common mean; everything is Gaussian."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist
from scipy.stats import multivariate_normal

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function
from tests.oracles.cases import load
from tests.oracles.posteriors import assert_posterior_matches, sample

CASE = load("M03")
FIVE_STEPS = pds.EulerMaruyama(dt=0.022)
SYSTEM = pds.SDE(
    states="level",
    drift=lambda level, mu: -0.5 * (level - mu),
    diffusion=0.1,
    initial=dist.Normal(0.0, 0.5**0.5),
    observation=lambda level: dist.Normal(level, 0.1),
)
FILTERS = {
    "Kalman": (pds.Kalman(), ""),
    "EKF": (pds.EKF(), ""),
    "Kalman, one Euler step": (pds.Kalman(pds.EulerMaruyama()), "_em1"),
    "EKF, one Euler step": (pds.EKF(pds.EulerMaruyama()), "_em1"),
    "Kalman, five Euler steps": (pds.Kalman(FIVE_STEPS), "_em5"),
    "EKF, five Euler steps": (pds.EKF(FIVE_STEPS), "_em5"),
}


def build_model(likelihood=None) -> pm.Model:
    coords = {"subject": np.arange(10), "time": CASE.t}
    with pm.Model(coords=coords) as model:
        mu_global = pm.Normal("mu_global", 0.0, 0.5)
        mu = pm.Normal("mu_i", mu_global, 1.0, dims="subject")
        pds.Trajectory(
            "y",
            SYSTEM,
            params={"mu": mu},
            observed=CASE.y,
            dims=("subject", "time"),
            likelihood=likelihood,
        )
    return model


@pytest.fixture(scope="module")
def model():
    return build_model()


def test_every_gap_is_cut_into_five():
    np.testing.assert_array_equal(FIVE_STEPS.substeps(np.diff(CASE.t)), 5)


@pytest.mark.parametrize("name", FILTERS)
def test_likelihood_of_the_panel(name):
    likelihood, suffix = FILTERS[name]
    expected = getattr(CASE.out, f"loglik_at_true_mu{suffix}")
    function = likelihood_function(SYSTEM, likelihood, CASE.y, CASE.t, {"mu": ()})
    total = function(as_arrays({"mu": CASE.mu_i_true})).sum()
    np.testing.assert_allclose(total, expected, rtol=1e-8)


def test_likelihood_far_from_the_data():
    function = likelihood_function(SYSTEM, pds.Kalman(), CASE.y, CASE.t, {"mu": ()})
    total = function(as_arrays({"mu": np.zeros(10)})).sum()
    np.testing.assert_allclose(total, CASE.out.loglik_at_zero_mu, rtol=1e-8)


def posterior_log_density(point: np.ndarray) -> float:
    mean = np.append(CASE.out.mu_global_mean, CASE.out.mu_i_mean)
    return multivariate_normal(mean, CASE.out.post_cov).logpdf(point)


def test_the_density_in_a_model_is_the_closed_form_posterior(model):
    """Joint density = evidence times posterior, wherever it is evaluated."""
    np.testing.assert_allclose(CASE.out.post_cov[0, 0], CASE.out.mu_global_sd**2)
    logp = model.compile_logp()
    rng = np.random.default_rng(0)
    mean = np.append(CASE.out.mu_global_mean, CASE.out.mu_i_mean)
    for spread in (0.0, 0.1, 2.0):
        point = mean + spread * rng.normal(size=11)
        joint = logp({"mu_global": point[0], "mu_i": point[1:]})
        expected = CASE.out.log_evidence + posterior_log_density(point)
        np.testing.assert_allclose(joint, expected, rtol=1e-8)


def test_the_gradient_in_a_model_is_that_of_the_closed_form_posterior(model):
    dlogp = model.compile_dlogp()
    mean = np.append(CASE.out.mu_global_mean, CASE.out.mu_i_mean)
    shift = np.random.default_rng(1).normal(size=11)
    point = mean + shift
    gradient = dlogp({"mu_global": point[0], "mu_i": point[1:]})
    expected = -np.linalg.solve(CASE.out.post_cov, shift)
    np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.slow  # its density and gradient are compared above
def test_posterior_by_sampling(model):
    posterior = sample(model, draws=400, tune=300, chains=2)
    assert float(az.rhat(posterior).to_array().max()) < 1.05
    assert_posterior_matches(posterior, CASE.out, ("mu_global", "mu_i"), sd_ratio=(0.8, 1.25))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Kalman", "EKF, one Euler step", "Kalman, five Euler steps"])
def test_posterior_by_long_sampling(name):
    likelihood, suffix = FILTERS[name]
    posterior = sample(build_model(likelihood), draws=2500, tune=1000, chains=4)
    assert_posterior_matches(
        posterior, CASE.out, ("mu_global", "mu_i"), suffix=suffix, sd_ratio=(0.93, 1.07)
    )


@pytest.mark.slow
@pytest.mark.parametrize("variant", [pds.SquareRoot(), pds.Perturbed()])
def test_posterior_by_an_ensemble(variant):
    """With 400 members means are within 0.15 posterior sd; with 100 the worst misses by 0.17."""
    likelihood = pds.EnKF(400, pds.Exact(), variant=variant)
    posterior = sample(build_model(likelihood), draws=600, tune=300, chains=2)
    for name in ("mu_global", "mu_i"):
        mean, sd = (getattr(CASE.out, f"{name}_{moment}") for moment in ("mean", "sd"))
        draws = posterior[name]
        error = np.abs(draws.mean(("chain", "draw")).values - mean) / sd
        ratio = draws.std(("chain", "draw"), ddof=1).values / sd
        assert np.all(error <= 0.15), f"{name}: off by {error} sd"
        assert np.all((ratio >= 0.8) & (ratio <= 1.25)), f"{name}: sd ratios {ratio}"
