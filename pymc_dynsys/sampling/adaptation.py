"""BlackJAX's adaptations: from places to start at, to states and parameters of a kernel.

All act on one flat vector of unconstrained values for each chain.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from blackjax.adaptation import window_adaptation
from blackjax.mcmc import integrators

from pymc_dynsys.sampling.chains import Chains

LogDensity = Callable[[Any], Any]


@dataclass(frozen=True)
class Warmup:
    """What an adaptation works with.

    Parameters
    ----------
    kernel : callable
        ``kernel(logdensity, **params, **options)`` is a ``blackjax.SamplingAlgorithm``.
    stats : callable
        ``stats(state, info, params, options)`` are the statistics of a step.
    logdensity : callable
        Of one flat vector.
    positions : array, (chain, dimension)
        Where the chains start.
    keys : array, (chain, 2)
        Random keys.
    chains : Chains
        How the chains are mapped.
    tune, draws : int
        Steps of the warm-up, and of the sampling after it.
    target_accept : float or None
        Acceptance rate to aim at.
    keep : bool
        Whether the draws of the warm-up are wanted.
    options, tuning : mapping
        What the user chose for the kernel, and for the adaptation.
    """

    kernel: Callable[..., Any]
    stats: Callable[..., dict[str, Any]]
    logdensity: LogDensity
    positions: np.ndarray
    keys: np.ndarray
    chains: Chains
    tune: int
    draws: int
    target_accept: float | None
    keep: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """For the progress bar."""
        return f"Tuning {len(self.keys)} chains ..."

    def each_chain(self, one_chain: Callable) -> Any:
        """``one_chain(key, position)`` of every chain, in one piece."""
        return self.chains.at_once(
            lambda: self.chains.map(one_chain, self.keys, self.positions), self.tune, self.title
        )


class Tuned(NamedTuple):
    """What an adaptation found, with the chain as first axis.

    `params` are those of the kernel, and `shared` are functions among them, which all chains have
    in common. `kept` are positions and statistics of the warm-up.
    """

    states: Any
    params: dict[str, Any]
    kept: tuple[Any, dict[str, Any]] | None = None
    shared: Mapping[str, Any] = {}


def windows(warmup: Warmup) -> Tuned:
    """``blackjax.window_adaptation``, whose parts are put together so that they run in pieces."""
    tuning = {"is_mass_matrix_diagonal": True, "initial_step_size": 1.0, **warmup.tuning}
    begin, update, final = window_adaptation.base(
        tuning["is_mass_matrix_diagonal"], target_acceptance_rate=warmup.target_accept
    )
    schedule = window_adaptation.build_schedule(warmup.tune)

    def start(position: Any) -> Any:
        adaptation = begin(position, tuning["initial_step_size"])
        kernel = warmup.kernel(warmup.logdensity, **_current(adaptation), **warmup.options)
        return kernel.init(position), adaptation

    def step(carry: Any, key: Any, i: Any) -> Any:
        state, adaptation = carry
        params = _current(adaptation)
        kernel = warmup.kernel(warmup.logdensity, **params, **warmup.options)
        new, info = kernel.step(key, state)
        stats = warmup.stats(new, info, params, warmup.options)
        adaptation = update(adaptation, schedule[i], new.position, info.acceptance_rate)
        return (new, adaptation), (new.position, stats) if warmup.keep else None

    (states, adapted), kept = warmup.chains.run(
        step, warmup.chains.map(start, warmup.positions), warmup.keys, warmup.tune, warmup.title
    )
    step_size, inverse_mass_matrix = warmup.chains.map(final, adapted)
    params = {"step_size": step_size, "inverse_mass_matrix": inverse_mass_matrix}
    return Tuned(states, params, kept)


def _current(adaptation: Any) -> dict[str, Any]:
    return {name: getattr(adaptation, name) for name in ("step_size", "inverse_mass_matrix")}


def chees(warmup: Warmup) -> Tuned:
    """``blackjax.chees_adaptation``: one step size and one trajectory length for all chains."""
    tuning = {"initial_step_size": 1.0, "optim": optax.adam(0.5), **warmup.tuning}
    initial_step_size, optim = tuning.pop("initial_step_size"), tuning.pop("optim")
    n, dimension = warmup.positions.shape

    def keep(states: Any, info: Any, adapted: Any) -> Any:
        if not warmup.keep:
            return None
        params = {"step_size": adapted.step_size, "inverse_mass_matrix": jnp.ones(dimension)}
        stats = partial(warmup.stats, params=params, options=warmup.options)
        return states.position, jax.vmap(stats)(states, info)

    adaptation = blackjax.chees_adaptation(
        warmup.logdensity,
        n,
        target_acceptance_rate=warmup.target_accept,
        adaptation_info_fn=keep,
        **tuning,
    )

    def work() -> Any:
        return adaptation.run(
            jnp.asarray(warmup.keys[0]),
            jnp.asarray(warmup.positions),
            initial_step_size,
            optim,
            warmup.tune,
            max_sampling_steps=warmup.draws,
        )

    (states, found), kept = warmup.chains.at_once(work, warmup.tune, warmup.title)
    names = ("step_size", "inverse_mass_matrix")
    params = {name: np.stack([np.asarray(found[name])] * n) for name in names}
    shared = {name: value for name, value in found.items() if name not in names}
    kept = jax.tree.map(lambda leaf: np.swapaxes(leaf, 0, 1), jax.device_get(kept))
    return Tuned(jax.device_get(states), params, kept, shared)


def microcanonical(warmup: Warmup) -> Tuned:
    """``blackjax.mclmc_find_L_and_step_size``, which takes a third of the steps that it is told."""

    def one_chain(key: Any, position: Any) -> Any:
        init_key, tune_key = jax.random.split(key)
        state, params, _ = blackjax.mclmc_find_L_and_step_size(
            mclmc_kernel=lambda inverse_mass_matrix: blackjax.mclmc.build_kernel(
                logdensity_fn=warmup.logdensity,
                inverse_mass_matrix=inverse_mass_matrix,
                **{"integrator": integrators.isokinetic_mclachlan, **warmup.options},
            ),
            num_steps=3 * warmup.tune,
            state=blackjax.mclmc.init(position, warmup.logdensity, init_key),
            rng_key=tune_key,
            **warmup.tuning,
        )
        return state, params._asdict()

    return Tuned(*warmup.each_chain(one_chain))


def adjusted_microcanonical(warmup: Warmup) -> Tuned:
    """``blackjax.adjusted_mclmc_find_L_and_step_size``, which takes 0.3 of the steps it is told."""

    def kernel(
        rng_key: Any,
        state: Any,
        avg_num_integration_steps: Any,
        step_size: Any,
        inverse_mass_matrix: Any,
    ) -> Any:
        made = warmup.kernel(
            warmup.logdensity,
            L=avg_num_integration_steps * step_size,
            step_size=step_size,
            inverse_mass_matrix=inverse_mass_matrix,
            **warmup.options,
        )
        return made.step(rng_key, state)

    def one_chain(key: Any, position: Any) -> Any:
        init_key, tune_key = jax.random.split(key)
        state, params, _ = blackjax.adjusted_mclmc_find_L_and_step_size(
            mclmc_kernel=kernel,
            num_steps=round(warmup.tune / 0.3),
            state=blackjax.adjusted_mclmc_dynamic.init(position, warmup.logdensity, init_key),
            rng_key=tune_key,
            target=warmup.target_accept,
            **warmup.tuning,
        )
        return state, params._asdict()

    return Tuned(*warmup.each_chain(one_chain))
