"""Hierarchical dynamical systems inside PyMC models."""

# PyMC's JAX module first: it turns on 64-bit floats and asks XLA for as many CPU devices as
# there may be chains, both of which must happen before JAX starts.
import pymc.sampling.jax  # noqa: F401  isort: skip

import logging
import warnings

from pymc_dynsys import effects
from pymc_dynsys.bridge import Input, Trajectory, data
from pymc_dynsys.discretization import EulerMaruyama, Exact, LocalLinearization, MomentODE
from pymc_dynsys.effects import reparametrize
from pymc_dynsys.filters import EKF, UKF, EnKF, Kalman, ODESolve
from pymc_dynsys.inference import (
    LeaveFutureOut,
    check_likelihood,
    forecast,
    innovations,
    log_likelihood,
    sample_states,
    simulate,
)
from pymc_dynsys.panels import coords, panel
from pymc_dynsys.plots import plot_forecast, plot_innovations, plot_trajectories
from pymc_dynsys.sampling import sample_blackjax
from pymc_dynsys.systems import (
    ODE,
    SDE,
    Diffuse,
    DiscreteTime,
    Dose,
    Gaussian,
    LinearGaussian,
    Stationary,
    autoregression,
    linear_gaussian,
    local_level,
    local_linear_trend,
    seasonal,
    vector_autoregression,
    white_noise,
)

__all__ = [
    "EKF",
    "ODE",
    "SDE",
    "UKF",
    "Diffuse",
    "DiscreteTime",
    "Dose",
    "EnKF",
    "EulerMaruyama",
    "Exact",
    "Gaussian",
    "Input",
    "Kalman",
    "LeaveFutureOut",
    "LinearGaussian",
    "LocalLinearization",
    "MomentODE",
    "ODESolve",
    "Stationary",
    "Trajectory",
    "autoregression",
    "check_likelihood",
    "coords",
    "data",
    "effects",
    "forecast",
    "innovations",
    "linear_gaussian",
    "local_level",
    "local_linear_trend",
    "log_likelihood",
    "panel",
    "plot_forecast",
    "plot_innovations",
    "plot_trajectories",
    "reparametrize",
    "sample_blackjax",
    "sample_states",
    "seasonal",
    "simulate",
    "vector_autoregression",
    "white_noise",
]

# PyTensor warns when an Op runs outside numba; for a compiled JAX function that is the intent.
warnings.filterwarnings("ignore", message="Numba will use object mode to run trajectory_rv")

# As PyMC does: what the library chose for the user is shown unless logging is configured.
_logger = logging.getLogger(__name__)
if not logging.root.handlers and not _logger.handlers:
    _logger.setLevel(logging.INFO)
    _logger.addHandler(logging.StreamHandler())
