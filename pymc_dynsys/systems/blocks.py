"""What the named components of time series share: one block of a linear-Gaussian system."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.systems.entries import Entries
from pymc_dynsys.systems.initial import Diffuse, Mixed, Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Moves, Sensor, Values, first_law

Initial = Stationary | Diffuse
Block = Callable[[Values], tuple[Moves, Sensor]]


def component(
    name: str,
    states: tuple[str, ...],
    params: dict[str, Any],
    matrices: Block,
    initial: object,
    step: float,
) -> LinearGaussian:
    """A block without measurement noise; its initial state is diffuse unless stated otherwise."""
    return with_sensor(
        name,
        states,
        params,
        lambda values: matrices(values)[0],
        lambda values: matrices(values)[1],
        initial,
        step,
    )


def with_sensor(
    name: str,
    states: tuple[str, ...],
    params: Mapping[str, Any],
    moves: Callable[[Values], Moves],
    sensor: Callable[[Values], Sensor],
    initial: object,
    step: float,
    regressors: tuple[str, ...] = (),
    drivers: tuple[str, ...] = (),
    undriven: Callable[[Values], Moves] | None = None,
) -> LinearGaussian:
    """The same where inputs enter the observation (regressors) or the steps (drivers).

    `undriven` are the steps without them, which a stationary start is that of.
    """
    if isinstance(initial, Start):
        mean_of, cov_of = initial

        def first(values: Values) -> Mixed:
            n = len(states)
            mean = require_shape("m0", mean_of(values), (n,), role=name)
            cov = require_shape("P0", cov_of(values), (n, n), role=name)
            return Mixed(mean, cov, (False,) * n, (False,) * n)

    else:
        law = Diffuse() if initial is None else initial
        if not isinstance(law, Stationary | Diffuse):
            raise TypeError(f"{name}: initial must be Stationary() or Diffuse(), got {law!r}")

        def first(values: Values) -> Mixed:
            return first_law(law, (undriven or moves)(values))

    return LinearGaussian(
        name,
        states,
        dict(params),
        moves,
        sensor,
        first,
        step,
        regressors=regressors,
        drivers=drivers,
    )


class Start(NamedTuple):
    """Mean and covariance of the initial state, from the parameters."""

    mean: Callable[[Values], Array]
    cov: Callable[[Values], Array]


def start_of(
    name: str, initial: object, m0: object, P0: object
) -> tuple[object, dict[str, object]]:
    """What a block takes as its initial distribution, and the parameters in it."""
    if m0 is None and P0 is None:
        return initial, {}
    if m0 is None or P0 is None or initial is not None:
        raise ValueError(
            f"{name}: give the initial state's m0 and P0, both of them, or initial=..., and not "
            "all three"
        )
    mean, cov = (Entries(name, k, v, f"{name}_{k}") for k, v in (("m0", m0), ("P0", P0)))
    return Start(mean, cov), {**mean.params, **cov.params}


def block(F: Array, noise: Array, H: Array) -> tuple[Moves, Sensor]:
    """Matrices of a scalar component with independent noises."""
    n = len(F)
    return Moves(F, jnp.zeros(n), jnp.diag(noise)), Sensor(H, jnp.zeros(()), None)


def variances(sigma: Any) -> Array:
    """Variance as a vector of one; NaN for a negative standard deviation."""
    return squares(jnp.reshape(jnp.asarray(sigma, float), (1,)))


def squares(sigma: Array) -> Array:
    """Variances; NaN for a negative standard deviation."""
    return jnp.where(sigma >= 0, sigma * sigma, jnp.nan)


CONSTANT = (
    "Matrices are the same at all times; one that changes in time is an input of a system of "
    "functions: DiscreteTime(observation=lambda x, h: dist.Normal((h * x).sum(), s), ...) and "
    "inputs={'h': H}. Regressors are a block, pds.regression(...)"
)
"""What to say of a matrix with an axis too many."""


def require_shape(
    name: str, value: Any, *shapes: tuple[int, ...], role: str = "linear_gaussian"
) -> Array:
    """The value as an array, which must have one of the shapes."""
    array = jnp.asarray(value, float)
    if array.shape not in shapes:
        expected = " or ".join(map(str, dict.fromkeys(shapes)))
        hint = f". {CONSTANT}" if array.ndim > max(map(len, shapes)) else ""
        raise ValueError(f"{role}: {name} has shape {array.shape}, expected {expected}{hint}")
    return array
