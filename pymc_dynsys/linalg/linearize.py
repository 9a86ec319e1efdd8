"""Value and Jacobian of a function of a short vector."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def linearize(function: Any, x: Float[Array, " state"]) -> tuple[Array, Array]:
    """Value of `function` at `x` and its Jacobian there, shape ``(out, state)``."""
    return jax.vmap(lambda direction: jax.jvp(function, (x,), (direction,)), out_axes=(None, 1))(
        jnp.eye(x.shape[0], dtype=x.dtype)
    )
