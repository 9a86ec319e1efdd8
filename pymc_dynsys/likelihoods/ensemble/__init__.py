"""Ensemble Kalman filter and smoother."""

from pymc_dynsys.likelihoods.ensemble.enkf import EnKF
from pymc_dynsys.likelihoods.ensemble.variants import Perturbed, SquareRoot

__all__ = ["EnKF", "Perturbed", "SquareRoot"]
