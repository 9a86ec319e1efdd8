"""Which values a datum can have, and on what that depends: for errors when a model is built."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro import distributions as dist
from numpyro.distributions import constraints

from pymc_dynsys.systems.censored import Censored, CensoredSupport
from pymc_dynsys.systems.components import Components
from pymc_dynsys.systems.densities import plain_law
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.structure import depends_on


class Support(NamedTuple):
    """Values that a component of the data can have, or all components of a joint distribution.

    Attributes
    ----------
    law : str
        Name of the distribution.
    constraint : Constraint or None
        The values; None where they depend on anything.
    joint : bool
        Whether they are vectors of all components.
    """

    law: str
    constraint: Any
    joint: bool = False


def supports_of(law: dist.Distribution) -> tuple[Support, ...]:
    """One support for each distribution of its own; a single one is that of every component."""
    law = plain_law(law)
    if isinstance(law, Components):
        return tuple(found for own in law.laws for found in supports_of(own))
    constraint = _support(law)
    traced = any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(constraint))
    return (Support(_name(law), None if traced else constraint, bool(law.event_dim)),)


def in_support(law: dist.Distribution, y: Array) -> Array:
    """Whether the components of a datum are possible, ``(component,)``, or ``(1,)`` if joint."""
    law = plain_law(law)
    laws = law.laws if isinstance(law, Components) else (law,)
    supports = [_support(plain_law(own)) for own in laws]
    if len(laws) == 1:
        found = jnp.ones(y.shape, bool)
        if supports[0] is not None:
            value = y if law.shape() else y[0]
            found = jnp.asarray(supports[0](value))
        return jnp.atleast_1d(found)
    return jnp.stack(
        [
            jnp.ones((), bool) if own is None else jnp.asarray(own(y[i])).reshape(())
            for i, own in enumerate(supports)
        ]
    )


def _support(law: dist.Distribution) -> Any:
    if isinstance(law, Censored):
        base = _support(plain_law(law.law))
        return CensoredSupport(base, law.lower, law.upper, law.limit)
    if isinstance(law, dist.Beta):
        return constraints.open_interval(0.0, 1.0)  # where the density is neither zero nor infinite
    try:
        return law.support
    except (AttributeError, NotImplementedError):
        return None


def _name(law: dist.Distribution) -> str:
    if isinstance(law, Censored):
        return f"{type(plain_law(law.law)).__name__} (censored)"
    return type(law).__name__


def is_censored(law: dist.Distribution) -> bool:
    """Whether any component is censored."""
    law = plain_law(law)
    laws = law.laws if isinstance(law, Components) else (law,)
    return any(isinstance(plain_law(own), Censored) for own in laws)


def only_bounds(
    law: Callable[..., dist.Distribution], args: Sequence[Any], inputs: Sequence[str]
) -> tuple[str, ...]:
    """Inputs that enter the distribution ``law(x, t, held)`` as bounds of what is censored only."""
    x, t, held = args

    def without_bounds(own: dict[str, Any], others: dict[str, Any], x: Array, t: Array) -> Any:
        found = plain_law(law(x, t, Held({**others, **own})))
        laws = found.laws if isinstance(found, Components) else (found,)
        plain = [own.law if isinstance(own, Censored) else own for own in map(plain_law, laws)]
        return [jnp.asarray(leaf) for leaf in jax.tree.leaves(plain)]

    def enters(name: str) -> bool:
        others = {other: value for other, value in held.values.items() if other != name}
        return depends_on(without_bounds, ({name: held.values[name]}, others, x, t), 0)

    return tuple(name for name in inputs if not enters(name))


def holds(support: Support, y: np.ndarray) -> np.ndarray:
    """Whether data are possible, ``(*batch, time)``, or of all components if joint; NaN is."""
    there = ~np.isnan(y)
    if support.constraint is None or not there.any():
        return np.ones(y.shape[:-1] if support.joint else y.shape, bool)
    if support.joint:
        there = there.all(-1)
    with np.errstate(invalid="ignore"):
        return ~there | np.asarray(support.constraint(y))


def in_words(constraint: constraints.Constraint) -> str:
    """Values of a constraint, in words."""
    if isinstance(constraint, CensoredSupport):
        beyond = "values at or beyond its bounds"
        if constraint.limit is not None:
            beyond += ", with the limit on the far side"
        return f"{in_words(constraint.base)}, and {beyond}"
    low = getattr(constraint, "lower_bound", None)
    high = getattr(constraint, "upper_bound", None)
    whole = "whole numbers" if constraint.is_discrete else "numbers"
    if constraint is constraints.boolean:
        return "0 and 1"
    if low is not None and high is not None:
        return f"{whole} from {float(low):g} to {float(high):g}{_strictly(constraint)}"
    if low is not None:
        strict = type(constraint).__name__ in ("_GreaterThan", "_Positive")
        return f"{whole} {'above' if strict else 'from'} {float(low):g}{'' if strict else ' on'}"
    if high is not None:
        return f"{whole} up to {float(high):g}"
    return type(constraint).__name__.strip("_").lower()


def _strictly(constraint: constraints.Constraint) -> str:
    return ", both left out" if type(constraint).__name__ == "_OpenInterval" else ""
