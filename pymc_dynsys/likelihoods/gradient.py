"""Log-likelihoods of a batch with a gradient that is guarded, cheap, and never silently zero.

Where a trajectory is undefined its log-likelihood is minus infinity and its gradient zero. One or
two scalar parameters are differentiated forwards, all else backwards. Arrays without a gradient
raise when one is asked for.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array

from pymc_dynsys.discretization import Operands, TimeGrid
from pymc_dynsys.discretization.operands import Role, Slot
from pymc_dynsys.likelihoods.program import Program, totals


def log_likelihood(
    program: Program, operands: Operands, grid: TimeGrid | None = None, noise: Any = None
) -> Array:
    """Log-likelihood of each trajectory, shape ``(*batch,)``; minus infinity where undefined.

    Grid and noise are made here where they were not prepared outside.
    """
    grid = program.prepare(operands) if grid is None else grid
    noise = program.draw_noise(operands.y, grid) if noise is None else noise
    return _guarded(program, operands, grid, noise)


def require_gradient(program: Program, slot: Slot) -> None:
    """Raise TypeError if there is no gradient with respect to an array.

    The same words where PyTensor and where JAX differentiates. It is a TypeError because PyMC
    takes NotImplementedError as a hint to choose a sampler without gradients.
    """
    likelihood = program.likelihood
    if not likelihood.gradient:
        raise TypeError(f"{likelihood!r} has no gradient; {likelihood.instead_of_gradient}")
    if not slot.smooth:
        raise TypeError(
            f"{slot.label}: the log-likelihood has no gradient with respect to it, since it is "
            "data; what is to be estimated goes into params, or varies in time as an input that "
            "is a PyMC variable"
        )


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _guarded(program: Program, operands: Operands, grid: TimeGrid, noise: Any) -> Array:
    """Log-likelihood with minus infinity, and a zero gradient, where it is not a number."""
    return _value(program, operands, grid, noise)


@partial(jax.jit, static_argnums=0)
def _value(program: Program, operands: Operands, grid: TimeGrid, noise: Any) -> Array:
    """Log-likelihood with minus infinity where it is not a number."""
    total = totals(program, operands, grid, noise)
    return jnp.where(jnp.isfinite(total), total, -jnp.inf)


def _forward(program: Program, operands: Any, grid: Any, noise: Any) -> Any:
    """Value, and what the backward pass needs: slopes, or a pullback.

    Leaves come with a flag that says whether a gradient is asked for.
    """
    slots, leaves = program.design.slots, program.design.unpack(operands)
    asked = [i for i, leaf in enumerate(leaves) if leaf.perturbed]
    for i in asked:
        require_gradient(program, slots[i])
    values = jax.tree.map(lambda leaf: leaf.value, (operands, grid, noise), is_leaf=_is_primal)
    return _value_and_slopes(program, tuple(asked), *values)


@partial(jax.jit, static_argnums=(0, 1))
def _value_and_slopes(
    program: Program, asked: tuple[int, ...], operands: Operands, grid: TimeGrid, noise: Any
) -> Any:
    """Value, and what the backward pass needs, for those arrays of which a gradient is asked."""
    arrays = program.design.unpack(operands)
    varied = {i: arrays[i] for i in asked}
    forwards = _few_scalars(program, varied)

    def total(varied: dict[int, Any]) -> Array:
        merged = [varied.get(i, array) for i, array in enumerate(arrays)]
        changed = program.design.pack(merged)
        return totals(program, changed, grid, noise, len(varied) if forwards else 1)

    if forwards:
        value, slopes = _tangents(total, varied)
        pull = None
    else:
        value, pull = jax.vjp(total, varied)
        slopes = None
    valid = jnp.isfinite(value)
    shapes = {i: _Shape(jnp.shape(array)) for i, array in varied.items()}
    return jnp.where(valid, value, -jnp.inf), (valid, pull, slopes, shapes)


@jax.tree_util.register_static
@dataclass(frozen=True)
class _Shape:
    """A shape that travels with residuals as static data."""

    shape: tuple[int, ...]


def _is_primal(leaf: Any) -> bool:
    return hasattr(leaf, "perturbed")


def _few_scalars(program: Program, varied: dict[int, Any]) -> bool:
    """Whether forward mode, one pass a scalar, is cheaper than one reverse pass."""
    if not program.likelihood.scheme(program.system).differentiates_forwards:
        return False
    slots = program.design.slots
    scalars = all(slots[i].role is Role.PARAM and not slots[i].core for i in varied)
    return 0 < len(varied) <= program.likelihood.forward_scalars and scalars


def _tangents(total: Callable[..., Any], varied: dict[int, Any]) -> tuple[Array, dict[int, Array]]:
    """Value and, per scalar parameter, the slope of every trajectory's value."""

    def along(weights: Array) -> tuple[Array, Array]:
        direction = {
            i: jnp.full_like(array, weights[k]) for k, (i, array) in enumerate(varied.items())
        }
        return jax.jvp(total, (varied,), (direction,))

    value, slopes = jax.vmap(along, out_axes=(None, 0))(jnp.eye(len(varied)))
    return value, dict(zip(varied, slopes, strict=True))


def _backward(program: Program, residuals: Any, cotangent: Any) -> Any:
    """Gradients with respect to the operands; None, which is zero, where none was asked for."""
    valid, pull, slopes, shapes = residuals
    if isinstance(cotangent, SymbolicZero):
        cotangent = jnp.zeros(valid.shape)
    weight = jnp.where(valid, cotangent, 0.0)
    if pull is not None:
        (gradients,) = _pulled(pull, weight)
    else:
        gradients = {i: _sum_to(weight * slope, shapes[i].shape) for i, slope in slopes.items()}
    # Zero times NaN is NaN: gradients that an undefined trajectory contaminated are cleared, those
    # of defined ones are left as they are, so that a NaN there is seen and can be fixed.
    broken = ~valid.all()
    gradients = {i: jnp.where(broken & ~jnp.isfinite(g), 0.0, g) for i, g in gradients.items()}
    flat = [gradients.get(i) for i in range(len(program.design.slots))]
    return program.design.pack(flat), None, None


@jax.jit
def _pulled(pull: Callable[[Array], Any], weight: Array) -> Any:
    """Gradients that follow from a weight of each trajectory."""
    return pull(weight)


def _sum_to(array: Array, shape: tuple[int, ...]) -> Array:
    """Sum over the axes that a gradient's own array does not have or has once."""
    padded = (1,) * (array.ndim - len(shape)) + shape
    axes = tuple(i for i, (n, k) in enumerate(zip(array.shape, padded, strict=True)) if n != k)
    return array.sum(axes, keepdims=True).reshape(shape)


_guarded.defvjp(_forward, _backward, symbolic_zeros=True)
