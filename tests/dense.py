"""An independent likelihood of a linear SDE: one multivariate normal for all data, no recursion.

Plain numpy and scipy. The joint covariance of the states at the visits is written down from
matrix exponentials, and the log-density of the values that are there is that of one Gaussian.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import expm


@dataclass(frozen=True)
class LinearSystem:
    """``dx = (A x + c) dt + L dB``, ``x(t0) ~ N(m0, P0)``, ``y = H x + d + N(0, R)``."""

    A: np.ndarray
    c: np.ndarray
    L: np.ndarray
    H: np.ndarray
    d: np.ndarray
    R: np.ndarray
    m0: np.ndarray
    P0: np.ndarray


def van_loan(A: np.ndarray, S: np.ndarray, h: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transition matrix, integral of it and noise covariance over a gap.

    Van Loan (1978), *IEEE Trans. Automatic Control* 23, 395-404, theorem 1.
    """
    return _van_loan(A.tobytes(), S.tobytes(), len(A), float(h))


@lru_cache(maxsize=4096)
def _van_loan(A_bytes: bytes, S_bytes: bytes, n: int, h: float) -> tuple[np.ndarray, ...]:
    A, S = (np.frombuffer(data).reshape(n, n) for data in (A_bytes, S_bytes))
    zero, identity = np.zeros((n, n)), np.eye(n)
    blocks = expm(np.block([[-A, S], [zero, A.T]]) * h)
    F = blocks[n:, n:].T
    Q = F @ blocks[:n, n:]
    G = expm(np.block([[A, identity], [zero, zero]]) * h)[:n, n:]
    return F, G, (Q + Q.T) / 2


def joint_law(system: LinearSystem, times: np.ndarray, t0: float) -> tuple[np.ndarray, np.ndarray]:
    """Mean ``(time * component)`` and covariance of all data of one trajectory."""
    n_states, n_times = len(system.A), len(times)
    S = system.L @ system.L.T
    means, blocks, links = [], [], []
    m, P, before = system.m0, system.P0, t0
    for t in times:
        F, G, Q = van_loan(system.A, S, t - before)
        m, P, before = F @ m + G @ system.c, F @ P @ F.T + Q, t
        means.append(m)
        blocks.append(P)
        links.append(F)
    cov = np.zeros((n_times, n_states, n_times, n_states))
    for j in range(n_times):
        cross = blocks[j]
        cov[j, :, j] = cross
        for k in range(j + 1, n_times):
            cross = links[k] @ cross
            cov[k, :, j] = cross
            cov[j, :, k] = cross.T
    mean_y = np.stack(means) @ system.H.T + system.d
    cov_y = np.einsum("oi,jikl,pl->jokp", system.H, cov, system.H)
    for k in range(n_times):
        cov_y[k, :, k] += system.R
    return mean_y.ravel(), cov_y.reshape(mean_y.size, mean_y.size)


def log_likelihood(
    system: LinearSystem, y: np.ndarray, times: np.ndarray, t0: float | None = None
) -> float:
    """Log-density of the data that are there: ``y`` is ``(time, component)``, NaN is missing."""
    visited = ~np.isnan(times)
    y, times = y[visited], times[visited]
    mean, cov = joint_law(system, times, times[0] if t0 is None else t0)
    seen = ~np.isnan(y.ravel())
    deviation = (y.ravel() - mean)[seen]
    cov = cov[np.ix_(seen, seen)]
    logdet = np.linalg.slogdet(cov)[1]
    quadratic = deviation @ np.linalg.solve(cov, deviation)
    return -0.5 * (quadratic + logdet + seen.sum() * np.log(2 * np.pi))
