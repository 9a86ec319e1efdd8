"""Linear-Gaussian systems with the values of their parameters, which add up block by block."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float
from numpyro import distributions as dist

from pymc_dynsys.linalg import matvec
from pymc_dynsys.linalg.lyapunov import stationary_moments
from pymc_dynsys.systems.binding import WHOLE
from pymc_dynsys.systems.discrete import DiscreteTime
from pymc_dynsys.systems.facts import Described
from pymc_dynsys.systems.gaussian import Gaussian
from pymc_dynsys.systems.initial import Diffuse, Mixed, Stationary


class Moves(NamedTuple):
    """How the state moves: ``x' = F x + b + N(0, Q)``."""

    F: Float[Array, "state state"]
    b: Float[Array, " state"]
    Q: Float[Array, "state state"]


class Sensor(NamedTuple):
    """What is seen of it: ``y = H x + d + N(0, R)``; a scalar y has H ``(state,)``.

    R is a vector of variances where the noises are independent, None where there are none.
    """

    H: Array
    d: Array
    R: Array | None


Values = Mapping[str, Any]
"""Parameters, and the inputs that a part of a system reads, by name."""


@dataclass(frozen=True, eq=False)
class LinearGaussian(Described):
    """A linear-Gaussian system in discrete time, with the values of its parameters.

    Made by :func:`linear_gaussian`, :func:`local_level` and the like, and given to
    :class:`~pymc_dynsys.Trajectory` as its system, which needs no ``params`` then. The sum of two
    has the states of both, independent of each other, and the sum of their observations.

    Attributes
    ----------
    name : str
        Names of the blocks, joined by "+".
    states : tuple of str
        Names of the states.
    params : dict
        Values of the parameters, PyMC variables or numbers.
    regressors : tuple of str
        Inputs of the trajectory that a datum sees, each in its own row.
    drivers : tuple of str
        Inputs that the step into a row sees, those of that row.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> trend = pds.local_linear_trend(0.0, 0.1) + pds.seasonal(4, 0.2) + pds.white_noise(1.0)
    >>> trend.states
    ('level', 'slope', 'seasonal', 'seasonal_1', 'seasonal_2')
    """

    name: str
    states: tuple[str, ...]
    params: dict[str, Any] = field(repr=False)
    moves: Callable[[Values], Moves] = field(repr=False)
    sensor: Callable[[Values], Sensor] = field(repr=False)
    initial: Callable[[Values], Mixed] = field(repr=False)
    step: float = 1.0
    definite: bool = True
    regressors: tuple[str, ...] = ()
    drivers: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Names of the blocks."""
        return f"LinearGaussian({self.name})"

    def __add__(self, other: LinearGaussian) -> LinearGaussian:
        """The system whose observation is the sum of both."""
        if not isinstance(other, LinearGaussian):
            return NotImplemented
        twice = sorted(set(self.states) & set(other.states) | set(self.params) & set(other.params))
        if twice:
            raise ValueError(
                f"{self.name} + {other.name}: both have {twice[0]!r}; give one of them another "
                "name, name=..."
            )
        if self.step != other.step:
            raise ValueError(
                f"{self.name} + {other.name}: steps of {self.step:g} and {other.step:g} differ"
            )

        def moves(values: Values) -> Moves:
            a, b = self.moves(values), other.moves(values)
            return Moves(
                block_diagonal(a.F, b.F), jnp.concatenate([a.b, b.b]), block_diagonal(a.Q, b.Q)
            )

        def sensor(values: Values) -> Sensor:
            return _added(self.sensor(values), other.sensor(values), self, other)

        def initial(params: Values) -> Mixed:
            one, two = self.initial(params), other.initial(params)
            return Mixed(
                jnp.concatenate([one.mean, two.mean]),
                block_diagonal(one.cov, two.cov),
                (*one.diffuse, *two.diffuse),
                (*one.stationary, *two.stationary),
            )

        return LinearGaussian(
            name=f"{self.name} + {other.name}",
            states=(*self.states, *other.states),
            params={**self.params, **other.params},
            moves=moves,
            sensor=sensor,
            initial=initial,
            step=self.step,
            definite=self.definite and other.definite,
            regressors=tuple(dict.fromkeys((*self.regressors, *other.regressors))),
            drivers=tuple(dict.fromkeys((*self.drivers, *other.drivers))),
        )

    def system(self) -> DiscreteTime:
        """The same as functions of its parameters."""
        if not self.states:
            raise ValueError(f"{self.name} has no state; add one that has, such as local_level()")

        def transition(states: Array, **params: Any) -> Any:
            F, b, Q = self.moves(params)
            return Gaussian(matvec(F, states) + b, Q)

        def observation(states: Array, **params: Any) -> Any:
            H, d, R = self.sensor(params)
            scalar = H.ndim == 1
            mean = (H * states).sum() + d if scalar else matvec(H, states) + d
            if R is None:
                return Gaussian(mean, jnp.zeros(mean.shape * 2))
            if not self.definite:
                return Gaussian(mean, R if scalar or R.ndim == 2 else jnp.diag(R))
            if R.ndim < 2:
                positive = R > 0
                law = dist.Normal(
                    mean, jnp.where(positive, jnp.sqrt(jnp.where(positive, R, 1.0)), R)
                )
                return law if scalar else law.to_event(1)
            return dist.MultivariateNormal(mean, covariance_matrix=R)

        def initial(**params: Any) -> Mixed:
            return self.initial(params)

        return DiscreteTime(
            transition=_with_arguments(transition, WHOLE, *self.params, *self.drivers),
            observation=_with_arguments(observation, WHOLE, *self.params, *self.regressors),
            initial=_with_arguments(initial, *self.params),
            states=self.states,
            step=self.step,
        )


def first_law(initial: Stationary | Diffuse, of: Moves) -> Mixed:
    """The distribution of the initial state of one block."""
    n = of.F.shape[0]
    none, each = (False,) * n, (True,) * n
    if isinstance(initial, Stationary):
        return Mixed(*stationary_moments(of.F, of.b, of.Q, continuous=False), none, each)
    if initial.kappa is None:
        return Mixed(jnp.zeros(n), jnp.zeros((n, n)), each, none)
    return Mixed(jnp.zeros(n), initial.kappa * jnp.eye(n), none, none)


def block_diagonal(A: Array, B: Array) -> Array:
    """Two square matrices along the diagonal of one."""
    n, m = len(A), len(B)
    top = jnp.concatenate([A, jnp.zeros((n, m))], axis=1)
    return jnp.concatenate([top, jnp.concatenate([jnp.zeros((m, n)), B], axis=1)])


def _added(a: Sensor, b: Sensor, one: LinearGaussian, two: LinearGaussian) -> Sensor:
    """The observation of a sum."""
    rows = a.H.shape[:-1]
    if rows != b.H.shape[:-1]:
        raise ValueError(
            f"{one.name} + {two.name}: observations of shapes {rows} and {b.H.shape[:-1]} do not "
            "add up"
        )
    return Sensor(jnp.concatenate([a.H, b.H], axis=-1), a.d + b.d, _added_noise(a.R, b.R))


def _added_noise(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    if a.ndim == b.ndim:
        return a + b
    return (jnp.diag(a) if a.ndim == 1 else a) + (jnp.diag(b) if b.ndim == 1 else b)


def _with_arguments(function: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """The function with named arguments in place of ``**params``."""
    kind = inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function
