"""A likelihood over a batch of trajectories, and its gradient.

The filters describe one trajectory. Here they are mapped over the batch axes, and only over
the axes along which an input really varies: a length-one batch axis is dropped, not
broadcast, so whatever all trajectories share (times, noise covariances, common parameters
and, through them, whole covariance recursions) is computed once.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from pymc_dynsys.discretization import Schedule, TimeGrid, build_grid
from pymc_dynsys.filters.base import Data, Likelihood
from pymc_dynsys.filters.execution import DEFAULT, Execution
from pymc_dynsys.filters.mapping import (
    Part,
    batch_shape,
    block_size,
    longest,
    map_batch,
    map_blocks,
)
from pymc_dynsys.filters.sharding import map_shards
from pymc_dynsys.systems.bound import BoundSystem


@dataclass(frozen=True)
class Program:
    """What is fixed when a likelihood is compiled.

    Attributes
    ----------
    system : BoundSystem
        The dynamics of one trajectory.
    likelihood : Likelihood
        The filter.
    complete : bool
        Whether the data are known to have no missing value.
    schedule : Schedule, optional
        Events and inputs.
    execution : Execution
        On which devices and in which precision.
    """

    system: BoundSystem
    likelihood: Likelihood
    complete: bool
    schedule: Schedule | None = None
    execution: Execution = DEFAULT

    def prepare(self, times: Any, t0: Any) -> TimeGrid:
        """Grid of gaps; done once, outside compiled code, when the times are known."""
        system = self.system
        scheme = self.likelihood.scheme(system)
        return build_grid(times, t0, scheme, self.schedule, system.n_states)


def log_likelihood(program: Program, y: Any, params: Mapping[str, Any], grid: TimeGrid) -> Array:
    """Log-likelihood of each trajectory, shape ``(*batch,)``; minus infinity where undefined.

    `y` is ``(*batch, time)`` or ``(*batch, time, component)``; parameters carry as many batch
    axes, of length one where they do not vary, before their own axes.
    """
    constants = constants_of(program, y, grid)
    return _guarded(program, y, dict(params), grid, constants)


def constants_of(program: Program, y: Any, grid: TimeGrid) -> Any:
    """Arrays fixed for all evaluations, such as an ensemble's noise, for data like `y`."""
    batch = y.shape[: y.ndim - _core_ndim(program)]
    system = program.system
    shapes = {**system.param_shapes, **system.input_shapes}
    one = {name: jnp.zeros(shape) for name, shape in shapes.items()}
    return program.likelihood.constants(program.system, one, batch, grid)


def _core_ndim(program: Program) -> int:
    return 1 if program.system.n_observed is None else 2


def visit_log_likelihoods(
    program: Program, y: Any, params: Mapping[str, Any], grid: TimeGrid, constants: Any
) -> Array:
    """Log-density of each visit given the earlier ones, shape ``(*batch, time)``."""
    system = program.system
    data = as_data(program, y)

    def one(params: Any, data: Data, grid: TimeGrid, constants: Any) -> Array:
        if grid.rows is None:
            return program.likelihood.log_likelihood(system, params, data, grid, constants)
        at_rows = on_rows(data, grid)
        total = program.likelihood.log_likelihood(system, params, at_rows, grid, constants)
        # A visit without a time has no row.
        return jnp.where(grid.row_of_visit >= 0, total[grid.row_of_visit], 0.0)

    return map_batch(
        one,
        (params, data, grid, constants),
        (_param_cores(system), jax.tree.map(lambda _: 2, data), grid_cores(grid, system), None),
        data.y.ndim - 2,
    )


def as_data(program: Program, y: Any) -> Data:
    """Data with a component axis, and which of them are there."""
    y = jnp.asarray(y)
    if program.system.n_observed is None:
        y = y[..., None]
    if program.complete:
        return Data(y, None)
    seen = ~jnp.isnan(y)
    # A value that was seen lies in the support of any law, which zero may not.
    fill = jnp.max(jnp.where(seen, y, -jnp.inf), axis=tuple(range(y.ndim - 1)), keepdims=True)
    return Data(jnp.where(seen, y, jnp.where(jnp.isfinite(fill), fill, 0.0)), seen)


def on_rows(data: Data, grid: TimeGrid) -> Data:
    """Data laid out on rows: nothing is seen at a row that is no visit."""
    seen = jnp.broadcast_to(grid.is_visit[:, None], (grid.is_visit.shape[0], data.y.shape[1]))
    if data.seen is not None:
        seen = seen & data.seen[grid.visit_of_row]
    return Data(data.y[grid.visit_of_row], seen)


def grid_cores(grid: TimeGrid, system: BoundSystem) -> Any:
    """Number of axes of each leaf of a grid that belong to one trajectory."""
    cores = jax.tree.map(lambda _: 1, grid)
    if grid.rows is None:
        return cores
    of_inputs = {name: 1 + len(shape) for name, shape in system.input_shapes.items()}
    rows = replace(
        cores.rows,
        infusion=None if grid.rows.infusion is None else 2,
        gap_inputs=of_inputs,
        row_inputs=of_inputs,
    )
    return replace(cores, rows=rows)


