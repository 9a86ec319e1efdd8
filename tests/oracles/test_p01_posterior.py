"""P01: what Laplace's approximation does to the posterior of stochastic volatility.

Draws under the first order are weighted with the likelihood of the second and with that of a grid,
so that no Monte Carlo error lies between the three means.
"""

import numpy as np
import pymc as pm
import pytest

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.posteriors import sample
from tests.oracles.test_laplace_cases import stochastic_volatility

CASE = load("P01")
NAMES = ("mu", "atanh_phi", "log_sigma")


def model_of(likelihood):
    with pm.Model(coords={"time": np.arange(CASE.y.size)}) as model:
        params = {
            "mu": pm.Normal("mu", 0.0, 1.0),
            "atanh_phi": pm.Normal("atanh_phi", 1.5, 0.5),
            "log_sigma": pm.Normal("log_sigma", -1.5, 0.7),
        }
        system = stochastic_volatility()
        pds.Trajectory(
            "y", system, params=params, observed=CASE.y, dims="time", likelihood=likelihood
        )
    return model


def log_likelihood(mu, atanh_phi, log_sigma, n=401, width=7.0):
    """By a point-mass filter, over so many stationary standard deviations on either side."""
    phi, sigma = np.tanh(atanh_phi), np.exp(log_sigma)
    sd = sigma / np.sqrt(1 - phi**2)
    x = np.linspace(-width * sd, width * sd, n)
    step = x[1] - x[0]
    move = np.exp(-0.5 * ((x[:, None] - phi * x[None, :]) / sigma) ** 2)
    move *= step / (sigma * np.sqrt(2 * np.pi))
    belief = np.exp(-0.5 * (x / sd) ** 2) * step / (sd * np.sqrt(2 * np.pi))
    total = 0.0
    log_variance = mu + x
    for k, y in enumerate(CASE.y):
        belief = move @ belief if k else belief
        density = np.exp(-0.5 * (y * y * np.exp(-log_variance) + log_variance))
        belief = belief * density / np.sqrt(2 * np.pi)
        total += np.log(belief.sum())
        belief /= belief.sum()
    return total


def test_the_referee_has_the_published_value():
    found = log_likelihood(float(CASE.mu), np.arctanh(CASE.phi), np.log(CASE.sigma))
    assert found == pytest.approx(float(CASE.out.loglik), abs=1e-5)


@pytest.mark.slow
def test_posterior_means_hardly_move():
    orders = {order: model_of(pds.Laplace(order=order)) for order in (1, 2)}
    posterior = sample(orders[1], draws=500, tune=500, chains=2)
    draws = np.stack([posterior[name].values.ravel() for name in NAMES])
    values = {}
    for order, model in orders.items():
        (logp,) = model.logp(vars=[model["y"]], sum=False)
        function = model.compile_fn(logp, inputs=model.value_vars)
        values[order] = [float(function(dict(zip(NAMES, at, strict=True)))) for at in draws.T]
    values["grid"] = [log_likelihood(*at) for at in draws.T]

    def mean(key):
        ratio = np.array(values[key]) - np.array(values[1])
        weights = np.exp(ratio - ratio.max())
        return draws @ weights / weights.sum()

    sd = draws.std(axis=1)
    of_first = np.abs(mean(1) - mean("grid")) / sd
    of_second = np.abs(mean(2) - mean("grid")) / sd
    print("shifts in sds:", of_first, of_second)
    assert (of_first < 0.05).all(), of_first
    assert (of_second < 0.005).all(), of_second
