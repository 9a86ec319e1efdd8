"""Particle marginal Metropolis-Hastings on PyMC models with a :class:`ParticleFilter`."""

import warnings
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.sampling.chains import ChainMethod
from pymc_dynsys.sampling.checks import require_count, require_method
from pymc_dynsys.sampling.sample_blackjax import Initvals

if TYPE_CHECKING:
    from pymc_dynsys.sampling.estimated import Estimated

TARGET_ACCEPT = 0.2
"""Rate at which a random walk in a few dimensions does best on a log-likelihood with an sd of 1."""

TOLERABLE_SD = 1.5
"""Sd of the log-likelihood at the start from which on chains stick."""


def sample_pmmh(
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    target_accept: float = TARGET_ACCEPT,
    random_seed: Any = None,
    initvals: Initvals | None = None,
    chain_method: ChainMethod = "vectorized",
    model: pm.Model | None = None,
    progressbar: bool = True,
    keep_warmup: bool = False,
) -> xr.DataTree:
    r"""Sample the posterior of a model whose likelihood is estimated by particles.

    A random walk of BlackJAX on :math:`p(\theta)\,\hat p(y \mid \theta)`, whose estimate is drawn
    anew at each proposal :math:`\theta'` and kept where the chain is:

    .. math:: a = \min\left(1, \frac{p(\theta')\,\hat p(y \mid \theta')}
              {p(\theta)\,\hat p(y \mid \theta)}\right)

    Since the estimate is unbiased the draws come from the exact posterior, however few the
    particles; with few of them a chain sticks where an estimate came out high.

    Parameters
    ----------
    draws, tune : int
        Draws of each chain, and steps of the warm-up before them, in which covariance and scale of
        the moves are adapted. Draws are cheap and depend on each other: ask for many.
    chains : int
        Number of chains. Covariances and scales are averaged over them after the warm-up.
    target_accept : float
        Acceptance rate to aim at, between 0 and 1.
    random_seed : int or Generator, optional
        The same seed gives the same draws on the same machine. The seed of the likelihood is not
        used.
    initvals : mapping or sequence of mappings, optional
        Where to start, for all chains or for each, as in ``pm.sample``; PyMC's jitter comes on top.
    chain_method : {"vectorized", "parallel"}
        All chains in one program on one device, or each on a device of its own, of which a CPU
        offers as many as wanted.
    model : pm.Model, optional
        The model; default: that of the ``with`` block.
    progressbar : bool
        Show the progress.
    keep_warmup : bool
        Whether to return the warm-up too.

    Returns
    -------
    DataTree
        As from :func:`sample_blackjax`. The statistics are ``lp``, ``log_likelihood`` (the estimate
        kept at the draw, of all trajectories with a particle filter together),
        ``acceptance_rate``, ``accepted`` and ``step_size``. The attribute ``log_likelihood_sd`` of
        the posterior is the sd of that estimate at the start with the highest log-density.

    Raises
    ------
    ValueError
        If an argument makes no sense, or the model has no :class:`ParticleFilter`, or discrete or
        no free variables.
    SamplingError
        If the log-density is not finite where the chains start.

    Warns
    -----
    UserWarning
        If the sd of the log-likelihood at the best of the starts exceeds 1.5, with the number of
        particles that would bring it to 1.

    Notes
    -----
    Choose as many particles as make the sd of the log-likelihood about 1 where the posterior is
    high; ``check_likelihood`` measures it for each trajectory, and variances add up over
    trajectories. So this is a sampler for few parameters and few trajectories.
    ``pm.Metropolis`` and ``pm.DEMetropolisZ`` use one seed throughout, whose log-likelihood jumps
    from one parameter value to the next: they stick between its cliffs.

    References
    ----------
    Andrieu, Doucet and Holenstein (2010), *JRSS B* 72, 269-342, sec. 2.4.2. Andrieu and Roberts
    (2009), *Annals of Statistics* 37, 697-725. Doucet, Pitt, Deligiannidis and Kohn (2015),
    *Biometrika* 102, 295-313 (how many particles).

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> counts = pds.DiscreteTime(
    ...     states=("rate",),
    ...     transition=lambda rate, shape: dist.Gamma(shape, shape / rate),
    ...     observation=lambda rate: dist.Poisson(rate),
    ...     initial=dist.Gamma(2.0, 1.0),
    ... )
    >>> with pm.Model(coords={"time": np.arange(5)}) as model:
    ...     y = pds.Trajectory(
    ...         "y", counts, params={"shape": pm.LogNormal("shape", 2.0, 0.5)},
    ...         observed=[2, 3, 1, 4, 2], dims="time", likelihood=pds.ParticleFilter(50),
    ...     )
    ...     idata = pds.sample_pmmh(draws=50, tune=50, random_seed=1, progressbar=False)
    >>> dict(idata["sample_stats"]["log_likelihood"].sizes)
    {'chain': 4, 'draw': 50}
    """
    # BlackJAX starts JAX when it is imported, after which devices and hosts cannot be chosen.
    from pymc_dynsys.sampling.algorithms import Algorithm
    from pymc_dynsys.sampling.estimated import Estimated
    from pymc_dynsys.sampling.random_walk import adapt_covariance, pseudo_marginal, stats_of
    from pymc_dynsys.sampling.run import Settings, run_algorithm

    model = pm.modelcontext(model)
    require_count("draws", draws, 1)
    require_count("tune", tune, 1)
    require_count("chains", chains, 1)
    if not 0.0 < target_accept < 1.0:
        raise ValueError(f"target_accept: got {target_accept!r}, expected a number between 0 and 1")
    require_method(chain_method, chains)
    rng = np.random.default_rng(random_seed)
    density = Estimated(model, initvals, chains, rng)
    _warn_of_spread(density)
    adapt = partial(adapt_covariance, logdensities=density.logdensities)
    walk = Algorithm(pseudo_marginal, stats_of(density.known), adapt, (), ())
    settings = Settings(draws, tune, chains, chain_method, target_accept, keep_warmup)
    idata = run_algorithm("the random walk", walk, density, settings, rng, progressbar)
    idata["posterior"].attrs["log_likelihood_sd"] = density.spread
    return idata


def _warn_of_spread(density: "Estimated") -> None:
    """Warn where estimates differ so much that chains would stick."""
    sd = density.spread
    if sd <= TOLERABLE_SD:
        return
    if np.isfinite(sd):
        found = {likelihood.enough(sd, 1.0) for likelihood in density.likelihoods}
        what = f"has an sd of {sd:.1f} over its noise"
        remedy = f"{' and '.join(sorted(filter(None, found)))} would bring it to about 1"
    else:
        what = "is minus infinity with some of its noise"
        remedy = "more particles, or a start that explains the data better (initvals=), mend that"
    warnings.warn(
        f"sample_pmmh: the log-likelihood {what} at the best start, so that chains will stick "
        f"at estimates that come out high: {remedy}",
        UserWarning,
        stacklevel=3,
    )
