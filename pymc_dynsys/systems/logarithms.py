"""Logarithms of exponentials taken out of a traced function.

``dist.Poisson(jnp.exp(x))`` has the log-density ``y log(exp(x)) - exp(x) - log y!``. The compiler
sees that ``log(exp(x))`` is ``x`` only where nothing stands between the two, not even a change of
shape, and automatic differentiation has by then made quotients of it. So it is done first: fewer
exponentials and logarithms in each of the derivatives, and no minus infinity where ``exp(x)`` is
below the smallest number.
"""

from collections.abc import Callable, Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn, Literal, Var, jaxpr_as_fun
from jaxtyping import Array

type Later = Callable[[], Array]
"""A logarithm that is computed if it is asked for."""

CALLS = ("jit", "pjit")
MOVES = ("reshape", "squeeze", "broadcast_in_dim", "transpose", "slice", "copy")


def log_of_exp(function: Callable[..., Array]) -> Callable[..., Array]:
    """The same function, in which ``log(exp(a))`` is ``a``.

    Also through changes of shape, products, quotients and powers, and where it is chosen beside
    positive constants: ``log(where(c, u * exp(a), 1))`` is ``where(c, log(u) + a, 0)``. What stands
    in functions that have derivatives of their own, in loops or in branches stays as it is.
    """

    def simpler(*operands: Array) -> Array:
        traced = jax.make_jaxpr(function)(*operands)
        if not {"log", "exp"} <= _primitives(traced.jaxpr):
            (out,) = jaxpr_as_fun(traced)(*operands)
        else:
            (out,), _ = _evaluate(traced, operands, [None] * len(operands))
        return out

    return simpler


def _primitives(jaxpr: Jaxpr) -> set[str]:
    """Names of what a traced function is made of, calls within it included."""
    inner = (_primitives(e.params["jaxpr"].jaxpr) for e in jaxpr.eqns if e.primitive.name in CALLS)
    return {e.primitive.name for e in jaxpr.eqns}.union(*inner)


def _evaluate(
    traced: ClosedJaxpr, operands: Sequence[Array], logs: Sequence[Later | None]
) -> tuple[list[Array], list[Later | None]]:
    """Outputs of a traced function, and the logarithms of those that need none to be known.

    ``logs`` are those of its operands. What was computed for a logarithm alone and is not needed
    any more is dropped by the compiler.
    """
    jaxpr = traced.jaxpr
    values: dict[Var, Array] = dict(zip(jaxpr.constvars, traced.consts, strict=True))
    values.update(zip(jaxpr.invars, operands, strict=True))
    known = dict(zip(jaxpr.invars, logs, strict=True))

    def value(v: Var | Literal) -> Array:
        return v.val if isinstance(v, Literal) else values[v]

    def log(v: Var | Literal) -> Later | None:
        if not isinstance(v, Literal):
            return known.get(v)
        return (lambda: jnp.log(v.val)) if np.all(np.asarray(v.val) > 0) else None

    for eqn in jaxpr.eqns:
        name, inputs = eqn.primitive.name, [value(v) for v in eqn.invars]
        found = [log(v) for v in eqn.invars]
        own: list[Later | None] = [None] * len(eqn.outvars)
        if name in CALLS:
            outputs, own = _evaluate(eqn.params["jaxpr"], inputs, found)
        elif name == "log" and (later := found[0]) is not None:
            outputs = [later()]
        else:
            outputs = bound(eqn, inputs)
            own[0] = _log_of_result(eqn, inputs, found)
        values.update(zip(eqn.outvars, outputs, strict=True))
        known.update(zip(eqn.outvars, own, strict=True))
    return [value(v) for v in jaxpr.outvars], [log(v) for v in jaxpr.outvars]


def bound(eqn: JaxprEqn, inputs: Sequence[Array]) -> list[Array]:
    """Results of one equation; functions with derivatives of their own keep these."""
    params = eqn.primitive.get_bind_params(eqn.params)
    # Older releases of JAX return the functions beside the other parameters.
    functions, params = params if isinstance(params, tuple) else ((), params)
    found = eqn.primitive.bind(*functions, *inputs, **params)
    return list(found) if eqn.primitive.multiple_results else [found]


def _log_of_result(eqn: JaxprEqn, inputs: list[Array], logs: list[Later | None]) -> Later | None:
    """Logarithm of what a primitive makes, from those of its operands; None where it is unknown."""
    name, first = eqn.primitive.name, logs[0] if logs else None
    if name == "exp":
        return lambda: inputs[0]
    if name == "select_n":
        cases = [log for log in logs[1:] if log is not None]
        if len(cases) < len(logs) - 1:
            return None
        shape = jnp.shape(inputs[1])
        return lambda: jax.lax.select_n(
            inputs[0], *(jnp.broadcast_to(case(), shape) for case in cases)
        )
    if name in ("mul", "div"):
        if first is None and logs[1] is None:
            return None
        sign = 1.0 if name == "mul" else -1.0
        a, b = (log or partial(jnp.log, x) for log, x in zip(logs, inputs, strict=True))
        return lambda: a() + sign * b()
    if first is None:
        return None
    if name in MOVES or (name == "convert_element_type" and _is_float(eqn)):
        return lambda: eqn.primitive.bind(first(), *inputs[1:], **eqn.params)
    power = {"square": 2.0, "sqrt": 0.5, "integer_pow": eqn.params.get("y")}.get(name)
    return None if power is None else lambda: power * first()


def _is_float(eqn: JaxprEqn) -> bool:
    return bool(jnp.issubdtype(eqn.params["new_dtype"], jnp.floating))
