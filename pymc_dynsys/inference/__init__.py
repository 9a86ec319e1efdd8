"""Labelled results: xarray in, xarray out."""

from pymc_dynsys.inference.check import check_likelihood
from pymc_dynsys.inference.check_data import check_data
from pymc_dynsys.inference.describe import describe
from pymc_dynsys.inference.forecast import forecast
from pymc_dynsys.inference.impulse_response import impulse_response
from pymc_dynsys.inference.innovations import innovations
from pymc_dynsys.inference.lagged_effects import lagged_effects
from pymc_dynsys.inference.log_likelihood import log_likelihood
from pymc_dynsys.inference.simulate import simulate
from pymc_dynsys.inference.states import sample_states

__all__ = [
    "check_data",
    "check_likelihood",
    "describe",
    "forecast",
    "impulse_response",
    "innovations",
    "lagged_effects",
    "log_likelihood",
    "sample_states",
    "simulate",
]
