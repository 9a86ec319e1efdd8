"""Which numbers of a result depend on which components of the state, read from a jaxpr.

A dependence is claimed unless it is proved away: what moves or combines arrays entry by entry is
followed exactly, anything else is taken to depend on all of its arguments.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core
from jaxtyping import Bool

ENTRYWISE = frozenset(
    "abs add add_any and atan2 cbrt ceil clamp convert_element_type copy cos cosh copysign "
    "custom_jvp_generic digamma div eq erf erf_inv erfc exp exp2 expm1 floor ge gt integer_pow "
    "is_finite le lgamma log log1p logistic lt max min mul ne neg nextafter not or pow rem round "
    "rsqrt select_n sign sin sinh sqrt square stop_gradient sub tan tanh xor".split()
)
"""Primitives each entry of whose result depends on the entries at the same place."""

MOVING = frozenset(
    "broadcast_in_dim concatenate expand_dims reshape rev slice squeeze stack transpose".split()
)
"""Primitives that put entries elsewhere."""

CALLS = ("jit", "pjit", "closed_call", "custom_jvp_call")
"""Primitives that call a function of the same arguments."""

Atom = core.Var | core.Literal

Flags = Bool[np.ndarray, "*shape state"]


def dependence(function: Callable[..., Any], args: Sequence[Any]) -> Flags:
    """Which entries of ``function(x, *rest)``, an array, depend on which of ``x``, ``(state,)``.

    `args` are abstract values of its arguments.
    """
    closed = jax.make_jaxpr(function)(*args)
    (n,) = args[0].shape
    flags: list[Any] = [np.eye(n, dtype=bool)]
    flags += [_nothing(v, n) for v in closed.jaxpr.invars[1:]]
    with jax.ensure_compile_time_eval():
        (found,) = _run(closed.jaxpr, flags, n)
    return found


def depended_on(function: Callable[..., Any], args: Sequence[Any]) -> tuple[int, ...]:
    """Components of ``x`` that ``function(x, *rest)`` depends on, as far as can be proved."""
    n = args[0].shape[0]
    return tuple(np.flatnonzero(dependence(function, args).reshape(-1, n).any(0)).tolist())


def shape_of(variable: Atom) -> tuple[int, ...]:
    """Shape of a variable of a jaxpr."""
    value: Any = variable.aval
    return tuple(value.shape)


def _nothing(variable: Atom, n: int) -> Flags:
    return np.zeros((*shape_of(variable), n), bool)


def _run(jaxpr: core.Jaxpr, flags: Sequence[Flags], n: int) -> list[Flags]:
    """Flags of the results of a jaxpr from those of its arguments; its constants have none."""
    known = dict(zip(jaxpr.invars, flags, strict=True))

    def read(v: Atom) -> Flags:
        return known[v] if isinstance(v, core.Var) and v in known else _nothing(v, n)

    for equation in jaxpr.eqns:
        found = _of_equation(equation, [read(v) for v in equation.invars], n)
        known.update(zip(equation.outvars, found, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _of_equation(equation: core.JaxprEqn, flags: list[Flags], n: int) -> list[Flags]:
    """Flags of the results of one equation.

    Calls are entered; a product with a zero that is written out depends on nothing; the rest is
    entry by entry, moved, or all on all.
    """
    name, outs = equation.primitive.name, equation.outvars
    if not any(flag.any() for flag in flags):
        return [_nothing(v, n) for v in outs]
    for inner in equation.params.values():
        inner = inner.jaxpr if isinstance(inner, core.ClosedJaxpr) else inner
        if name in CALLS and isinstance(inner, core.Jaxpr):
            return _run(inner, flags, n)
    zeros = [v for v in equation.invars if isinstance(v, core.Literal) and np.all(v.val == 0)]
    if name == "mul" and zeros:
        return [_nothing(outs[0], n)]
    if name in ENTRYWISE and len(outs) == 1:
        together = _nothing(outs[0], n)
        for flag in flags:
            together = together | flag
        return [together]
    if name in MOVING and len(outs) == 1:
        moved = [
            equation.primitive.bind(*(flag[..., j] for flag in flags), **equation.params)
            for j in range(n)
        ]
        return [np.stack([np.asarray(part) for part in moved], axis=-1)]
    anywhere = np.any([flag.reshape(-1, n).any(0) for flag in flags], axis=0)
    return [np.broadcast_to(anywhere, (*shape_of(v), n)) for v in outs]
