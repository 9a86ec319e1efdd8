"""L cases and P01: Laplace's approximation against grid filters and a published program."""

from dataclasses import replace
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import gammaln
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function, total_and_gradient
from tests.oracles import test_discrete_cases, test_kalman_cases
from tests.oracles import test_m03_hierarchical_ou as test_m03
from tests.oracles.cases import DATA, load


def arrays(name):
    with np.load(DATA / f"{name}.npz") as archive:
        return SimpleNamespace(**{key: archive[key] for key in archive.files})


def ornstein_uhlenbeck(observation):
    return pds.SDE(
        states="x",
        drift=lambda x, log_theta, mu: jnp.exp(log_theta) * (mu - x),
        diffusion=lambda log_sigma: jnp.exp(log_sigma),
        initial=pds.Stationary(),
        observation=observation,
    )


def counts(x):
    return dist.Poisson(jnp.exp(x))


def limited(x, log_obs_sd):
    return pds.censored(dist.Normal(x, jnp.exp(log_obs_sd)), lower=-0.3)


class NegativeBinomial(dist.NegativeBinomial2):
    """Its density by log-gammas; numpyro's own, by log-betas, is off by up to 1e-6."""

    def log_prob(self, value):
        r, m = self.concentration, self.concentration / self.rate
        terms = gammaln(value + r) - gammaln(r) - gammaln(value + 1)
        return terms + r * jnp.log(r / (r + m)) + value * jnp.log(m / (r + m))


def random_walk():
    return pds.DiscreteTime(
        states="x",
        transition=lambda x, log_sd: dist.Normal(x, jnp.exp(log_sd)),
        initial=lambda m0: dist.Normal(m0, 1.0),
        observation=lambda x, log_concentration: NegativeBinomial(
            jnp.exp(x), jnp.exp(log_concentration)
        ),
    )


def trend():
    def move(level, slope, log_sd):
        noise = jnp.diag(jnp.stack([0.0, jnp.exp(2 * log_sd)]))
        return pds.Gaussian(jnp.stack([level + slope, slope]), noise)

    return pds.DiscreteTime(
        states=("level", "slope"),
        transition=move,
        initial=lambda start: dist.Delta(jnp.stack([start, 0.0])),
        observation=lambda level: counts(level),
    )


def stochastic_volatility():
    def move(x, mu, atanh_phi, log_sigma):
        return dist.Normal(mu + jnp.tanh(atanh_phi) * (x - mu), jnp.exp(log_sigma))

    return pds.DiscreteTime(
        states="x",
        transition=move,
        initial=pds.Stationary(),
        observation=lambda x: dist.Normal(0.0, jnp.exp(x / 2)),
    )


OU = ("log_theta", "mu", "log_sigma")


def value_and_gradient(system, likelihood, y, times, params):
    if isinstance(system, pds.SDE):
        likelihood = replace(likelihood, discretization=pds.Exact())
    shapes = dict.fromkeys(params, ())
    function = likelihood_function(system, likelihood, y, times, shapes)
    total, gradient = total_and_gradient(function)({k: jnp.asarray(v) for k, v in params.items()})
    return float(total), np.array([float(gradient[name]) for name in params])


@pytest.mark.parametrize(
    ("name", "system", "names", "left", "left_by_two"),
    [
        ("L_poisson_low_ou", ornstein_uhlenbeck(counts), OU, -0.0129, -0.0011),
        ("L_negbin_rw", random_walk(), ("m0", "log_sd", "log_concentration"), -0.0570, 0.0012),
        pytest.param(
            *("L_censored_ou", ornstein_uhlenbeck(limited), (*OU, "log_obs_sd"), -0.5873, 0.6108),
            marks=pytest.mark.slow,  # a minute to compile
        ),
    ],
)
def test_both_orders_beside_a_grid(name, system, names, left, left_by_two):
    case = arrays(name)
    times = case.t if "t" in vars(case) else np.arange(case.y.size)
    params = dict(zip(names, case.theta, strict=True))
    first, _ = value_and_gradient(system, pds.Laplace(), case.y, times, params)
    assert first == pytest.approx(float(case.laplace), abs=1e-7)
    assert first - case.loglik == pytest.approx(left, abs=6e-5)
    second, gradient = value_and_gradient(system, pds.Laplace(order=2), case.y, times, params)
    assert second == pytest.approx(float(case.laplace + case.second_order), abs=1e-6)
    assert second - case.loglik == pytest.approx(left_by_two, abs=6e-5)
    if abs(left_by_two) < 0.01:
        np.testing.assert_allclose(gradient, case.grad, atol=0.02)


def test_a_panel_beside_a_published_program():
    case = arrays("L_poisson_panel_tmb")
    params = dict(zip(OU, case.theta, strict=True))
    total, _ = value_and_gradient(ornstein_uhlenbeck(counts), pds.Laplace(), case.y, case.t, params)
    assert total == pytest.approx(float(case.laplace), abs=1e-6)


