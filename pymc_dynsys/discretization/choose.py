"""The scheme an expert would choose when the user states none."""

import numpy as np

from pymc_dynsys.discretization.base import Discretization
from pymc_dynsys.discretization.euler_maruyama import EulerMaruyama
from pymc_dynsys.discretization.exact import Exact
from pymc_dynsys.systems.bound import BoundSystem


def default_scheme(
    system: BoundSystem, gaps: np.ndarray, steps_per_gap: int
) -> tuple[Discretization, str]:
    """``Exact`` for linear dynamics, else Euler steps well below the median gap."""
    if system.proof.dynamics.linear:
        return Exact(), "the dynamics are linear"
    positive = gaps[gaps > 0]
    if positive.size == 0:
        return EulerMaruyama(dt=None), "there is no gap to cross"
    dt = float(f"{np.median(positive) / steps_per_gap:.3g}")
    return EulerMaruyama(dt=dt), f"the median gap is {np.median(positive):.3g}"
