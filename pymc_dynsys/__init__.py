"""Hierarchical dynamical systems inside PyMC models."""

# PyMC's JAX module first: it turns on 64-bit floats and asks XLA for as many CPU devices as
# there may be chains, both of which must happen before JAX starts.
import pymc.sampling.jax  # noqa: F401  isort: skip

import importlib.metadata
import logging
import warnings
from typing import TYPE_CHECKING, Any

from pymc_dynsys import effects
from pymc_dynsys.bridge import Input, Path, Trajectory, data, observed_cells
from pymc_dynsys.datasets import load_data
from pymc_dynsys.discretization import EulerMaruyama, Exact, LocalLinearization, MomentODE
from pymc_dynsys.effects import reparametrize
from pymc_dynsys.inference import (
    check_data,
    check_likelihood,
    describe,
    forecast,
    impulse_response,
    innovations,
    lagged_effects,
    log_likelihood,
    sample_states,
    simulate,
)
from pymc_dynsys.latent.parametrizations import Centred, Free, Guided
from pymc_dynsys.likelihoods import (
    EKF,
    UKF,
    Bootstrap,
    EnKF,
    Kalman,
    Laplace,
    ODESolve,
    Optimal,
    ParticleFilter,
    Perturbed,
    SquareRoot,
)
from pymc_dynsys.marginal import (
    compare_marginal,
    fit_marginal,
    marginal_log_likelihood,
    profile_marginal,
    warm_start,
)
from pymc_dynsys.panels import coords, panel
from pymc_dynsys.sampling import sample_blackjax, sample_pmmh
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
    censored,
    cycle,
    dynamic_factor,
    linear_gaussian,
    local_level,
    local_linear_trend,
    measurement,
    regression,
    seasonal,
    vector_autoregression,
    white_noise,
)

if TYPE_CHECKING:
    from pymc_dynsys.inference.leave_future_out import LeaveFutureOut
    from pymc_dynsys.plots import (
        plot_data,
        plot_forecast,
        plot_impulse_response,
        plot_innovations,
        plot_lagged_effects,
        plot_phase,
        plot_predictive_check,
        plot_trajectories,
    )

    __version__: str

__all__ = [
    "EKF",
    "ODE",
    "SDE",
    "UKF",
    "Bootstrap",
    "Centred",
    "Diffuse",
    "DiscreteTime",
    "Dose",
    "EnKF",
    "EulerMaruyama",
    "Exact",
    "Free",
    "Gaussian",
    "Guided",
    "Input",
    "Kalman",
    "Laplace",
    "LeaveFutureOut",
    "LinearGaussian",
    "LocalLinearization",
    "MomentODE",
    "ODESolve",
    "Optimal",
    "ParticleFilter",
    "Path",
    "Perturbed",
    "SquareRoot",
    "Stationary",
    "Trajectory",
    "autoregression",
    "censored",
    "check_data",
    "check_likelihood",
    "compare_marginal",
    "coords",
    "cycle",
    "data",
    "describe",
    "dynamic_factor",
    "effects",
    "fit_marginal",
    "forecast",
    "impulse_response",
    "innovations",
    "lagged_effects",
    "linear_gaussian",
    "load_data",
    "local_level",
    "local_linear_trend",
    "log_likelihood",
    "marginal_log_likelihood",
    "measurement",
    "observed_cells",
    "panel",
    "plot_data",
    "plot_forecast",
    "plot_impulse_response",
    "plot_innovations",
    "plot_lagged_effects",
    "plot_phase",
    "plot_predictive_check",
    "plot_trajectories",
    "profile_marginal",
    "regression",
    "reparametrize",
    "sample_blackjax",
    "sample_pmmh",
    "sample_states",
    "seasonal",
    "simulate",
    "vector_autoregression",
    "warm_start",
    "white_noise",
]

# ArviZ's plots and statistics are slow to import: what needs them is imported when it is asked for.
_LAZY = {
    "LeaveFutureOut": "pymc_dynsys.inference.leave_future_out",
    "plot_data": "pymc_dynsys.plots",
    "plot_forecast": "pymc_dynsys.plots",
    "plot_impulse_response": "pymc_dynsys.plots",
    "plot_innovations": "pymc_dynsys.plots",
    "plot_phase": "pymc_dynsys.plots",
    "plot_predictive_check": "pymc_dynsys.plots",
    "plot_lagged_effects": "pymc_dynsys.plots",
    "plot_trajectories": "pymc_dynsys.plots",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = importlib.metadata.version("pymc-dynsys")
    elif name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*__all__, "__version__"})


# PyTensor warns when an Op runs outside numba; for a compiled JAX function that is the intent.
warnings.filterwarnings("ignore", message="Numba will use object mode to run trajectory_rv")

# As PyMC does: what the library chose for the user is shown unless logging is configured.
_logger = logging.getLogger(__name__)
if not logging.root.handlers and not _logger.handlers:
    _logger.setLevel(logging.INFO)
    _logger.addHandler(logging.StreamHandler())
