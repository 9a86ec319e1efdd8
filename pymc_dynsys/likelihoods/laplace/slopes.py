"""Whether the log-density of the data has a slope in each state that it depends on."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held

POINTS = 4
"""Points at which slopes are looked at."""


def require_slopes(system: BoundSystem) -> None:
    """Raise for a state that the data depend on by steps only, or behind ``stop_gradient``.

    Newton's method would never learn of it. Slopes are looked at in points without special values;
    where they are not finite, as of a probability above one, nothing is concluded.
    """
    slopes = np.asarray(jax.jit(lambda: _slopes(system))())
    if not np.isfinite(slopes).all():
        return
    flat = [system.states[i] for i in system.proof.observation.sees if not slopes[:, i].any()]
    if flat:
        raise ValueError(
            f"Laplace: the log-density of observation() depends on {' and '.join(flat)} and has no "
            "slope in it, as behind jnp.where(x > 0, 1.0, 2.0), jnp.round or stop_gradient; write "
            "it as a smooth function, or take ParticleFilter()"
        )


def _slopes(system: BoundSystem) -> Array:
    """Slopes ``(point, state)`` of the log-density of a datum drawn at each point."""
    shapes = {**system.param_shapes, **system.input_shapes}
    held = Held({name: _generic(shape) for name, shape in shapes.items()})
    t = jnp.asarray(0.7)

    def at(key: Array) -> Array:
        place, draw = jax.random.split(key)
        x = jax.random.normal(place, (system.n_states,))
        y = jax.lax.stop_gradient(system.observation.sample(draw, x, t, held))
        slope: Array = jax.grad(lambda x: system.observation.log_density(y, None, x, t, held))(x)
        return slope

    return jax.vmap(at)(jax.random.split(jax.random.PRNGKey(0), POINTS))


def _generic(shape: tuple[int, ...]) -> Array:
    """Numbers of a shape without special values, between one and three."""
    n = int(np.prod(shape))
    return (2 + jnp.sin(jnp.arange(1.0, n + 1))).reshape(shape)
