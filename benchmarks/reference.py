"""Textbook log-densities in plain numpy, with which every competitor is compared.

Legend: m, P mean and covariance of the state; S innovation covariance, K gain. Särkkä (2013),
algorithms 4.3 and 5.4. Nothing here conjugates, so a derivative along a direction v is
Im f(x + i h v) / h, exact to rounding (Squire and Trapp 1998).
"""

from collections.abc import Callable
from math import lgamma

import numpy as np
from cases import Case
from data import COUPLING, INITIAL_VARIANCE, KICK, NOISE, RATE, SIGMA, Arrays, smooth_path

Moments = tuple[np.ndarray, np.ndarray]
TINY = 1e-30


def check_points(case: Case, data: Arrays, point: Arrays) -> tuple[float, dict[str, float]]:
    """Log-density, and for each parameter its derivative along a random direction."""
    slopes = {}
    for name, direction in directions(point).items():
        moved = point | {name: point[name] + 1j * TINY * direction}
        slopes[name] = float(log_density(case, data, moved).imag / TINY)
    return float(log_density(case, data, point).real), slopes


def directions(point: Arrays) -> Arrays:
    """One direction in the space of each parameter, always the same."""
    rng = np.random.default_rng(1)
    return {name: rng.normal(size=np.shape(point[name])) for name in sorted(point)}


def log_density(case: Case, data: Arrays, point: Arrays) -> complex:
    """Joint log-density of parameters and data; for an ensemble filter that of the exact one."""
    if case.family == "lgssm":
        return sum(normal(value, 0.0, 1.0) for value in point.values()) + lgssm(data, point)
    if case.likelihood == "laplace":
        means = zip(point.values(), data["centres"], strict=True)
        prior = sum(normal(value, mean, 1.0) for value, mean in means)
        return prior + {"counts": counts, "volatility": volatility}[case.family](case, data, point)
    if case.family == "nonlinear":
        prior = normal(point["stiffness"], 1.0, 0.5) + normal(point["pull"], 1.0, 0.2)
        return prior + oscillators(data, point)
    prior = normal(point["mu_global"], 0.0, 0.5)
    if case.family == "two-layer":
        group = point["mu_group"]
        prior += normal(group, point["mu_global"], 2.0) + normal(point["mu"], group[:, None], 0.2)
    else:
        prior += normal(point["mu"], point["mu_global"], 1.0)
    for name, truth in (("rate", RATE), ("sigma", SIGMA), ("noise", NOISE)):
        if f"log_{name}" in point:
            prior += normal(point[f"log_{name}"], np.log(truth), 1.0)
    times, y = padded(data) if case.family == "ragged" else (data["times"], data["y"])
    return prior + ou(case.likelihood == "ekf", times, y, point)


def normal(x: np.ndarray, mean: np.ndarray | float, sd: float) -> complex:
    """Sum of independent normal log-densities."""
    return (-0.5 * ((x - mean) / sd) ** 2 - np.log(sd) - 0.5 * np.log(2 * np.pi)).sum()


def ou(euler: bool, times: np.ndarray, y: np.ndarray, point: Arrays) -> complex:
    """Exact crossing of each gap, or one Euler step."""
    rate, sigma, noise = (
        np.exp(point[f"log_{name}"]) if f"log_{name}" in point else truth
        for name, truth in (("rate", RATE), ("sigma", SIGMA), ("noise", NOISE))
    )
    mu = np.ravel(point["mu"])
    y = y.reshape(mu.size, -1, 1)
    gaps = np.broadcast_to(np.diff(times), (mu.size, y.shape[1] - 1))

    def cross(k: int, m: np.ndarray, P: np.ndarray) -> Moments:
        h = gaps[:, k - 1]
        decay = 1 - rate * h if euler else np.exp(-rate * h)
        Q = sigma**2 * (h if euler else (1 - decay**2) / (2 * rate))
        m = decay[:, None] * m + ((1 - decay) * mu)[:, None]
        return m, (decay**2)[:, None, None] * P + Q[:, None, None]

    start = np.zeros((mu.size, 1)), np.full((mu.size, 1, 1), INITIAL_VARIANCE)
    return run_filter(y, start, cross, np.eye(1), np.zeros(1), noise**2 * np.eye(1))


