"""Hierarchical effects: ordinary PyMC variables with dims, for any model or ``Trajectory``."""

from pymc_dynsys.effects.combine import combine
from pymc_dynsys.effects.correlated import correlated
from pymc_dynsys.effects.covariates import covariates
from pymc_dynsys.effects.reparametrize import reparametrize
from pymc_dynsys.effects.scales import Log, Logit
from pymc_dynsys.effects.varying import varying

__all__ = [
    "Log",
    "Logit",
    "combine",
    "correlated",
    "covariates",
    "reparametrize",
    "varying",
]
