"""From an SDE over a gap between two visits to a transition: one scheme a file."""

from pymc_dynsys.discretization.base import Discretization, LinearTransition
from pymc_dynsys.discretization.choose import default_scheme
from pymc_dynsys.discretization.euler_maruyama import EulerMaruyama
from pymc_dynsys.discretization.exact import Exact
from pymc_dynsys.discretization.grid import TimeGrid, build_grid
from pymc_dynsys.discretization.local_linearization import LocalLinearization
from pymc_dynsys.discretization.moment_ode import MomentODE
from pymc_dynsys.discretization.schedule import InputTable, Rows, Schedule
from pymc_dynsys.discretization.stepping import (
    Stepping,
    refuse_discretization,
    scheme_of,
)

__all__ = [
    "Discretization",
    "EulerMaruyama",
    "Exact",
    "InputTable",
    "LinearTransition",
    "LocalLinearization",
    "MomentODE",
    "Rows",
    "Schedule",
    "Stepping",
    "TimeGrid",
    "build_grid",
    "default_scheme",
    "refuse_discretization",
    "scheme_of",
]
