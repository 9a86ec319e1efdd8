"""Values for which no likelihood exists: minus infinity, no gradient, and the others unharmed."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.helpers import (
    as_arrays,
    finite_differences,
    likelihood_function,
    total_and_gradient,
    values_and_gradient,
)

TIMES = np.array([0.0, 3.0, 9.0])
Y = np.array([0.3, -0.2, 0.4])
ENSEMBLES = (
    pds.EnKF(20, discretization=pds.Exact()),
    pds.EnKF(20, discretization=pds.Exact(), variant=pds.Perturbed()),
)


def scalar(**functions):
    usual = {
        "drift": lambda level: -level,
        "diffusion": 0.5,
        "initial": dist.Normal(0.0, 1.0),
        "observation": lambda level: dist.Normal(level, 0.3),
    }
    return pds.SDE(states="level", **{**usual, **functions})


def oscillator(**functions):
    usual = {
        "drift": lambda place, speed: (speed, -place - speed),
        "diffusion": (0.0, 0.5),
        "initial": pds.Gaussian(np.zeros(2), np.eye(2)),
        "observation": lambda place: dist.Normal(place, 0.3),
    }
    return pds.SDE(states=("place", "speed"), **{**usual, **functions})


def correlation(q):
    return jnp.array([[1.0, 0.0], [0.0, 1.0]]) + q * jnp.array([[0.0, 1.0], [1.0, 0.0]])


# System, and a good, a bad and another good value of its parameter q.
CASES = {
    "indefinite initial covariance": (
        oscillator(initial=lambda q: pds.Gaussian(jnp.zeros(2), correlation(q))),
        (0.5, 1.2, -0.3),
    ),
    "indefinite noise covariance": (
        oscillator(observation=lambda x, q: pds.Gaussian(x, 0.1 * correlation(q))),
        (0.5, 1.2, -0.3),
    ),
    "negative noise variance": (
        scalar(observation=lambda level, q: pds.Gaussian(level, q)),
        (0.1, -0.01, 0.2),
    ),
    "negative noise scale": (
        scalar(observation=lambda level, q: dist.Normal(level, q)),
        (0.3, -0.3, 0.2),
    ),
    "negative initial scale": (scalar(initial=lambda q: dist.Normal(0.0, q)), (1.0, -1.0, 2.0)),
    "drift not a number": (
        scalar(drift=lambda level, q: -jnp.sqrt(q) * level),
        (0.5, -2.0, 0.3),
    ),
    "diffusion not a number": (scalar(diffusion=lambda q: jnp.log(q)), (1.5, -1.0, 2.0)),
    "singular innovation": (
        scalar(
            initial=lambda q: pds.Gaussian(0.0, q),
            observation=lambda level: pds.Gaussian(level, 0.0),
        ),
        (0.5, 0.0, 0.3),
    ),
    "growth beyond all numbers": (scalar(drift=lambda level, q: q * level), (-1.0, 500.0, -0.5)),
}


def check(system, likelihood, values, y):
    """One bad trajectory among three, against a good one in its place.

    In its place, because the noise of an ensemble depends on the place.
    """
    panel = np.stack([y] * 3)
    evaluate = values_and_gradient(likelihood_function(system, likelihood, panel, TIMES, {"q": ()}))
    spoilt, gradient = evaluate(as_arrays({"q": values}))
    good = {"q": np.array([values[0], values[0], values[2]])}
    expected, _ = evaluate(as_arrays(good))
    others = np.array([0, 2])
    assert spoilt[1] == -np.inf
    assert gradient["q"][1] == 0.0
    assert np.isfinite(expected).all()
    np.testing.assert_allclose(spoilt[others], expected[others], rtol=1e-10)
    slopes = finite_differences(lambda p: evaluate(as_arrays(p))[0].sum(), good, step=1e-4)["q"]
    np.testing.assert_allclose(gradient["q"][others], slopes[others], rtol=1e-6, atol=1e-7)


# The ensemble filter has these below.
SLOW = ("negative noise variance", "negative initial scale", "diffusion not a number")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in CASES],
)
def test_one_bad_trajectory_among_three(name):
    system, values = CASES[name]
    y = np.stack([Y, Y], axis=-1) if name == "indefinite noise covariance" else Y
    check(system, pds.Kalman(), values, y)


def test_the_extended_filter_has_the_same_guards():
    system, values = CASES["indefinite initial covariance"]
    check(system, pds.EKF(), values, Y)


@pytest.mark.parametrize(
    ("name", "likelihood"),
    [
        ("negative noise variance", ENSEMBLES[0]),
        ("negative initial scale", ENSEMBLES[1]),
        ("diffusion not a number", ENSEMBLES[0]),
    ],
)
def test_the_ensemble_filter_has_the_same_guards(name, likelihood):
    system, values = CASES[name]
    check(system, likelihood, values, Y)


ODE_DRIFTS = {
    "drift not a number": (lambda level, q: -jnp.sqrt(q) * level, (0.5, -2.0, 0.3)),
    "explosion": (lambda level, q: q * level**2 + 0.1, (-1.0, 5.0, 0.05)),
}


@pytest.mark.parametrize("name", ODE_DRIFTS)
def test_one_bad_solution_among_three(name):
    drift, values = ODE_DRIFTS[name]
    system = pds.ODE(
        states="level", drift=drift, initial=1.0, observation=lambda level: dist.Normal(level, 0.3)
    )
    check(system, pds.ODESolve(rtol=1e-9, atol=1e-9), values, Y)


@pytest.mark.slow
def test_one_bad_stiff_solution_among_three():
    """A drift that is not a number must not stop the program, not even in its gradient."""
    drift, values = ODE_DRIFTS["drift not a number"]
    system = pds.ODE(
        states="level", drift=drift, initial=1.0, observation=lambda level: dist.Normal(level, 0.3)
    )
    function = likelihood_function(
        system, pds.ODESolve(stiff=True), np.stack([Y] * 3), TIMES, {"q": ()}
    )
    together, gradient = values_and_gradient(function)(as_arrays({"q": values}))
    np.testing.assert_array_equal(np.isfinite(together), [True, False, True])
    assert gradient["q"][1] == 0.0


def test_the_gradient_of_a_shared_parameter_stays_finite():
    system = scalar(drift=lambda level, q, scale: -jnp.sqrt(q) * level / scale)
    shapes = {"q": (), "scale": ()}
    function = likelihood_function(system, pds.Kalman(), np.stack([Y, Y]), TIMES, shapes)
    value, gradient = total_and_gradient(function)(as_arrays({"q": [-1.0, 0.5], "scale": 1.0}))
    assert value == -np.inf
    assert np.isfinite(gradient["scale"])


def test_noise_free_data_are_accepted_while_their_innovation_varies():
    system = oscillator(
        observation=lambda place: pds.Gaussian(place, 0.0),
        drift=lambda place, speed, q: (speed, -q * place),
    )
    function = likelihood_function(system, pds.Kalman(), Y, TIMES, {"q": ()})
    value, gradient = total_and_gradient(function)(as_arrays({"q": 0.4}))
    slope = finite_differences(lambda p: function(as_arrays(p)), {"q": 0.4})["q"]
    assert np.isfinite(value)
    np.testing.assert_allclose(gradient["q"], slope, rtol=1e-7)


def test_the_same_noise_free_datum_twice_has_no_density():
    system = oscillator(
        observation=lambda place: pds.Gaussian(place, 0.0),
        drift=lambda place, speed, q: (speed, -q * place),
    )
    times = np.array([0.0, 0.0, 1.0])
    function = likelihood_function(
        system, pds.Kalman(), np.array([0.3, 0.3, 0.1]), times, {"q": ()}
    )
    value, gradient = total_and_gradient(function)(as_arrays({"q": 0.4}))
    assert value == -np.inf
    assert gradient["q"] == 0.0
