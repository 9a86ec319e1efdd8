"""Paths of states and observations, drawn forwards in time.

One key a trajectory; the program does not grow with trajectories, visits or steps. A gap is
crossed by as many steps as it needs, with a loop whose length is data.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.discretization import (
    Discretization,
    Exact,
    LocalLinearization,
    MomentODE,
    Schedule,
    Stepping,
    default_scheme,
)
from pymc_dynsys.discretization.grid import TimeGrid, build_grid, substep_length
from pymc_dynsys.filters.batch import grid_cores
from pymc_dynsys.filters.enkf import give_doses
from pymc_dynsys.filters.kalman import tabulated_crossing
from pymc_dynsys.filters.mapping import map_batch
from pymc_dynsys.filters.ode_solve import ODESolve
from pymc_dynsys.linalg import matvec, psd_factor
from pymc_dynsys.systems.bound import BoundSystem, Params

STEPS_PER_GAP = 20
"""Euler steps in the median gap when the user states none."""

Simulator = Discretization | ODESolve


def default_simulator(system: BoundSystem, gaps: np.ndarray) -> tuple[Simulator, str]:
    """The exact law where there is one, else Euler steps well below the gaps; and why."""
    if system.step is not None:
        return Stepping(system.step), "the system moves in steps of its own"
    if system.is_deterministic:
        return ODESolve(), "the system is an ODE"
    return default_scheme(system, gaps, STEPS_PER_GAP)


def check_simulator(simulator: Any, system: BoundSystem) -> None:
    """Refuse simulators that do not apply to the system."""
    if system.step is not None:
        if not isinstance(simulator, Stepping):
            raise ValueError(
                f"simulator: {simulator!r} has no meaning for a DiscreteTime system, which moves "
                "in its own steps; leave it out"
            )
        return
    if isinstance(simulator, ODESolve):
        if not system.is_deterministic:
            raise ValueError(
                "simulator: ODESolve() solves ODEs; an SDE needs EulerMaruyama(dt=...)"
            )
        return
    if not isinstance(simulator, Discretization) or isinstance(simulator, MomentODE):
        raise TypeError(
            "simulator: expected EulerMaruyama(dt=...), LocalLinearization(dt=...) or Exact(), "
            f"got {simulator!r}"
        )
    simulator.check(system)


@partial(jax.jit, static_argnums=(0, 1))
def simulate_paths(
    system: BoundSystem,
    simulator: Simulator,
    keys: Any,
    times: Any,
    grid: TimeGrid,
    params: Mapping[str, Any],
    starts: Any = None,
) -> tuple[Array, Array]:
    """States ``(*batch, time, state)`` and data ``(*batch, time[, component])``.

    ``keys`` is uint32 ``(*batch, 2)`` and sets the batch; other operands have length-one axes
    where they do not vary. ``starts`` ``(*batch, state)`` replaces draws of the initial law.
    Where a time is NaN there is no visit, and both outputs are NaN.
    """
    if system.n_diffuse and starts is None:
        raise ValueError(
            "initial: it is diffuse, so there is no law to draw first states from; for prior or "
            "posterior predictive draws give a law, such as Diffuse(kappa=...); sample_states and "
            "forecast, which begin with the data, need none"
        )
    rank = keys.ndim - 1
    times = jnp.asarray(times)
    core = {name: len(shape) for name, shape in system.param_shapes.items()}
    states, y = map_batch(
        lambda key, params, grid, start: simulate_one(system, simulator, key, params, grid, start),
        (keys, dict(params), grid, starts),
        (1, core, grid_cores(grid, system), None if starts is None else 1),
        rank,
    )
    no_visit = jnp.isnan(times)
    no_visit = no_visit.reshape((1,) * (rank + 1 - times.ndim) + times.shape)[..., None]
    if system.n_observed is None:
        y = y[..., None]
    states, y = jnp.where(no_visit, jnp.nan, states), jnp.where(no_visit, jnp.nan, y)
    return states, (y[..., 0] if system.n_observed is None else y)


def path_grid(
    times: Any, t0: Any, simulator: Simulator, schedule: Schedule | None, n_states: int
) -> TimeGrid:
    """Grid for paths: the number of steps is data, bounded by nothing."""
    whole = build_grid(times, t0, Exact(), schedule, n_states)
    steps = simulator.substeps(whole.gaps) if isinstance(simulator, Discretization) else whole.steps
    return replace(whole, steps=steps)


def simulate_one(
    system: BoundSystem,
    simulator: Simulator,
    key: Any,
    params: Params,
    grid: TimeGrid,
    start: Any = None,
) -> tuple[Float[Array, "time state"], Array]:
    """One trajectory: its states and its data at every visit."""
    of_initial, of_path, of_data = jax.random.split(key, 3)
    if start is None:
        drawn = system.initial(params).sample(of_initial)
        start = jnp.asarray(drawn, float).reshape(system.n_states)
    if isinstance(simulator, ODESolve):
        states = simulator.solve(system, params, start, grid)
    else:
        cross, entries = crossing(system, simulator, params, grid)

        def visit(x: Array, k: Any) -> tuple[Array, Array]:
            t, row, key, entry = k
            x = cross(x, key, *entry)
            if row is not None:
                x = give_doses(system, row.at_row(params), x[None], t, row)[0]
            return x, x

        n = grid.times.shape[0]
        rows = (grid.times, grid.rows, jax.random.split(of_path, n), entries)
        _, states = jax.lax.scan(visit, start, rows)

    def datum(x: Array, t: Array, row: Any, key: Array) -> Array:
        here = params if row is None else row.at_row(params)
        return jnp.asarray(system.observation(x, t, here).sample(key), float)

    y = jax.vmap(datum)(states, grid.times, grid.rows, jax.random.split(of_data, len(states)))
    if grid.rows is None:
        return states, y
    return states[grid.row_of_visit], y[grid.row_of_visit]


def crossing(
    system: BoundSystem, simulator: Discretization, params: Params, grid: TimeGrid
) -> tuple[Any, tuple[Any, ...]]:
    """Function that carries a state over the gap into a row, and its arguments at every row."""
    exact = isinstance(simulator, Exact | LocalLinearization)
    n_noise = simulator.noise_size(system, _everything(system, params))
    if exact and system.structure.linear_dynamics:
        table = tabulated_crossing(system, simulator, params, grid)
        factors = jax.vmap(psd_factor)(table.noise)
        looked_up = table.table is not None

        def jump(x: Array, key: Any, factor: Any, entry: Any, own: Any = None) -> Array:
            F, shift, _ = table.at(entry, own)
            noise = jax.random.normal(key, x.shape)
            return matvec(F, x) + shift + matvec(factors[entry] if looked_up else factor, noise)

        return jump, (None if looked_up else factors, *table.entries)

    def walk(x: Array, key: Any, t: Any, gap: Any, steps: Any, row: Any) -> Array:
        h = substep_length(gap, steps)
        held = params if row is None else row.over_gap(params)

        def step(i: Any, x: Array) -> Array:
            at, of_step = t + i * h, jax.random.fold_in(key, i)
            if system.step is not None:
                drawn = system.transition(x, at, held).sample(of_step)
                return jnp.asarray(drawn, float).reshape(system.n_states)
            noise = jax.random.normal(of_step, (n_noise,))
            return simulator.propagate(system, x, at, h, held, noise)

        return jax.lax.fori_loop(0, steps, step, x)

    return walk, (grid.starts, grid.gaps, grid.steps, grid.rows)


def _everything(system: BoundSystem, params: Params) -> dict[str, Any]:
    """Parameters with stand-ins for the inputs, where only shapes matter."""
    inputs = {name: jnp.ones(shape) for name, shape in system.input_shapes.items()}
    return {**params, **inputs}
