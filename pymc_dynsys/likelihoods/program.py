"""A likelihood over a batch of trajectories: what is compiled, and the one map over the batch.

Likelihoods describe one trajectory. Here they are mapped over the batch axes, and only over the
axes along which an array really varies: a batch axis of length one is dropped, not broadcast, so
whatever all trajectories share (times, noise covariances, common parameters and, through them,
whole covariance recursions) is computed once.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.batching.execution import DEFAULT, Execution, require_double
from pymc_dynsys.batching.mapping import (
    Part,
    batch_shape,
    block_size,
    longest,
    map_batch,
    map_blocks,
)
from pymc_dynsys.batching.sharding import map_shards
from pymc_dynsys.discretization import Design, Operands, TimeGrid, prepare_grid
from pymc_dynsys.discretization.grid import grid_cores, with_rows
from pymc_dynsys.likelihoods.base import Data, Likelihood, Problem, Run
from pymc_dynsys.likelihoods.regimens import with_laws
from pymc_dynsys.systems.bound import BoundSystem

Tree = TypeVar("Tree", covariant=True)


@dataclass(frozen=True)
class Program:
    """What is fixed when a likelihood is compiled; there is no array in it.

    Attributes
    ----------
    design : Design
        System and arrays.
    likelihood : Likelihood
        Its options.
    complete : bool
        Whether the data are known to have no missing value.
    execution : Execution
        On which devices and in which precision.
    """

    design: Design
    likelihood: Likelihood
    complete: bool = False
    execution: Execution = DEFAULT

    @property
    def system(self) -> BoundSystem:
        """The dynamics of one trajectory."""
        return self.design.system

    def prepare(self, operands: Operands) -> TimeGrid:
        """Grid of gaps; done once, outside compiled code, when the times are known."""
        return prepare_grid(self.design, operands, self.likelihood.scheme(self.system))

    def draw_noise(self, y: Any, grid: TimeGrid) -> Any:
        """Arrays fixed for all evaluations, time first, for data of the shape of `y`."""
        batch = y.shape[: y.ndim - self.n_own_axes]
        return self.likelihood.draw_noise(self.system, tuple(batch), grid)

    @property
    def n_own_axes(self) -> int:
        """Number of axes of the data of one trajectory."""
        return 1 if self.system.observation.scalar else 2


@runtime_checkable
class Ask(Protocol[Tree]):
    """A question to the run of one trajectory.

    ``visits`` takes the visits out of what has a leading row axis; ``key`` is None where no keys
    were given.
    """

    def __call__(self, run: Run, visits: Callable[[Any], Any], key: Any, /) -> Tree:
        """The answer."""


def map_run(
    program: Program,
    ask: "Ask[Tree]",
    operands: Operands,
    grid: TimeGrid,
    noise: Any = None,
    keys: Any = None,
) -> Tree:
    """Answers of the runs of all trajectories; leaves gain all batch axes in front.

    `keys` are ``(*batch, 2)``. What does not vary by trajectory comes with axes of length one.
    """
    system = program.system
    grid = with_rows(grid, operands, program.design)
    data = as_data(program, operands.y)

    def one(params: Any, data: Data, grid: TimeGrid, noise: Any, key: Any) -> Tree:
        grid = with_laws(system, params, grid, program.likelihood)
        if grid.marks is None:
            problem = Problem(params, data, grid, noise)
            return ask(program.likelihood.run(system, problem), lambda tree: tree, key)
        row_of_visit = grid.marks.row_of_visit
        data = on_rows(data, grid)
        problem = Problem(params, data, fill_unseen(system, data, grid), noise)

        def visits(tree: Any) -> Any:
            return jax.tree.map(lambda leaf: leaf[row_of_visit], tree)

        return ask(program.likelihood.run(system, problem), visits, key)

    cores = (
        {name: len(shape) for name, shape in system.param_shapes.items()},
        jax.tree.map(lambda _: 2, data),
        grid_cores(grid, program.design),
        None,
        None if keys is None else 1,
    )
    parts = (dict(operands.params), data, grid, noise, keys)
    answers: Tree = map_batch(one, parts, cores, data.y.ndim - 2)
    return answers


def ask_pointwise(run: Run, visits: Callable[[Any], Any], key: Any = None) -> Array:
    """Log-density of each visit given the earlier ones; zero for a visit without a time."""
    marks = run.problem.grid.marks
    values: Array = visits(run.pointwise())
    return values if marks is None else jnp.where(marks.row_of_visit >= 0, values, 0.0)


def ask_terms(run: Run, visits: Callable[[Any], Any], key: Any = None) -> Array:
    """Numbers whose sum is the log-likelihood."""
    return ask_pointwise(run, visits) if run.terms_by_row else run.terms()


def as_data(program: Program, y: Any) -> Data:
    """Data with a component axis, and which of them are there."""
    y = jnp.asarray(y)
    if program.system.observation.scalar:
        y = y[..., None]
    if program.complete:
        return Data(y, None)
    seen = ~jnp.isnan(y)
    # A value that was seen lies in the support of any distribution, which zero may not.
    fill = jnp.max(jnp.where(seen, y, -jnp.inf), axis=tuple(range(y.ndim - 1)), keepdims=True)
    return Data(jnp.where(seen, y, jnp.where(jnp.isfinite(fill), fill, 0.0)), seen)


def on_rows(data: Data, grid: TimeGrid) -> Data:
    """Data of one trajectory laid out on rows: nothing is seen at a row that is no visit."""
    marks = grid.marks
    assert marks is not None
    seen = jnp.broadcast_to(marks.is_visit[:, None], (marks.is_visit.shape[0], data.y.shape[1]))
    if data.seen is not None:
        seen = seen & data.seen[marks.visit_of_row]
    return Data(data.y[marks.visit_of_row], seen)


def fill_unseen(system: BoundSystem, data: Data, grid: TimeGrid) -> TimeGrid:
    """The grid of one trajectory with numbers for what is missing of inputs beside missing data.

    Nothing is seen through them there, but zero times NaN would be NaN. The largest value beside a
    datum lies in the range of any, which zero may not.
    """
    if grid.rows is None or data.seen is None:
        return grid
    there = data.seen.any(-1)
    filled = dict(grid.rows.row_inputs)
    for name, value in filled.items():
        if system.observation.asks_for(name) and not system.dosing.asks_for(name):
            value = jnp.asarray(value)
            used = there.reshape(-1, *(1,) * (value.ndim - 1))
            most = jnp.max(jnp.where(used, value, -jnp.inf), axis=0)
            most = jnp.where(jnp.isfinite(most), most, 0.0)
            filled[name] = jnp.where(~used & jnp.isnan(value), most, value)
    return replace(grid, rows=replace(grid.rows, row_inputs=filled))


def totals(
    program: Program, operands: Operands, grid: TimeGrid, noise: Any, tangents: int = 1
) -> Array:
    """Log-likelihoods ``(*batch,)``, in blocks and on several devices where asked.

    `tangents` directions are carried along in forward mode, so that blocks are smaller.
    """
    require_double()
    system, own, execution = program.system, program.n_own_axes, program.execution
    grid = with_rows(grid, operands, program.design)
    cores = {name: len(shape) for name, shape in system.param_shapes.items()}
    core = (own, cores, grid_cores(grid, program.design), None)
    rank = operands.y.ndim - own

    def whole(y: Any, params: Any, grid: TimeGrid, noise: Any) -> Array:
        with execution.precision():
            part = operands._replace(y=y, params=params)
            terms = map_run(program, ask_terms, part, grid, noise)
        return terms.astype(jnp.float64).sum(-1)

    parts = execution.cast((operands.y, dict(operands.params), grid, noise))
    if not rank:
        return whole(*parts)
    batch = batch_shape(parts, core, rank)
    axis = longest(batch)
    size = batch[axis]
    if execution.platform == "cpu":
        numbers = program.likelihood.largest_reduction(system)
        size = block_size(batch, axis, tangents, numbers)

    def blocks(part: Part, *parts: Any) -> Array:
        return map_blocks(whole, parts, core, rank, part, size)

    if execution.devices is not None:
        return map_shards(blocks, parts, axis, batch[axis], execution.mesh_devices)
    if size >= batch[axis]:
        return whole(*parts)
    return blocks(Part(axis, 0, batch[axis]), *parts)
