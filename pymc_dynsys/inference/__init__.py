"""Labelled results: xarray in, xarray out."""

from pymc_dynsys.inference.forecast import forecast
from pymc_dynsys.inference.simulate import simulate
from pymc_dynsys.inference.states import sample_states

__all__ = ["forecast", "sample_states", "simulate"]