def oscillators(data: Arrays, point: Arrays) -> complex:
    """Extended Kalman filter of the chain, one Euler step a gap, its Jacobian by hand."""
    y, gaps = data["y"], np.diff(data["times"])
    stiffness, pull = point["stiffness"][:, None], point["pull"]
    N, _, n = y.shape
    places, speeds = np.arange(0, 2 * n, 2), np.arange(1, 2 * n, 2)
    # What the neighbours of each place add to its force, as a matrix.
    links = sum(np.eye(n, k=k) - np.diag(np.eye(n, k=k).sum(1)) for k in (-1, 1))
    H = np.eye(2 * n)[places]

    def cross(k: int, m: np.ndarray, P: np.ndarray) -> Moments:
        place, speed = m[:, places], m[:, speeds]
        f, J = np.zeros_like(m), np.zeros_like(P)
        f[:, places] = speed
        f[:, speeds] = stiffness * (1 - place**2) * speed - pull * place
        f[:, speeds] += COUPLING * place @ links.T
        J[:, places, speeds] = 1.0
        J[:, speeds[:, None], places[None, :]] = COUPLING * links
        J[:, speeds, places] += -2 * stiffness * place * speed - pull
        J[:, speeds, speeds] = stiffness * (1 - place**2)
        h = gaps[k - 1]
        F = np.eye(2 * n) + J * h
        return m + f * h, F @ P @ swap(F) + KICK**2 * h * np.eye(2 * n)

    kind = np.result_type(stiffness, pull)
    start = (
        np.zeros((N, 2 * n), kind),
        np.broadcast_to(np.eye(2 * n, dtype=kind), (N, 2 * n, 2 * n)),
    )
    return run_filter(y, start, cross, H, np.zeros(n), NOISE**2 * np.eye(n))


def lgssm(data: Arrays, point: Arrays) -> complex:
    """One series."""
    Q, P0 = (square(point[f"{name}_root"]) for name in ("Q", "P0"))
    full = "R_root" in point
    R = square(point["R_root"]) if full else np.diag(np.exp(2 * point["log_noise"]))

    def cross(k: int, m: np.ndarray, P: np.ndarray) -> Moments:
        return m @ point["F"].T + point["b"], point["F"] @ P @ point["F"].T + Q

    start = point["m0"][None], P0[None]
    return run_filter(data["y"][None], start, cross, point["H"], point["d"], R)


def square(packed: np.ndarray) -> np.ndarray:
    """L L' from the lower triangle of L, row by row."""
    n = int(np.sqrt(2 * packed.size))
    L = np.zeros((n, n), packed.dtype)
    L[np.tril_indices(n)] = packed
    return L @ L.T


def run_filter(
    y: np.ndarray,
    start: Moments,
    cross: Callable[[int, np.ndarray, np.ndarray], Moments],
    H: np.ndarray,
    d: np.ndarray,
    R: np.ndarray,
) -> complex:
    """Log-likelihood of series ``(series, time, component)``; a visit is whole or missing."""
    m, P = start
    total: complex = 0.0
    for k in range(y.shape[1]):
        if k > 0:
            m, P = cross(k, m, P)
        seen = ~np.isnan(y[:, k]).any(axis=-1)
        v = np.where(seen[:, None], y[:, k], 0.0) - m @ H.T - d
        S = H @ P @ H.T + R
        K = P @ H.T @ np.linalg.inv(S)
        size = (v[:, None, :] @ np.linalg.inv(S) @ v[:, :, None])[:, 0, 0]
        terms = size + np.log(np.linalg.det(S)) + v.shape[1] * np.log(2 * np.pi)
        total = total - 0.5 * terms[seen].sum()
        m = m + np.where(seen[:, None], (K @ v[:, :, None])[:, :, 0], 0.0)
        P = P - np.where(seen[:, None, None], K @ S @ swap(K), 0.0)
    return np.complex128(total)


