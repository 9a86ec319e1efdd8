"""NumPy for what is known when a program is made, JAX for what it traces."""

from types import ModuleType

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

Known = np.ndarray | Array
"""An array that is known, or one of a traced program."""


def is_known(*trees: object) -> bool:
    """Whether nothing in these is traced."""
    return not any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(trees))


def numpy_for(*trees: object) -> ModuleType:
    """``numpy`` where all of these are known, else ``jax.numpy``."""
    return np if is_known(*trees) else jnp
