"""What a user's function may return: shapes are checked, never broadcast."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array
from numpyro import distributions as dist

from pymc_dynsys.systems.binding import SHORT, WHOLE, BoundFunction
from pymc_dynsys.systems.gaussian import Gaussian, gaussian_moments
from pymc_dynsys.systems.initial import Diffuse, Mixed, Stationary


class FunctionFailed(ValueError):
    """A user's function raised on arguments of the shapes it will be given."""


def evaluate(
    function: BoundFunction, x: Any, t: Any, params: Mapping[str, Any], convert: Callable
) -> Any:
    """Shape of ``convert(function(x, t, params))``; a failure names the function and shapes."""

    def call(x: Any, t: Any, params: Any) -> Any:
        try:
            value = function(x, t, params)
        except Exception as error:
            raise FunctionFailed(
                f"{function.role}() failed on one trajectory, called with "
                f"{_shapes(function, x, params)}: {_explain(error)}"
            ) from error
        return convert(value)

    try:
        return jax.eval_shape(call, x, t, params)
    except (TypeError, ValueError) as error:
        asks = any(name == SHORT for name, _ in function.arguments)
        if x is not None and asks and SHORT not in function.vector:
            what = "a state" if SHORT in function.states else "a parameter or input"
            hint = f"; {SHORT!r} is {what} here, and the whole state vector is {WHOLE!r}"
            error.args = (f"{error}{hint}",)
        raise


def _explain(error: Exception) -> str:
    """First line of an error, with the fix where JAX's own words do not help."""
    first = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    if isinstance(error, jax.errors.TracerBoolConversionError):
        return "it branches on a value with `if`, `and`, `or` or `max`; use jnp.where instead"
    if isinstance(
        error, jax.errors.TracerArrayConversionError | jax.errors.ConcretizationTypeError
    ):
        return "it uses a numpy or math function; use the one of jax.numpy (jnp) instead"
    if "got invalid" in first and any(word in first for word in ("scale", "covariance")):
        return (
            f"{first} Noise has a positive scale; without any write pds.Gaussian(mean, 0.0), whose "
            "covariance may be zero or singular, or dist.Delta(mean)"
        )
    if "tensor variable" in first or "TensorVariable" in first:
        return "it uses a PyMC variable from outside; pass that through params"
    return first


def _shapes(function: BoundFunction, x: Any, params: Mapping[str, Any]) -> str:
    """Describe the arguments of a function by shape."""
    parts = []
    for name, _ in function.arguments:
        if name in function.vector:
            parts.append(f"{name} of shape {x.shape}")
        elif name == "t" or name in function.states:
            parts.append(f"{name!r} a scalar")
        else:
            shape = jnp.shape(params[name])
            parts.append(f"{name!r} of shape {shape}" if shape else f"{name!r} a scalar")
    listing = ", ".join(parts) if parts else "no arguments"
    return listing + (f" (the system has {x.shape[0]} states)" if x is not None else "")


def stack(role: str, value: Any) -> Array:
    """Stack tuples and lists of scalars (or of rows of scalars); pass arrays on."""
    if isinstance(value, tuple | list):
        parts = [stack(role, part) for part in value]
        shapes = {part.shape for part in parts}
        if len(shapes) > 1:
            raise ValueError(
                f"{role}() returned a {type(value).__name__} whose entries have different "
                f"shapes: {[part.shape for part in parts]}"
            )
        return jnp.stack(parts)
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{role}() must return an array, a scalar or a tuple of scalars, got "
            f"{type(value).__name__}"
        ) from error
    if not jnp.issubdtype(array.dtype, jnp.number) or jnp.iscomplexobj(array):
        raise TypeError(f"{role}() must return real numbers, got dtype {array.dtype}")
    return array.astype(jnp.zeros(()).dtype)


def as_vector(role: str, value: Any, states: Sequence[str]) -> Array:
    """A ``(state,)`` vector from what ``drift`` may return."""
    array = stack(role, value)
    expected = (len(states),)
    if array.shape == expected:
        return array
    if array.ndim == 0 and expected == (1,):
        return array[None]
    one_each = f"or a tuple of {len(states)} scalars, one each for {', '.join(states)}"
    if expected == (1,):
        one_each = "or a scalar"
    raise ValueError(f"{role}() returned shape {array.shape}, expected {expected} {one_each}")


def as_loading(value: Any, states: Sequence[str]) -> Array:
    """A ``(state,)`` or ``(state, noise)`` loading from what ``diffusion`` may return."""
    array = stack("diffusion", value)
    n = len(states)
    _refuse_negative(value)
    if array.ndim == 0:
        return jnp.full(n, array)
    if array.ndim in (1, 2) and array.shape[0] == n:
        return array
    raise ValueError(
        f"diffusion() returned shape {array.shape}; expected a scalar, ({n},) for independent "
        f"noises or ({n}, noises) for a loading matrix ({n} states: {', '.join(states)})"
    )