def totals(
    program: Program, y: Any, params: Any, grid: TimeGrid, constants: Any, tangents: int = 1
) -> Array:
    """Log-likelihoods, in blocks and on several devices where asked; `tangents` go along."""
    system, own, execution = program.system, _core_ndim(program), program.execution
    core = (own, _param_cores(system), grid_cores(grid, system), None)
    rank = y.ndim - own

    def whole(*operands: Any) -> Array:
        with execution.precision():
            visits = visit_log_likelihoods(program, *operands)
        return visits.astype(jnp.float64).sum(-1)

    operands = execution.cast((y, params, grid, constants))
    if not rank:
        return whole(*operands)
    batch = batch_shape(operands, core, rank)
    axis = longest(batch)
    size = batch[axis]
    if execution.platform == "cpu":
        size = block_size(batch, axis, tangents, program.likelihood.step_numbers(system))

    def blocks(part: Part, *operands: Any) -> Array:
        return map_blocks(whole, operands, core, rank, part, size)

    if execution.devices is not None:
        return map_shards(blocks, operands, axis, batch[axis], execution.mesh_devices)
    if size >= batch[axis]:
        return whole(*operands)
    return blocks(Part(axis, 0, batch[axis]), *operands)


def _param_cores(system: BoundSystem) -> dict[str, int]:
    return {name: len(shape) for name, shape in system.param_shapes.items()}


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _guarded(program: Program, y: Any, params: Any, grid: TimeGrid, constants: Any) -> Array:
    """Log-likelihood with minus infinity, and a zero gradient, where it is not a number."""
    total = totals(program, y, params, grid, constants)
    return jnp.where(jnp.isfinite(total), total, -jnp.inf)


def _forward(program: Program, y: Any, params: Any, grid: Any, constants: Any) -> Any:
    values = jax.tree.map(lambda leaf: leaf.value, (y, params, grid, constants), is_leaf=_is_primal)
    varied = {name: leaf.perturbed for name, leaf in params.items()}
    inputs = {name: values[1][name] for name, flag in varied.items() if flag}
    if y.perturbed:
        inputs["(y)"] = values[0]
    fixed_y, fixed_params, grid, constants = values

    forwards = _few_scalars(program, inputs)

    def total(inputs: dict[str, Any]) -> Array:
        y = inputs.get("(y)", fixed_y)
        params = {name: inputs.get(name, value) for name, value in fixed_params.items()}
        return totals(program, y, params, grid, constants, len(inputs) if forwards else 1)

    if forwards:
        value, slopes = _tangents(total, inputs)
        pull = None
    else:
        value, pull = jax.vjp(total, inputs)
        slopes = None
    valid = jnp.isfinite(value)
    shapes = {name: _Shape(jnp.shape(value)) for name, value in inputs.items()}
    return jnp.where(valid, value, -jnp.inf), (valid, pull, slopes, shapes)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Shape:
    """A shape that travels with residuals as static data."""

    shape: tuple[int, ...]


def _is_primal(leaf: Any) -> bool:
    return hasattr(leaf, "perturbed")


def _few_scalars(program: Program, inputs: Mapping[str, Any]) -> bool:
    """Whether forward mode, one pass a scalar, is cheaper than one reverse pass."""
    if not program.likelihood.scheme(program.system).differentiates_forwards:
        return False
    limit = program.likelihood.forward_scalars
    shapes = program.system.param_shapes
    return 0 < len(inputs) <= limit and all(shapes.get(name) == () for name in inputs)


def _tangents(total: Callable[..., Any], inputs: dict[str, Any]) -> tuple[Array, dict[str, Array]]:
    """Value and, per scalar parameter, the slope of every trajectory's value."""
    names = list(inputs)

    def along(weights: Array) -> tuple[Array, Array]:
        direction = {
            name: jnp.full_like(array, weights[i]) for i, (name, array) in enumerate(inputs.items())
        }
        return jax.jvp(total, (inputs,), (direction,))

    value, slopes = jax.vmap(along, out_axes=(None, 0))(jnp.eye(len(names)))
    return value, dict(zip(names, slopes, strict=True))


def _backward(program: Program, residuals: Any, cotangent: Any) -> Any:
    valid, pull, slopes, shapes = residuals
    if isinstance(cotangent, SymbolicZero):
        cotangent = jnp.zeros(valid.shape)
    weight = jnp.where(valid, cotangent, 0.0)
    if pull is not None:
        (gradients,) = pull(weight)
    else:
        gradients = {
            name: _sum_to(weight * slope, shapes[name].shape) for name, slope in slopes.items()
        }
    # Zero times NaN is NaN: gradients that an undefined trajectory spoilt are cleared, those of
    # defined ones are left as they are, so that a NaN there is seen and can be mended.
    broken = ~valid.all()
    gradients = {
        name: jnp.where(broken & ~jnp.isfinite(g), 0.0, g) for name, g in gradients.items()
    }
    of_y = gradients.pop("(y)", None)
    names = program.system.param_shapes
    return of_y, {name: gradients.get(name) for name in names}, None, None


def _sum_to(array: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that a gradient's own array does not have or has once."""
    padded = (1,) * (array.ndim - len(shape)) + shape
    axes = tuple(i for i, (n, k) in enumerate(zip(array.shape, padded, strict=True)) if n != k)
    return array.sum(axes, keepdims=True).reshape(shape)


_guarded.defvjp(_forward, _backward, symbolic_zeros=True)


@partial(jax.jit, static_argnums=0)
def compiled_log_likelihood(program: Program, y: Any, params: Any, grid: TimeGrid) -> Array:
    """:func:`log_likelihood`, compiled once per program and shapes."""
    return log_likelihood(program, y, params, grid)
