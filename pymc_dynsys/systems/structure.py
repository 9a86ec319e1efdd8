"""Proof, from its jaxpr, that a function is affine in an argument or free of it.

A function is affine in ``x`` when its Jacobian does not depend on ``x`` *and* the
Jacobian tells the whole story: no live equation that depends on ``x`` may be a step or a
wall to derivatives. ``where(x > 0, -1, 1)`` and ``stop_gradient(x**2)`` have constant
Jacobians and are not affine. Sampling points would prove nothing; the jaxpr does. The
proof may miss an affine function written in a roundabout way, never the reverse.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core
from jax.interpreters import partial_eval

STEPS_AND_WALLS = frozenset(
    {
        "floor",
        "ceil",
        "round",
        "sign",
        "rem",
        "nextafter",
        "reduce_precision",
        "stop_gradient",
        "custom_jvp_call",
        "custom_vjp_call",
        "custom_vjp_call_jaxpr",
        "custom_lin",
        "pure_callback",
        "io_callback",
        "while",
        "cond",
    }
)
"""Primitives through which a zero derivative does not mean no dependence."""


def depends_on(function: Callable[..., Any], args: Sequence[Any], which: int) -> bool:
    """Whether any output of ``function(*args)`` depends on the ``which``-th argument."""
    _, used = _live(function, args)
    return used[which]


def is_affine(function: Callable[..., Any], args: Sequence[Any], which: int = 0) -> bool:
    """Whether ``function(*args)`` is proved to be affine in its ``which``-th argument."""
    jaxpr, used = _live(function, args)
    if not used[which]:
        return True
    argument = _flat_positions(args, which)
    if _has_wall(jaxpr, argument):
        return False
    return not depends_on(jax.jacfwd(function, argnums=which), args, which)


def _flat_positions(args: Sequence[Any], which: int) -> list[bool]:
    """Flags, over the flattened arguments, of those that belong to argument ``which``."""
    return [i == which for i, arg in enumerate(args) for _ in jax.tree.leaves(arg)]


def _live(function: Callable[..., Any], args: Sequence[Any]) -> tuple[core.Jaxpr, list[bool]]:
    """Jaxpr without dead code, all inputs kept, and per argument whether it is used."""
    closed = jax.make_jaxpr(function)(*args)
    outputs = [True] * len(closed.jaxpr.outvars)
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, outputs)
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, outputs, instantiate=True)
    flags = iter(used)
    per_argument = [any([next(flags) for _ in jax.tree.leaves(arg)]) for arg in args]
    return jaxpr, per_argument


def _has_wall(jaxpr: core.Jaxpr, tainted_inputs: Sequence[bool]) -> bool:
    """Whether an equation that depends on a tainted input is a step or a wall."""
    tainted = {var for var, flag in zip(jaxpr.invars, tainted_inputs, strict=True) if flag}
    for equation in jaxpr.eqns:
        flags = [isinstance(v, core.Var) and v in tainted for v in equation.invars]
        if not any(flags):
            continue
        if equation.primitive.name in STEPS_AND_WALLS:
            return True
        if not all(jnp.issubdtype(_dtype(v), jnp.floating) for v in equation.outvars):
            return True
        for inner in _inner_jaxprs(equation.params):
            # Conservative: inside a call everything counts as dependent on the argument.
            if _has_wall(inner, [True] * len(inner.invars)):
                return True
        tainted.update(equation.outvars)
    return False


def _dtype(variable: Any) -> Any:
    return variable.aval.dtype


def _inner_jaxprs(params: dict[str, Any]) -> Iterator[core.Jaxpr]:
    for value in params.values():
        for item in value if isinstance(value, tuple | list) else (value,):
            if isinstance(item, core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, core.Jaxpr):
                yield item


def slopes_of(
    function: Callable[..., Any], values: Mapping[str, jax.ShapeDtypeStruct], *rest: Any
) -> dict[str, bool]:
    """Whether ``function(values, *rest)`` has a slope in each of those values that it depends on.

    One that is only compared with something, as in ``where(t > lag, 1, 0)``, has a slope of zero
    everywhere.
    """
    closed = jax.make_jaxpr(function)(values, *rest)
    outputs = [True] * len(closed.jaxpr.outvars)
    _, used = partial_eval.dce_jaxpr(closed.jaxpr, outputs)
    jaxpr, _ = partial_eval.dce_jaxpr(closed.jaxpr, outputs, instantiate=True)
    found = {}
    for i, name in enumerate(sorted(values)):
        if used[i]:
            compared = _has_wall(jaxpr, [j == i for j in range(len(used))])
            found[name] = not compared or _has_slope(function, name, values, *rest)
    return found


def _has_slope(function: Callable[..., Any], name: str, values: Any, *rest: Any) -> bool:
    """Whether the derivative in one value is anything but a constant of zero."""

    def slope(values: Any, *rest: Any) -> Any:
        return jax.jacfwd(lambda value: function({**values, name: value}, *rest))(values[name])

    if any(_live(slope, (values, *rest))[1]):
        return True
    some = jax.tree.map(lambda leaf: jnp.ones(leaf.shape, leaf.dtype), (values, *rest))
    return any(bool((leaf != 0).any()) for leaf in jax.tree.leaves(slope(*some)))
