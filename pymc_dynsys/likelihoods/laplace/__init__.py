"""Laplace's approximation of the likelihood, for data of any smooth distribution."""

from pymc_dynsys.likelihoods.laplace.laplace import Laplace

__all__ = ["Laplace"]
