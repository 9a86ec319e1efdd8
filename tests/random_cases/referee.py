"""One dense normal for all states and data of a trajectory, without any recursion of a filter.

Plain numpy and scipy. Time is cut wherever anything changes; in each piece the system is linear
with constant terms, or terms on a line, and moves by a matrix exponential.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.linalg import cho_factor, cho_solve, expm

from tests.dense import van_loan


@dataclass(frozen=True)
class Trajectory:
    """One subject's system, times, data and what acts on it.

    ``dx = (A x + c + g u(t)) dt + L dB`` between doses, ``x(t0) ~ N(m0, P0)``, and
    ``y = H x + d + b u(t) + N(0, diag(sd^2))``; or ``x' = A x + c + g u + L e`` at each step of
    discrete time. ``u`` is held between its knots, or a line; ``doses`` are ``(time, amount,
    duration, state)``.
    """

    A: np.ndarray
    c: np.ndarray
    g: np.ndarray
    L: np.ndarray
    H: np.ndarray
    d: np.ndarray
    b: np.ndarray
    sd: float
    m0: np.ndarray
    P0: np.ndarray
    t0: float
    times: np.ndarray
    y: np.ndarray
    future: np.ndarray
    knots: np.ndarray
    u: np.ndarray
    line: bool
    doses: tuple[tuple[float, float, float, int], ...]
    discrete: bool


@dataclass(frozen=True)
class Answers:
    """What one trajectory's results must be; visits without a time are left out."""

    by_datum: np.ndarray
    means: np.ndarray
    covs: np.ndarray
    future_means: np.ndarray
    future_covs: np.ndarray
    future_y_means: np.ndarray

    @property
    def total(self) -> float:
        """The log-likelihood."""
        return float(np.nansum(self.by_datum))


def input_at(s: Trajectory, t: float) -> float:
    """Value of the input at a time, that of a knot from the knot on."""
    if s.line:
        return float(np.interp(t, s.knots, s.u))
    return float(s.u[max(np.searchsorted(s.knots, t, side="right") - 1, 0)])


@lru_cache(maxsize=4096)
def _ramp(A_bytes: bytes, n: int, h: float) -> np.ndarray:
    """Integral of exp(A (h - r)) r over r from 0 to h."""
    A = np.frombuffer(A_bytes).reshape(n, n)
    zero, one = np.zeros((n, n)), np.eye(n)
    block = np.block([[A, one, zero], [zero, zero, one], [zero, zero, zero]])
    return expm(block * h)[:n, 2 * n :]


def piece(s: Trajectory, a: float, b: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transition, shift and noise covariance between two neighbouring cuts."""
    n, h = len(s.A), b - a
    if s.discrete:
        F, shift, Q = np.eye(n), np.zeros(n), np.zeros((n, n))
        for _ in range(round(h)):
            F, shift, Q = (
                s.A @ F,
                s.A @ shift + s.c + s.g * input_at(s, a),
                s.A @ Q @ s.A.T + s.L @ s.L.T,
            )
        return F, shift, Q
    F, G, Q = van_loan(s.A, s.L @ s.L.T, h)
    rates = np.zeros(n)
    for time, amount, duration, state in s.doses:
        if duration > 0 and time <= a and b <= time + duration + 1e-12:
            rates[state] += amount / duration
    shift = G @ (s.c + rates + s.g * input_at(s, a))
    if s.line:
        slope = (input_at(s, b) - input_at(s, a)) / h
        shift += _ramp(s.A.tobytes(), n, float(h)) @ s.g * slope
    return F, shift, Q


def cuts(s: Trajectory, wanted: np.ndarray) -> np.ndarray:
    """All times at which something happens, from the start to the last one wanted."""
    ends = [time + duration for time, _, duration, _ in s.doses]
    starts = [time for time, *_ in s.doses]
    own = [] if s.discrete else s.knots
    times = np.unique(np.concatenate([[s.t0], wanted, own, starts, ends]))
    return times[(times >= s.t0) & (times <= wanted.max())]


def states(s: Trajectory, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Joint mean ``(time, state)`` and covariance ``(time, state, time, state)`` before doses."""
    at = cuts(s, wanted)
    n = len(s.A)
    m, P, means, covs, links = s.m0, s.P0, [], [], []
    for k, t in enumerate(at):
        F = np.eye(n)
        if k:
            F, shift, Q = piece(s, at[k - 1], t)
            m, P = F @ m + shift, F @ P @ F.T + Q
        means.append(m)
        covs.append(P)
        links.append(F)
        for time, amount, duration, state in s.doses:
            if duration == 0 and time == t:
                m = m + amount * np.eye(n)[state]
    index = np.searchsorted(at, wanted)
    joint = np.zeros((len(at), n, len(at), n))
    for j in range(len(at)):
        cross = covs[j]
        joint[j, :, j] = cross
        for k in range(j + 1, len(at)):
            cross = links[k] @ cross
            joint[k, :, j], joint[j, :, k] = cross, cross.T
    return np.stack(means)[index], joint[index][:, :, index]


def answers(s: Trajectory) -> Answers:
    """Everything at once, by conditioning one normal."""
    visited = np.isfinite(s.times)
    n, n_visits = len(s.A), int(visited.sum())
    wanted = np.concatenate([s.times[visited], s.future])
    mean, cov = states(s, wanted)
    u = np.array([input_at(s, t) for t in wanted])
    mean_y = mean @ s.H.T + s.d + u[:, None] * s.b
    cov_y = np.einsum("oi,jikl,pl->jokp", s.H, cov, s.H)[:n_visits, :, :n_visits]
    cross = np.einsum("jikl,pl->jikp", cov, s.H)[:, :, :n_visits]
    y = s.y[visited]
    seen = np.isfinite(y).ravel()
    size = y.size
    V = cov_y.reshape(size, size)[np.ix_(seen, seen)] + s.sd**2 * np.eye(int(seen.sum()))
    error = (y - mean_y[:n_visits]).ravel()[seen]
    # The Cholesky factor of ordered data holds the densities of each given those before.
    root = np.linalg.cholesky(V)
    z = np.linalg.solve(root, error)
    each = np.full(size, np.nan)
    each[seen] = -0.5 * z**2 - np.log(np.diag(root)) - 0.5 * np.log(2 * np.pi)
    each = each.reshape(y.shape)
    there = np.isfinite(each).any(-1)
    by_datum = np.full(len(s.times), np.nan)
    by_datum[np.flatnonzero(visited)[there]] = np.nansum(each[there], axis=-1)
    C = cross.reshape(len(wanted), n, size)[..., seen]
    if seen.any():
        solved = cho_solve(cho_factor(V), np.moveaxis(C, -1, 0).reshape(len(error), -1))
        gain = np.moveaxis(solved.reshape(len(error), len(wanted), n), 0, -1)
        mean = mean + gain @ error
        cov_at = np.einsum("kikj->kij", cov) - np.einsum("kis,kjs->kij", gain, C)
    else:
        cov_at = np.einsum("kikj->kij", cov)
    y_ahead = mean[n_visits:] @ s.H.T + s.d + u[n_visits:, None] * s.b
    return Answers(
        by_datum, mean[:n_visits], cov_at[:n_visits], mean[n_visits:], cov_at[n_visits:], y_ahead
    )
