"""What is proved of the way in which the data see the states."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import jax.numpy as jnp
from jax import ShapeDtypeStruct
from jaxtyping import Array

from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.dependence import dependence
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.predictor import sees_linear_predictor


@lru_cache
def through_predictor(system: BoundSystem) -> bool:
    """Whether a datum sees several states through one number, affine in them."""
    if len(system.proof.observation.sees) < 2:
        return False
    number = jnp.zeros(()).dtype
    y = ShapeDtypeStruct((system.observation.n_components,), number)
    x, t, held = _arguments(system)

    def density(x: Array, y: Array, t: Array, held: Held) -> Array:
        return system.observation.log_density(y, None, x, t, held)

    return sees_linear_predictor(density, (x, y, t, held))


@lru_cache
def noise_follows_mean(system: BoundSystem) -> bool:
    """Whether the mean of Gaussian data depends on the state, and their noise does too."""
    proof = system.proof.observation
    if not proof.gaussian or proof.constant_noise:
        return False
    mean: Callable[..., Any] = lambda *args: system.observation.moments(*args)[0]  # noqa: E731
    return bool(dependence(mean, _arguments(system)).any())


def has_second_order(system: BoundSystem) -> bool:
    """Whether there is a second-order correction: linear dynamics, and one predictor a datum."""
    one = len(system.proof.observation.sees) == 1 or through_predictor(system)
    return system.proof.affine_path and one


def _arguments(system: BoundSystem) -> tuple[ShapeDtypeStruct, ShapeDtypeStruct, Held]:
    """Abstract state, time, and parameters and inputs."""
    number = jnp.zeros(()).dtype
    shapes = {**system.param_shapes, **system.input_shapes}
    values = {name: ShapeDtypeStruct(tuple(shape), number) for name, shape in shapes.items()}
    return (
        ShapeDtypeStruct((system.n_states,), number),
        ShapeDtypeStruct((), number),
        Held(values),
    )
