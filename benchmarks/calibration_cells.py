"""Models whose calibration is tested, each with one likelihood; `calibrate.py` runs them.

Data are drawn from the model itself: exactly where it is linear, else with Euler steps of a
hundredth, whatever the steps of its likelihood.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds


class Cell(NamedTuple):
    """A model with a data variable ``y_data`` and an observed variable ``y``.

    `missing` is the share of the data that are left out.
    """

    says: str
    model: Callable[[], pm.Model]
    missing: float = 0.0


# Linear, Gaussian: Ornstein-Uhlenbeck panels with irregular times.

OU = pds.SDE(
    states="x",
    drift=lambda x, mu, rate: rate * (mu - x),
    diffusion=lambda rate, sd: sd * jnp.sqrt(2 * rate),
    initial=pds.Stationary(),
    observation=lambda x, error: dist.Normal(x, error),
)
UNEVEN = np.cumsum(np.tile([0.3, 1.0, 0.5, 1.7, 0.8], 3))


def ou(subjects: int = 8) -> pm.Model:
    """Shared parameters."""
    shape = (subjects, UNEVEN.size)
    with pm.Model(coords={"subject": np.arange(subjects), "time": UNEVEN}) as model:
        params = {
            "mu": pm.Normal("mu", 0.0, 1.0),
            "rate": pm.LogNormal("rate", -0.7, 0.5),
            "sd": pm.LogNormal("sd", 0.0, 0.4),
            "error": pm.LogNormal("error", -1.0, 0.5),
        }
        y = pds.data("y_data", np.zeros(shape), ("subject", "time"))
        pds.Trajectory("y", OU, params=params, observed=y, dims=("subject", "time"))
    return model


def two_levels(subjects: int = 12) -> pm.Model:
    """Means and rates of the subjects about those of the population."""
    shape = (subjects, UNEVEN.size)
    with pm.Model(coords={"subject": np.arange(subjects), "time": UNEVEN}) as model:
        centre, spread = pm.Normal("centre", 0.0, 1.0), pm.LogNormal("spread", 0.0, 0.4)
        pace, unlike = pm.Normal("pace", -0.7, 0.4), pm.LogNormal("unlike", -1.2, 0.4)
        a, b = pm.Normal("a", dims="subject"), pm.Normal("b", dims="subject")
        params = {
            "mu": centre + spread * a,
            "rate": pm.math.exp(pace + unlike * b),
            "sd": pm.LogNormal("sd", 0.0, 0.4),
            "error": pm.LogNormal("error", -1.0, 0.5),
        }
        y = pds.data("y_data", np.zeros(shape), ("subject", "time"))
        pds.Trajectory("y", OU, params=params, observed=y, dims=("subject", "time"))
    return model


# Nonlinear: four ponds of algae that grow until they are crowded, seen every two days.

GROWTH = pds.SDE(
    states="log_n",
    drift=lambda log_n, r: r * (1.0 - jnp.exp(log_n)),
    diffusion=0.2,
    initial=dist.Normal(-3.0, 0.3),
    observation=lambda log_n, error: dist.Normal(log_n, error),
)
# A state between two wells, whose filtered distribution has two modes.
WELLS = pds.SDE(
    states="x",
    drift=lambda x, pull: pull * x * (1.0 - x**2),
    diffusion=lambda noise: noise,
    initial=dist.Normal(0.0, 0.5),
    observation=lambda x, error: dist.Normal(x, error),
)
FINE = pds.EulerMaruyama(dt=0.01)


def growth(likelihood: object, every: float = 2.0) -> pm.Model:
    """A rate and an error from sparse counts of algae."""
    times = np.arange(0.0, 13.0, every)
    with pm.Model(coords={"pond": list("abcd"), "time": times}) as model:
        params = {"r": pm.LogNormal("r", 0.0, 0.5), "error": pm.LogNormal("error", -2.0, 0.5)}
        y = pds.data("y_data", np.zeros((4, times.size)), ("pond", "time"))
        pds.Trajectory(
            "y",
            GROWTH,
            params=params,
            observed=y,
            dims=("pond", "time"),
            likelihood=likelihood,
            simulator=FINE,
        )
    return model


def wells(likelihood: object) -> pm.Model:
    """Strength of two wells and the noise that moves between them, seen badly."""
    times = np.arange(0.0, 20.0)
    with pm.Model(coords={"subject": np.arange(5), "time": times}) as model:
        params = {
            "pull": pm.LogNormal("pull", 0.0, 0.5),
            "noise": pm.LogNormal("noise", -0.5, 0.3),
            "error": pm.LogNormal("error", -0.7, 0.3),
        }
        y = pds.data("y_data", np.zeros((5, times.size)), ("subject", "time"))
        pds.Trajectory(
            "y",
            WELLS,
            params=params,
            observed=y,
            dims=("subject", "time"),
            likelihood=likelihood,
            simulator=FINE,
        )
    return model


# Counts.

COUNTS = pds.SDE(
    states="x",
    drift=lambda x, mu, rate: rate * (mu - x),
    diffusion=lambda rate, sd: sd * jnp.sqrt(2 * rate),
    initial=pds.Stationary(),
    observation=lambda x: dist.Poisson(jnp.exp(x)),
)
LATENT = pds.SDE(
    states="x",
    drift=lambda x, mu, rate: rate * (mu - x),
    diffusion=lambda rate, sd: sd * jnp.sqrt(2 * rate),
    initial=pds.Stationary(),
)


def rates() -> dict:
    """Priors of the counts' parameters."""
    return {
        "mu": pm.Normal("mu", 0.0, 0.7),
        "rate": pm.LogNormal("rate", -0.7, 0.5),
        "sd": pm.LogNormal("sd", -0.4, 0.4),
    }