def counts(case: Case, data: Arrays, point: Arrays) -> complex:
    """Laplace's approximation for a Poisson panel."""
    y, gap = data["y"], data["times"][1] - data["times"][0]
    rate, sd = np.exp(point["log_rate"]), np.exp(point["log_sd"])
    factorials = np.vectorize(lgamma)(y + 1.0)

    def law(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        mean = np.exp(point["mu"] + x)
        return y * (point["mu"] + x) - mean - factorials, y - mean, -mean

    return laplace(law, *smooth_path(case.states, rate, sd, gap), y.shape)


def volatility(case: Case, data: Arrays, point: Arrays) -> complex:
    """Laplace's approximation for returns."""
    y, phi, sd = data["y"][None], np.tanh(point["atanh_phi"]), np.exp(point["log_sd"])

    def law(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        log_variance = point["mu"] + x
        size = 0.5 * y**2 * np.exp(-log_variance)
        return -0.5 * (np.log(2 * np.pi) + log_variance) - size, size - 0.5, -size

    F, Q = phi * np.eye(1), sd**2 * np.eye(1)
    return laplace(law, F, Q, Q / (1 - phi**2), y.shape)


def laplace(
    law: Callable, F: np.ndarray, Q: np.ndarray, P: np.ndarray, shape: tuple[int, int]
) -> complex:
    """Newton's method with the precision of whole paths, for data of the first state.

    `law` gives log-densities of the data and their two derivatives, all ``(series, time)``. Some
    steps more than are needed make the imaginary parts right too.
    """
    n, T = shape
    d = len(F)
    W = np.linalg.inv(Q)
    J = np.zeros((T * d, T * d), np.result_type(F, Q, P))
    J[:d, :d] = np.linalg.inv(P)
    for k in range(1, T):
        here, before = slice(k * d, (k + 1) * d), slice((k - 1) * d, k * d)
        J[here, here] += W
        J[before, before] += F.T @ W @ F
        J[here, before] -= W @ F
        J[before, here] -= F.T @ W
    x = np.zeros((n, T * d), complex)
    for _ in range(50):
        _, slope, curvature = law(x[:, ::d])
        gradient = -x @ J
        gradient[:, ::d] += slope
        H = np.broadcast_to(J, (n, T * d, T * d)).astype(complex)
        seen = np.arange(0, T * d, d)
        H[:, seen, seen] -= curvature
        step = np.linalg.solve(H, gradient[:, :, None])[:, :, 0]
        # A step from far away is shortened; near the end none is.
        x = x + step / np.maximum(np.abs(step).max(axis=1, keepdims=True), 1.0)
    value = law(x[:, ::d])[0].sum() - 0.5 * ((x @ J) * x).sum()
    return np.complex128(value + 0.5 * n * log_determinant(J) - 0.5 * log_determinant(H).sum())


def log_determinant(A: np.ndarray) -> np.ndarray:
    """Logarithm of the determinant, complex where the matrix is."""
    sign, size = np.linalg.slogdet(A)
    return size + np.log(sign.astype(complex))


def swap(A: np.ndarray) -> np.ndarray:
    """Transpose of each matrix, without conjugation."""
    return np.swapaxes(A, -1, -2)


def padded(table: Arrays) -> tuple[np.ndarray, np.ndarray]:
    """Times and data of a tidy table as ``(subject, visit)``; NaN after a subject's last visit."""
    counts = np.bincount(table["subject"])
    visited = np.arange(counts.max()) < counts[:, None]
    times, y = np.zeros(visited.shape), np.full(visited.shape, np.nan)
    times[visited], y[visited] = table["time"], table["y"]
    # Nothing happens after the last visit.
    return np.maximum.accumulate(times, axis=1), y
