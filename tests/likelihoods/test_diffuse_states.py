"""States behind initial laws that are diffuse or stationary."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from statsmodels.tsa.statespace.structural import UnobservedComponents

import pymc_dynsys as pds


def fit(system, y, params=None, times=None):
    """A model without unknowns, and a posterior of `n` draws of a variable that does not matter."""
    times = np.arange(float(y.shape[-1])) if times is None else times
    dims = ("series", "time")[-y.ndim :]
    with pm.Model(coords={"time": times, "series": np.arange(len(y))}) as model:
        pm.Flat("nothing")
        pds.Trajectory("y", system, params=params, observed=y, dims=dims)
    return model


def posterior(n=1):
    draws = xr.Dataset({"nothing": (("chain", "draw"), np.zeros((1, n)))})
    return xr.DataTree.from_dict({"posterior": draws})


@pytest.fixture(scope="module")
def trend():
    rng = np.random.default_rng(1)
    y = np.cumsum(0.3 * rng.normal(size=25).cumsum() + rng.normal(size=25))
    y[[0, 9, 10]] = np.nan
    system = pds.local_linear_trend(0.8, 0.3) + pds.white_noise(0.5)
    other = UnobservedComponents(y, level="lltrend", use_exact_diffuse=True)
    return fit(system, y), y, other.smooth([0.25, 0.64, 0.09])


def test_smoothed_moments_are_those_of_statsmodels(trend):
    model, _, other = trend
    found = pds.sample_states(posterior(), model=model, moments=True).posterior
    np.testing.assert_allclose(found["mean"].values[0, 0], other.smoothed_state.T, rtol=1e-8)
    cov = np.moveaxis(other.smoothed_state_cov, -1, 0)
    np.testing.assert_allclose(found["covariance"].values[0, 0], cov, rtol=1e-7, atol=1e-9)


def test_filtered_moments_once_two_data_are_there(trend):
    model, y, other = trend
    with pytest.warns(UserWarning, match="at time 0, and 1 other times, .* NaN there: level, slop"):
        found = pds.sample_states(posterior(), model=model, given="past", moments=True).posterior
    mean, cov = found["mean"].values[0, 0], found["covariance"].values[0, 0]
    assert np.isnan(y[0])
    # One datum tells the level, with the variance of the noise, and not the slope.
    np.testing.assert_array_equal(np.isnan(mean[:2]), [[True, True], [False, True]])
    np.testing.assert_allclose([mean[1, 0], cov[1, 0, 0]], [y[1], 0.25])
    np.testing.assert_allclose(mean[2:], other.filtered_state.T[2:], rtol=1e-8)


def test_draws_have_these_moments(trend):
    model, _, other = trend
    n = 20_000
    states = pds.sample_states(posterior(n), model=model, random_seed=2).posterior["states"]
    x = states.values[0]
    cov = np.moveaxis(other.smoothed_state_cov, -1, 0)
    sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
    assert np.abs((x.mean(0) - other.smoothed_state.T) / (sd / n**0.5)).max() < 5
    assert np.abs(x.std(0) / sd - 1).max() < 5 * (0.5 / n) ** 0.5


def test_innovations_after_the_first_two(trend):
    model, y, other = trend
    z = pds.innovations(posterior(), model=model)["innovations"]["z"].values[0, 0]
    expected = other.standardized_forecasts_error[0]
    later = np.arange(len(y)) > 2
    seen = later & np.isfinite(y)
    np.testing.assert_allclose(z[seen], expected[seen], rtol=1e-8)
    assert np.isnan(z[~seen]).all()


def test_log_likelihood_by_datum_adds_up(trend):
    model, _, other = trend
    found = pds.log_likelihood(posterior(), model=model, by="datum")
    total = float(found["log_likelihood"]["y"].sum())
    np.testing.assert_allclose(total, other.llf, rtol=1e-9)
    np.testing.assert_allclose(total, model.compile_logp(vars=model["y"])({"nothing": 0.0}))


def test_a_series_that_does_not_tell_its_slope_says_so():
    y = np.array([[1.0, 2.0, 3.0], [1.0, np.nan, np.nan]])
    with pytest.warns(UserWarning, match="of series=1 do not tell the diffuse states slope apart"):
        model = fit(pds.local_linear_trend(0.8, 0.3) + pds.white_noise(0.5), y)
    with pytest.warns(UserWarning, match="of series=1"):
        found = pds.sample_states(posterior(), model=model, moments=True).posterior["mean"]
    mean = found.values[0, 0]
    assert np.isfinite(mean[0]).all()
    np.testing.assert_array_equal(np.isnan(mean[1]), [[False, True], [True, True], [True, True]])
    np.testing.assert_allclose(mean[1, 0, 0], 1.0)


OU = {
    "states": ("level",),
    "drift": lambda level, mu: 0.4 * (mu - level),
    "diffusion": 0.5,
    "observation": lambda level: dist.Normal(level, 0.2),
}
TIMES = np.array([0.0, 0.3, 1.0, 4.0])
Y = np.array([0.5, 0.2, -0.3, 1.0])


def value(initial) -> float:
    model = fit(pds.SDE(**OU, initial=initial), Y, {"mu": 0.3}, TIMES)
    return float(model.compile_logp(vars=model["y"])({"nothing": 0.0}))


def test_a_stationary_diffusion():
    expected = value(dist.Normal(0.3, 0.5 / np.sqrt(2 * 0.4)))
    np.testing.assert_allclose(value(pds.Stationary()), expected, rtol=1e-10)


def test_a_diffuse_start_in_continuous_time():
    kappa = 1e9
    limit = value(pds.Diffuse(kappa)) + 0.5 * np.log(kappa)
    np.testing.assert_allclose(value(pds.Diffuse()), limit, atol=1e-7)


def test_a_drift_that_depends_on_time_is_not_stationary():
    system = pds.SDE(
        **{**OU, "drift": lambda level, t, mu: -level * mu * t}, initial=pds.Stationary()
    )
    with pytest.raises(ValueError, match=r"initial=Stationary.* drift depends on time"):
        fit(system, Y, {"mu": 0.3}, TIMES)
