"""BlackJAX's samplers on PyMC models."""

from pymc_dynsys.sampling.sample_blackjax import sample_blackjax
from pymc_dynsys.sampling.sample_pmmh import sample_pmmh

__all__ = ["sample_blackjax", "sample_pmmh"]
