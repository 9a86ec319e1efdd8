"""Whether the log-density of the data has a slope in each state that it depends on."""

from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held

POINTS = 4
"""Points at which slopes are looked at."""

DATA = (0.0, 0.5, 1.0)
"""Data for which they are: one of them is possible for counts, answers, proportions, durations."""


@lru_cache
def require_slopes(system: BoundSystem) -> None:
    """Raise for a state that the data depend on by steps only, or behind ``stop_gradient``.

    Newton's method would never learn of it. Slopes are looked at in points without special values;
    of those where it is not finite, as of a probability above one, nothing is concluded.
    """
    density, slopes = (np.asarray(part) for part in jax.jit(lambda: _slopes(system))())
    slopes = slopes[np.isfinite(density) & np.isfinite(slopes).all(-1)]
    if not len(slopes):
        return
    flat = [system.states[i] for i in system.proof.observation.sees if not slopes[:, i].any()]
    if flat:
        raise ValueError(
            f"Laplace: the log-density of observation() depends on {' and '.join(flat)} and has no "
            "slope in it, as behind jnp.where(x > 0, 1.0, 2.0), jnp.round or stop_gradient; write "
            "it as a smooth function, or take ParticleFilter()"
        )


def _slopes(system: BoundSystem) -> tuple[Array, Array]:
    """Log-densities ``(datum, point)`` and their slopes ``(datum, point, state)``."""
    shapes = {**system.param_shapes, **system.input_shapes}
    held = Held({name: _generic(shape) for name, shape in shapes.items()})
    t, m = jnp.asarray(0.7), system.observation.n_components

    def at(y: Array, x: Array) -> tuple[Array, Array]:
        return jax.value_and_grad(
            lambda x: system.observation.log_density(jnp.full(m, y), None, x, t, held)
        )(x)

    points = np.random.default_rng(0).normal(size=(POINTS, system.n_states))
    by_point = jax.vmap(at, in_axes=(None, 0))
    return jax.vmap(by_point, in_axes=(0, None))(jnp.asarray(DATA), jnp.asarray(points))


def _generic(shape: tuple[int, ...]) -> Array:
    """Numbers of a shape without special values, between one and three."""
    n = int(np.prod(shape))
    return (2 + jnp.sin(jnp.arange(1.0, n + 1))).reshape(shape)
