r"""A random walk with a log-density that is estimated anew at each proposal.

Legend: q position; C covariance of the chain so far, mean m; s scale of the moves, N(0, s^2 C);
gain of the adaptation at step i.

.. math:: \gamma_i = (i + 20)^{-0.6}, \quad m \leftarrow m + \gamma (q - m), \quad
          C \leftarrow C + \gamma ((q - m)(q - m)' - C), \quad
          \log s \leftarrow \log s + \gamma (a - a^*)

with a the acceptance rate of the step and a* the one that is wanted (Andrieu and Thoms 2008,
algorithm 4). After the first part of the warm-up the covariances of the chains are averaged, and
only the scale goes on to adapt; after the warm-up nothing does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.sampling.adaptation import Tuned, Warmup

SHARE = 0.6
"""Share of the warm-up in which the covariance adapts."""

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


def pseudo_marginal(estimate: Estimate, scale: Array, factor: Array) -> Any:
    """BlackJAX's additive random walk on ``estimate(position, key)``, with a key for each proposal.

    The estimate at the current position is kept, as it must be for the posterior to be invariant
    (Andrieu and Roberts 2009).
    """
    kernel = blackjax.additive_step_random_walk.build_kernel()

    def step(key: Array, state: Any) -> Any:
        of_move, of_estimate = jax.random.split(key)
        return kernel(
            of_move,
            state,
            lambda position: estimate(position, of_estimate),
            lambda key, position: scale * factor @ jax.random.normal(key, position.shape),
        )

    def init(position: Array, key: Array) -> Any:
        return blackjax.additive_step_random_walk.init(position, lambda q: estimate(q, key))

    return blackjax.SamplingAlgorithm(init, step)


def stats_of(known: Callable[[Array], Array]) -> Callable[..., dict[str, Array]]:
    """Statistics of a step; `known` is the part of the log-density that is not estimated."""

    def stats(state: Any, info: Any, params: Any, options: Any) -> dict[str, Array]:
        return {
            "lp": state.logdensity,
            "log_likelihood": state.logdensity - known(state.position),
            "acceptance_rate": info.acceptance_rate,
            "accepted": info.is_accepted,
            "step_size": params["scale"],
        }

    return stats


def adapt_covariance(warmup: Warmup) -> Tuned:
    """Covariance and scale of the moves of a random walk."""
    dimension = warmup.positions.shape[1]
    first = max(1, int(SHARE * warmup.tune))
    wanted = warmup.target_accept

    def start(key: Array, position: Array) -> Any:
        kernel = warmup.kernel(warmup.logdensity, 1.0, jnp.eye(dimension))
        adapting = Adapting(position, BEGIN**2 * jnp.eye(dimension), jnp.zeros(()))
        return kernel.init(position, key), adapting

    def stepping(learns: bool) -> Callable[..., Any]:
        def step(carry: Any, key: Array, i: Array) -> Any:
            state, (mean, C, log_scale) = carry
            params = params_of(C, log_scale)
            kernel = warmup.kernel(warmup.logdensity, **params)
            new, info = kernel.step(key, state)
            gain = (i + LATE) ** -0.6
            log_scale = log_scale + gain * (info.acceptance_rate - wanted)
            if learns:
                off = new.position - mean
                mean, C = mean + gain * off, C + gain * (off[:, None] * off[None, :] - C)
            kept = (new.position, warmup.stats(new, info, params, {})) if warmup.keep else None
            return (new, Adapting(mean, C, log_scale)), kept

        return step

    keys = np.stack([np.asarray(jax.random.split(key, 3)) for key in warmup.keys])
    carry = warmup.chains.map(start, keys[:, 0], warmup.positions)
    carry, before = warmup.chains.run(stepping(True), carry, keys[:, 1], first, warmup.title)
    state, adapted = carry
    # Chains tell more together than each alone.
    pooled = np.broadcast_to(adapted.covariance.mean(0), adapted.covariance.shape)
    carry = (state, adapted._replace(covariance=np.ascontiguousarray(pooled)))
    kept = before
    if warmup.tune > first:
        carry, after = warmup.chains.run(
            stepping(False), carry, keys[:, 2], warmup.tune - first, warmup.title
        )
        kept = jax.tree.map(lambda a, b: np.concatenate([a, b], axis=1), before, after)
    state, adapted = carry
    params = warmup.chains.map(params_of, adapted.covariance, adapted.log_scale)
    return Tuned(state, params, kept if warmup.keep else None)


def params_of(C: Float[Array, "value value"], log_scale: Float[Array, ""]) -> dict[str, Array]:
    """Scale of the moves and a factor of their covariance."""
    n = C.shape[0]
    factor = jnp.linalg.cholesky(C + RIDGE * jnp.eye(n))
    return {"scale": 2.38 / n**0.5 * jnp.exp(log_scale), "factor": factor}