def _refuse_negative(value: object) -> None:
    """Raise for a diffusion of numbers, one for all or one a state, that has a negative one."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(value)):
        return
    known = np.asarray(value, float)
    if known.ndim < 2 and (known < 0).any():
        raise ValueError(
            f"diffusion: {known[known < 0].ravel()[0]:g} is negative; it is a standard deviation "
            "per root of time, so give its absolute value (a matrix may have negative entries)"
        )


def is_known(law: Any) -> bool:
    """Whether an initial distribution is a known state."""
    return isinstance(law, dist.Delta)


def is_definite(law: Any) -> bool:
    """Whether a Gaussian distribution is of a kind whose covariance cannot be singular."""
    while isinstance(law, dist.Independent | dist.ExpandedDistribution):
        law = law.base_dist
    return isinstance(law, dist.Normal | dist.MultivariateNormal | dist.LowRankMultivariateNormal)


def as_initial(value: Any, states: Sequence[str]) -> Any:
    """An initial distribution from one, from an array or a tuple; arrays are known states."""
    if isinstance(value, Diffuse):
        value = (value,) * len(states)
    if isinstance(value, Mixed):
        value = Gaussian(value.mean, value.cov)
    return as_law("initial", value, states)


def as_law(role: str, value: Any, states: Sequence[str]) -> Any:
    """The distribution of a state from one, from an array, or a tuple with one entry a state."""
    law = _law(role, value)
    n = len(states)
    if law.shape() == (n,) or (law.shape() == () and n == 1):
        return law
    fix = (
        f"give {n} entries, in the order {', '.join(states)}"
        if n > 1
        else "give a scalar or one entry"
    )
    raise ValueError(
        f"{role} has shape {law.shape()}, but the system has {n} state"
        f"{'s' if n > 1 else ''} ({', '.join(states)}); {fix}"
    )


def _law(role: str, value: Any) -> Any:
    """A distribution as it is, numbers as a known state, a tuple as independent ones."""
    if hasattr(value, "log_prob"):
        return value
    if isinstance(value, tuple | list) and any(map(_is_law, value)):
        return independent(role, value)
    known = stack(role, value)
    return dist.Delta(known, event_dim=known.ndim)


def _is_law(value: Any) -> bool:
    return hasattr(value, "log_prob") or isinstance(value, Diffuse)


def independent(role: str, entries: Sequence[Any]) -> Any:
    """One distribution of independent entries, from scalar Gaussian ones and numbers."""
    means, variances = [], []
    for i, entry in enumerate(entries):
        if isinstance(entry, Diffuse):
            entry = dist.Delta(0.0) if entry.kappa is None else Gaussian(0.0, entry.kappa)
        law = _law(role, entry)
        moments = gaussian_moments(law)
        if law.shape() != () or moments is None:
            raise ValueError(
                f"{role}: entry {i} is {type(law).__name__} of shape {law.shape()}; each is a "
                "number or a scalar Gaussian distribution. Return one joint distribution instead"
            )
        means.append(moments[0])
        variances.append(moments[1])
    if all(isinstance(entry, dist.Normal) for entry in entries):
        return dist.Normal(jnp.stack(means), jnp.stack([entry.scale for entry in entries]))
    return Gaussian(jnp.stack(means), jnp.diag(jnp.stack(variances)))


def check_transition(
    function: BoundFunction, x: Any, t: Any, params: Mapping[str, Any], states: Sequence[str]
) -> None:
    """Require the distribution of a next state."""

    def read(value: Any) -> Any:
        entries = value if isinstance(value, tuple | list) else (value,)
        if not any(map(_is_law, entries)):
            raise TypeError(
                f"transition() must return the distribution of the next state, got "
                f"{type(value).__name__}; for noise of standard deviation s write "
                "dist.Normal(mean, s), for none dist.Delta(mean, event_dim=1)"
            )
        as_law("transition", value, states)
        return jnp.zeros(())

    evaluate(function, x, t, params, read)


def kinds_of_states(
    initial: BoundFunction, params: Mapping[str, Any], states: Sequence[str]
) -> tuple[tuple[bool, ...], tuple[bool, ...]]:
    """Which initial states are exactly diffuse, and which begin with a stationary distribution."""
    diffuse: list[bool] = []
    stationary: list[bool] = []

    def read(value: Any) -> Any:
        if isinstance(value, Mixed):
            diffuse.extend(value.diffuse)
            stationary.extend(value.stationary)
            return jnp.zeros(())
        each = isinstance(value, tuple | list) and len(value) == len(states)
        entries = value if each else (value,) * len(states)
        diffuse.extend(isinstance(e, Diffuse) and e.kappa is None for e in entries)
        stationary.extend(isinstance(e, Stationary) for e in entries)
        return jnp.zeros(())

    evaluate(initial, None, None, params, read)
    return tuple(diffuse), tuple(stationary)


def is_stationary(initial: BoundFunction, params: Mapping[str, Any]) -> bool:
    """Whether the initial distribution is to be the stationary one."""
    found: list[bool] = []

    def read(value: Any) -> Any:
        found.append(isinstance(value, Stationary))
        return jnp.zeros(())

    evaluate(initial, None, None, params, read)
    return found[0]


def count_states(
    initial: BoundFunction, params: Mapping[str, Any], states: tuple[str, ...] | None
) -> int:
    """Number of states, from the names or the initial distribution; the two must agree."""
    found: list[int] = []

    def read(value: Any) -> Any:
        if isinstance(value, Stationary | Diffuse) and states is None:
            raise ValueError(
                f"initial={value!r} does not say how many states there are; name them with "
                "states=(...)"
            )
        if states is not None:
            if not isinstance(value, Stationary):
                as_initial(value, states)
            found.append(len(states))
        else:
            shape = _law("initial", value).shape()
            if len(shape) > 1:
                raise ValueError(f"initial has shape {shape}; a state is a scalar or a vector")
            found.append(shape[0] if shape else 1)
        return jnp.zeros(())

    evaluate(initial, None, None, params, read)
    return found[0]
