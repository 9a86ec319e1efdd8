"""The one linear predictor through which a density sees the state, cut out of its jaxpr.

``Poisson(exp(level + season))`` depends on two states through their sum only, so that its second
derivatives have rank one and higher ones are those of a function of one number. That is proved:
everything which depends on the state passes through one scalar, and this scalar is affine in the
state, with weights that may depend on parameters, inputs and time.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jax.extend.core import ClosedJaxpr, JaxprEqn, Literal, Var
from jaxtyping import Array, Float

from pymc_dynsys.systems.dependence import shape_of
from pymc_dynsys.systems.logarithms import bound
from pymc_dynsys.systems.structure import is_affine

CALLS = ("jit", "pjit", "closed_call")
"""Primitives that call a function of the same arguments and have no rule of their own."""


class Cut(NamedTuple):
    """A function of the state as an outer function of one number that is found from the state."""

    predictor: Callable[[Float[Array, " state"]], Float[Array, ""]]
    outer: Callable[[Float[Array, ""]], Float[Array, ""]]


def cut(function: Callable[[Array], Array], x: Float[Array, " state"]) -> Cut | None:
    """Cut a function at the first scalar through which all passes; None: there is none.

    `x` may be abstract; then the parts can be traced, and not called.
    """
    traced = jax.make_jaxpr(_inlined(jax.make_jaxpr(function)(x)))(x)
    (state,), (out,) = traced.jaxpr.invars, traced.jaxpr.outvars
    depend = _dependents(traced.jaxpr.eqns, state, None)
    if not isinstance(out, Var):
        return None
    for scalar in (v for eqn in traced.jaxpr.eqns for v in eqn.outvars if v in depend):
        if np.prod(shape_of(scalar), dtype=int) == 1 and (
            scalar is out or out not in _dependents(traced.jaxpr.eqns, state, scalar)
        ):
            return _cut_at(traced, scalar)
    return None


def _cut_at(traced: ClosedJaxpr, scalar: Var) -> Cut:
    (state,), (out,) = traced.jaxpr.invars, traced.jaxpr.outvars

    def predictor(x: Array) -> Array:
        return _evaluate(traced, {state: x}, scalar).reshape(())

    def outer(eta: Array) -> Array:
        return _evaluate(traced, {scalar: eta.reshape(shape_of(scalar))}, out)

    return Cut(predictor, outer)


def sees_linear_predictor(function: Callable[..., Array], args: Sequence[object]) -> bool:
    """Whether ``function(x, *rest)`` is proved to see x through one scalar that is affine in it."""

    def predictor(x: Array, *rest: object) -> Array:
        parts = cut(lambda x: function(x, *rest), x)
        if parts is None:
            raise _NoCut
        return parts.predictor(x)

    try:
        return is_affine(predictor, args)
    except _NoCut:
        return False


class _NoCut(Exception):
    """There is no scalar through which all passes."""


def _inlined(traced: ClosedJaxpr) -> Callable[..., Array]:
    """The same function of its arguments, with the calls of functions written out."""

    def run(*operands: Array) -> Array:
        (found,) = _written_out(traced, operands)
        return found

    return run


def _written_out(traced: ClosedJaxpr, operands: Sequence[Array]) -> list[Array]:
    jaxpr = traced.jaxpr
    values: dict[Var, Array] = dict(zip(jaxpr.constvars, traced.consts, strict=True))
    values.update(zip(jaxpr.invars, operands, strict=True))
    for eqn in jaxpr.eqns:
        inputs = [v.val if isinstance(v, Literal) else values[v] for v in eqn.invars]
        if eqn.primitive.name in CALLS:
            outputs = _written_out(_called(eqn), inputs)
        else:
            outputs = bound(eqn, inputs)
        values.update(zip(eqn.outvars, outputs, strict=True))
    return [v.val if isinstance(v, Literal) else values[v] for v in jaxpr.outvars]


def _called(eqn: JaxprEqn) -> ClosedJaxpr:
    found: ClosedJaxpr = eqn.params.get("jaxpr") or eqn.params["call_jaxpr"]
    return found


def _dependents(eqns: Sequence[JaxprEqn], state: Var, without: Var | None) -> set[Var]:
    """What depends on the state otherwise than through one variable."""
    found = {state}
    for eqn in eqns:
        if any(isinstance(v, Var) and v in found for v in eqn.invars):
            found.update(v for v in eqn.outvars if v is not without)
    return found


def _evaluate(traced: ClosedJaxpr, given: dict[Var, Array], wanted: Var | Literal) -> Array:
    """One variable from others that are given: only what it needs is evaluated."""
    jaxpr = traced.jaxpr
    if isinstance(wanted, Literal):
        return wanted.val
    needed = {wanted}
    equations: list[JaxprEqn] = []
    for eqn in reversed(jaxpr.eqns):
        if any(v in needed and v not in given for v in eqn.outvars):
            equations.append(eqn)
            needed.update(v for v in eqn.invars if isinstance(v, Var))
    values: dict[Var, Array] = {
        **dict(zip(jaxpr.constvars, traced.consts, strict=True)),
        **given,
    }
    for eqn in reversed(equations):
        inputs = [v.val if isinstance(v, Literal) else values[v] for v in eqn.invars]
        outputs = zip(eqn.outvars, bound(eqn, inputs), strict=True)
        values.update((v, value) for v, value in outputs if v not in given)
    return values[wanted]
