"""Parameters that a system only compares with something: no gradient leads to them."""

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from pymc_dynsys.bridge.data import is_variable
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization.operands import Role
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.structure import slopes_of


def warn_of_gates(study: Study) -> None:
    """Warn of random variables that change the system, but in which it has no slope."""
    params = [slot.name for slot in study.design.slots[1:] if slot.role is Role.PARAM]
    tensors = study.variables[len(study.variables) - len(params) :]
    free = {name for name, v in zip(params, tensors, strict=True) if is_variable(v)}
    gates = [name for name in only_compared(study.system) if name in free]
    if gates:
        warnings.warn(
            f"{study.name}: the gradient in {gates[0]!r} is zero everywhere, since the system only "
            "compares it with something, as in jnp.where(t > lag, ...); samplers that follow "
            "gradients cannot find it. For a delay use a chain of transit states, or make the step "
            "smooth, jax.nn.sigmoid((t - lag) / width)",
            UserWarning,
            stacklevel=3,
        )


def only_compared(system: BoundSystem) -> list[str]:
    """Names of parameters in which no function of the system has a slope, though some depend."""
    proof = system.proof
    if not (proof.dynamics.gaussian and proof.observation.gaussian and proof.start.gaussian):
        return []
    number = jnp.zeros(()).dtype
    shapes = {**system.param_shapes, **system.input_shapes}
    values = {name: jax.ShapeDtypeStruct(shape, number) for name, shape in shapes.items()}
    state = jax.ShapeDtypeStruct((system.n_states,), number)
    sloped: dict[str, bool] = {}
    for function in _functions(system):
        found = slopes_of(function, values, state, jax.ShapeDtypeStruct((), number))
        sloped = {
            name: sloped.get(name, False) or found.get(name, False) for name in (*sloped, *found)
        }
    return [name for name in system.param_shapes if not sloped.get(name, True)]


def _functions(system: BoundSystem) -> Iterator[Callable[[Any, Any, Any], Any]]:
    """Functions of values, state and time that say all of a system, as far as it is Gaussian."""
    if system.step is None:
        dynamics = system.continuous
        yield lambda values, x, t: dynamics.drift(x, t, Held(values))
        yield lambda values, x, t: dynamics.diffusion(x, t, Held(values))
    else:
        yield lambda values, x, t: system.discrete.moments(x, t, Held(values))
    yield lambda values, x, t: system.observation.moments(x, t, Held(values))
    if not system.n_diffuse and not system.start.stationary:
        yield lambda values, x, t: system.start.moments(values)
    yield lambda values, x, t: system.dosing.jump(x, t, Held(values), t, 0)
