"""Gaussian filters and smoothers: forward and backward passes over one linear model."""

from pymc_dynsys.likelihoods.gaussian.run import GaussianFilter, GaussianRun

__all__ = ["GaussianFilter", "GaussianRun"]
