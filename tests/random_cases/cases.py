"""A case of a shape class: its numbers by canonical position, and how they are presented."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from tests.random_cases.referee import Trajectory
from tests.random_cases.shapes import Shape

N_VISITS, N_KNOTS, N_DOSES, N_FUTURE = 4, 3, 2, 2
MUTATIONS = ("none", "set_data", "observe", "do", "do_shared", "permuted_draws", "saved")


@dataclass(frozen=True)
class Fixed:
    """Matrices of a system, which all cases of its sizes have."""

    A: np.ndarray
    c: np.ndarray
    to_state: np.ndarray
    g: np.ndarray
    L: np.ndarray
    H: np.ndarray
    b: np.ndarray
    m0: np.ndarray
    P0: np.ndarray


@lru_cache
def fixed(shape: Shape) -> Fixed:
    """A stable system, with fewer noises than states where there are three."""
    n, p = shape.n_states, shape.n_components
    rng = np.random.default_rng([n, p])
    A = rng.normal(size=(n, n)) / 2
    if shape.discrete:
        A /= 1.3 * np.abs(np.linalg.eigvals(A)).max()
    else:
        A -= (np.linalg.eigvals(A).real.max() + 0.4) * np.eye(n)
    spread = rng.normal(size=(n, n))
    noises = n - 1 if n == 3 else n
    return Fixed(
        A=A,
        c=rng.normal(size=n),
        to_state=rng.normal(size=n),
        g=rng.normal(size=n),
        L=rng.normal(size=(n, noises)) * shape.noisy,
        H=rng.normal(size=(p, n)),
        b=rng.normal(size=p),
        m0=rng.normal(size=n),
        P0=spread @ spread.T * shape.noisy,
    )


@dataclass(frozen=True)
class Numbers:
    """Values by canonical position: batch axes first, subjects in the order of `labels`.

    ``mu`` and ``off`` have all batch axes; ``rate``, ``gain`` and ``sd`` have them too, equal for
    all where they are shared. Times of doses and knots without one are NaN.
    """

    labels: dict[str, list[str]]
    mu: np.ndarray
    off: np.ndarray
    rate: np.ndarray
    gain: np.ndarray
    sd: np.ndarray
    t0: np.ndarray
    times: np.ndarray
    y: np.ndarray
    future: np.ndarray
    knots: np.ndarray
    u: np.ndarray
    dose_times: np.ndarray
    amounts: np.ndarray
    durations: np.ndarray
    dose_states: np.ndarray


def numbers(shape: Shape, labels: dict[str, list[str]], seed: int, holes: float) -> Numbers:
    """Random values; `holes` is the share of data that are missing."""
    rng = np.random.default_rng(seed)
    batch = shape.batch

    def own(low: float, high: float) -> np.ndarray:
        values = rng.uniform(low, high, size=batch)
        return values if shape.varied else np.full(batch, values.flat[0])

    if shape.discrete:
        gaps = rng.integers(1, 3, size=(*batch, N_VISITS)).astype(float)
    else:
        gaps = rng.choice([0.1, 0.5, 1.3, 4.0], size=(*batch, N_VISITS))
        if shape.inputs != "visits":
            gaps *= rng.uniform(size=gaps.shape) > 0.1  # some visits at one time
    if not shape.ragged:
        gaps = np.broadcast_to(gaps.reshape(-1, N_VISITS)[0], gaps.shape)
    start = gaps[..., :1] * 0 + (float(rng.integers(0, 3)) if not shape.ragged else 1.0)
    times = start + np.cumsum(gaps, -1) - gaps[..., :1]
    before = rng.integers(0, 3, size=batch) / (1.0 if shape.discrete else 2.0)
    t0 = times[..., 0] - before
    y = rng.normal(size=(*batch, N_VISITS, shape.n_components))
    future = times.max() + np.cumsum(rng.integers(1, 3, size=N_FUTURE)).astype(float)
    if shape.ragged:
        lengths = rng.integers(2, N_VISITS + 1, size=batch)
        times = np.where(np.arange(N_VISITS) < lengths[..., None], times, np.nan)
    y[rng.uniform(size=y.shape) < holes] = np.nan
    y[..., 0, 0] = np.where(np.isfinite(y[..., 0, 0]), y[..., 0, 0], 0.7)
    y[np.isnan(times)] = np.nan
    if shape.inputs == "visits":
        knots = times
    else:
        first, last = np.nanmin(t0) - 0.5, future.max() + 1.0
        inner = np.sort(rng.uniform(first, last, size=(*batch, N_KNOTS - 2)), -1)
        ends = np.broadcast_to([first, last], (*batch, 2))
        knots = np.concatenate([ends[..., :1], inner, ends[..., 1:]], -1)
    u = np.where(np.isnan(knots), np.nan, rng.normal(size=knots.shape))
    dose_times = t0[..., None] + np.sort(rng.uniform(0, 3, size=(*batch, N_DOSES)), -1)
    # A dose at the time of a visit: the datum is the trough.
    dose_times[..., 0] = np.where(rng.uniform(size=batch) < 0.4, times[..., 1], dose_times[..., 0])
    dose_times = np.sort(np.where(np.isnan(dose_times), t0[..., None], dose_times), -1)
    if batch:  # One subject has one dose only.
        dose_times.reshape(-1, N_DOSES)[0, -1] = np.nan
    return Numbers(
        labels=labels,
        mu=rng.normal(size=batch),
        off=rng.normal(size=batch),
        rate=own(0.6, 1.0),
        gain=own(0.3, 1.2),
        sd=own(0.2, 0.9),
        t0=t0,
        times=times,
        y=y,
        future=future,
        knots=knots,
        u=u,
        dose_times=dose_times,
        amounts=rng.uniform(0.5, 3, size=dose_times.shape),
        durations=rng.uniform(0.2, 1.5, size=dose_times.shape)
        * (rng.uniform(size=dose_times.shape) < 0.5),
        dose_states=rng.integers(0, shape.n_states, size=dose_times.shape),
    )


def other_point(shape: Shape, values: Numbers, seed: int, fixed_sd: bool) -> Numbers:
    """The same panel at other parameters."""
    other = numbers(shape, values.labels, seed, 0.0)
    sd = values.sd if fixed_sd else other.sd
    return replace(values, mu=other.mu, rate=other.rate, gain=other.gain, sd=sd)


def trajectory(shape: Shape, values: Numbers, index: tuple[int, ...]) -> Trajectory:
    """One subject's problem for the referee."""
    system = fixed(shape)
    doses = [
        (float(t), float(a), float(d), int(k))
        for t, a, d, k in zip(
            values.dose_times[index], values.amounts[index], values.durations[index],
            values.dose_states[index], strict=True,
        )
        if np.isfinite(t)
    ]  # fmt: skip
    there = np.isfinite(values.knots[index])
    driven = shape.inputs != "none"
    m0 = system.m0 + (0.0 if shape.noisy else values.mu[index])
    return Trajectory(
        A=values.rate[index] * system.A,
        c=system.c + system.to_state * values.mu[index],
        g=system.g * driven,
        L=values.gain[index] * system.L,
        H=system.H,
        d=np.full(shape.n_components, values.off[index]),
        b=system.b * driven,
        sd=float(values.sd[index]),
        m0=m0,
        P0=system.P0,
        t0=float(values.t0[index]),
        times=values.times[index],
        y=values.y[index],
        future=values.future,
        knots=values.knots[index][there],
        u=values.u[index][there],
        line=shape.inputs == "line",
        doses=tuple(doses) if shape.doses else (),
        discrete=shape.discrete,
    )