def counts(order: int) -> pm.Model:
    """Counts whose path is integrated out by Laplace's approximation."""
    times = np.arange(15.0)
    with pm.Model(coords={"subject": np.arange(8), "time": times}) as model:
        y = pds.data("y_data", np.zeros((8, times.size)), ("subject", "time"))
        pds.Trajectory(
            "y",
            COUNTS,
            params=rates(),
            observed=y,
            dims=("subject", "time"),
            likelihood=pds.Laplace(discretization=pds.Exact(), order=order),
        )
    return model


def path() -> pm.Model:
    """The same counts, with the path as a variable of the model."""
    times = np.arange(15.0)
    with pm.Model(coords={"subject": np.arange(8), "time": times}) as model:
        x = pds.Path("x", LATENT, params=rates(), dims=("subject", "time"))
        y = pm.Data("y_data", np.zeros((8, times.size), int), dims=("subject", "time"))
        pm.Poisson("y", pm.math.exp(x[..., 0]), observed=y, dims=("subject", "time"))
    return model


# Doses: one compartment, a bolus a day, clearance and volume of each subject.

COMPARTMENT = pds.SDE(
    states="amount",
    drift=lambda amount, clearance, volume: -clearance / volume * amount,
    diffusion=0.3,
    initial=dist.Normal(0.0, 1e-3),
    observation=lambda amount, volume, error: dist.Normal(amount / volume, error),
    events="amount",
)


def doses(subjects: int = 8) -> pm.Model:
    """Four doses of each subject and two observations after each."""
    times = np.array([k + h for k in range(4) for h in (0.1, 0.6)])
    given = xr.DataArray(np.tile(np.arange(4.0), (subjects, 1)), dims=("subject", "dose"))
    events = {"event_time": given, "event_amount": xr.full_like(given, 10.0)}
    with pm.Model(coords={"subject": np.arange(subjects), "time": times}) as model:
        spread, z = pm.LogNormal("spread", -1.2, 0.4), pm.Normal("z", dims="subject")
        params = {
            "clearance": pm.math.exp(pm.Normal("log_clearance", 0.0, 0.5) + spread * z),
            "volume": pm.LogNormal("volume", 0.7, 0.3),
            "error": pm.LogNormal("error", -1.5, 0.4),
        }
        y = pds.data("y_data", np.zeros((subjects, times.size)), ("subject", "time"))
        pds.Trajectory(
            "y",
            COMPARTMENT,
            params=params,
            observed=y,
            dims=("subject", "time"),
            events=events,
            t0=0.0,
        )
    return model


STEPS = pds.LocalLinearization(dt=0.25)
CELLS = {
    "kalman": Cell("linear panel, a fifth missing, by Kalman", ou, 0.2),
    "two_levels": Cell("two levels, by Kalman", two_levels),
    "doses": Cell("doses, by Kalman", doses),
    "laplace": Cell("counts, by Laplace", partial(counts, 1)),
    "laplace_2": Cell("counts, by Laplace of second order", partial(counts, 2)),
    "path": Cell("counts, the path a variable", path),
    "growth_ekf_1": Cell("growth, by EKF, one step a gap", partial(growth, pds.EKF())),
    "growth_ekf": Cell("growth, by EKF, dt = 0.25", partial(growth, pds.EKF(STEPS))),
    "growth_ukf": Cell("growth, by UKF, dt = 0.25", partial(growth, pds.UKF(STEPS))),
    "growth_enkf_10": Cell("growth, by EnKF of 10", partial(growth, pds.EnKF(10, STEPS))),
    "growth_enkf_100": Cell("growth, by EnKF of 100", partial(growth, pds.EnKF(100, STEPS))),
    "wells_ekf": Cell("two wells, by EKF, dt = 0.25", partial(wells, pds.EKF(STEPS))),
    "wells_ukf": Cell("two wells, by UKF, dt = 0.25", partial(wells, pds.UKF(STEPS))),
    "wells_enkf_100": Cell("two wells, by EnKF of 100", partial(wells, pds.EnKF(100, STEPS))),
}
