"""Particle filter, its proposals and its smoother."""

from pymc_dynsys.likelihoods.particle.particle_filter import ParticleFilter
from pymc_dynsys.likelihoods.particle.proposals import Bootstrap, Optimal

__all__ = ["Bootstrap", "Optimal", "ParticleFilter"]
