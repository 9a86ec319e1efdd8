"""States behind a likelihood: their moments and draws, one algorithm a file."""

from pymc_dynsys.smoothers.batch import Given, innovations, state_draws, state_moments

__all__ = ["Given", "innovations", "state_draws", "state_moments"]
