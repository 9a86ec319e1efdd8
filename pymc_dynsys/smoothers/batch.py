"""Smoothers of all likelihoods, mapped over a batch of trajectories as the filters are."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.filters.base import Data, Likelihood
from pymc_dynsys.filters.batch import Program, as_data, grid_cores, on_rows
from pymc_dynsys.filters.ekf import EKF, extended_model
from pymc_dynsys.filters.enkf import EnKF
from pymc_dynsys.filters.gaussian import LinearModel
from pymc_dynsys.filters.kalman import Kalman, linear_model
from pymc_dynsys.filters.mapping import map_batch
from pymc_dynsys.filters.ode_solve import ODESolve
from pymc_dynsys.filters.ukf import UKF, unscented_model
from pymc_dynsys.smoothers import diffuse, ensemble, gaussian, solution
from pymc_dynsys.systems.bound import BoundSystem, Params

Given = Literal["all", "past"]


@partial(jax.jit, static_argnums=(0, 1))
def state_draws(
    program: Program,
    given: Given,
    keys: Any,
    y: Any,
    params: Mapping[str, Any],
    grid: TimeGrid,
    constants: Any,
) -> Array:
    """One path of states a trajectory, ``(*batch, time, state)``; ``keys`` set the batch."""

    def one(
        system: BoundSystem, params: Params, data: Data, grid: Any, noise: Any, key: Any
    ) -> Any:
        likelihood = program.likelihood
        if isinstance(likelihood, ODESolve):
            return solution.states(likelihood, system, params, grid)
        if isinstance(likelihood, EnKF):
            members = ensemble.smooth(likelihood, system, params, data, grid, noise, given)
            one_path = given == "all"
            which = jax.random.randint(
                key, () if one_path else members.shape[:1], 0, members.shape[1]
            )
            rows = jnp.arange(members.shape[0])
            return members[rows, jnp.broadcast_to(which, rows.shape)]
        model = _model(likelihood, system, params, grid)
        room = diffuse if system.n_diffuse else gaussian
        return room.draw(model, system, params, data, grid, given, key)

    return _map(one, program, y, params, grid, constants, keys)


@partial(jax.jit, static_argnums=(0, 1))
def state_moments(
    program: Program,
    given: Given,
    y: Any,
    params: Mapping[str, Any],
    grid: TimeGrid,
    constants: Any,
) -> tuple[Array, Array]:
    """Mean ``(*batch, time, state)`` and covariance ``(*batch, time, state, state)`` of states."""

    def one(
        system: BoundSystem, params: Params, data: Data, grid: Any, noise: Any, key: Any
    ) -> Any:
        likelihood = program.likelihood
        if isinstance(likelihood, ODESolve):
            x = solution.states(likelihood, system, params, grid)
            return x, jnp.zeros((*x.shape, x.shape[-1]))
        if isinstance(likelihood, EnKF):
            members = ensemble.smooth(likelihood, system, params, data, grid, noise, given)
            mean = members.mean(1)
            off = members - mean[:, None, :]
            return mean, jnp.einsum("tmi,tmj->tij", off, off) / (members.shape[1] - 1)
        model = _model(likelihood, system, params, grid)
        room = diffuse if system.n_diffuse else gaussian
        return room.moments(model, system, params, data, grid, given)

    return _map(one, program, y, params, grid, constants, None)


@partial(jax.jit, static_argnums=0)
def innovations(
    program: Program, y: Any, params: Mapping[str, Any], grid: TimeGrid, constants: Any
) -> Array:
    """Standardised one-step prediction errors, ``(*batch, time, component)``; NaN if missing."""

    def one(
        system: BoundSystem, params: Params, data: Data, grid: Any, noise: Any, key: Any
    ) -> Any:
        likelihood = program.likelihood
        if isinstance(likelihood, EnKF):
            z = likelihood.run(system, params, data, grid, noise).innovation
            return z if data.seen is None else jnp.where(data.seen, z, jnp.nan)
        if isinstance(likelihood, ODESolve):
            return solution.innovations(likelihood, system, params, data, grid)
        model = _model(likelihood, system, params, grid)
        room = diffuse if system.n_diffuse else gaussian
        return room.innovations(model, system, params, data, grid)

    return _map(one, program, y, params, grid, constants, None)


def _model(
    likelihood: Likelihood, system: BoundSystem, params: Params, grid: TimeGrid
) -> LinearModel:
    if isinstance(likelihood, Kalman):
        return linear_model(system, likelihood.scheme(system), params, grid)
    if isinstance(likelihood, UKF):
        return unscented_model(likelihood, system, params, grid)
    assert isinstance(likelihood, EKF), "every likelihood has its smoother"
    return extended_model(system, likelihood.scheme(system), params, grid)


def _map(
    function: Callable[..., Any],
    program: Program,
    y: Any,
    params: Mapping[str, Any],
    grid: TimeGrid,
    constants: Any,
    keys: Any,
) -> Any:
    """Run ``function`` for every trajectory, and take the visits out of its rows."""
    system = program.system
    data = as_data(program, y)

    def one(params: Any, data: Data, grid: TimeGrid, keys: Any, constants: Any) -> Any:
        if grid.rows is None:
            return function(system, params, data, grid, constants, keys)
        out = function(system, params, on_rows(data, grid), grid, constants, keys)
        return jax.tree.map(lambda leaf: leaf[grid.row_of_visit], out)

    core = {name: len(shape) for name, shape in system.param_shapes.items()}
    of_data = jax.tree.map(lambda _: 2, data)
    cores = (core, of_data, grid_cores(grid, system), None if keys is None else 1, None)
    rank = data.y.ndim - 2
    return map_batch(one, (dict(params), data, grid, keys, constants), cores, rank)
