"""Derivatives of what is solved in adaptive steps: forward sensitivities for reverse mode."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array


def with_sensitivities(run: Callable[..., Array]) -> Callable[..., Array]:
    """A function whose reverse mode carries slopes forwards, by all numbers of its first argument.

    For solvers with adaptive steps: one pass gives solution and slopes, with no steps to be kept or
    taken again, and unlike diffrax's own reverse mode it compiles where chains on several devices
    share a program. The other arguments have no slopes.
    """

    @jax.custom_vjp
    def solve(inputs: Any, *fixed: Array) -> Array:
        return run(inputs, *fixed)

    def forward(inputs: Any, *fixed: Array) -> tuple[Array, Any]:
        flat, unravel = ravel_pytree(inputs)

        def along(direction: Array) -> tuple[Array, Array]:
            return jax.jvp(lambda x: run(unravel(x), *fixed), (flat,), (direction,))

        value, slopes = jax.vmap(along, out_axes=(None, 0))(jnp.eye(flat.size, dtype=flat.dtype))
        return value, (slopes, inputs, fixed)

    def backward(kept: Any, weight: Array) -> tuple[Any, ...]:
        slopes, inputs, fixed = kept
        _, unravel = ravel_pytree(inputs)
        flat = slopes.reshape(slopes.shape[0], -1) @ weight.ravel()
        return (unravel(flat), *(jnp.zeros_like(x) for x in fixed))

    solve.defvjp(forward, backward)
    return solve
