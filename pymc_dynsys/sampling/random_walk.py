r"""A random walk with a log-density that is estimated anew at each proposal.

Legend: q position; C covariance of the chain so far, mean m; s scale of the moves, N(0, s^2 C);
gain of the adaptation at step i.

.. math:: \gamma_i = (i + 20)^{-0.6}, \quad m \leftarrow m + \gamma (q - m), \quad
          C \leftarrow C + \gamma ((q - m)(q - m)' - C), \quad
          \log s \leftarrow \log s + \gamma (a - a^*)

with a the acceptance rate of the step and a* the one that is wanted (Andrieu and Thoms 2008,
algorithm 4). After the warm-up covariances and scales are averaged over the chains, which tell more
together than each alone, and stay.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from blackjax.mcmc import random_walk
from jaxtyping import Array, Float

from pymc_dynsys.sampling.adaptation import Tuned, Warmup

BEGIN = 0.1
"""Sd of the first moves in each unconstrained value."""

LATE = 20.0
"""Steps from which on gains count, so that the first moves do not say all."""

RIDGE = 1e-9
"""Least variance, which keeps the covariance of a chain that has not moved positive."""

Estimate = Callable[[Array, Array], Array]


class Adapting(NamedTuple):
    """What the warm-up has learnt of a chain."""

    mean: Float[Array, " value"]
    covariance: Float[Array, "value value"]
    log_scale: Float[Array, ""]


Carry = tuple[random_walk.RWState, Adapting]


def pseudo_marginal(estimate: Estimate, scale: Array, factor: Array) -> Any:
    """BlackJAX's additive random walk on ``estimate(position, key)``, with a key for each proposal.

    The estimate at the current position is kept, as it must be for the posterior to be invariant
    (Andrieu and Roberts 2009).
    """
    kernel = random_walk.build_additive_step()

    def step(key: Array, state: random_walk.RWState) -> tuple[Any, Any]:
        of_move, of_estimate = jax.random.split(key)
        return kernel(
            of_move,
            state,
            lambda position: estimate(position, of_estimate),
            lambda key, position: scale * factor @ jax.random.normal(key, position.shape),
        )

    return blackjax.SamplingAlgorithm(random_walk.init, step)


def stats_of(known: Callable[[Array], Array]) -> Callable[..., dict[str, Array]]:
    """Statistics of a step; `known` is the part of the log-density that is not estimated."""

    def stats(
        state: random_walk.RWState,
        info: random_walk.RWInfo,
        params: Mapping[str, Array],
        options: Mapping[str, Any],
    ) -> dict[str, Array]:
        return {
            "lp": state.logdensity,
            "log_likelihood": state.logdensity - known(state.position),
            "acceptance_rate": info.acceptance_rate,
            "accepted": info.is_accepted,
            "step_size": params["scale"],
        }

    return stats


def adapt_covariance(warmup: Warmup, logdensities: Float[np.ndarray, " chain"]) -> Tuned:
    """Covariance and scale of the moves; `logdensities` are estimates where the chains start."""
    n, dimension = warmup.positions.shape

    def step(carry: Carry, key: Array, i: Array) -> tuple[Carry, Any]:
        state, (mean, C, log_scale) = carry
        params = params_of(C, log_scale)
        new, info = warmup.kernel(warmup.logdensity, **params).step(key, state)
        gain = (i + LATE) ** -0.6
        off = new.position - mean
        mean, C = mean + gain * off, C + gain * (off[:, None] * off[None, :] - C)
        log_scale = log_scale + gain * (info.acceptance_rate - warmup.target_accept)
        kept = (new.position, warmup.stats(new, info, params, {})) if warmup.keep else None
        return (new, Adapting(mean, C, log_scale)), kept

    begin = jnp.broadcast_to(BEGIN**2 * jnp.eye(dimension), (n, dimension, dimension))
    adapting = Adapting(jnp.asarray(warmup.positions), begin, jnp.zeros(n))
    states = random_walk.RWState(warmup.positions, logdensities)
    (states, adapted), kept = warmup.chains.run(
        step, (states, adapting), warmup.keys, warmup.tune, warmup.title
    )
    params = params_of(adapted.covariance.mean(0), adapted.log_scale.mean())
    of_chains = {k: np.stack([np.asarray(value)] * n) for k, value in params.items()}
    return Tuned(states, of_chains, kept)


def params_of(C: Float[Array, "value value"], log_scale: Float[Array, ""]) -> dict[str, Array]:
    """Scale of the moves and a factor of their covariance."""
    n = C.shape[0]
    factor = jnp.linalg.cholesky(C + RIDGE * jnp.eye(n))
    return {"scale": 2.38 / n**0.5 * jnp.exp(log_scale), "factor": factor}
