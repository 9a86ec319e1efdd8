"""Random linear systems in both languages: as a system of the library and as plain arrays."""

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.dense import LinearSystem, log_likelihood


def random_system(
    n_states: int, n_observed: int, *, full_noise: bool, seed: int = 0
) -> LinearSystem:
    """A stable system with singular diffusion (fewer noises than states) and vector data."""
    rng = np.random.default_rng([seed, n_states, n_observed])
    A = rng.normal(size=(n_states, n_states))
    A -= (np.linalg.eigvals(A).real.max() + 0.3) * np.eye(n_states)
    root = rng.normal(size=(n_observed, n_observed)) / 3 + 0.2 * np.eye(n_observed)
    spread = rng.normal(size=(n_states, n_states))
    return LinearSystem(
        A=A,
        c=rng.normal(size=n_states),
        L=rng.normal(size=(n_states, max(n_states - 1, 1))),
        H=rng.normal(size=(n_observed, n_states)),
        d=rng.normal(size=n_observed),
        R=root @ root.T if full_noise else np.diag(np.diag(root @ root.T)),
        m0=rng.normal(size=n_states),
        P0=spread @ spread.T,
    )


def as_source(system: LinearSystem, *, full_noise: bool, disguise: bool = False) -> pds.SDE:
    """The same system for the library: ``c`` and ``gain`` (a factor on L) are its parameters.

    Disguised, it is linear still but cannot be proved so: terms that are zero depend on time
    and on the state.
    """
    A, L, H, d = (jnp.asarray(M) for M in (system.A, system.L, system.H, system.d))

    def drift(x, t, c):
        return A @ x + c + (0.0 * t if disguise else 0.0)

    def diffusion(x, gain):
        return gain * L + (0.0 * x[0] if disguise else 0.0)

    def observation(x):
        if full_noise:
            return pds.Gaussian(H @ x + d, system.R)
        return dist.Normal(H @ x + d, np.sqrt(np.diag(system.R))).to_event(1)

    return pds.SDE(
        drift=drift,
        diffusion=diffusion,
        initial=pds.Gaussian(system.m0, system.P0),
        observation=observation,
    )


def ragged_panel(system: LinearSystem, n: int, n_times: int, seed: int = 0):
    """Times, starts and data of `n` trajectories with everything that may be missing.

    Cells are missing at random, one visit wholly, times repeat, rows are padded with NaN
    times, and each trajectory starts at its own time before the first visit.
    """
    rng = np.random.default_rng(seed)
    times = np.sort(rng.uniform(0, 6, size=(n, n_times)), axis=1)
    times[:, 3] = times[:, 2]
    times[0, -2:] = np.nan
    times[1, 1] = np.nan
    y = rng.normal(size=(n, n_times, len(system.H)))
    y[rng.uniform(size=y.shape) < 0.2] = np.nan
    y[-1, 4] = np.nan
    y[np.isnan(times)] = np.nan
    t0 = -rng.uniform(0, 1, size=n)
    return times, t0, y


def dense_log_likelihoods(system: LinearSystem, c, gain, y, times, t0) -> np.ndarray:
    """Log-likelihood of each trajectory by dense algebra; ``c`` has one row a trajectory."""
    return np.array(
        [
            log_likelihood(replace(system, c=c[i], L=gain * system.L), y[i], times[i], t0[i])
            for i in range(len(y))
        ]
    )
