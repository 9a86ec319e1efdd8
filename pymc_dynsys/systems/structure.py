"""Proof, from its jaxpr, that a function is affine in an argument or free of it.

A function is affine in ``x`` when its Jacobian does not depend on ``x`` *and* the
Jacobian tells the whole story: no live equation that depends on ``x`` may be a step or a
wall to derivatives. ``where(x > 0, -1, 1)`` and ``stop_gradient(x**2)`` have constant
Jacobians and are not affine. Sampling points would prove nothing; the jaxpr does. The
proof may miss an affine function written in a roundabout way, never the reverse.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
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


@dataclass(frozen=True)
class Structure:
    """What was proved of a bound system; every flag is False when nothing could be proved.

    Attributes
    ----------
    gaussian_transition : bool
        Whether the state moves by a Gaussian law: always so in continuous time.
    linear_dynamics : bool
        Mean affine in the state, noise free of it; in continuous time free of time too.
    autonomous : bool
        Whether the dynamics do not depend on time.
    varying_dynamics : bool
        Whether inputs enter their slope or noise, not only their offset.
    gaussian_observation, affine_observation, constant_noise, timeless_observation : bool
        The law of the datum: Gaussian, with a mean affine in the state and a noise free of it;
        neither depending on time or inputs.
    definite_noise : bool
        Whether the law of the datum admits no singular noise.
    affine_jump, gaussian_initial, known_initial : bool
        The jump of events and the initial law.
    reasons : tuple of str
        Why the system is not linear and Gaussian; empty if it is.
    """

    gaussian_transition: bool
    linear_dynamics: bool
    autonomous: bool
    varying_dynamics: bool
    gaussian_observation: bool
    affine_observation: bool
    constant_noise: bool
    timeless_observation: bool
    definite_noise: bool
    affine_jump: bool
    gaussian_initial: bool
    known_initial: bool
    reasons: tuple[str, ...] = field(default=())

    @property
    def linear_gaussian(self) -> bool:
        """Whether the exact Kalman filter applies."""
        return not self.reasons


NOTHING_PROVED = Structure(*(False,) * 12, reasons=("nothing was proved",))


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
