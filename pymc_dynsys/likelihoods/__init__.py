"""Likelihoods of one trajectory, both passes of each algorithm, and their evaluation over a batch.

Nothing here knows PyMC. ``base.py`` says what a likelihood is, ``registry.py`` which there are.
"""

from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.likelihoods.ekf import EKF
from pymc_dynsys.likelihoods.ensemble import EnKF, Perturbed, SquareRoot
from pymc_dynsys.likelihoods.kalman import Kalman
from pymc_dynsys.likelihoods.laplace import Laplace
from pymc_dynsys.likelihoods.ode import ODESolve
from pymc_dynsys.likelihoods.particle import Bootstrap, Optimal, ParticleFilter
from pymc_dynsys.likelihoods.registry import choose_likelihood
from pymc_dynsys.likelihoods.ukf import UKF

__all__ = [
    "EKF",
    "UKF",
    "Bootstrap",
    "EnKF",
    "Kalman",
    "Laplace",
    "Likelihood",
    "ODESolve",
    "Optimal",
    "ParticleFilter",
    "Perturbed",
    "SquareRoot",
    "choose_likelihood",
]
