"""Warm-up and sampling of several chains, with labelled results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import xarray as xr
from pymc.exceptions import SamplingError
from pymc.progress_bar import create_simple_progress
from pymc.stats.convergence import log_warnings, run_convergence_checks

from pymc_dynsys.inference.blocks import draw_keys
from pymc_dynsys.sampling.adaptation import Warmup
from pymc_dynsys.sampling.algorithms import Algorithm
from pymc_dynsys.sampling.chains import ChainMethod, Chains
from pymc_dynsys.sampling.checks import listed
from pymc_dynsys.sampling.unconstrained import Unconstrained


@dataclass(frozen=True)
class Settings:
    """What a user chose of a run: its lengths, its chains, and options of kernel and adaptation."""

    draws: int
    tune: int
    chains: int
    chain_method: ChainMethod
    target_accept: float | None
    keep_warmup: bool
    options: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)


def run_algorithm(
    name: str,
    algorithm: Algorithm,
    density: Unconstrained,
    settings: Settings,
    rng: np.random.Generator,
    progressbar: bool,
) -> xr.DataTree:
    """Tune, sample, label, and warn of chains that have not converged."""
    chains = settings.chains
    tuning_keys, sampling_keys = draw_keys(rng, 2, (chains,))
    progress = create_simple_progress(progressbar=progressbar)
    start = perf_counter()
    with progress:
        warmup = Warmup(
            kernel=algorithm.kernel,
            stats=algorithm.stats,
            logdensity=density.logp,
            positions=density.starts,
            keys=tuning_keys,
            chains=Chains(settings.chain_method, chains, progress),
            tune=settings.tune,
            draws=settings.draws,
            target_accept=settings.target_accept,
            keep=settings.keep_warmup,
            options=settings.options,
            tuning=settings.tuning,
        )
        tuned = algorithm.tune(warmup)
        _require_tuned(name, tuned.params)
        _, (positions, stats) = warmup.chains.run(
            algorithm.step(density.logp, settings.options, tuned),
            (tuned.states, tuned.params),
            sampling_keys,
            settings.draws,
            f"Sampling {chains} chains ...",
        )
    seconds = perf_counter() - start
    groups = {"posterior": positions, "sample_stats": stats}
    if tuned.kept is not None:
        groups["warmup_posterior"], groups["warmup_sample_stats"] = tuned.kept
    attrs = {"sampling_time": seconds, "tuning_steps": settings.tune}
    idata = density.tree(groups, attrs)
    log_warnings(run_convergence_checks(idata, density.model))
    return idata


def _require_tuned(name: str, params: Mapping[str, np.ndarray]) -> None:
    bad = [param for param, value in params.items() if not np.isfinite(value).all()]
    if bad:
        raise SamplingError(
            f"the adaptation of {name} ended with {listed(bad)} that are not finite; give it more "
            "steps with tune=, or start it elsewhere with initvals="
        )
