"""The only room that touches PyTensor and PyMC internals."""

from pymc_dynsys.bridge.data import data
from pymc_dynsys.bridge.schedule import Input
from pymc_dynsys.bridge.trajectory import Trajectory

__all__ = ["Input", "Trajectory", "data"]
