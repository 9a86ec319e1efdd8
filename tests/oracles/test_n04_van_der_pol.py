"""N04: the continuous-discrete extended Kalman filter of a Van der Pol oscillator."""

import numpy as np
import pytest

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function, run_filter
from tests.oracles.cases import load

CASE = load("N04")
SYSTEM = pds.SDE(
    states=("position", "speed"),
    drift=lambda position, speed, mu: (speed, mu * (1 - position**2) * speed - position),
    diffusion=lambda s: (0.0, s),
    initial=pds.Gaussian(CASE.m0, CASE.P0),
    observation=lambda position, R: pds.Gaussian(position, R),
)
PARAMS = {"mu": CASE.mu, "s": CASE.s, "R": CASE.R}


def errors(discretization) -> np.ndarray:
    """Distances from the moment equations: total, worst step, worst mean, worst covariance."""
    visits = run_filter(SYSTEM, PARAMS, CASE.y, CASE.t, extended=discretization)
    return np.array(
        [
            abs(visits.log_likelihood.sum() - CASE.out.loglik),
            np.abs(visits.log_likelihood - CASE.out.loglik_step).max(),
            np.abs(visits.filtered.m - CASE.out.filtered_mean).max(),
            np.abs(visits.filtered.P - CASE.out.filtered_cov).max(),
        ]
    )


def test_moment_equations_step_by_step():
    scheme = pds.MomentODE(rtol=1e-9, atol=1e-11)
    visits = run_filter(SYSTEM, PARAMS, CASE.y, CASE.t, extended=scheme)
    np.testing.assert_allclose(visits.log_likelihood, CASE.out.loglik_step, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(visits.log_likelihood.sum(), CASE.out.loglik, rtol=1e-6)
    np.testing.assert_allclose(visits.filtered.m, CASE.out.filtered_mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(visits.filtered.P, CASE.out.filtered_cov, rtol=1e-4, atol=1e-6)


def test_moment_equations_at_their_usual_tolerance():
    shapes = dict.fromkeys(PARAMS, ())
    function = likelihood_function(SYSTEM, pds.EKF(pds.MomentODE()), CASE.y, CASE.t, shapes)
    np.testing.assert_allclose(function(as_arrays(PARAMS)), CASE.out.loglik, rtol=1e-4)


@pytest.mark.parametrize("scheme", [pds.EulerMaruyama, pds.LocalLinearization])
def test_errors_halve_with_the_step(scheme):
    """The total hides cancellations of errors of both signs, so it may do better than halve."""
    table = np.stack([errors(scheme(dt=dt)) for dt in (0.01, 0.005, 0.0025, 0.00125)])
    ratios = table[:-1] / table[1:]
    np.testing.assert_allclose(ratios[:, 1:], 2.0, atol=0.1)
    assert np.all(ratios[:, 0] > 1.9)


def test_local_linearization_is_well_ahead_of_euler_at_the_same_step():
    assert np.all(
        4 * errors(pds.LocalLinearization(0.01))[1:3] < errors(pds.EulerMaruyama(0.01))[1:3]
    )


@pytest.mark.parametrize("scheme", [pds.EulerMaruyama, pds.LocalLinearization])
def test_small_steps_meet_the_case(scheme):
    assert errors(scheme(dt=3e-4))[0] < 1e-4 * abs(CASE.out.loglik)
