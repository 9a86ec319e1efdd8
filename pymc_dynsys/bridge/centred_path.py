"""The variables of a path whose states are variables themselves, where they have a density."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from numpyro.distributions import constraints
from pytensor.tensor.random.variable import shared_rng

from pymc_dynsys.bridge.probe import initial_values
from pymc_dynsys.bridge.steps import CentredPathOp, StepsRV
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.latent.centred import drawn_steps, n_states_of, pivots_of_noise
from pymc_dynsys.latent.law import Layout
from pymc_dynsys.systems.bound import Params
from pymc_dynsys.systems.densities import is_discrete
from pymc_dynsys.systems.held import Held

SMALLEST = 1e-13
"""Pivot of a covariance, as a share of its largest, that is zero but for rounding."""


def register_centred(study: Study, dims: tuple[str, ...], model: pm.Model) -> Any:
    """States after the steps as one variable, and the path that they make."""
    name, program, frame = study.name, study.program, study.frame
    spec = study.specification(model.coords)
    op = CentredPathOp(spec)
    layout: Layout = op.make_grid(study.design.unpack(study.operands))
    n_steps = n_states_of(program, layout)
    if not n_steps:
        raise ValueError(
            "parametrization: the path begins with a known state and takes no step, so that "
            "Centred() has no variable; leave it out"
        )
    require_density(study, layout, model)
    of_state, of_step = f"{name}_state", f"{name}_step"
    model.add_coord(of_state, list(program.system.states))
    model.add_coord(of_step, np.arange(n_steps))
    batch = [model.dim_lengths[dim] for dim in frame.batch_dims]
    _, rv = StepsRV(spec, n_steps)(
        *study.variables, size=batch or None, rng=shared_rng(seed=None), return_next_rng=True
    )
    of_steps = (*frame.batch_dims, of_step, of_state)
    states: Any = op(model.register_rv(rv, f"{name}_steps", dims=of_steps), *study.variables)
    return pm.Deterministic(name, states[0], dims=(*dims, of_state))


def require_density(study: Study, layout: Layout, model: pm.Model) -> None:
    """Raise where the path has no density on the whole space of its states."""
    values = initial_values(study, model)
    if values is None:
        return
    operands = study.design.pack([None, *values])
    batch = study.frame.batch
    keys = jax.random.split(jax.random.PRNGKey(0), int(np.prod(batch, dtype=int)))
    keys = keys.reshape(*batch, 2)
    states = drawn_steps(study.program, operands, layout, keys)
    if not study.system.proof.dynamics.gaussian:
        _require_whole_line(study, operands.params)
    singular = np.asarray(pivots_of_noise(study.program, operands, layout, states)) <= SMALLEST
    if singular.any():
        here = tuple(np.argwhere(np.broadcast_to(singular, batch))[0])
        of = f" of {study.frame.who(here)}" if study.frame.rank else ""
        raise ValueError(
            f"parametrization: at the model's initial point the noise of a step or of the start"
            f"{of} is singular, so that the path has no density for Centred(): a state moves "
            "without a noise of its own; take pds.Free() or pds.Guided(values, sd)"
        )


def _require_whole_line(study: Study, params: Params) -> None:
    """Raise for transitions of states that are discrete or bounded."""
    system, rank = study.system, study.frame.rank
    one = {name: np.asarray(value)[(0,) * rank] for name, value in params.items()}
    inputs = {name: np.zeros(shape) for name, shape in system.input_shapes.items()}
    law = system.discrete.law(jnp.zeros(system.n_states), 0.0, Held({**one, **inputs}))
    support = law.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if is_discrete(law) or support not in (constraints.real, constraints.real_vector):
        raise ValueError(
            f"transition: {type(law).__name__} gives values that are discrete or bounded, and the "
            "variables of Centred() are any real numbers; write the system for a state on the "
            "whole line (the logarithm of a positive one), or use Trajectory with "
            "likelihood=ParticleFilter()"
        )
