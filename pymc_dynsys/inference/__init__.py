"""Labelled results: xarray in, xarray out."""

from pymc_dynsys.inference.simulate import simulate
from pymc_dynsys.inference.states import sample_states

__all__ = ["sample_states", "simulate"]