def test_singular_noise_and_a_known_start():
    case = arrays("L_trend_singular_poisson")
    params = dict(zip(("log_sd", "start"), case.theta, strict=True))
    total, _ = value_and_gradient(trend(), pds.Laplace(), case.y, np.arange(case.y.size), params)
    assert total == pytest.approx(float(case.laplace), abs=1e-6)


def test_stochastic_volatility_beside_a_grid_and_a_published_program():
    case = load("P01")
    params = {
        "mu": float(case.mu),
        "atanh_phi": np.arctanh(case.phi),
        "log_sigma": np.log(case.sigma),
    }
    system, times = stochastic_volatility(), np.arange(case.y.size)
    first, gradient = value_and_gradient(system, pds.Laplace(), case.y, times, params)
    assert first == pytest.approx(-351.84948559, abs=1e-7)
    # As the published program has it, in the same order.
    published = (1.582812, -5.530058, -11.39295)
    np.testing.assert_allclose(gradient, published, atol=2e-6)
    second, gradient = value_and_gradient(system, pds.Laplace(order=2), case.y, times, params)
    assert second == pytest.approx(-351.73702, abs=1e-5)
    assert second == pytest.approx(float(case.out.loglik), abs=3e-3)
    np.testing.assert_allclose(gradient, case.out.grad_mu_atanhphi_logsigma, atol=0.05)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "observation"), [("L01", counts), ("L02", lambda x: dist.Bernoulli(logits=x))]
)
def test_distance_to_a_grid(name, observation):
    """Where no approximation is on record the second order is within a fifth of the first."""
    case = load(name)
    system = ornstein_uhlenbeck(observation)
    params = {"log_theta": np.log(case.theta), "mu": case.mu, "log_sigma": np.log(case.sigma)}
    first, second = (
        value_and_gradient(system, pds.Laplace(order=order), case.y, case.t, params)[0]
        - case.out.loglik
        for order in (1, 2)
    )
    assert 0.01 < abs(first) < 0.2
    assert abs(second) < 0.2 * abs(first)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "observation"), [("L01", counts), ("L02", lambda x: dist.Bernoulli(logits=x))]
)
def test_many_draws_are_on_the_grid(name, observation):
    case = load(name)
    system = ornstein_uhlenbeck(observation)
    params = {"log_theta": np.log(case.theta), "mu": case.mu, "log_sigma": np.log(case.sigma)}
    values = [
        value_and_gradient(system, pds.Laplace(draws=2000, seed=seed), case.y, case.t, params)[0]
        for seed in range(4)
    ]
    assert abs(np.mean(values) - case.out.loglik) < 0.02


GAUSSIAN = {**test_kalman_cases.CASES, **test_discrete_cases.EXACT}


@pytest.mark.parametrize("name", GAUSSIAN)
def test_it_is_exact_for_gaussian_data(name):
    oracle = GAUSSIAN[name]()
    case = oracle.case
    likelihood, step = pds.Laplace(), getattr(oracle.system, "step", None)
    if step is None:
        likelihood = replace(likelihood, discretization=pds.Exact())
    times = case.t if step is None else step * np.arange(len(case.y))
    params = as_arrays(oracle.params)
    shapes = {name: value.shape for name, value in params.items()}
    function = likelihood_function(oracle.system, likelihood, case.y, times, shapes)
    # K09's reference is good to 1.3e-12, by which the Kalman filter is off too; others reach 9e-15.
    np.testing.assert_allclose(function(params), case.out.loglik, rtol=2e-12)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["K01", "K09"])
def test_it_is_exact_for_precise_data(name):
    """With a noise of 1e-5 to 1e-4 of the oracle's, beside the Kalman filter."""
    oracle = GAUSSIAN[name]()
    case, noise = oracle.case, {"K01": "log_eps", "K09": "log_var"}[name]
    exact = None if name == "K01" else pds.Exact()
    times = np.arange(len(case.y)) if name == "K01" else case.t
    params = as_arrays({**oracle.params, noise: oracle.params[noise] - 20.0})
    found, expected = (
        likelihood_function(oracle.system, of(exact), case.y, times, dict.fromkeys(params, ()))(
            params
        )
        for of in (pds.Laplace, pds.Kalman)
    )
    # They differ by 6e-15 of values of 1e3 and 3e4.
    np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_it_is_exact_for_a_panel():
    case = test_m03.CASE
    exact = pds.Laplace(discretization=pds.Exact())
    function = likelihood_function(test_m03.SYSTEM, exact, case.y, case.t, {"mu": ()})
    total = function(as_arrays({"mu": case.mu_i_true})).sum()
    np.testing.assert_allclose(total, case.out.loglik_at_true_mu, rtol=1e-9)
