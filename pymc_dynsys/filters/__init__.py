"""Likelihoods of one trajectory, one algorithm a file, and their evaluation over a batch."""

from pymc_dynsys.filters.base import Likelihood, choose_likelihood
from pymc_dynsys.filters.ekf import EKF
from pymc_dynsys.filters.enkf import EnKF
from pymc_dynsys.filters.ensemble_variants import Perturbed, SquareRoot
from pymc_dynsys.filters.kalman import Kalman
from pymc_dynsys.filters.ode_solve import ODESolve
from pymc_dynsys.filters.ukf import UKF

__all__ = [
    "EKF",
    "UKF",
    "EnKF",
    "Kalman",
    "Likelihood",
    "ODESolve",
    "Perturbed",
    "SquareRoot",
    "choose_likelihood",
]
