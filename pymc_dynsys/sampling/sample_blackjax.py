"""BlackJAX's samplers on PyMC models, with the labelled results that ``pm.sample`` would give."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.sampling.chains import ChainMethod
from pymc_dynsys.sampling.checks import listed, require_count, require_method

if TYPE_CHECKING:
    from pymc_dynsys.sampling.algorithms import Algorithm

Initvals = Mapping[Any, Any] | Sequence[Mapping[Any, Any] | None]
Name = Literal["hmc", "nuts", "dynamic_hmc", "mclmc", "adjusted_mclmc_dynamic"]


def sample_blackjax(
    algorithm: Name = "hmc",
    *,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    target_accept: float | None = None,
    random_seed: Any = None,
    initvals: Initvals | None = None,
    jitter: bool = True,
    chain_method: ChainMethod = "vectorized",
    model: pm.Model | None = None,
    progressbar: bool = True,
    keep_warmup: bool = False,
    **kernel_options: Any,
) -> xr.DataTree:
    r"""Sample the posterior with a kernel of BlackJAX and the adaptation BlackJAX has for it.

    The kernels leave :math:`p(\theta \mid y)` invariant, up to the bias of ``"mclmc"``; they see
    it through PyMC's log-density of the transformed variables, :math:`\log p(\theta, y)`.

    Parameters
    ----------
    algorithm : str
        The kernel, by its name in BlackJAX, and its adaptation:

        ``"hmc"``
            Trajectories of `num_integration_steps` steps, which you choose;
            ``window_adaptation`` finds the step size and the variances. See the notes.
        ``"nuts"``
            Trajectories until they turn; ``window_adaptation`` too.
        ``"dynamic_hmc"``
            Trajectories of quasi-random lengths; ``chees_adaptation`` finds one step size and one
            mean length for all chains together, so it wants many of them, and at least two. It
            finds no variances: scale the variables alike.
        ``"mclmc"``
            Microcanonical Langevin; ``mclmc_find_L_and_step_size``. Nothing is accepted or
            refused, see the notes.
        ``"adjusted_mclmc_dynamic"``
            The same dynamics in trajectories of random lengths that are accepted or refused;
            ``adjusted_mclmc_find_L_and_step_size``.
    draws, tune : int
        Draws of each chain, and steps of the warm-up before them.
    chains : int
        Number of chains.
    target_accept : float, optional
        Acceptance rate to aim at, between 0 and 1. Default: that of BlackJAX, 0.8 for ``"hmc"``
        and ``"nuts"`` and 0.651 for ``"dynamic_hmc"``; for ``"adjusted_mclmc_dynamic"``, where
        BlackJAX has none, 0.9. ``"mclmc"`` refuses nothing and takes none.
    random_seed : int or Generator, optional
        The same seed gives the same draws on the same machine.
    initvals : mapping or sequence of mappings, optional
        Where to start, for all chains or for each, as in ``pm.sample``; PyMC's jitter comes on top.
    jitter : bool
        Whether it does. Starts from :func:`warm_start` are spread already.
    chain_method : {"vectorized", "parallel"}
        All chains in one program on one device, or each on a device of its own, of which a CPU
        offers as many as wanted. In parallel, a chain does not wait for the trajectories of others.
        The warm-up of ``"dynamic_hmc"`` is always vectorized.
    model : pm.Model, optional
        The model; default: that of the ``with`` block.
    progressbar : bool
        Show the progress. The adaptations of ``"dynamic_hmc"`` and of the microcanonical samplers
        are one piece each, so their bar moves when they are done.
    keep_warmup : bool
        Whether to return the warm-up too, which BlackJAX does not give for the microcanonical
        samplers.
    **kernel_options
        For BlackJAX. An option that the algorithm does not have is an error that lists those it
        has, for instance `num_integration_steps` of ``"hmc"``, `max_num_doublings` of ``"nuts"``,
        `is_mass_matrix_diagonal` and `initial_step_size` of both, `desired_energy_var` of
        ``"mclmc"``.

    Returns
    -------
    DataTree
        As from ``pm.sample``: ``posterior`` with the dims and coords of the model, without its
        transformed variables, ``sample_stats``, ``observed_data``, ``constant_data``, and
        with `keep_warmup` ``warmup_posterior`` and ``warmup_sample_stats``. The statistics are
        ``lp``, ``diverging`` and ``step_size``, ``acceptance_rate`` and ``n_steps`` but for
        ``"mclmc"``, ``energy`` where there is a Hamiltonian, ``tree_depth`` and
        ``reached_max_treedepth`` of ``"nuts"``, and ``energy_error`` of ``"mclmc"``, whose steps
        diverge if they end nowhere finite.

    Raises
    ------
    ValueError, TypeError
        If an argument or option makes no sense, or the model has discrete or no free variables.
    SamplingError
        If the log-density or its gradient is not finite where the chains start, with the variables
        that make it so; or if an adaptation ends without a step size.

    Notes
    -----
    ``"hmc"`` with a fixed number of steps may meet a resonance: near half a period of the dynamics
    it throws a draw to the other side of the mean, no nearer and no further, and near a whole
    period back to where it was. Means then look better than those of independent draws while
    spreads do not mix, which the tails' effective size and rhat show. Change
    `num_integration_steps`, or take ``"nuts"`` or ``"dynamic_hmc"``, which vary the length.

    ``"mclmc"`` is not exact: its draws come from a distribution that differs from the posterior
    by an error of discretization, which `desired_energy_var`, the variance of the energy error per
    dimension (5e-4), keeps small, and which no diagnostic shows. Take a smaller one and compare,
    or adjust. A draw is one step of the integrator, so ask for many: expect an effective one out
    of several.
    The microcanonical samplers need two free values or more, and 100 steps of warm-up.

    ``"dynamic_hmc"`` starts ChEES from `initial_step_size` 1 with `optim` ``optax.adam(0.5)``,
    which BlackJAX leaves open. BlackJAX's ``mala`` and ``barker`` are missing here, since it has
    no adaptation of their steps. For most models ``pm.sample`` with NUTS is the better choice; HMC
    pays where a good length of trajectory is known, as chains never wait for one another.

    References
    ----------
    Cabezas, Corenflos, Lao and Louf (2024). BlackJAX: composable Bayesian inference in JAX.
    arXiv:2402.10797. ChEES: Hoffman, Radul and Sountsov (2021), AISTATS. Microcanonical: Robnik,
    De Luca, Silverstein and Seljak (2023), JMLR 24; adjusted: Robnik, Cohn-Gordon and Seljak
    (2025), arXiv:2503.01707.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model() as model:
    ...     scale = pm.HalfNormal("scale")
    ...     y = pm.Normal("y", 0.0, scale, observed=[0.3, -1.2, 0.8])
    ...     idata = pds.sample_blackjax(
    ...         "hmc", num_integration_steps=2, random_seed=1, progressbar=False
    ...     )
    >>> dict(idata["posterior"]["scale"].sizes)
    {'chain': 4, 'draw': 1000}
    """
    # BlackJAX starts JAX when it is imported, after which devices and hosts cannot be chosen.
    from pymc_dynsys.sampling.algorithms import ALGORITHMS
    from pymc_dynsys.sampling.run import Settings, run_algorithm
    from pymc_dynsys.sampling.unconstrained import Unconstrained

    model = pm.modelcontext(model)
    if algorithm not in ALGORITHMS:
        raise ValueError(f"algorithm: got {algorithm!r}, expected one of {listed(ALGORITHMS)}")
    chosen = ALGORITHMS[algorithm]
    require_count("draws", draws, 1)
    require_count("tune", tune, chosen.least_tune, f" for {algorithm}")
    require_count("chains", chains, chosen.least_chains, f" for {algorithm}")
    target = _target(algorithm, chosen, target_accept)
    options, tuning = _options(algorithm, chosen, kernel_options)
    if keep_warmup and not chosen.keeps_warmup:
        others = listed(name for name, other in ALGORITHMS.items() if other.keeps_warmup)
        raise ValueError(
            f"keep_warmup: BlackJAX's adaptation of {algorithm} does not give its draws back; "
            f"leave it out, or use {others}"
        )
    require_method(chain_method, chains)

    rng = np.random.default_rng(random_seed)
    density = Unconstrained(model, initvals, chains, rng, jitter)
    dimension = density.starts.shape[1]
    if dimension < chosen.least_dimension:
        raise ValueError(
            f"algorithm: {algorithm} needs at least {chosen.least_dimension} free values, and the "
            f"model has {dimension}; use 'hmc' or 'nuts'"
        )
    settings = Settings(draws, tune, chains, chain_method, target, keep_warmup, options, tuning)
    return run_algorithm(algorithm, chosen, density, settings, rng, progressbar)


def _target(name: str, algorithm: "Algorithm", given: float | None) -> float | None:
    if given is None:
        return algorithm.target_accept
    if algorithm.target_accept is None:
        raise ValueError(
            f"target_accept: got {given!r}, but {name} accepts every step; leave it out, and set "
            "desired_energy_var for smaller steps"
        )
    if not 0.0 < given < 1.0:
        raise ValueError(f"target_accept: got {given!r}, expected a number between 0 and 1")
    return given


def _options(name: str, algorithm: "Algorithm", given: Mapping[str, Any]) -> tuple[dict, dict]:
    """Options of the kernel, and of the adaptation."""
    known = (*algorithm.options, *algorithm.tuning)
    unknown = [option for option in given if option not in known]
    if unknown:
        raise TypeError(
            f"{name} has no option {listed(unknown)}; it has {listed(known)}, and "
            "sample_blackjax those of its signature"
        )
    missing = [option for option in algorithm.required if option not in given]
    if missing:
        raise TypeError(
            f"{name} needs {listed(missing)}, for which there is no good default: for instance "
            f"{missing[0]}=10, or algorithm='nuts', which needs none"
        )
    for option in ("num_integration_steps", "max_num_doublings"):
        if option in given:
            require_count(option, given[option], 1)
    return (
        {option: value for option, value in given.items() if option in algorithm.options},
        {option: value for option, value in given.items() if option in algorithm.tuning},
    )
