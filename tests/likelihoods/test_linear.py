"""Kalman and extended filters of linear systems against dense algebra, and against each other."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.dense import LinearSystem, joint_law, log_likelihood
from tests.helpers import (
    as_arrays,
    assert_gradients_agree,
    finite_differences,
    likelihood_function,
    run_filter,
    total_and_gradient,
)
from tests.linear import as_source, dense_log_likelihoods, ragged_panel, random_system

# Sizes on both sides of those up to which loops over states and components are written out.
SIZES = {"2 states": (2, 2, False), "3 states": (3, 2, True), "5 states": (5, 4, True)}
GAIN = 1.3


@pytest.fixture(scope="module", params=SIZES)
def panel(request):
    n_states, n_observed, full_noise = SIZES[request.param]
    system = random_system(n_states, n_observed, full_noise=full_noise)
    times, t0, y = ragged_panel(system, n=3, n_times=8)
    c = np.random.default_rng(1).normal(size=(3, n_states))
    return system, full_noise, times, t0, y, c


def evaluate(panel, likelihood, disguise=False):
    system, full_noise, times, t0, y, c = panel
    source = as_source(system, full_noise=full_noise, disguise=disguise)
    shapes = {"c": (len(system.A),), "gain": ()}
    function = likelihood_function(source, likelihood, y, times, shapes, t0)
    return function(as_arrays({"c": c, "gain": GAIN}))


def test_a_ragged_panel_agrees_with_dense_algebra(panel):
    system, _, times, t0, y, c = panel
    expected = dense_log_likelihoods(system, c, GAIN, y, times, t0)
    np.testing.assert_allclose(evaluate(panel, pds.Kalman()), expected, rtol=1e-10)
    if len(system.A) == 3:
        np.testing.assert_allclose(evaluate(panel, pds.EKF()), expected, rtol=1e-10)


@pytest.mark.parametrize(
    ("scheme", "rtol"),
    [
        (pds.EulerMaruyama(dt=0.5), 1e-10),
        (pds.LocalLinearization(dt=0.5), 1e-10),
        (pds.MomentODE(rtol=1e-12, atol=1e-13), 1e-9),
    ],
    ids=repr,
)
def test_the_extended_filter_of_a_disguised_linear_system_is_the_kalman_filter(scheme, rtol):
    """The disguise keeps the extended filter from finding its table of transitions."""
    system = random_system(2, 2, full_noise=False)
    times, t0, y = ragged_panel(system, n=3, n_times=8)
    panel = (system, False, times, t0, y, np.random.default_rng(1).normal(size=(3, 2)))
    likelihood = pds.Kalman() if isinstance(scheme, pds.MomentODE) else pds.Kalman(scheme)
    expected = evaluate(panel, likelihood)
    if not isinstance(scheme, pds.MomentODE):
        np.testing.assert_allclose(evaluate(panel, pds.EKF(scheme)), expected, rtol=rtol)
    np.testing.assert_allclose(evaluate(panel, pds.EKF(scheme), disguise=True), expected, rtol=rtol)


def test_values_and_gradients_of_wholly_missing_data_are_zero():
    system = random_system(2, 2, full_noise=True)
    times, t0, y = ragged_panel(system, n=3, n_times=8)
    function = likelihood_function(
        as_source(system, full_noise=True),
        pds.Kalman(),
        np.full_like(y, np.nan),
        times,
        {"c": (2,), "gain": ()},
        t0,
    )
    value, gradient = total_and_gradient(function)(as_arrays({"c": np.ones((3, 2)), "gain": GAIN}))
    assert value == 0.0
    assert all(np.all(slope == 0.0) for slope in gradient.values())


def test_a_visit_without_data_is_prediction_only():
    system = random_system(2, 2, full_noise=True)
    source = as_source(system, full_noise=True)
    times = np.array([0.0, 0.7, 1.1])
    y = np.array([[0.1, -0.4], [np.nan, np.nan], [0.5, np.nan]])
    visits = run_filter(source, {"c": system.c, "gain": 1.0}, y, times)
    assert visits.log_likelihood[1] == 0.0
    np.testing.assert_array_equal(visits.filtered.m[1], visits.predicted.m[1])
    np.testing.assert_array_equal(visits.filtered.P[1], visits.predicted.P[1])
    direct = run_filter(source, {"c": system.c, "gain": 1.0}, y[[0, 2]], times[[0, 2]])
    np.testing.assert_allclose(visits.filtered.m[2], direct.filtered.m[1], rtol=1e-10)
    np.testing.assert_allclose(visits.filtered.P[2], direct.filtered.P[1], rtol=1e-10)


def test_one_observation_needs_no_gap():
    system = random_system(2, 2, full_noise=True)
    y, times = np.array([[0.3, -0.2]]), np.array([4.0])
    function = likelihood_function(
        as_source(system, full_noise=True), pds.Kalman(), y, times, {"c": (2,), "gain": ()}
    )
    expected = log_likelihood(system, y, times)
    value = function(as_arrays({"c": system.c, "gain": 1.0}))
    np.testing.assert_allclose(value, expected, rtol=1e-10)


def test_observation_noise_may_change_in_time():
    ou = LinearSystem(
        *(np.array(M) for M in ([[-0.7]], [0.2], [[0.5]], [[1.0]], [0.0], [[1.0]], [0.0], [[1.0]]))
    )
    source = pds.SDE(
        states="level",
        drift=lambda level, rate: 0.2 - rate * level,
        diffusion=0.5,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level, t: dist.Normal(level * (1 + t), jnp.exp(-t)),
    )
    times, y = np.array([0.0, 0.5, 2.0]), np.array([0.3, -0.2, 0.8])
    value = likelihood_function(source, pds.Kalman(), y, times, {"rate": ()})(
        as_arrays({"rate": 0.7})
    )
    mean, cov = joint_law(ou, times, 0.0)
    scale = 1 + times
    cov = np.outer(scale, scale) * (cov - np.eye(3)) + np.diag(np.exp(-2 * times))
    deviation = y - scale * mean
    expected = -0.5 * (
        deviation @ np.linalg.solve(cov, deviation)
        + np.linalg.slogdet(cov)[1]
        + 3 * np.log(2 * np.pi)
    )
    np.testing.assert_allclose(value, expected, rtol=1e-10)


@pytest.mark.parametrize(
    "likelihood", [pds.Kalman(), pytest.param(pds.EKF(), marks=pytest.mark.slow)], ids=repr
)
def test_gradients_with_missing_data(likelihood):
    system = random_system(2, 2, full_noise=True)
    times, t0, y = ragged_panel(system, n=3, n_times=8)
    source = as_source(system, full_noise=True)
    function = likelihood_function(source, likelihood, y, times, {"c": (2,), "gain": ()}, t0)
    params = {"c": np.random.default_rng(1).normal(size=(3, 2)), "gain": np.array(GAIN)}
    _, gradient = total_and_gradient(function)(as_arrays(params))

    def dense(point):
        return dense_log_likelihoods(system, point["c"], point["gain"], y, times, t0).sum()

    assert_gradients_agree(gradient, finite_differences(dense, params), rtol=1e-7, atol=1e-7)


def test_kalman_refuses_what_is_not_linear():
    with pytest.raises(ValueError, match=r"Kalman: discretization must be Exact\(\)"):
        pds.Kalman(pds.MomentODE())
    with pytest.raises(TypeError, match="EKF: discretization must be"):
        pds.EKF("euler")
