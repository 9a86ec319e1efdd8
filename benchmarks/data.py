"""Draws the data of a case, and the point at which its log-density is evaluated.

Both are the same for all competitors. Points lie near the truth, where samplers spend their time.
"""

import numpy as np
from cases import Case

RATE, SIGMA, NOISE, INITIAL_VARIANCE = 0.5, 0.1, 0.1, 0.5
COUPLING, KICK = 0.2, 0.2  # of the oscillators; their noise is NOISE too
LOG_MEAN, SPREAD = 0.8, 0.7  # stationary mean and standard deviation of log-means of counts
PERSISTENCE, UNREST = 0.95, 0.25  # of log-variances of returns

Arrays = dict[str, np.ndarray]


def make(case: Case) -> tuple[Arrays, Arrays]:
    """Data and parameters by name."""
    rng = np.random.default_rng(0)
    draw = {"ou": ou, "two-layer": two_layer, "ragged": ragged}
    draw |= {"nonlinear": oscillators, "lgssm": lgssm}
    draw |= {"counts": counts, "volatility": volatility}
    return draw[case.family](case, rng)


def ou(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    times = grid(case.times)
    mu_global = rng.normal(0.0, 0.5)
    mu = rng.normal(mu_global, 1.0, case.subjects)
    gaps = np.broadcast_to(np.diff(times), (case.subjects, case.times - 1))
    point = {"mu_global": np.array(mu_global), "mu": mu + 0.1}
    if case.variant == "all":
        point |= {
            "log_rate": np.log(RATE) + 0.1,
            "log_sigma": np.log(SIGMA) - 0.1,
            "log_noise": np.log(NOISE) + 0.1,
        }
    return {"times": times, "y": ou_paths(mu, gaps, rng)}, point


def two_layer(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    times = grid(case.times)
    mu_global = rng.normal(0.0, 0.5)
    mu_group = rng.normal(mu_global, 2.0, 3)
    mu = rng.normal(mu_group[:, None], 0.2, (3, 3))
    gaps = np.broadcast_to(np.diff(times), (9, case.times - 1))
    y = ou_paths(mu.ravel(), gaps, rng).reshape(3, 3, case.times)
    point = {"mu_global": np.array(mu_global), "mu_group": mu_group, "mu": mu + 0.1}
    return {"times": times, "y": y}, point


def ragged(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """A tidy table, one row a subject and visit."""
    n = np.linspace(2, case.times, case.subjects).round().astype(int)
    if case.variant == "rectangle":
        n = np.full(case.subjects, n.sum() // case.subjects)
    mu = rng.normal(0.0, 1.0, case.subjects)
    gaps = rng.exponential(0.1, (case.subjects, n.max() - 1))
    times = np.concatenate([np.zeros((case.subjects, 1)), gaps.cumsum(axis=1)], axis=1)
    y = ou_paths(mu, gaps, rng)
    visited = np.arange(n.max()) < n[:, None]
    subject = np.broadcast_to(np.arange(case.subjects)[:, None], visited.shape)
    table = {"subject": subject[visited], "time": times[visited], "y": y[visited]}
    return table, {"mu_global": np.array(0.1), "mu": mu + 0.1}


def oscillators(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Euler-Maruyama with steps much shorter than the gaps."""
    N, n, times, fine = case.subjects, case.states // 2, grid(case.times), 20
    stiffness, pull = rng.normal(1.0, 0.3, N), 1.0
    x = rng.normal(size=(N, case.states))
    y = np.empty((N, case.times, n))
    for k, gap in enumerate(np.diff(times, prepend=times[0])):
        h = gap / fine
        for _ in range(fine):
            kick = KICK * np.sqrt(h) * rng.normal(size=x.shape)
            x = x + oscillator_drift(x, stiffness, pull) * h + kick
        y[:, k] = x[:, ::2] + NOISE * rng.normal(size=(N, n))
    return {"times": times, "y": y}, {"stiffness": stiffness + 0.05, "pull": np.array(0.95)}


def oscillator_drift(x: np.ndarray, stiffness: np.ndarray, pull: float) -> np.ndarray:
    """States are place, speed, place, speed, ...; neighbours pull at each other."""
    place, speed = x[:, ::2], x[:, 1::2]
    stretch = np.diff(place, axis=1)
    zero = np.zeros((len(x), 1))
    neighbours = np.concatenate([stretch, zero], axis=1) - np.concatenate([zero, stretch], axis=1)
    force = stiffness[:, None] * (1 - place**2) * speed - pull * place + COUPLING * neighbours
    return np.stack([speed, force], axis=-1).reshape(x.shape)


def lgssm(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """A turning pair of states behind ten sensors."""
    n, m, T = 2, 10, case.times
    turn = np.array([[np.cos(np.pi / 10), -np.sin(np.pi / 10)], [np.sin(np.pi / 10), 0.0]])
    turn[1, 1] = turn[0, 0]
    F, H = 0.99 * turn, rng.normal(size=(m, n))
    correlated = np.eye(m) + 0.1 * np.tril(rng.normal(size=(m, m)))
    R_root = 0.3 * (correlated if case.variant == "full" else np.eye(m))
    x, y = rng.normal(size=n), np.empty((T, m))
    for k in range(T):
        y[k] = H @ x + R_root @ rng.normal(size=m)
        x = F @ x + 0.1 * rng.normal(size=n)
    point = {
        "F": F,
        "b": np.zeros(n),
        "Q_root": packed(0.1 * np.eye(n)),
        "H": H,
        "d": np.zeros(m),
        "m0": np.zeros(n),
        "P0_root": packed(np.eye(n)),
    }
    if case.variant == "full":
        point["R_root"] = packed(R_root)
    else:
        point["log_noise"] = np.log(np.diag(R_root))
    near = {name: value + 0.01 * rng.normal(size=value.shape) for name, value in point.items()}
    return {"y": y}, near


def counts(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Counts at equal gaps; `centres` are the means of the parameters' priors."""
    gap = 0.5
    F, Q, P = smooth_path(case.states, RATE, SPREAD, gap)
    x = rng.multivariate_normal(np.zeros(case.states), P, case.subjects)
    y = np.empty((case.subjects, case.times))
    for k in range(case.times):
        y[:, k] = rng.poisson(np.exp(LOG_MEAN + x[:, 0]))
        x = x @ F.T + rng.multivariate_normal(np.zeros(case.states), Q, case.subjects)
    point = {"mu": LOG_MEAN - 0.1, "log_rate": np.log(RATE) + 0.1, "log_sd": np.log(SPREAD) - 0.1}
    centres = np.array([LOG_MEAN, np.log(RATE), np.log(SPREAD)])
    return {"times": gap * np.arange(case.times), "y": y, "centres": centres}, as_arrays(point)


def smooth_path(
    states: int, rate: complex, sd: complex, gap: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transition, its noise and the stationary covariance of a Matérn process of `states` states.

    One state: exp(-rate gap), an Ornstein-Uhlenbeck process. Two: the process and its slope, of
    smoothness 3/2 (Rasmussen and Williams 2006, app. B).
    """
    decay = np.exp(-rate * gap)
    if states == 1:
        F, P = decay * np.eye(1), sd**2 * np.eye(1)
    else:
        F = decay * np.array([[1 + rate * gap, gap], [-(rate**2) * gap, 1 - rate * gap]])
        P = sd**2 * np.diag([1.0, rate**2])
    return F, P - F @ P @ F.T, P


def volatility(case: Case, rng: np.random.Generator) -> tuple[Arrays, Arrays]:
    """Returns whose log-variance has a mean of zero; `centres` as for counts."""
    x, y = rng.normal(0.0, UNREST / np.sqrt(1 - PERSISTENCE**2)), np.empty(case.times)
    for k in range(case.times):
        y[k] = np.exp(x / 2) * rng.normal()
        x = PERSISTENCE * x + UNREST * rng.normal()
    point = {"mu": 0.1, "atanh_phi": np.arctanh(PERSISTENCE) - 0.1, "log_sd": np.log(UNREST) + 0.1}
    centres = np.array([0.0, np.arctanh(PERSISTENCE), np.log(UNREST)])
    data = {"times": np.arange(float(case.times)), "y": y, "centres": centres}
    return data, as_arrays(point)


def as_arrays(point: dict[str, float]) -> Arrays:
    return {name: np.asarray(value) for name, value in point.items()}


def packed(root: np.ndarray) -> np.ndarray:
    """Lower triangle, row by row."""
    return root[np.tril_indices(len(root))]


def grid(n: int) -> np.ndarray:
    """The times of the reference case, or longer and shorter ones with the same gap."""
    return np.arange(n) * (10 / 99)


def ou_paths(mu: np.ndarray, gaps: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Noisy data of exact Ornstein-Uhlenbeck paths, subjects first."""
    x = rng.normal(0.0, np.sqrt(INITIAL_VARIANCE), len(mu))
    paths = [x]
    for gap in gaps.T:
        decay = np.exp(-RATE * gap)
        sd = SIGMA * np.sqrt((1 - decay**2) / (2 * RATE))
        x = decay * x + (1 - decay) * mu + sd * rng.normal(size=len(mu))
        paths.append(x)
    return np.stack(paths, axis=1) + NOISE * rng.normal(size=(len(mu), len(paths)))
