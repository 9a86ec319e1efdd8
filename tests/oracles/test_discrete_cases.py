"""E06, K01, K04, K12, K13, N01: systems in discrete time, against references of other makers."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    as_arrays,
    likelihood_function,
    prepare,
    program_of,
    state_draws,
    state_moments,
    total_and_gradient,
    visit_log_likelihoods,
)
from tests.oracles.cases import load

MOMENTS = {"rtol": 1e-7, "atol": 1e-9}


def nile_case() -> SimpleNamespace:
    case = load("K01")
    system = pds.DiscreteTime(
        states="level",
        transition=lambda level, log_eta: dist.Normal(level, jnp.exp(log_eta / 2)),
        observation=lambda level, log_eps: dist.Normal(level, jnp.exp(log_eps / 2)),
        initial=dist.Normal(float(case.m0), float(case.P0) ** 0.5),
    )
    params = {"log_eps": np.log(case.s2_eps), "log_eta": np.log(case.s2_eta)}
    return SimpleNamespace(
        case=case, system=system, params=params, likelihood=pds.Kalman(), out=case.out
    )


def lgssm_case() -> SimpleNamespace:
    case = load("K13")
    system = pds.DiscreteTime(
        transition=lambda x, F, b, Q: dist.MultivariateNormal(F @ x + b, Q),
        observation=lambda x, H, d, R: dist.MultivariateNormal(H @ x + d, R),
        initial=lambda m0, P0: dist.MultivariateNormal(m0, P0),
    )
    params = {name: getattr(case, name) for name in ("F", "b", "Q", "H", "d", "R", "m0", "P0")}
    return SimpleNamespace(
        case=case, system=system, params=params, likelihood=pds.Kalman(), out=case.out
    )


def pendulum(case: SimpleNamespace) -> pds.DiscreteTime:
    dt = float(case.dt)
    return pds.DiscreteTime(
        states=("angle", "rate"),
        step=dt,
        transition=lambda angle, rate, g: pds.Gaussian(
            jnp.stack([angle + rate * dt, rate - g * jnp.sin(angle) * dt]), case.Q
        ),
        observation=lambda angle: dist.Normal(jnp.sin(angle), float(case.R[0, 0]) ** 0.5),
        initial=pds.Gaussian(case.m0, case.P0),
    )


def pendulum_case(likelihood: pds.EKF | pds.UKF, name: str) -> SimpleNamespace:
    case = load("N01")
    prefix = f"{name}_"
    out = {k.removeprefix(prefix): v for k, v in vars(case.out).items() if k.startswith(prefix)}
    case.y = case.y[:, 0]
    return SimpleNamespace(
        case=case,
        system=pendulum(case),
        params={"g": case.theta[0]},
        likelihood=likelihood,
        out=SimpleNamespace(**out),
    )


def unscented_case(name: str) -> SimpleNamespace:
    alpha, beta, kappa = map(float, getattr(load("N01").out, f"ukf_{name}_params"))
    return pendulum_case(pds.UKF(alpha=alpha, beta=beta, kappa=kappa), f"ukf_{name}")


EXACT = {"K01": nile_case, "K13": lgssm_case}
APPROXIMATE = {
    "EKF": lambda: pendulum_case(pds.EKF(), "ekf"),
    "UKF, dynamax's points": lambda: unscented_case("dynamax_default"),
    "UKF, cubature": lambda: unscented_case("cubature_like"),
    "UKF, van der Merwe's points": lambda: unscented_case("merwe"),
}


def program(oracle: SimpleNamespace) -> tuple[Program, object, object]:
    params = as_arrays(oracle.params)
    bound = bind_system(oracle.system, {name: value.shape for name, value in params.items()})
    built = program_of(bound, oracle.likelihood, complete=True)
    step = bound.step or 1.0
    return built, params, prepare(built, step * np.arange(len(oracle.case.y)), np.nan)


@pytest.fixture(scope="module", params=EXACT)
def exact(request):
    return EXACT[request.param]()


def test_every_step_of_the_exact_filter(exact):
    built, params, grid = program(exact)
    found = jax.jit(lambda p: visit_log_likelihoods(built, exact.case.y, p, grid, None))(params)
    np.testing.assert_allclose(found, exact.out.loglik_step, **MOMENTS)
    np.testing.assert_allclose(found.sum(), exact.out.loglik, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("given", "name"), [("all", "smoothed"), ("past", "filtered")])
def test_moments(exact, given, name):
    built, params, grid = program(exact)
    mean, cov = state_moments(built, given, exact.case.y, params, grid, None)
    np.testing.assert_allclose(mean, getattr(exact.out, f"{name}_mean"), **MOMENTS)
    np.testing.assert_allclose(cov, getattr(exact.out, f"{name}_cov"), **MOMENTS)


def test_draws_have_the_smoothed_moments(exact):
    built, params, grid = program(exact)
    n = 20_000
    keys = jax.random.split(jax.random.key(1, impl="threefry2x32"), n)
    keys = jax.random.key_data(keys)
    data = np.broadcast_to(exact.case.y, (n, *exact.case.y.shape))
    many = {name: value[None] for name, value in params.items()}
    draws = np.asarray(state_draws(built, "all", keys, data[:1], many, grid, None))
    cov = exact.out.smoothed_cov
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    error = (draws.mean(0) - exact.out.smoothed_mean) / (sd / n**0.5)
    assert np.abs(error).max() < 5
    off = draws - exact.out.smoothed_mean
    found = np.einsum("nti,ntj->tij", off, off) / n
    scale = sd[:, :, None] * sd[:, None, :]
    assert (np.abs(found - cov) / scale).max() < 5 * (2 / n) ** 0.5
    lagged = np.einsum("nti,ntj->tij", off[:, 1:], off[:, :-1]) / n
    between = exact.out.smoothed_lag1_cov
    expected = between[1:] if np.any(between[-1]) else between[:-1]
    wrong = np.abs(lagged - expected) / (sd[1:, :, None] * sd[:-1, None, :])
    transposed = np.abs(lagged - np.swapaxes(expected, 1, 2)) / (sd[1:, :, None] * sd[:-1, None, :])
    assert min(wrong.max(), transposed.max()) < 5 * (2 / n) ** 0.5


def test_gradient_of_the_nile():
    oracle = nile_case()
    shapes = dict.fromkeys(oracle.params, ())
    function = likelihood_function(
        oracle.system, pds.Kalman(), oracle.case.y, np.arange(100.0), shapes
    )
    _, gradient = total_and_gradient(function)(as_arrays(oracle.params))
    found = [gradient["log_eps"], gradient["log_eta"]]
    np.testing.assert_allclose(found, oracle.out.grad_log_s2e_log_s2n, rtol=1e-5, atol=1e-6)


def test_exactly_diffuse_nile():
    """The limit, its moments, and its distance from a large variance, which is known."""
    oracle = nile_case()
    likely = {}
    for name, initial in {
        "exact": pds.Diffuse(),
        "large": pds.Diffuse(kappa=1e7),
        "larger": pds.Diffuse(kappa=1e10),
    }.items():
        system = pds.DiscreteTime(
            oracle.system.transition, oracle.system.observation, initial, ("level",)
        )
        changed = SimpleNamespace(**{**vars(oracle), "system": system})
        built, params, grid = program(changed)
        function = jax.jit(
            lambda p, b=built, g=grid: visit_log_likelihoods(b, oracle.case.y, p, g, None).sum()
        )
        likely[name] = float(function(params))
        if name == "exact":
            mean, cov = state_moments(built, "all", oracle.case.y, params, grid, None)
            np.testing.assert_allclose(
                mean[:, 0], oracle.out.smoothed_mean_exact_diffuse, **MOMENTS
            )
            np.testing.assert_allclose(
                cov[:, 0, 0], oracle.out.smoothed_var_exact_diffuse, **MOMENTS
            )
    assert abs(likely["exact"] - float(oracle.out.loglik_statsmodels_exact_diffuse)) < 1e-7
    assert abs(likely["large"] - float(oracle.out.loglik)) < 1e-7
    out = oracle.out
    second = out.smoothed_mean_exact_diffuse[0] ** 2 + out.smoothed_var_exact_diffuse[0]
    for name, kappa in (("large", 1e7), ("larger", 1e10)):
        gap = likely["exact"] - (likely[name] + 0.5 * np.log(kappa))
        assert abs(gap - second / (2 * kappa)) < 1e-3 * second / (2 * kappa) + 2e-6


def test_forecast_of_the_nile():
    oracle = nile_case()
    case = oracle.case
    with pm.Model(coords={"time": np.arange(1871.0, 1971.0)}) as model:
        flat = pm.Flat("never_used")  # parameters are numbers: any draw will do
        pds.Trajectory("flow", oracle.system, params=oracle.params, observed=case.y, dims="time")
    draws = xr.Dataset({"never_used": (("chain", "draw"), np.zeros((1, 20_000)))})
    idata = xr.DataTree.from_dict({"posterior": draws})
    assert flat.name in draws
    ahead = np.arange(1971.0, 2001.0)
    future = pds.forecast(idata, model=model, times=ahead, random_seed=3, progressbar=False)
    y = future.predictions["flow"].values[0]
    sd = np.sqrt(case.out.forecast_var_obs)
    assert (np.abs(y.mean(0) - case.out.forecast_mean) / (sd / len(y) ** 0.5)).max() < 5
    assert (np.abs(y.std(0) / sd - 1)).max() < 5 * (0.5 / len(y)) ** 0.5


def test_forecast_of_the_lgssm_through_its_closed_form():
    """Mean and covariance from the filtered state at the last datum, without drawing."""
    oracle = lgssm_case()
    built, params, grid = program(oracle)
    case = oracle.case
    mean, cov = (
        np.asarray(part)[-1] for part in state_moments(built, "past", case.y, params, grid, None)
    )
    for k in range(50):
        mean = case.F @ mean + case.b
        cov = case.F @ cov @ case.F.T + case.Q
        np.testing.assert_allclose(
            case.H @ mean + case.d, case.out.forecast_obs_mean[k], rtol=1e-8, atol=1e-8
        )
        np.testing.assert_allclose(
            case.H @ cov @ case.H.T + case.R, case.out.forecast_obs_cov[k], rtol=1e-8, atol=1e-8
        )


@pytest.mark.slow
def test_forecast_of_the_lgssm_by_drawing():
    case = load("K13")
    names = ("F", "b", "Q", "H", "d", "R", "m0", "P0")
    system = pds.linear_gaussian(**{name: getattr(case, name) for name in names})
    with pm.Model(coords={"time": np.arange(100.0), "component": np.arange(10)}) as model:
        pm.Flat("never_used")
        pds.Trajectory("y", system, observed=case.y, dims=("time", "component"))
    draws = xr.Dataset({"never_used": (("chain", "draw"), np.zeros((1, 10_000)))})
    idata = xr.DataTree.from_dict({"posterior": draws})
    ahead = np.arange(100.0, 150.0)
    future = pds.forecast(idata, model=model, times=ahead, random_seed=3, progressbar=False)
    y = future.predictions["y"].values[0]
    sd = np.sqrt(np.diagonal(case.out.forecast_obs_cov, axis1=1, axis2=2))
    error = (y.mean(0) - case.out.forecast_obs_mean) / (sd / len(y) ** 0.5)
    assert np.abs(error).max() < 5
    assert np.abs(y.std(0) / sd - 1).max() < 5 * (0.5 / len(y)) ** 0.5


def controls_model(likelihood=None) -> tuple[pm.Model, SimpleNamespace]:
    """K04: inputs enter the step after them and the datum beside them; noises are correlated."""
    case = load("K04")
    system = pds.DiscreteTime(
        transition=lambda x, u, A, B: dist.MultivariateNormal(A @ x + B @ u, case.Q),
        observation=lambda x, u: dist.MultivariateNormal(case.H @ x + case.D @ u, case.R),
        initial=dist.MultivariateNormal(case.m0, case.P0),
    )
    with pm.Model(coords={"time": np.arange(50.0), "component": ["a", "b"]}) as model:
        A = pm.Flat("A", shape=(2, 2))
        B = pm.Flat("B", shape=(2, 1))
        u = xr.DataArray(case.u, dims=("time", "control"))
        pds.Trajectory(
            "y",
            system,
            params={"A": A, "B": B},
            inputs={"u": u},
            observed=case.y,
            dims=("time", "component"),
            likelihood=likelihood,
        )
    return model, case


@pytest.mark.parametrize("likelihood", [pds.Kalman(), pds.Laplace()], ids=["Kalman", "Laplace"])
def test_inputs_and_correlated_noises(likelihood):
    model, case = controls_model(likelihood)
    point = {"A": case.A, "B": case.B}
    value, slope = model.compile_fn([model.logp(), model.dlogp()])(point)
    # Both reach 4e-16.
    np.testing.assert_allclose(value, case.out.loglik, rtol=1e-13)
    np.testing.assert_allclose(slope[:4].reshape(2, 2), case.out.grad_A, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slope[4:], case.out.grad_B, rtol=1e-5, atol=1e-6)


def test_states_under_inputs():
    model, case = controls_model()
    draws = xr.Dataset(
        {
            "A": (("chain", "draw", "i", "j"), case.A[None, None]),
            "B": (("chain", "draw", "i", "k"), case.B[None, None]),
        }
    )
    idata = xr.DataTree.from_dict({"posterior": draws})
    for given, name in (("all", "smoothed"), ("past", "filtered")):
        found = pds.sample_states(idata, model=model, given=given, moments=True).posterior
        np.testing.assert_allclose(
            found["mean"].values[0, 0], getattr(case.out, f"{name}_mean"), **MOMENTS
        )
        np.testing.assert_allclose(
            found["covariance"].values[0, 0], getattr(case.out, f"{name}_cov"), **MOMENTS
        )


@pytest.mark.parametrize("rule", ["next", "previous"])
def test_whose_row_an_exogenous_variable_acts_on(rule):
    case = load("E06")
    system = pds.DiscreteTime(
        states=("a", "b"),
        transition=lambda states, A, B, c, C, u: pds.Gaussian(A @ states + B @ u + c, C),
        initial=dist.MultivariateNormal(case.m0, jnp.diag(case.p0)),
        observation=lambda states: pds.Gaussian(states, jnp.zeros((2, 2))),
    )
    u = xr.DataArray(case.X, dims=("time", "exogenous"))
    known = {"A": case.coefficients[0], "c": case.intercept, "C": case.cov}
    with pm.Model(coords={"time": np.arange(40)}) as model:
        pds.Trajectory(
            "y",
            system,
            params={"B": pm.Flat("B", shape=(2, 1)), **known},
            inputs={"u": pds.Input(u, rule)},
            observed=xr.DataArray(case.y, dims=("time", "component")),
        )
    name = "" if rule == "next" else "_lagged"
    found, slope = model.compile_fn([model.logp(), model.dlogp()])({"B": case.exog})
    np.testing.assert_allclose(found, getattr(case.out, f"loglik{name}"), rtol=1e-8)
    expected = getattr(case.out, f"grad_exog{name}").ravel()
    np.testing.assert_allclose(slope, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "likelihood", [pds.Kalman(), pytest.param(pds.Laplace(), marks=pytest.mark.slow)]
)
def test_a_long_stationary_series(likelihood):
    case = load("K12")
    with pm.Model(coords={"time": np.arange(5000.0)}) as model:
        phi, q, r = pm.Flat("phi"), pm.Flat("q"), pm.Flat("r")
        system = pds.autoregression(phi, q) + pds.white_noise(r)
        pds.Trajectory("y", system, observed=case.y, dims="time", likelihood=likelihood)
    point = {"phi": case.phi, "q": case.q**0.5, "r": case.r**0.5}
    assert abs(model.compile_logp()(point) - float(case.out.loglik)) < 1e-6


# The three rules for the points differ by numbers only.
SLOW = ("UKF, dynamax's points", "UKF, cubature")


@pytest.fixture(
    scope="module",
    params=[pytest.param(k, marks=pytest.mark.slow if k in SLOW else ()) for k in APPROXIMATE],
)
def approximate(request):
    return APPROXIMATE[request.param]()


def test_pendulum(approximate):
    oracle = approximate
    times = 0.05 * np.arange(len(oracle.case.y))
    function = likelihood_function(
        oracle.system, oracle.likelihood, oracle.case.y, times, {"g": ()}
    )
    value, gradient = total_and_gradient(function)(as_arrays(oracle.params))
    assert abs(value - oracle.out.loglik) < 1e-6
    if hasattr(oracle.out, "grad_theta"):
        np.testing.assert_allclose(gradient["g"], oracle.out.grad_theta[0], rtol=1e-4)
    near = [float(function({"g": jnp.asarray(oracle.params["g"] + h)})) for h in (-1e-4, 1e-4)]
    np.testing.assert_allclose(gradient["g"], (near[1] - near[0]) / 2e-4, rtol=1e-4)


@pytest.mark.parametrize(("given", "name"), [("all", "smoothed"), ("past", "filtered")])
def test_states_of_the_pendulum(approximate, given, name):
    built, params, grid = program(approximate)
    mean, cov = state_moments(built, given, approximate.case.y, params, grid, None)
    np.testing.assert_allclose(mean, getattr(approximate.out, f"{name}_mean"), atol=1e-6)
    np.testing.assert_allclose(cov, getattr(approximate.out, f"{name}_cov"), atol=1e-6)
