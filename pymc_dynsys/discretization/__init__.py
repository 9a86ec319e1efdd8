"""From dynamics over a gap between two visits to a transition: schemes, rows and their gaps.

One scheme a file; ``operands``, ``layout``, ``rows`` and ``grid`` lay arrays of a batch out on the
rows that are crossed. Nothing here knows PyMC, or likelihoods.
"""

from pymc_dynsys.discretization.base import Discretization, LinearTransition, Transition
from pymc_dynsys.discretization.choose import default_scheme
from pymc_dynsys.discretization.euler_maruyama import EulerMaruyama
from pymc_dynsys.discretization.events import Doses
from pymc_dynsys.discretization.exact import Exact
from pymc_dynsys.discretization.grid import TimeGrid, build_grid, gaps_of, prepare_grid
from pymc_dynsys.discretization.local_linearization import LocalLinearization
from pymc_dynsys.discretization.moment_ode import MomentODE
from pymc_dynsys.discretization.operands import Design, InputKind, Operands, Signal
from pymc_dynsys.discretization.rows import Rows, at_row, over_gap
from pymc_dynsys.discretization.stepping import (
    Stepping,
    refuse_discretization,
    require_steps,
    scheme_of,
)

__all__ = [
    "Design",
    "Discretization",
    "Doses",
    "EulerMaruyama",
    "Exact",
    "InputKind",
    "LinearTransition",
    "LocalLinearization",
    "MomentODE",
    "Operands",
    "Rows",
    "Signal",
    "Stepping",
    "TimeGrid",
    "Transition",
    "at_row",
    "build_grid",
    "default_scheme",
    "gaps_of",
    "over_gap",
    "prepare_grid",
    "refuse_discretization",
    "require_steps",
    "scheme_of",
]
