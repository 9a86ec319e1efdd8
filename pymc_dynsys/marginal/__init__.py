"""Marginal fits: effects of a dim integrated out, parameters estimated with standard errors.

Here live the integral over effects, its gradient and its maximum. It knows PyMC by its public
functions and the models of users only as log-densities: nothing here asks whether there is a
trajectory in them.
"""

from pymc_dynsys.marginal.compare_marginal import compare_marginal
from pymc_dynsys.marginal.fit_marginal import fit_marginal
from pymc_dynsys.marginal.marginal_log_likelihood import marginal_log_likelihood
from pymc_dynsys.marginal.profile_marginal import profile_marginal
from pymc_dynsys.marginal.warm_start import warm_start

__all__ = [
    "compare_marginal",
    "fit_marginal",
    "marginal_log_likelihood",
    "profile_marginal",
    "warm_start",
]
