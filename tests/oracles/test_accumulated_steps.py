"""Sums over the steps since the last visit, in discrete time, against the dense normal law."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

TIMES = np.array([1.0, 2.0, 5.0, 6.0, 9.0])
Y = np.array([0.7, -0.2, np.nan, 1.1, 2.4])
POINT = {"phi": np.array(0.8), "q": np.array(0.5), "r": np.array(0.3), "m0": np.array(1.2)}


def sums(**changes) -> pds.DiscreteTime:
    """An autoregression, and its sum over the steps of a gap."""
    parts = {
        "states": ("x", "total"),
        "transition": lambda x, total, phi, q: pds.Gaussian(
            jnp.stack([phi * x, total + phi * x]), q**2 * jnp.ones((2, 2))
        ),
        "initial": lambda m0: (dist.Normal(m0, 0.6), 0.0),
        "observation": lambda total, r: dist.Normal(total, r),
        "accumulate": ("total",),
    }
    return pds.DiscreteTime(**parts | changes)


def model_of(**options) -> pm.Model:
    with pm.Model(coords={"time": TIMES}) as model:
        params = {name: pm.Flat(name, initval=value) for name, value in POINT.items()}
        options = {"t0": 0.0, "dims": "time", "observed": Y} | options
        pds.Trajectory("y", sums(), params=params, **options)
    return model


def law_of_data(point, times):
    """Mean and covariance of sums since the last visit, written out step by step."""
    phi, q, r, m0 = (point[name] for name in ("phi", "q", "r", "m0"))
    n = int(times[-1])
    power = np.subtract.outer(np.arange(n), np.arange(n))
    noise = jnp.where(power >= 0, phi ** np.maximum(power, 0), 0.0) * q
    start = phi ** jnp.arange(1, n + 1)
    cov = noise @ noise.T + 0.36 * jnp.outer(start, start)
    steps, before = np.arange(1, n + 1), np.concatenate([[0.0], times[:-1]])
    A = ((steps > before[:, None]) & (steps <= times[:, None])).astype(float)
    return A @ (start * m0), A @ cov @ A.T + r**2 * jnp.eye(len(times)), A, cov


def dense(point):
    mean, cov, *_ = law_of_data(point, TIMES)
    seen = np.flatnonzero(~np.isnan(Y))
    law = jax.scipy.stats.multivariate_normal
    return law.logpdf(Y[seen], mean[seen], cov[np.ix_(seen, seen)])


@pytest.fixture(scope="module")
def model():
    return model_of()


def test_every_visit_begins_anew(model):
    value, slope = model.compile_fn([model.logp(), model.dlogp()])(POINT)
    expected, gradient = jax.value_and_grad(dense)({k: jnp.asarray(v) for k, v in POINT.items()})
    # Rounding, of five visits.
    np.testing.assert_allclose(value, expected, rtol=1e-14)
    np.testing.assert_allclose(slope, [gradient[name] for name in POINT], rtol=1e-13)


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", [pds.UKF(), pds.Laplace()])
def test_other_likelihoods_do_the_same(likelihood):
    value = model_of(likelihood=likelihood).compile_logp()(POINT)
    np.testing.assert_allclose(value, dense(POINT), rtol=1e-13)  # rounding, of five visits


def draws_of(n: int) -> xr.DataTree:
    values = {name: (("chain", "draw"), np.full((1, n), value)) for name, value in POINT.items()}
    return xr.DataTree.from_dict({"posterior": xr.Dataset(values)})


@pytest.mark.slow
def test_simulated_sums_have_their_law():
    drawn = pds.simulate(sums(), POINT, TIMES, t0=0.0, n=20_000, random_seed=1)
    mean, cov, *_ = law_of_data({k: jnp.asarray(v) for k, v in POINT.items()}, TIMES)
    y = drawn["observations"].values
    error = (y.mean(0) - mean) / np.sqrt(np.diag(cov) / len(y))
    assert np.abs(error).max() < 4
    spread = np.sqrt((np.outer(np.diag(cov), np.diag(cov)) + cov**2) / len(y))
    assert (np.abs(np.cov(y.T) - cov) / spread).max() < 4


@pytest.mark.slow
def test_states_are_those_of_the_dense_law(model):
    """What is expected of a sum given all data, at visits and at a time only asked for."""
    _, _, A, cov = law_of_data({k: jnp.asarray(v) for k, v in POINT.items()}, TIMES)
    mean, cov_y, *_ = law_of_data({k: jnp.asarray(v) for k, v in POINT.items()}, TIMES)
    seen = np.flatnonzero(~np.isnan(Y))
    asked = np.array([1.0, 2.0, 4.0, 5.0, 6.0, 9.0])
    since = np.array([0.0, 1.0, 2.0, 2.0, 5.0, 6.0])
    steps = np.arange(1, 10)
    B = ((steps > since[:, None]) & (steps <= asked[:, None])).astype(float)
    K = B @ cov @ A[seen].T @ np.linalg.inv(cov_y[np.ix_(seen, seen)])
    expected = B @ (0.8**steps * 1.2) + K @ (Y[seen] - mean[seen])
    found = pds.sample_states(draws_of(1), model=model, moments=True, times=asked).posterior
    np.testing.assert_allclose(found["mean"].sel(state="total")[0, 0], expected, rtol=1e-13)


@pytest.mark.slow
def test_a_forecast_counts_between_its_times(model):
    idata = draws_of(20_000)
    ahead = pds.forecast(idata, model=model, times=[11.0, 14.0], random_seed=1, progressbar=False)
    times = np.array([*TIMES, 11.0, 14.0])
    mean, cov, *_ = law_of_data({k: jnp.asarray(v) for k, v in POINT.items()}, times)
    seen = np.flatnonzero(~np.isnan(Y))
    K = cov[5:, seen] @ np.linalg.inv(cov[np.ix_(seen, seen)])
    expected = mean[5:] + K @ (Y[seen] - mean[seen])
    left = cov[5:, 5:] - K @ cov[seen, 5:]
    y = ahead.predictions["y"].values[0]
    assert np.abs((y.mean(0) - expected) / np.sqrt(np.diag(left) / len(y))).max() < 4
    spread = np.sqrt((np.outer(np.diag(left), np.diag(left)) + left**2) / len(y))
    assert (np.abs(np.cov(y.T) - left) / spread).max() < 4


def test_what_is_refused():
    with pytest.raises(ValueError, match=r"accumulate: 'D' is none of the states \('x', 'total'\)"):
        sums(accumulate=("D",))
    with pytest.raises(ValueError, match="not a whole number of steps of 1"):
        model_of(times=np.add(TIMES, [0.0, 0.5, 0.0, 0.0, 0.0]))
    doses = xr.Dataset({"event_time": ("event", [1.0]), "event_amount": ("event", [1.0])})
    with pytest.raises(ValueError, match="events: a DiscreteTime system has none"):
        model_of(events=doses)
