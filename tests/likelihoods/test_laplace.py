"""Laplace's approximation: exact where it is, right gradients, and hard data."""

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

EXACT = pds.Laplace(discretization=pds.Exact())


def oscillator(observation):
    """Position and speed; noise drives the speed only."""
    return pds.SDE(
        states=("position", "speed"),
        drift=lambda position, speed, rate: (speed, -rate * position - 0.3 * speed),
        diffusion=lambda sigma: (0.0, sigma),
        initial=pds.Gaussian(np.array([0.3, 0.0]), np.diag([0.5, 0.0])),
        observation=observation,
    )


def chain(observation):
    """Three states, of which the first has no noise of its own."""
    A = jnp.array([[0.6, 0.3, 0.0], [0.0, 0.7, 0.2], [0.1, 0.0, 0.5]])
    return pds.DiscreteTime(
        states=("a", "b", "c"),
        transition=lambda x, rate, sigma: pds.Gaussian(
            rate * (A @ x), sigma**2 * jnp.diag(jnp.array([0.0, 1.0, 0.4]))
        ),
        initial=pds.Gaussian(np.zeros(3), np.diag([0.4, 0.0, 1.0])),
        observation=observation,
    )


def logistic(observation):
    """Logistic growth on the log scale, with a noise that depends on the state."""
    return pds.SDE(
        states="x",
        drift=lambda x, rate: rate * (1 - jnp.exp(x - 1.0)),
        diffusion=lambda x, sigma: sigma * (1 + 0.3 * jnp.tanh(x)),
        initial=dist.Normal(0.0, 0.5),
        observation=observation,
    )


def pendulum(observation):
    """Two states that move on a curve."""
    return pds.DiscreteTime(
        states=("angle", "speed"),
        transition=lambda angle, speed, rate, sigma: pds.Gaussian(
            jnp.stack([angle + 0.3 * speed, speed - rate * jnp.sin(angle)]),
            sigma**2 * jnp.diag(jnp.array([0.1, 1.0])),
        ),
        initial=pds.Gaussian(np.array([1.0, 0.0]), np.diag([0.3, 0.3])),
        observation=observation,
    )


def one_count(x):
    return dist.Poisson(jnp.exp(x[0] if jnp.ndim(x) else x))


def two_counts(x, loading):
    return dist.Poisson(jnp.exp(jnp.stack([x[0], loading * x[0] + x[1]]))).to_event(1)


TIMES = np.array([0.0, 0.4, 1.0, 1.0, 2.5, 3.0])
STEPS = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 6.0])
ONE = np.array([[1.0, np.nan, 3.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 4.0, np.nan, 7.0]])
TWO = np.stack([ONE, np.array([[2.0, 1.0, np.nan, 0.0, 3.0, 0.0]] * 2)], axis=-1)
SHARED = {"rate": 0.7, "sigma": 0.6}
EULER = pds.Laplace(discretization=pds.EulerMaruyama(dt=0.5))
LOCAL = pds.Laplace(discretization=pds.LocalLinearization())

CASES = {
    "two states": (oscillator(one_count), EXACT, ONE, TIMES, SHARED),
    "two states, second order": (
        oscillator(one_count),
        pds.Laplace(discretization=pds.Exact(), order=2),
        ONE,
        TIMES,
        SHARED,
    ),
    "two states, two components": (
        oscillator(two_counts),
        EXACT,
        TWO,
        TIMES,
        {**SHARED, "loading": 0.4},
    ),
    "three states": (chain(two_counts), pds.Laplace(), TWO, STEPS, {**SHARED, "loading": 0.4}),
    "three states, second order": (chain(one_count), pds.Laplace(order=2), ONE, STEPS, SHARED),
    "three states, draws": (chain(one_count), pds.Laplace(draws=4), ONE, STEPS, SHARED),
    "nonlinear, Euler steps": (logistic(one_count), EULER, ONE, TIMES, SHARED),
    "nonlinear, local linearization": (logistic(one_count), LOCAL, ONE, TIMES, SHARED),
    "nonlinear, two states": (
        pendulum(two_counts),
        pds.Laplace(),
        TWO,
        STEPS,
        {**SHARED, "loading": 0.4},
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_differences(name):
    system, likelihood, y, times, params = CASES[name]
    function = likelihood_function(system, likelihood, y, times, dict.fromkeys(params, ()))
    values, gradient = values_and_gradient(function)(as_arrays(params))
    assert np.isfinite(values).all()
    expected = finite_differences(lambda p: float(function(as_arrays(p)).sum()), params)
    print(name, values, {k: float(gradient[k] - expected[k]) for k in params})
    assert_gradients_agree(gradient, expected, rtol=1e-7, atol=1e-7)
