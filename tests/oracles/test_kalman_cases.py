"""K05, K07, K09: likelihood, moments and gradients of single series, against dense algebra."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    as_arrays,
    likelihood_function,
    prepare,
    program_of,
    run_filter,
    state_draws,
    state_moments,
    total_and_gradient,
)
from tests.oracles.cases import load


def ou_case() -> SimpleNamespace:
    case = load("K05")
    system = pds.SDE(
        states="level",
        drift=lambda level, log_theta, mu: jnp.exp(log_theta) * (mu - level),
        diffusion=lambda log_sigma: jnp.exp(log_sigma),
        initial=dist.Normal(float(case.m0), float(case.P0) ** 0.5),
        observation=lambda level, log_sd: dist.Normal(level, jnp.exp(log_sd)),
    )
    params = {
        "log_theta": np.log(case.theta),
        "mu": case.mu,
        "log_sigma": np.log(case.sigma),
        "log_sd": np.log(case.obs_var) / 2,
    }
    gradient = dict(zip(params, case.out.grad_logtheta_mu_logsigma_logobs_sd, strict=True))
    return SimpleNamespace(case=case, system=system, params=params, gradient=gradient, shown=1)


def matern_case() -> SimpleNamespace:
    case = load("K07")

    def drift(f, speed, log_ell):
        rate = jnp.sqrt(3.0) / jnp.exp(log_ell)
        return speed, -(rate**2) * f - 2 * rate * speed

    def diffusion(log_ell, log_s):
        rate = jnp.sqrt(3.0) / jnp.exp(log_ell)
        return 0.0, jnp.sqrt(4 * rate**3) * jnp.exp(log_s)

    def initial(log_ell, log_s):
        s = jnp.exp(log_s)
        return dist.Normal(
            jnp.zeros(2), jnp.stack([s, jnp.sqrt(3.0) / jnp.exp(log_ell) * s])
        ).to_event(1)

    system = pds.SDE(
        states=("f", "speed"),
        drift=drift,
        diffusion=diffusion,
        initial=initial,
        observation=lambda f, log_sd: dist.Normal(f, jnp.exp(log_sd)),
    )
    params = {
        "log_ell": np.log(case.ell),
        "log_s": np.log(case.s),
        "log_sd": np.log(case.obs_var) / 2,
    }
    gradient = dict(zip(params, case.out.grad_logell_logs_logobs_sd, strict=True))
    return SimpleNamespace(case=case, system=system, params=params, gradient=gradient, shown=1)


def integrated_brownian_case() -> SimpleNamespace:
    case = load("K09")
    system = pds.SDE(
        states=("position", "speed"),
        drift=lambda speed: (speed, 0.0),
        diffusion=lambda log_q: (0.0, jnp.exp(log_q / 2)),
        initial=pds.Gaussian(case.m0, case.P0),
        observation=lambda position, log_var: pds.Gaussian(position, jnp.exp(log_var)),
    )
    params = {"log_q": np.log(case.q), "log_var": np.log(case.obs_var)}
    gradient = dict(zip(params, case.out.grad_logq_logs2, strict=True))
    return SimpleNamespace(case=case, system=system, params=params, gradient=gradient, shown=2)


CASES = {"K05": ou_case, "K07": matern_case, "K09": integrated_brownian_case}


@pytest.fixture(scope="module", params=CASES)
def oracle(request):
    return CASES[request.param]()


@pytest.mark.parametrize("scheme", [None, pds.LocalLinearization()], ids=["Kalman", "EKF"])
def test_every_step_of_the_filter(oracle, scheme):
    case = oracle.case
    visits = run_filter(oracle.system, oracle.params, case.y, case.t, extended=scheme)
    np.testing.assert_allclose(visits.log_likelihood, case.out.loglik_step, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(
        visits.log_likelihood.sum(),
        case.out.loglik,
        rtol=0,
        atol=1e-8 * max(1, abs(case.out.loglik)),
    )
    n = oracle.shown
    for belief, name in ((visits.predicted, "predicted"), (visits.filtered, "filtered")):
        mean, cov = getattr(case.out, f"{name}_mean"), getattr(case.out, f"{name}_cov")
        np.testing.assert_allclose(belief.m[:, :n], mean, rtol=1e-7, atol=1e-9)
        np.testing.assert_allclose(belief.P[:, :n, :n], cov, rtol=1e-7, atol=1e-9)


def test_likelihood_and_gradient(oracle):
    case, likelihood = oracle.case, pds.Kalman()
    shapes = dict.fromkeys(oracle.params, ())
    function = likelihood_function(oracle.system, likelihood, case.y, case.t, shapes)
    value, gradient = total_and_gradient(function)(as_arrays(oracle.params))
    np.testing.assert_allclose(
        value, case.out.loglik, rtol=0, atol=1e-8 * max(1, abs(case.out.loglik))
    )
    for name, expected in oracle.gradient.items():
        np.testing.assert_allclose(gradient[name], expected, rtol=1e-5, err_msg=name)


def test_one_euler_step_a_gap_is_visibly_biased():
    """The case's own warning: a filter of the Euler chain must not give the exact figure."""
    oracle = ou_case()
    case = oracle.case
    biased = likelihood_function(
        oracle.system,
        pds.Kalman(pds.EulerMaruyama()),
        case.y,
        case.t,
        dict.fromkeys(oracle.params, ()),
    )(as_arrays(oracle.params))
    assert abs(biased - case.out.loglik) > 0.1


