"""Exactly diffuse starts whose states the data do not all tell, and those in odd units."""

import warnings

import jax
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function

NOISE, INNOVATION = 0.5, 1.0
AR = np.array([[0.5, 0.01, 0.6], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
FIRST = np.array([1.0, 0.0, 0.0])


def regression(F, H, Q, T):
    """Slopes of `T` data in the initial state, and their covariance given it."""
    powers = [np.linalg.matrix_power(F, k) for k in range(T)]
    V = NOISE**2 * np.eye(T)
    for k in range(T):
        for j in range(T):
            for i in range(1, min(k, j) + 1):
                V[k, j] += H @ powers[k - i] @ Q @ powers[j - i].T @ H
    return np.stack([H @ power for power in powers]), V


def dense(F, H, Q, y):
    """Limit of a normal distribution whose diffuse part is integrated out, by singular values."""
    X, V = regression(F, H, Q, len(y))
    there = ~np.isnan(y)
    root = np.linalg.cholesky(V[np.ix_(there, there)])
    X, z = np.linalg.solve(root, X[there]), np.linalg.solve(root, y[there])
    U, s, _ = np.linalg.svd(X, full_matrices=False)
    r = int((s > 1e-14 * s[0]).sum())
    e = z - U[:, :r] @ (U[:, :r].T @ z)
    log_det = 2 * np.log(np.diagonal(root)).sum() + 2 * np.log(s[:r]).sum()
    return -0.5 * (there.sum() * np.log(2 * np.pi) + log_det + e @ e)


@pytest.fixture(scope="module")
def matrices():
    """A system of three diffuse states with matrices to be chosen, and up to five data."""
    with pm.Model(coords={"time": range(5)}) as model:
        start = point(AR)
        F, H, Q = (pm.Flat(k, shape=v.shape, initval=v) for k, v in start.items())
        y = pds.data("data", np.array([1.0, 2.0, np.nan, np.nan, np.nan]), dims="time")
        system = pds.linear_gaussian(F=F, Q=Q, H=H, R=NOISE**2, initial=pds.Diffuse())
        with pytest.warns(UserWarning, match="do not tell the diffuse states x"):
            pds.Trajectory("y", system, observed=y, dims="time")
    return model, model.compile_logp(), model.compile_dlogp()


def point(F, change=None):
    """Matrices of the autoregression F for the states `change` times its own."""
    change = np.eye(3) if change is None else change
    back = np.linalg.inv(change)
    Q = np.zeros((3, 3))
    Q[0, 0] = INNOVATION**2
    return {"F": change @ F @ back, "H": FIRST @ back, "Q": change @ Q @ change.T}


def autoregression(second):
    F = AR.copy()
    F[0, 1] = second
    return F


DATA = {
    "two": [1.0, 2.0, np.nan, np.nan, np.nan],
    "with a gap": [0.3, np.nan, 1.2, np.nan, np.nan],
    "three": [1.0, -0.5, np.nan, 0.7, np.nan],
    "all": [1.0, -0.5, 0.2, 0.7, 1.1],
}
PERMUTED = np.eye(3)[[2, 0, 1]]
SCALED = np.diag([1.0, 1e6, 1e-4])


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("second", [0.01, 1e-9, -0.4])
def test_the_limit_in_any_order_and_units_of_states(matrices, second, data):
    model, value, _ = matrices
    y = np.array(DATA[data])
    with model:
        pm.set_data({"data": y})
    own = point(autoregression(second))
    for change in (np.eye(3), PERMUTED, SCALED, PERMUTED @ SCALED):
        at = point(autoregression(second), change)
        if data in ("three", "all"):  # all is told, so that units only shift the value
            expected = dense(*own.values(), y) + np.log(np.abs(np.linalg.det(change)))
        else:
            expected = dense(*at.values(), y)
        np.testing.assert_allclose(value(at), expected, rtol=1e-9)


def test_two_data_of_three_unknown_states(matrices):
    """The log-likelihood of statsmodels' KalmanSmoother with these matrices."""
    model, value, _ = matrices
    with model:
        pm.set_data({"data": np.array(DATA["two"])})
    np.testing.assert_allclose(value(point(AR)), -1.3271903122456916, rtol=1e-9)


@pytest.mark.parametrize("data", DATA)
def test_gradients_at_any_rank(matrices, data):
    model, value, slope = matrices
    with model:
        pm.set_data({"data": np.array(DATA[data])})
    at, rng = point(autoregression(0.3)), np.random.default_rng(1)
    along = {"F": rng.normal(size=(3, 3)), "H": rng.normal(size=3)}

    def moved(t):
        return value({k: v + t * along.get(k, 0.0) for k, v in at.items()})

    e = 1e-3
    expected = (8 * (moved(e) - moved(-e)) - moved(2 * e) + moved(-2 * e)) / (12 * e)
    found = slope(at)[:12] @ np.concatenate([along["F"].ravel(), along["H"]])
    np.testing.assert_allclose(found, expected, rtol=1e-7)


def test_data_far_from_zero_cost_no_digits():
    y = np.random.default_rng(0).normal(size=30).cumsum()
    y += 1e8 + 1e5 * np.arange(30)
    near = y - 1e8 - 1e5 * np.arange(30)  # exactly what is left after rounding
    with pm.Model(coords={"time": range(30)}) as model:
        data = pm.Data("data", near, dims="time")
        system = pds.local_linear_trend(0.1, 0.1) + pds.white_noise(0.01)
        pds.Trajectory("y", system, observed=data, dims="time")
    value = model.compile_logp()
    expected = value({})
    with model:
        pm.set_data({"data": y})
    np.testing.assert_allclose(value({}), expected, rtol=1e-7)


def equations(period):
    """Equations of the gradient's program of a season, loops counted once."""
    season = pds.seasonal(period, 0.1) + pds.white_noise(0.5)
    y = np.zeros(2 * period)
    value = likelihood_function(
        season.system(), pds.Kalman(), y, np.arange(len(y)), dict.fromkeys(season.params, ())
    )
    gradient = jax.grad(lambda params: value(params).sum())
    return str(jax.make_jaxpr(gradient)(as_arrays(season.params))).count(" = ")


def test_the_program_does_not_grow_with_the_number_of_diffuse_states():
    assert equations(20) == equations(40)


def posterior(n):
    draws = xr.Dataset({"nothing": (("chain", "draw"), np.zeros((1, n)))})
    return xr.DataTree.from_dict({"posterior": draws})


def future_of(F, H, Q, y, n):
    """Mean and standard deviation of the next `n` data, diffuse states by least squares."""
    T = len(y) + n
    X, V = regression(F, H, Q, T)
    there, ahead = np.flatnonzero(~np.isnan(y)), np.arange(len(y), T)
    weights = V[np.ix_(ahead, there)] @ np.linalg.inv(V[np.ix_(there, there)])
    G = X[there].T @ np.linalg.solve(V[np.ix_(there, there)], X[there])
    delta = np.linalg.pinv(G) @ X[there].T @ np.linalg.solve(V[np.ix_(there, there)], y[there])
    mean = X[ahead] @ delta + weights @ (y[there] - X[there] @ delta)
    left = X[ahead] - weights @ X[there]
    cov = V[np.ix_(ahead, ahead)] - weights @ V[np.ix_(there, ahead)]
    cov += left @ np.linalg.pinv(G) @ left.T
    return mean, np.sqrt(np.diagonal(cov))


def test_forecasts_of_seasons_that_were_seen():
    """The fourth quarter never was: level and season are not told apart, their sums are."""
    y = np.array([1.0, 2.0, 3.0, np.nan, 1.2, 2.1, 3.3, np.nan, 1.1])
    with pm.Model(coords={"time": range(9)}) as model:
        pm.Flat("nothing")
        system = pds.local_level(0.3) + pds.seasonal(4, 0.0) + pds.white_noise(NOISE)
        with pytest.warns(UserWarning, match=r"level, seasonal, seasonal_1, seasonal_2 apart or"):
            pds.Trajectory("y", system, observed=y, dims="time")
    n = 4000
    with pytest.warns(UserWarning, match="at time 9, and 4 other times.* level, seasonal"):
        future = pds.forecast(posterior(n), model=model, times=np.arange(9.0, 14.0), random_seed=1)
    found = future.predictions["y"].values[0]
    known = np.array([True, True, False, True, True])
    np.testing.assert_array_equal(np.isnan(found), np.broadcast_to(~known, found.shape))
    F = np.zeros((4, 4))
    F[0, 0], F[1, 1:], F[2, 1], F[3, 2] = 1.0, -1.0, 1.0, 1.0
    mean, sd = future_of(F, np.array([1.0, 1, 0, 0]), np.diag([0.09, 0, 0, 0]), y, 5)
    error = (found.mean(0) - mean)[known] / (sd[known] / n**0.5)
    assert np.abs(error).max() < 5
    assert np.abs(found.std(0)[known] / sd[known] - 1).max() < 5 * (0.5 / n) ** 0.5


def test_an_effect_that_is_not_told_yet_hides_nothing_else():
    """A dummy that is still zero: the level is that of a model without it."""
    y = np.array([0.5, 0.9, np.nan, 1.4, 1.1])
    both = pds.DiscreteTime(
        states=("level", "effect"),
        transition=lambda level, effect: (dist.Normal(level, 0.3), effect),
        observation=lambda level, effect, dummy: dist.Normal(level + effect * dummy, NOISE),
        initial=pds.Diffuse(),
    )
    models = []
    for system, options in (
        (both, {"inputs": {"dummy": np.zeros(5)}}),
        (pds.local_level(0.3) + pds.white_noise(NOISE), {}),
    ):
        with pm.Model(coords={"time": range(5)}) as model:
            pm.Flat("nothing")
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                pds.Trajectory("y", system, observed=y, dims="time", **options)
        assert any(
            "do not tell the diffuse states effect apart" in str(w.message) for w in said
        ) == (system is both)
        models.append(model)
    one, two = models
    alone = pds.sample_states(posterior(1), model=two, moments=True).posterior
    with pytest.warns(UserWarning, match="NaN there: effect"):
        found = pds.sample_states(posterior(1), model=one, moments=True).posterior
    mean, cov = found["mean"].values[0, 0], found["covariance"].values[0, 0]
    assert np.isnan(mean[:, 1]).all() and np.isnan(cov[:, 1]).all() and np.isnan(cov[:, :, 1]).all()
    np.testing.assert_allclose(mean[:, 0], alone["mean"].values[0, 0, :, 0])
    np.testing.assert_allclose(cov[:, 0, 0], alone["covariance"].values[0, 0, :, 0, 0])
    with pytest.warns(UserWarning, match="NaN there: effect"):
        future = pds.forecast(
            posterior(3), model=one, times=[5.0, 6.0, 7.0], inputs={"dummy": np.array([0.0, 1, 0])}
        )
    shown = np.isnan(future.predictions["y"].values[0])
    np.testing.assert_array_equal(shown, np.broadcast_to([False, True, False], (3, 3)))
    assert np.isfinite(future.predictions["states"].sel(state="level")).all()


@pytest.mark.parametrize(
    ("parts", "y", "where"),
    [
        ({"H": [1.0], "R": 0.0, "m0": [1.0], "P0": [[0.0]]}, np.ones(3), "time 0 is predicted"),
        (
            {"H": np.ones((2, 1)), "R": np.zeros((2, 2)), "initial": pds.Diffuse()},
            np.array([[1.0, np.nan], [1.0, 1.0]]),
            "time 1, component=b is predicted",
        ),
    ],
)
def test_a_datum_without_variance_is_named(parts, y, where):
    coords = {"time": range(len(y)), "component": ["a", "b"]}
    with pm.Model(coords=coords), pytest.raises(ValueError, match=where):
        system = pds.linear_gaussian(F=[[0.5]], Q=[[1.0]], **parts)
        pds.Trajectory("y", system, observed=y, dims=("time", "component")[: y.ndim])
