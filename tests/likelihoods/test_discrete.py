"""Discrete-time systems against statsmodels and dense algebra, and how visits become steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from statsmodels.tsa.statespace.dynamic_factor import DynamicFactor
from statsmodels.tsa.statespace.sarimax import SARIMAX
from statsmodels.tsa.statespace.structural import UnobservedComponents
from statsmodels.tsa.statespace.varmax import VARMAX

import pymc_dynsys as pds
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    finite_differences,
    likelihood_function,
    log_likelihood,
    prepare,
    program_of,
)

CHANGING = pds.DiscreteTime(
    transition=lambda x, t, a: dist.MultivariateNormal(
        jnp.array([[0.9, 0.2], [-0.3, 0.7]]) @ x * jnp.cos(0.1 * t) + a * jnp.sin(t),
        jnp.diag(jnp.array([0.2, 0.1])) * (1 + 0.5 * jnp.sin(t)),
    ),
    observation=lambda x, t: dist.Normal(x[0] * (1 + 0.1 * t) + x[1], 0.3 + 0.1 * jnp.cos(t)),
    initial=pds.Gaussian(jnp.ones(2), jnp.diag(jnp.array([0.5, 0.0]))),
)


def dense_changing(y: np.ndarray, times: np.ndarray, t0: float, a: float) -> float:
    """Log-density of all data of CHANGING at once: its joint normal law, step by step."""
    steps = int(times[-1] - t0)
    mean, covs = [np.ones(2)], {(0, 0): np.diag([0.5, 0.0])}
    for k in range(steps):
        t = t0 + k
        F = np.array([[0.9, 0.2], [-0.3, 0.7]]) * np.cos(0.1 * t)
        mean.append(F @ mean[-1] + a * np.sin(t))
        for j in range(k + 1):
            covs[k + 1, j] = F @ covs[k, j]
        covs[k + 1, k + 1] = F @ covs[k, k] @ F.T + np.diag([0.2, 0.1]) * (1 + 0.5 * np.sin(t))
    seen = [i for i in range(len(times)) if np.isfinite(y[i])]
    index = [int(times[i] - t0) for i in seen]
    H = [np.array([1 + 0.1 * times[i], 1.0]) for i in seen]
    m = np.array([h @ mean[k] for h, k in zip(H, index, strict=True)])
    S = np.zeros((len(seen), len(seen)))
    for i, (g, k) in enumerate(zip(H, index, strict=True)):
        for j, (h, n) in enumerate(zip(H, index, strict=True)):
            S[i, j] = g @ (covs[k, n] if k >= n else covs[n, k].T) @ h
        S[i, i] += (0.3 + 0.1 * np.cos(times[seen[i]])) ** 2
    v = y[seen] - m
    return float(
        -0.5 * (len(v) * np.log(2 * np.pi) + np.linalg.slogdet(S)[1] + v @ np.linalg.solve(S, v))
    )


@pytest.mark.parametrize("t0", [np.nan, -2.0])
def test_matrices_that_change_over_gaps_of_several_steps(t0):
    rng = np.random.default_rng(1)
    times = np.array([0.0, 1.0, 2.0, 5.0, 6.0, 6.0, 9.0])
    y = rng.normal(size=7)
    y[3] = np.nan
    function = likelihood_function(CHANGING, pds.Kalman(), y, times, {"a": ()}, t0)
    start = 0.0 if np.isnan(t0) else t0
    point = {"a": jnp.asarray(0.7)}
    assert abs(function(point) - dense_changing(y, times, start, 0.7)) < 1e-10
    slope = jax.jit(jax.grad(lambda p: function(p)))(point)["a"]
    near = [dense_changing(y, times, start, 0.7 + h) for h in (-1e-5, 1e-5)]
    np.testing.assert_allclose(slope, (near[1] - near[0]) / 2e-5, rtol=1e-7)


def test_filters_agree_where_the_system_is_linear():
    rng = np.random.default_rng(2)
    y, times = rng.normal(size=9), np.array([0.0, 1, 2, 3, 6, 7, 8, 9, 12])
    values = [
        likelihood_function(CHANGING, likelihood, y, times, {"a": ()})({"a": jnp.asarray(0.3)})
        for likelihood in (pds.Kalman(), pds.EKF(), pds.UKF())
    ]
    np.testing.assert_allclose(values, values[0], rtol=1e-12)


def test_an_ensemble_comes_near():
    rng = np.random.default_rng(3)
    y, times = rng.normal(size=9), np.arange(9.0)
    exact, close = (
        likelihood_function(CHANGING, likelihood, y, times, {"a": ()})({"a": jnp.asarray(0.3)})
        for likelihood in (pds.Kalman(), pds.EnKF(4000))
    )
    assert 0 < abs(exact - close) < 0.1


def test_rows_in_a_panel_are_those_of_single_series():
    """Ragged times, missing data and parameters of one series each: nothing leaks."""
    rng = np.random.default_rng(4)
    n, T = 4, 7
    times = np.cumsum(rng.integers(1, 4, size=(n, T)), axis=1).astype(float)
    times[2, 5:] = np.nan
    y = rng.normal(size=(n, T, 3))
    y[rng.uniform(size=y.shape) < 0.2] = np.nan
    y[np.isnan(times)] = np.nan
    H = rng.normal(size=(3, 2))
    system = pds.DiscreteTime(
        transition=lambda x, phi: dist.Normal(phi * x, 0.5).to_event(1),
        observation=lambda x, sd: dist.Normal(H @ x, sd).to_event(1),
        initial=dist.Normal(jnp.zeros(2), 1.0).to_event(1),
    )
    bound = bind_system(system, {"phi": (2,), "sd": ()})
    built = program_of(bound, pds.Kalman(), complete=False)
    phi, sd = rng.uniform(0.3, 0.9, size=(n, 2)), np.exp(rng.normal(size=n))
    grid = prepare(built, times, np.full(n, np.nan))
    whole = log_likelihood(built, y, {"phi": phi, "sd": sd}, grid)
    for i in range(n):
        there = np.isfinite(times[i])
        alone = prepare(built, times[i, there], np.nan)
        value = log_likelihood(built, y[i, there], {"phi": phi[i], "sd": sd[i]}, alone)
        np.testing.assert_allclose(whole[i], value, rtol=1e-12)


def test_times_must_be_whole_steps_apart():
    system = pds.autoregression(0.5, 1.0) + pds.white_noise(0.1)
    y = np.zeros((2, 3))
    times = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.5]])
    with pm.Model(coords={"subject": ["a", "b"], "time": range(3)}):
        with pytest.raises(ValueError, match=r"2\.5 of subject='b' .* whole number of steps of 1"):
            pds.Trajectory("y", system, observed=y, times=times, dims=("subject", "time"))


@pytest.mark.parametrize(
    ("likelihood", "simulator", "message"),
    [
        (pds.Kalman(pds.Exact()), None, "Kalman: discretization=Exact.* no meaning"),
        (pds.EKF(pds.EulerMaruyama(0.1)), None, "EKF: discretization=Euler.* no meaning"),
        (pds.EnKF(30, pds.EulerMaruyama(0.1)), None, "EnKF: discretization=Euler"),
        (pds.UKF(pds.LocalLinearization()), None, "UKF: discretization=Local"),
        (None, pds.EulerMaruyama(0.1), "simulator: .* no meaning"),
    ],
)
def test_discretizations_are_refused(likelihood, simulator, message):
    with pm.Model(coords={"time": range(3)}), pytest.raises(ValueError, match=message):
        pds.Trajectory(
            "y",
            CHANGING,
            params={"a": 0.1},
            observed=np.zeros(3),
            dims="time",
            likelihood=likelihood,
            simulator=simulator,
        )


def test_events_are_refused():
    events = xr.Dataset({"event_time": ("event", [1.0]), "event_amount": ("event", [1.0])})
    with pm.Model(coords={"time": range(3)}), pytest.raises(ValueError, match="let an input"):
        pds.Trajectory(
            "y", CHANGING, params={"a": 0.1}, observed=np.zeros(3), dims="time", events=events
        )


def value_of(system: pds.LinearGaussian, y: np.ndarray) -> float:
    dims = ("time",) if y.ndim == 1 else ("time", "component")
    coords = dict(zip(dims, map(range, y.shape), strict=True))
    with pm.Model(coords=coords) as model:
        pds.Trajectory("y", system, observed=y, dims=dims)
    return float(model.compile_logp()({}))


def structural(y, **options):
    """Log-likelihood of statsmodels, exactly diffuse and with every datum counted."""

    def at(params):
        model = UnobservedComponents(y, **options, use_exact_diffuse=True)
        return float(model.loglike(params))

    return at


@pytest.fixture
def series():
    rng = np.random.default_rng(5)
    y = np.cumsum(rng.normal(size=60)) + np.tile([1.0, 2.0, -1.0, -2.0], 15)
    y[[7, 20, 21]] = np.nan
    return y


def test_local_level_is_that_of_statsmodels(series):
    expected = structural(series, level="llevel")([0.49, 0.09])
    found = value_of(pds.local_level(0.3) + pds.white_noise(0.7), series)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_trend_and_season_are_those_of_statsmodels(series):
    expected = structural(series, level="lltrend", seasonal=4)([0.49, 0.09, 0.01, 0.04])
    system = pds.local_linear_trend(0.3, 0.1) + pds.seasonal(4, 0.2) + pds.white_noise(0.7)
    np.testing.assert_allclose(value_of(system, series), expected, rtol=1e-9)


def test_waves_are_those_of_statsmodels(series):
    waves = [{"period": 4, "harmonics": 2}]
    expected = structural(series, level="llevel", freq_seasonal=waves)([0.49, 0.09, 0.04])
    system = pds.local_level(0.3) + pds.seasonal(4, 0.2, harmonics=2) + pds.white_noise(0.7)
    np.testing.assert_allclose(value_of(system, series), expected, rtol=1e-9)


def test_the_order_of_a_sum_does_not_matter(series):
    parts = (pds.seasonal(4, 0.2), pds.local_level(0.3), pds.white_noise(0.7))
    one, two, three = parts
    a, b = value_of(one + two + three, series), value_of(three + (two + one), series)
    np.testing.assert_allclose(a, b, rtol=1e-10)


def test_autoregression_with_noise_is_that_of_statsmodels(series):
    model = SARIMAX(series, order=(2, 0, 0), measurement_error=True)
    expected = model.loglike([0.5, 0.3, 0.25, 0.81])
    system = pds.autoregression([0.5, 0.3], 0.9) + pds.white_noise(0.5)
    np.testing.assert_allclose(value_of(system, series), expected, rtol=1e-9)


def test_autoregression_seen_exactly():
    y = np.random.default_rng(6).normal(size=30)
    expected = SARIMAX(y, order=(3, 0, 0)).loglike([0.4, 0.2, -0.3, 0.81])
    np.testing.assert_allclose(
        value_of(pds.autoregression([0.4, 0.2, -0.3], 0.9), y), expected, rtol=1e-9
    )


def test_vector_autoregression_is_that_of_statsmodels():
    y = np.random.default_rng(7).normal(size=(40, 2))
    y[3, 1] = np.nan
    phi = np.array([[[0.5, 0.1], [-0.2, 0.3]], [[0.1, 0.0], [0.05, 0.2]]])
    cov = np.array([[1.0, 0.3], [0.3, 0.8]])
    model = VARMAX(y, order=(2, 0), trend="n")
    root = np.linalg.cholesky(cov)
    params = [*np.concatenate(phi, axis=1).ravel(), root[0, 0], root[1, 0], root[1, 1]]
    np.testing.assert_allclose(
        value_of(pds.vector_autoregression(phi, cov), y), model.loglike(params), rtol=1e-9
    )


def test_a_factor_of_many_components_is_that_of_statsmodels():
    """More components than states, so the data are projected; some of them missing."""
    rng = np.random.default_rng(8)
    y = rng.normal(size=(50, 6))
    y[rng.uniform(size=y.shape) < 0.1] = np.nan
    y[10] = np.nan
    loadings, variances = rng.normal(size=6), rng.uniform(0.5, 2, size=6)
    model = DynamicFactor(y, k_factors=1, factor_order=1)
    expected = model.loglike([*loadings, *variances, 0.7])
    system = pds.linear_gaussian(
        F=[[0.7]], Q=[[1.0]], H=loadings[:, None], R=variances, initial=pds.Stationary()
    )
    np.testing.assert_allclose(value_of(system, y), expected, rtol=1e-9)


def test_gradients_of_a_sum_with_diffuse_states(series):
    names = ("level", "slope", "season", "noise")
    with pm.Model(coords={"time": range(len(series))}) as model:
        q, s, w, r = (pm.HalfNormal(name) for name in names)
        system = pds.local_linear_trend(q, s) + pds.seasonal(4, w) + pds.white_noise(r)
        pds.Trajectory("y", system, observed=series, dims="time")
    value, slope = model.compile_logp(), model.compile_dlogp()
    point = {f"{name}_log__": np.array(np.log(0.3 + 0.1 * i)) for i, name in enumerate(names)}
    expected = finite_differences(value, point)  # of fourth order, so right to some 1e-7
    np.testing.assert_allclose(
        slope(point), [expected[f"{name}_log__"] for name in names], rtol=1e-6, atol=1e-7
    )


def test_a_series_too_short_for_its_diffuse_states():
    """One datum, two unknown states: a constant, and states that are not known."""
    system = pds.local_linear_trend(0.3, 0.1) + pds.white_noise(0.5)
    with pytest.warns(UserWarning, match="do not tell the diffuse states slope apart or at all"):
        found = value_of(system, np.array([3.0]))
    np.testing.assert_allclose(found, -0.5 * np.log(2 * np.pi))


def test_dynamax_agrees():
    inference = pytest.importorskip("dynamax.linear_gaussian_ssm.inference")
    rng = np.random.default_rng(9)
    F, H = 0.9 * np.eye(2) + 0.05, rng.normal(size=(5, 2))
    Q, R = np.diag([0.3, 0.2]), np.eye(5) + 0.2
    y = rng.normal(size=(40, 5))
    params = inference.ParamsLGSSM(
        inference.ParamsLGSSMInitial(jnp.zeros(2), jnp.eye(2)),
        inference.ParamsLGSSMDynamics(F, jnp.zeros(2), jnp.zeros((2, 0)), Q),
        inference.ParamsLGSSMEmissions(H, jnp.zeros(5), jnp.zeros((5, 0)), R),
    )
    expected = inference.lgssm_filter(params, jnp.asarray(y)).marginal_loglik
    system = pds.linear_gaussian(F=F, Q=Q, H=H, R=R, m0=np.zeros(2), P0=np.eye(2))
    # Dynamax adds a little to covariances before it factors them.
    np.testing.assert_allclose(value_of(system, y), expected, rtol=1e-7)


@pytest.mark.parametrize("start", [0.0, 2000.0, 1e6])
def test_diffuse_coefficients_of_a_line_do_not_depend_on_the_origin_of_time(start):
    y = np.random.default_rng(10).normal(size=12)
    line = pds.DiscreteTime(
        states=("a", "b"),
        transition=lambda x: dist.Delta(x, event_dim=1),
        observation=lambda a, b, t: dist.Normal(a + b * t, 0.3),
        initial=pds.Diffuse(),
    )
    X = np.stack([np.ones(12), np.arange(12.0)], axis=1) / 0.3
    beta = np.linalg.lstsq(X, y / 0.3, rcond=None)[0]
    expected = (
        -0.5 * (12 * np.log(2 * np.pi * 0.09) + ((y / 0.3 - X @ beta) ** 2).sum())
        - 0.5 * np.linalg.slogdet(X.T @ X)[1]
    )
    with pm.Model(coords={"time": start + np.arange(12.0)}) as model:
        pds.Trajectory("y", line, observed=y, dims="time")
    np.testing.assert_allclose(model.compile_logp()({}), expected, rtol=1e-10)


def test_a_long_wait_for_the_first_datum(series):
    system = pds.local_linear_trend(0.3, 0.1) + pds.white_noise(0.7)
    late = np.concatenate([np.full(2000, np.nan), series])
    np.testing.assert_allclose(value_of(system, late), value_of(system, series), rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_a_random_walk_seen_exactly(scale):
    y = np.cumsum(np.random.default_rng(11).normal(size=30))
    expected = structural(y, level="rwalk")([1.0]) - 29 * np.log(scale)
    np.testing.assert_allclose(value_of(pds.local_level(scale), scale * y), expected, rtol=1e-9)
