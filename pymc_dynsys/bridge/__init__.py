"""From PyMC and PyTensor to arrays and back: what touches their internals lives here."""

from pymc_dynsys.bridge import rewrites as rewrites
from pymc_dynsys.bridge import variables as variables
from pymc_dynsys.bridge.cells import observed_cells
from pymc_dynsys.bridge.data import data
from pymc_dynsys.bridge.path import Path
from pymc_dynsys.bridge.trajectory import Trajectory
from pymc_dynsys.reading.inputs import Input

__all__ = ["Input", "Path", "Trajectory", "data", "observed_cells"]