def test_likelihood_and_gradient_in_a_model():
    oracle = ou_case()
    case = oracle.case
    with pm.Model(coords={"time": case.t}) as model:
        params = {name: pm.Flat(name) for name in oracle.params}
        pds.Trajectory("y", oracle.system, params=params, observed=case.y, dims="time")
    point = {name: np.array(value) for name, value in oracle.params.items()}
    names = list(oracle.params)
    variables = [model[name] for name in names]
    value, gradient = model.compile_fn([model.logp(), model.dlogp(variables)])(point)
    np.testing.assert_allclose(value, case.out.loglik, rtol=0, atol=1e-8 * abs(case.out.loglik))
    np.testing.assert_allclose(gradient, [oracle.gradient[name] for name in names], rtol=1e-5)


def smoother_inputs(oracle, likelihood, times, y):
    """What the smoothers take: program, data, parameters, grid, constants."""
    system = bind_system(oracle.system, dict.fromkeys(oracle.params, ()))
    program = program_of(system, likelihood, not np.isnan(y).any())
    return program, y, as_arrays(oracle.params), prepare(program, times, np.nan), None


EXACT = {"Kalman": pds.Kalman(), "EKF": pds.EKF(pds.LocalLinearization())}


# Steps of the extended filter are compared above, and both share the pass backwards.
@pytest.mark.parametrize("name", ["Kalman", pytest.param("EKF", marks=pytest.mark.slow)])
@pytest.mark.parametrize("given", ["past", "all"])
def test_moments_of_states(oracle, name, given):
    case, n = oracle.case, oracle.shown
    program, *inputs = smoother_inputs(oracle, EXACT[name], case.t, case.y)
    mean, cov = state_moments(program, given, *inputs)
    kind = {"past": "filtered", "all": "smoothed"}[given]
    expected = getattr(case.out, f"{kind}_mean"), getattr(case.out, f"{kind}_cov")
    np.testing.assert_allclose(mean[:, :n], expected[0], rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(cov[:, :n, :n], expected[1], rtol=1e-7, atol=1e-9)


def test_moments_between_and_after_the_data():
    oracle = ou_case()
    case = oracle.case
    times = np.concatenate([case.t, case.out.pred_t])
    y = np.concatenate([case.y, np.full(case.out.pred_t.shape, np.nan)])
    order = np.argsort(times, kind="stable")
    asked = np.argsort(order)[len(case.t) :]
    program, *inputs = smoother_inputs(oracle, pds.Kalman(), times[order], y[order])
    mean, cov = state_moments(program, "all", *inputs)
    np.testing.assert_allclose(mean[asked, 0], case.out.pred_mean, rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(cov[asked, 0, 0], np.diag(case.out.pred_cov), rtol=1e-7, atol=1e-9)
    keys = jax.random.split(jax.random.PRNGKey(0), 40_000)
    one, *inputs = smoother_inputs(oracle, pds.Kalman(), times[order], y[order])
    draws = np.asarray(state_draws(one, "all", keys, inputs[0][None], *inputs[1:]))[:, asked, 0]
    sd = np.sqrt(np.diag(case.out.pred_cov))
    assert np.all(np.abs(draws.mean(0) - case.out.pred_mean) < 4 * sd / 200)
    assert np.all(np.abs(np.cov(draws.T) - case.out.pred_cov) < 4 * np.outer(sd, sd) * 1.5 / 200)


@pytest.mark.slow  # draws between the data are judged above, and others in discrete time
def test_moments_and_lag_one_covariances_of_draws(oracle):
    case, n, size = oracle.case, oracle.shown, 40_000
    program, *inputs = smoother_inputs(oracle, pds.Kalman(), case.t, case.y)
    mean, cov = map(np.asarray, state_moments(program, "all", *inputs))
    keys = jax.random.split(jax.random.PRNGKey(1), size)
    draws = np.asarray(state_draws(program, "all", keys, inputs[0][None], *inputs[1:]))
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    off = draws - mean
    assert np.all(np.abs(off.mean(0)) < 5 * sd / size**0.5)
    np.testing.assert_allclose(np.einsum("stj,stj->tj", off, off) / size / sd**2, 1, atol=0.05)
    lag = np.einsum("sti,stj->tij", off[:, 1:, :n], off[:, :-1, :n]) / size
    expected = case.out.smoothed_lag1_cov[1:]
    scale = sd[1:, :n, None] * sd[:-1, None, :n]
    same = np.abs(lag - expected) / scale
    swapped = np.abs(np.swapaxes(lag, 1, 2) - expected) / scale
    assert min(same.max(), swapped.max()) < 5 * 1.5 / size**0.5
