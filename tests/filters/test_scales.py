"""Values and gradients where scales are awkward: slow, fast, nearly noise-free, huge gaps."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.helpers import (
    as_arrays,
    assert_gradients_agree,
    finite_differences,
    likelihood_function,
    values_and_gradient,
)

TIMES = np.array([0.0, 1e-6, 0.3, 0.3, 5.0, 1e3, 1e6])
MISSING = np.array([2, 5])


# It starts from its stationary law, so that dense algebra needs no matrix exponential.
SYSTEM = pds.SDE(
    states="level",
    drift=lambda level, log_theta: -jnp.exp(log_theta) * level,
    diffusion=lambda log_sigma: jnp.exp(log_sigma),
    initial=lambda log_theta, log_sigma: dist.Normal(
        0.0, jnp.exp(log_sigma - 0.5 * (jnp.log(2.0) + log_theta))
    ),
    observation=lambda level, log_noise: dist.Normal(level, jnp.exp(log_noise)),
)
NAMES = ("log_theta", "log_sigma", "log_noise")
SCALES = list(itertools.product([1e-3, 1.0, 1e2], [1e-4, 1.0, 1e2], [1e-4, 0.3]))


def data(theta, sigma, noise):
    """Data of the size the parameters imply, so that the density is that of a typical point."""
    size = np.hypot(sigma / np.sqrt(2 * theta), noise)
    y = size * np.array([0.5, 0.5, -0.3, -0.3, 1.2, 0.1, -0.8])
    y[1] += 0.1 * noise
    y[MISSING] = np.nan
    return y


def dense(y, log_theta, log_sigma, log_noise):
    """Log-density under the stationary covariance, in extended precision."""
    theta, sigma, noise = (np.exp(np.longdouble(v)) for v in (log_theta, log_sigma, log_noise))
    seen = ~np.isnan(y)
    t = TIMES[seen].astype(np.longdouble)
    cov = sigma**2 / (2 * theta) * np.exp(-theta * np.abs(t[:, None] - t[None, :]))
    cov = cov + noise**2 * np.eye(len(t))
    total, rest, v = np.longdouble(0.0), cov, y[seen].astype(np.longdouble)
    while len(v):  # condition on one datum after another; numpy has no extended linear algebra
        s = rest[0, 0]
        total -= 0.5 * (v[0] ** 2 / s + np.log(2 * np.longdouble(np.pi) * s))
        gain = rest[1:, 0] / s
        v, rest = v[1:] - gain * v[0], rest[1:, 1:] - np.outer(gain, rest[0, 1:])
    return total


@pytest.fixture(scope="module")
def panel():
    """All scales side by side as one batch, each with its own data."""
    y = np.stack([data(*scales) for scales in SCALES])
    logs = np.log(np.array(SCALES)).T
    return y, dict(zip(NAMES, logs, strict=True))


@pytest.mark.parametrize("likelihood", [pds.Kalman(), pds.EKF()], ids=repr)
def test_exact_likelihood_at_all_scales(panel, likelihood):
    y, params = panel
    function = likelihood_function(SYSTEM, likelihood, y, TIMES, dict.fromkeys(NAMES, ()))
    values, gradient = values_and_gradient(function)(as_arrays(params))
    for i in range(len(SCALES)):
        point = {name: value[i] for name, value in params.items()}
        np.testing.assert_allclose(values[i], float(dense(y[i], **point)), rtol=1e-9, atol=1e-9)
        slopes = {
            name: float(
                (
                    dense(y[i], **{**point, name: value + 1e-5})
                    - dense(y[i], **{**point, name: value - 1e-5})
                )
                / np.longdouble(2e-5)
            )
            for name, value in point.items()
        }
        ours = {name: slope[i] for name, slope in gradient.items()}
        # In nats per e-fold; the states' variance may be 5e14 times that of the noise.
        assert_gradients_agree(ours, slopes, rtol=1e-6, atol=2e-6)


@pytest.mark.parametrize("variant", [pds.SquareRoot(), pds.Perturbed()])
def test_ensemble_gradients_at_all_scales(panel, variant):
    y, params = panel
    likelihood = pds.EnKF(30, discretization=pds.Exact(), variant=variant)
    function = likelihood_function(SYSTEM, likelihood, y, TIMES, dict.fromkeys(NAMES, ()))
    evaluate = values_and_gradient(function)
    values, gradient = evaluate(as_arrays(params))
    assert np.isfinite(values).all()
    for name in NAMES:
        # Trajectories do not meet, so one shift moves them all.
        moved = [
            evaluate(as_arrays({**params, name: params[name] + k * 1e-3}))[0]
            for k in (-2, -1, 1, 2)
        ]
        slopes = (8 * (moved[2] - moved[1]) - (moved[3] - moved[0])) / 12e-3
        np.testing.assert_allclose(gradient[name], slopes, rtol=1e-6, atol=1e-6, err_msg=name)


def test_singular_diffusion_over_gaps_from_tiny_to_huge():
    """Integrated noise: its covariance over a gap of 1e-4 has a condition number of 1e9."""
    system = pds.SDE(
        states=("place", "speed"),
        drift=lambda speed: (speed, 0.0),
        diffusion=lambda log_q: (0.0, jnp.exp(log_q)),
        initial=pds.Gaussian(np.zeros(2), np.diag([1.0, 1.0])),
        observation=lambda place, log_sd: dist.Normal(place, jnp.exp(log_sd)),
    )
    times = np.cumsum([0.0, 1e-4, 1e-4, 1.0, 1e2, 1e4])
    y = np.array([0.1, 0.1, np.nan, 0.5, 30.0, 1e5])
    params = {"log_q": np.log(0.3), "log_sd": np.log(0.1)}
    function = likelihood_function(system, pds.Kalman(), y, times, dict.fromkeys(params, ()))
    value, gradient = values_and_gradient(function)(as_arrays(params))

    def exact(p):
        """Kernel of integrated Brownian motion, with the start's own spread."""
        t = times[~np.isnan(y)]
        low, high = np.minimum.outer(t, t), np.maximum.outer(t, t)
        q, sd = np.exp(p["log_q"]), np.exp(p["log_sd"])
        cov = 1 + np.outer(t, t) + q**2 * (low**2 * high / 2 - low**3 / 6) + sd**2 * np.eye(len(t))
        scale = np.sqrt(np.diag(cov))
        v, corr = y[~np.isnan(y)] / scale, cov / np.outer(scale, scale)
        logdet = np.linalg.slogdet(corr)[1] + 2 * np.log(scale).sum()
        return -0.5 * (v @ np.linalg.solve(corr, v) + logdet + len(t) * np.log(2 * np.pi))

    np.testing.assert_allclose(value, exact(params), rtol=1e-9)
    assert_gradients_agree(gradient, finite_differences(exact, params), rtol=1e-6, atol=1e-6)
