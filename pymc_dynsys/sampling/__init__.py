"""BlackJAX's samplers on PyMC models."""

from pymc_dynsys.sampling.sample_blackjax import sample_blackjax

__all__ = ["sample_blackjax"]
