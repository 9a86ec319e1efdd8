"""How the state of a bound system moves, in continuous and in discrete time."""

from dataclasses import dataclass, field
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float
from numpyro import distributions as dist

from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems import checks
from pymc_dynsys.systems.binding import BoundFunction
from pymc_dynsys.systems.dosing import Dosing
from pymc_dynsys.systems.gaussian import (
    state_log_density,
    state_moments,
    state_sample,
)
from pymc_dynsys.systems.held import Held


class LinearDynamics(NamedTuple):
    """Slope, offset and noise covariance of linear dynamics.

    In continuous time all three are rates, ``dx = (A x + c) dt + N(0, S dt)``; in discrete time
    they belong to one step, ``x' = A x + c + N(0, S)``.
    """

    A: Float[Array, "state state"]
    c: Float[Array, " state"]
    S: Float[Array, "state state"]


@dataclass(frozen=True, eq=False)
class Continuous:
    """Drift and diffusion of an SDE, or the drift of an ODE."""

    states: tuple[str, ...]
    _drift: BoundFunction = field(repr=False)
    _diffusion: BoundFunction | None = field(repr=False)
    _dosing: Dosing = field(repr=False)

    step: ClassVar[None] = None

    @property
    def deterministic(self) -> bool:
        """Whether there is no noise term (an ODE)."""
        return self._diffusion is None

    def drift(self, x: Float[Array, " state"], t: ArrayLike, held: Held) -> Float[Array, " state"]:
        """Rate of change of the mean, with the part of the infusion that arrives."""
        values = held.at(t).values
        rate = checks.as_vector("drift", self._drift(x, t, values), self.states)
        if held.infusion is None:
            return rate
        return rate + self._dosing.available(held.infusion, values)

    def diffusion(self, x: Float[Array, " state"], t: ArrayLike, held: Held) -> Array:
        """Noise loading: ``(state,)`` for independent noises, else ``(state, noise)``."""
        if self._diffusion is None:
            return jnp.zeros(len(self.states))
        return checks.as_loading(self._diffusion(x, t, held.at(t).values), self.states)

    def noise_covariance(
        self, x: Float[Array, " state"], t: ArrayLike, held: Held
    ) -> Float[Array, "state state"]:
        """Covariance rate ``L L'`` of the driving noise."""
        return loading_covariance(self.diffusion(x, t, held))

    def linear(self, t: ArrayLike, held: Held) -> LinearDynamics:
        """Rates of linear dynamics at a time."""
        origin = jnp.zeros(len(self.states))
        c, A = linearize(lambda x: self.drift(x, t, held), origin)
        return LinearDynamics(A, c, self.noise_covariance(origin, t, held))

    def drift_along_lines(
        self, x: Float[Array, " state"], t: ArrayLike, held: Held
    ) -> Float[Array, " state"]:
        """Rate at which the drift changes with those inputs that are lines, at a time."""
        now = jnp.asarray(t, float)
        along = jax.jvp(lambda s: self.drift(x, t, held.at(s)), (now,), (jnp.ones_like(now),))
        return along[1]

    def asks_for(self, name: str) -> bool:
        """Whether drift or diffusion takes a parameter or input."""
        functions = (self._drift, self._diffusion)
        return any(f is not None and name in f.parameters for f in functions)


@dataclass(frozen=True, eq=False)
class Discrete:
    """Transition of a state-space model that moves in steps of length `step`."""

    states: tuple[str, ...]
    step: float
    _transition: BoundFunction = field(repr=False)

    deterministic: ClassVar[bool] = False

    def law(self, x: Float[Array, " state"], t: ArrayLike, held: Held) -> dist.Distribution:
        """Distribution of the next state, of shape ``(state,)``, or scalar for one state."""
        return checks.as_law("transition", self._transition(x, t, held.values), self.states)

    def moments(
        self, x: Float[Array, " state"], t: ArrayLike, held: Held
    ) -> tuple[Float[Array, " state"], Float[Array, "state state"]]:
        """Mean and covariance matrix of a Gaussian next state."""
        return state_moments(self.law(x, t, held), len(self.states))

    def sample(
        self, key: Array, x: Float[Array, " state"], t: ArrayLike, held: Held
    ) -> Float[Array, " state"]:
        """Draw the next state."""
        return state_sample(self.law(x, t, held), key, len(self.states))

    def log_density(
        self,
        x1: Float[Array, " state"],
        x0: Float[Array, " state"],
        t: ArrayLike,
        held: Held,
    ) -> Float[Array, ""]:
        """Log-density of the next state `x1`, given that the state is `x0` at time `t`.

        Where the covariance of a Gaussian transition is singular, it is the density on its
        support, and minus infinity off it.
        """
        return state_log_density(self.law(x0, t, held), x1)

    def linear(self, t: ArrayLike, held: Held) -> LinearDynamics:
        """One step of linear dynamics that leaves at a time."""
        origin = jnp.zeros(len(self.states))
        c, A = linearize(lambda x: self.moments(x, t, held)[0], origin)
        return LinearDynamics(A, c, self.moments(origin, t, held)[1])

    def asks_for(self, name: str) -> bool:
        """Whether the transition takes a parameter or input."""
        return name in self._transition.parameters


Dynamics = Continuous | Discrete


def loading_covariance(L: Array) -> Float[Array, "state state"]:
    """``L L'`` of a diagonal ``(state,)`` or full ``(state, noise)`` loading."""
    if L.ndim == 1:
        return jnp.diag(L**2)
    return (L[:, None, :] * L[None, :, :]).sum(-1)
