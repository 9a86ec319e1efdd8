"""The small panel of ``conftest.py`` in closed form: everything is Gaussian."""

import numpy as np

from tests import dense
from tests.bridge.conftest import NOISE, RATE, SIGMA, SPREAD, START, TIMES


def data_law(mu: float, times: np.ndarray = TIMES) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of one subject's data given its level."""
    ou = dense.LinearSystem(
        A=np.array([[-RATE]]),
        c=np.array([RATE * mu]),
        L=np.array([[SIGMA]]),
        H=np.eye(1),
        d=np.zeros(1),
        R=np.array([[NOISE**2]]),
        m0=np.array([START]),
        P0=np.array([[SPREAD**2]]),
    )
    return dense.joint_law(ou, times, times[0])


def log_likelihood(y: np.ndarray, mu: float, times: np.ndarray = TIMES) -> float:
    """Log-density of one subject's data that are there."""
    mean, cov = data_law(mu, times)
    seen = ~np.isnan(y)
    residual, cov = (y - mean)[seen], cov[np.ix_(seen, seen)]
    quadratic = residual @ np.linalg.solve(cov, residual)
    return -0.5 * (quadratic + np.linalg.slogdet(2 * np.pi * cov)[1])


def posterior(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of ``(centre, *mu)``: ``y = a + B theta + noise``."""
    n = len(y)
    prior = np.ones((n + 1, n + 1))
    prior[1:, 1:] += 0.5**2 * np.eye(n)
    precision, shift = np.linalg.inv(prior), np.zeros(n + 1)
    at_zero, cov = data_law(0.0)
    slope = data_law(1.0)[0] - at_zero
    for i, row in enumerate(y, start=1):
        seen = ~np.isnan(row)
        weighted = np.linalg.solve(cov[np.ix_(seen, seen)], slope[seen])
        precision[i, i] += weighted @ slope[seen]
        shift[i] += weighted @ (row - at_zero)[seen]
    covariance = np.linalg.inv(precision)
    return covariance @ shift, covariance
