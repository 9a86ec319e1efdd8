"""Values and slopes of a system's functions, one trajectory at a time, without a filter."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held


@partial(jax.jit, static_argnums=(0, 1))
def evaluate_system(system: BoundSystem, rank: int, params: Any, t: Any) -> dict[str, Any]:
    """Values of the functions for each trajectory, at the mean of its initial distribution.

    Traced, so that no distribution checks its own arguments before we do.
    """
    shapes = {**system.param_shapes, **system.input_shapes}
    core = {name: len(shape) for name, shape in shapes.items()}
    return map_batch(partial(_evaluate, system), (params, t), (core, 0), rank)


def _evaluate(system: BoundSystem, params: Any, t: Any) -> dict[str, Any]:
    """Values of the functions at the mean of the initial distribution, and their slopes.

    Entries "initial", "observation" and "transition" are pairs of mean and covariance; "slopes"
    are derivatives in parameters and "state slopes" in the state, by function.
    """
    values: dict[str, Any] = {}
    if not system.proof.start.gaussian:
        return values
    m, P = system.start.moments(params)
    values["initial"] = (m, P)
    held = Held(params)
    functions: dict[str, Any] = {}
    if system.step is None:
        dynamics = system.continuous
        values["drift"], values["jacobian"] = linearize(lambda x: dynamics.drift(x, t, held), m)
        values["diffusion"] = dynamics.diffusion(m, t, held)
        functions = {"drift": dynamics.drift, "diffusion": dynamics.diffusion}
    elif system.proof.dynamics.gaussian:
        moments = system.discrete.moments
        values["transition"] = moments(m, t, held)
        functions = {"transition": lambda *args: _flat(moments(*args))}
    if system.proof.observation.gaussian:
        mean, R = system.observation.moments(m, t, held)
        values["observation"] = (mean, R if R.ndim == 2 else jnp.diag(R))
        functions["observation"] = lambda *args: _flat(system.observation.moments(*args))
    values["slopes"] = {
        role: jax.jacfwd(lambda p, f=f: f(m, t, Held(p)))(params) if params else {}
        for role, f in functions.items()
    }
    values["state slopes"] = {
        role: jax.jacfwd(lambda x, f=f: f(x, t, held))(m) for role, f in functions.items()
    }
    return values


def _flat(parts: Any) -> Any:
    return jnp.concatenate([part.ravel() for part in parts])
