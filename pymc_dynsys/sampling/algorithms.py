"""The kernels of BlackJAX that may be asked for by name, and what can be chosen of each."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import blackjax
import jax
import jax.numpy as jnp
from blackjax.mcmc import metrics
from blackjax.mcmc.adjusted_mclmc_dynamic import rescale

from pymc_dynsys.sampling import adaptation as tuning
from pymc_dynsys.sampling.adaptation import LogDensity, Tuned, Warmup


@dataclass(frozen=True)
class Algorithm:
    """A kernel of BlackJAX, and the adaptation that BlackJAX has for it.

    Parameters
    ----------
    kernel : callable
        ``kernel(logdensity, **params, **options)`` is a ``blackjax.SamplingAlgorithm``.
    stats : callable
        ``stats(state, info, params, options)`` are the statistics of a step.
    tune : callable
        The adaptation.
    options, tuning : tuple of str
        What a user may choose of the kernel, and of the adaptation.
    required : tuple of str
        What a user must choose.
    target_accept : float or None
        The default. None: nothing is refused.
    keeps_warmup : bool
        Whether the adaptation gives its draws back.
    least_tune, least_chains, least_dimension : int
        With less than that it does not run, or tunes to nonsense.
    """

    kernel: Callable[..., Any]
    stats: Callable[..., dict[str, Any]]
    tune: Callable[[Warmup], Tuned]
    options: tuple[str, ...]
    tuning: tuple[str, ...]
    required: tuple[str, ...] = ()
    target_accept: float | None = 0.8
    keeps_warmup: bool = True
    least_tune: int = 1
    least_chains: int = 1
    least_dimension: int = 1

    def step(self, logdensity: LogDensity, options: Mapping[str, Any], tuned: Tuned) -> Callable:
        """One draw of one chain, as `Chains.run` wants it."""

        def step(carry: Any, key: Any, i: Any) -> Any:
            state, params = carry
            kernel = self.kernel(logdensity, **params, **tuned.shared, **options)
            new, info = kernel.step(key, state)
            return (new, params), (new.position, self.stats(new, info, params, options))

        return step


MOST_STEPS = 1000
"""Of a trajectory: about as many as in BlackJAX's other samplers, where they are limited."""


def adjusted_mclmc(
    logdensity: LogDensity, L: Any, step_size: Any, inverse_mass_matrix: Any, **options: Any
) -> Any:
    """``blackjax.adjusted_mclmc_dynamic``, with trajectories of random lengths, on average `L`."""

    def integration_steps(key: Any) -> Any:
        steps = jnp.ceil(jax.random.uniform(key) * rescale(L / step_size))
        return jnp.minimum(steps, MOST_STEPS)

    return blackjax.adjusted_mclmc_dynamic(
        logdensity,
        step_size,
        inverse_mass_matrix=inverse_mass_matrix,
        integration_steps_fn=integration_steps,
        **options,
    )


def adjusted_stats(state: Any, info: Any, params: Any, options: Any) -> dict[str, Any]:
    """Statistics of a trajectory that is accepted or refused, named as in PyMC and ArviZ."""
    return {
        "lp": state.logdensity,
        "diverging": info.is_divergent,
        "acceptance_rate": info.acceptance_rate,
        "step_size": params["step_size"],
        "n_steps": jnp.asarray(info.num_integration_steps, int),
    }


def hmc_stats(state: Any, info: Any, params: Any, options: Any) -> dict[str, Any]:
    """Statistics of a trajectory with a Hamiltonian.

    BlackJAX gives the energy of the proposal. The chain has that one only if it was accepted, and
    else the energy that it started from.
    """
    kinetic = metrics.default_metric(params["inverse_mass_matrix"]).kinetic_energy
    stayed = kinetic(info.momentum) - state.logdensity
    energy = jnp.where(info.is_accepted, info.energy, stayed)
    return {**adjusted_stats(state, info, params, options), "energy": energy}


def nuts_stats(state: Any, info: Any, params: Any, options: Any) -> dict[str, Any]:
    """Statistics of a trajectory that doubles until it turns."""
    depth = info.num_trajectory_expansions
    stopped = info.is_turning | info.is_divergent
    return {
        **adjusted_stats(state, info, params, options),
        "energy": info.energy,
        "tree_depth": depth,
        "reached_max_treedepth": ~stopped & (depth >= options.get("max_num_doublings", 10)),
    }


def mclmc_stats(state: Any, info: Any, params: Any, options: Any) -> dict[str, Any]:
    """Statistics of one step of the integrator, which diverges if it ends nowhere finite."""
    return {
        "lp": state.logdensity,
        "diverging": ~info.nonans,
        "step_size": params["step_size"],
        "energy_error": info.energy_change,
    }


_TRAJECTORY = ("divergence_threshold", "integrator")
_WINDOWS = ("is_mass_matrix_diagonal", "initial_step_size")

ALGORITHMS = {
    "hmc": Algorithm(
        blackjax.hmc,
        hmc_stats,
        tuning.windows,
        options=("num_integration_steps", *_TRAJECTORY),
        tuning=_WINDOWS,
        required=("num_integration_steps",),
    ),
    "nuts": Algorithm(
        blackjax.nuts,
        nuts_stats,
        tuning.windows,
        options=("max_num_doublings", *_TRAJECTORY),
        tuning=_WINDOWS,
    ),
    "dynamic_hmc": Algorithm(
        blackjax.dynamic_hmc,
        hmc_stats,
        tuning.chees,
        options=("divergence_threshold",),
        tuning=(
            "initial_step_size",
            "optim",
            "jitter_generator",
            "jitter_amount",
            "decay_rate",
            "max_leapfrog_steps",
        ),
        target_accept=0.651,
        least_chains=2,
    ),
    "mclmc": Algorithm(
        blackjax.mclmc,
        mclmc_stats,
        tuning.microcanonical,
        options=("integrator",),
        tuning=(
            "desired_energy_var",
            "diagonal_preconditioning",
            "Lfactor",
            "trust_in_estimate",
            "num_effective_samples",
        ),
        target_accept=None,
        keeps_warmup=False,
        least_tune=100,
        least_dimension=2,
    ),
    "adjusted_mclmc_dynamic": Algorithm(
        adjusted_mclmc,
        adjusted_stats,
        tuning.adjusted_microcanonical,
        options=_TRAJECTORY,
        tuning=("diagonal_preconditioning", "max", "num_windows", "tuning_factor"),
        target_accept=0.9,
        keeps_warmup=False,
        least_tune=100,
        least_dimension=2,
    ),
}
