"""Paths of states and observations, drawn forwards in time.

One key a trajectory; the program does not grow with trajectories, visits or steps. A gap is
crossed by as many steps as it needs, with a loop whose length is data.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.batching.execution import require_double
from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.discretization import (
    Design,
    Discretization,
    Operands,
    Rows,
    Stepping,
    TimeGrid,
    default_scheme,
    over_gap,
    prepare_grid,
)
from pymc_dynsys.discretization.doses import give_dose
from pymc_dynsys.discretization.grid import grid_cores, substep_length, with_rows
from pymc_dynsys.discretization.rows import at_row
from pymc_dynsys.discretization.tabulated import tabulated_crossing
from pymc_dynsys.likelihoods.ode import ODESolve
from pymc_dynsys.likelihoods.regimens import with_laws
from pymc_dynsys.linalg import matvec, psd_factor
from pymc_dynsys.systems.bound import BoundSystem, Params

STEPS_PER_GAP = 20
"""Euler steps in the median gap when the user states none."""

Simulator = Discretization | ODESolve


def default_simulator(system: BoundSystem, gaps: np.ndarray) -> tuple[Simulator, str]:
    """The exact distribution where there is one, else Euler steps well below the gaps; and why."""
    if system.step is not None:
        return Stepping(system.step), "the system moves in steps of its own"
    if system.is_deterministic:
        return ODESolve(), "the system is an ODE"
    return default_scheme(system, gaps, STEPS_PER_GAP)


def check_simulator(simulator: Any, system: BoundSystem) -> None:
    """Refuse simulators that do not apply to the system."""
    if not isinstance(simulator, Simulator):
        raise TypeError(
            "simulator: expected EulerMaruyama(dt=...), LocalLinearization(dt=...), Exact() or, "
            f"for an ODE, ODESolve(), got {simulator!r}"
        )
    if system.step is not None:
        if not isinstance(simulator, Stepping):
            raise ValueError(
                f"simulator: {simulator!r} has no meaning for a DiscreteTime system, which moves "
                "in its own steps; leave it out"
            )
        return
    simulator.check_simulates(system)


@partial(jax.jit, static_argnums=(0, 1))
def simulate_paths(
    design: Design,
    simulator: Simulator,
    keys: Any,
    operands: Operands,
    grid: TimeGrid,
    starts: Any = None,
) -> tuple[Array, Array]:
    """States ``(*batch, time, state)`` and data ``(*batch, time[, component])``.

    ``keys`` is uint32 ``(*batch, 2)`` and sets the batch; operands have length-one axes where they
    do not vary. ``starts`` ``(*batch, state)`` replaces draws of the initial distribution. Where a
    time is NaN there is no visit, and both outputs are NaN.
    """
    require_double()
    system = design.system
    if system.n_diffuse and starts is None:
        raise ValueError(
            "initial: it is diffuse, so there is no distribution to draw initial states from; for "
            "prior or posterior predictive draws give a distribution, such as Diffuse(kappa=...); "
            "sample_states and forecast, which begin with the data, need none"
        )
    rank = keys.ndim - 1
    times = jnp.asarray(operands.times)
    grid = with_rows(grid, operands, design)
    core = {name: len(shape) for name, shape in system.param_shapes.items()}
    states, y = map_batch(
        lambda key, params, grid, start: simulate_one(system, simulator, key, params, grid, start),
        (keys, dict(operands.params), grid, starts),
        (1, core, grid_cores(grid, design), None if starts is None else 1),
        rank,
    )
    no_visit = jnp.isnan(times)
    no_visit = no_visit.reshape((1,) * (rank + 1 - times.ndim) + times.shape)[..., None]
    # A count drawn at a rate that is NaN would be a number.
    no_datum = no_visit | jnp.isnan(states).any(-1, keepdims=True)
    states, y = jnp.where(no_visit, jnp.nan, states), jnp.where(no_datum, jnp.nan, y)
    return states, (y[..., 0] if system.observation.scalar else y)


def path_grid(design: Design, operands: Operands, simulator: Simulator) -> TimeGrid:
    """Grid for paths: the number of steps is data, bounded by nothing."""
    whole = prepare_grid(design, operands)
    steps = simulator.substeps(whole.gaps)
    return replace(whole, steps=np.full_like(steps, steps.max()) if whole.moving else steps)


def simulate_one(
    system: BoundSystem,
    simulator: Simulator,
    key: Any,
    params: Params,
    grid: TimeGrid,
    start: Any = None,
) -> tuple[Float[Array, "time state"], Float[Array, "time component"]]:
    """One trajectory: its states and its data at every visit."""
    of_initial, of_path, of_data = jax.random.split(key, 3)
    grid = drawn_laws(with_laws(system, params, grid, simulator), key)
    if start is None:
        start = system.start.sample(of_initial, params)
    if isinstance(simulator, Discretization):
        states = _path(system, simulator, of_path, params, grid, start)
    else:
        states = simulator.solve(system, params, start, grid)

    y = draw_data(system, of_data, params, grid, states)
    if grid.marks is None:
        return states, y
    row_of_visit = grid.marks.row_of_visit
    return states[row_of_visit], y[row_of_visit]


def drawn_laws(grid: TimeGrid, key: Array) -> TimeGrid:
    """The grid with states drawn from the laws of resets and steady states, then known."""
    if grid.rows is None or grid.rows.fresh is None or grid.rows.fresh.cov is None:
        return grid
    fresh = grid.rows.fresh
    z = jax.random.normal(jax.random.fold_in(key, 3), fresh.mean.shape)
    mean = fresh.mean + jax.vmap(lambda P, z: matvec(psd_factor(P), z))(fresh.cov, z)
    return replace(grid, rows=replace(grid.rows, fresh=fresh._replace(mean=mean, cov=None)))


def draw_data(
    system: BoundSystem, key: Any, params: Params, grid: TimeGrid, states: Float[Array, "row state"]
) -> Float[Array, "row component"]:
    """Data at the states of one trajectory, at every row."""

    def datum(x: Array, t: Array, row: Rows | None, key: Array) -> Array:
        return system.observation.sample(key, x, t, at_row(row, params))

    y: Array = jax.vmap(datum)(states, grid.times, grid.rows, jax.random.split(key, len(states)))
    return y


class RowPath(NamedTuple):
    """What a simulation needs to know of a row; leaves of all rows lead with a row axis."""

    t: Float[Array, "*row"]
    row: Rows | None
    key: Array
    entry: tuple[Any, ...]


def _path(
    system: BoundSystem,
    simulator: Discretization,
    key: Array,
    params: Params,
    grid: TimeGrid,
    start: Float[Array, " state"],
) -> Float[Array, "row state"]:
    """States at all rows, after the events there."""
    cross, entries = crossing(system, simulator, params, grid)

    def visit(x: Array, k: RowPath) -> tuple[Array, Array]:
        x = cross(x, k.key, *k.entry)
        x = give_dose(system, params, x, k.t, k.row)
        return x, x

    n = grid.times.shape[0]
    rows = RowPath(grid.times, grid.rows, jax.random.split(key, n), entries)
    states: Array = jax.lax.scan(visit, start, rows)[1]
    return states


def crossing(
    system: BoundSystem, simulator: Discretization, params: Params, grid: TimeGrid
) -> tuple[Callable[..., Array], tuple[Any, ...]]:
    """Function that carries a state over the gap into a row, and its arguments at every row.

    Linear dynamics under a scheme that is exact for them have a table of transitions; all else
    walks through the steps of each gap.
    """
    if simulator.exact_if_linear and system.proof.dynamics.linear:
        grid = replace(grid, steps=jnp.ones_like(grid.steps))  # one is exact
        table = tabulated_crossing(system, simulator, params, grid)
        factors = jax.vmap(psd_factor)(table.noise)
        looked_up = table.table is not None

        def jump(x: Array, key: Array, factor: Any, entry: Any, *own: Array) -> Array:
            F, shift, _ = table.transition(entry, *own)
            noise = jax.random.normal(key, x.shape)
            return matvec(F, x) + shift + matvec(factors[entry] if looked_up else factor, noise)

        return jump, (None if looked_up else factors, *table.entries)

    def walk(x: Array, key: Any, t: Any, gap: Any, steps: Any, row: Rows | None) -> Array:
        h, held = substep_length(gap, steps), over_gap(row, params)

        def step(i: Any, x: Array) -> Array:
            of_step = jax.random.fold_in(key, i)
            return simulator.draw(system, of_step, x, t + i * h, h, held)

        path: Array = jax.lax.fori_loop(0, steps, step, x)
        return path

    return walk, (grid.starts, grid.gaps, grid.steps, grid.rows)
