"""Plots in the manner of arviz-plots: DataTree in, PlotCollection out."""

from pymc_dynsys.plots.data import plot_data
from pymc_dynsys.plots.forecast import plot_forecast
from pymc_dynsys.plots.innovations import plot_innovations
from pymc_dynsys.plots.phase import plot_phase
from pymc_dynsys.plots.predictive_check import plot_predictive_check
from pymc_dynsys.plots.responses import plot_impulse_response, plot_lagged_effects
from pymc_dynsys.plots.trajectories import plot_trajectories

__all__ = [
    "plot_data",
    "plot_forecast",
    "plot_impulse_response",
    "plot_innovations",
    "plot_lagged_effects",
    "plot_phase",
    "plot_predictive_check",
    "plot_trajectories",
]
