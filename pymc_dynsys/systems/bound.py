"""A system together with the names and shapes of its parameters: ready to compute with.

This is what discretizations, filters and simulators see; ``bind.py`` makes it and checks it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.linalg import linearize
from pymc_dynsys.linalg.lyapunov import stationary_moments
from pymc_dynsys.systems import checks
from pymc_dynsys.systems.binding import BoundFunction
from pymc_dynsys.systems.discrete import DiscreteTime
from pymc_dynsys.systems.gaussian import Gaussian, gaussian_moments
from pymc_dynsys.systems.initial import Stationary
from pymc_dynsys.systems.ode import ODE
from pymc_dynsys.systems.sde import SDE
from pymc_dynsys.systems.structure import Structure

Params = Mapping[str, Any]

System = SDE | ODE | DiscreteTime

INFUSION = "(infusion)"
"""Key under which the rate of infusion of each state joins the parameters of a gap."""

DIFFUSE = "(diffuse)"
"""Key under which mean and variance of the diffuse states at ``t0`` join the parameters."""


@dataclass(frozen=True, eq=False)
class BoundSystem:
    """Dynamics of one trajectory as functions of ``(x, t, params)``.

    Attributes
    ----------
    states : tuple of str
        Names of the states; ``x0``, ``x1``, ... if the user gave none.
    n_observed : int or None
        Number of observed components; None for a scalar observation.
    structure : Structure
        What was proved about the functions.
    diffuse : tuple of bool
        Which states are exactly diffuse at ``t0``.
    """

    source: System
    states: tuple[str, ...]
    param_shapes: dict[str, tuple[int, ...]]
    n_observed: int | None
    structure: Structure = field(repr=False)
    _drift: BoundFunction | None = field(repr=False)
    _diffusion: BoundFunction | None = field(repr=False)
    _transition: BoundFunction | None = field(repr=False)
    _observation: BoundFunction = field(repr=False)
    _initial: BoundFunction = field(repr=False)
    input_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dose_state: int | None = None
    diffuse: tuple[bool, ...] = ()
    _jump: BoundFunction | None = field(default=None, repr=False)
    _bioavailability: BoundFunction | None = field(default=None, repr=False)

    @property
    def n_states(self) -> int:
        """Dimension of the state."""
        return len(self.states)

    @property
    def is_deterministic(self) -> bool:
        """Whether the dynamics have no noise term (an ODE)."""
        return isinstance(self.source, ODE)

    @property
    def step(self) -> float | None:
        """Time that one transition takes; None in continuous time."""
        return self.source.step if isinstance(self.source, DiscreteTime) else None

    @property
    def n_diffuse(self) -> int:
        """Number of states that are exactly diffuse at ``t0``."""
        return sum(self.diffuse)

    def transition(self, x: Float[Array, " state"], t: Any, params: Params) -> Any:
        """The law of the next state, in discrete time."""
        assert self._transition is not None, "in discrete time only"
        return checks.as_law("transition", self._transition(x, t, params), self.states)

    def transition_moments(
        self, x: Float[Array, " state"], t: Any, params: Params
    ) -> tuple[Float[Array, " state"], Float[Array, "state state"]]:
        """Mean and covariance of the next state, in discrete time."""
        return self._state_moments(self.transition(x, t, params))

    def linear_dynamics(
        self, t: Any, params: Params
    ) -> tuple[Float[Array, "state state"], Float[Array, " state"], Float[Array, "state state"]]:
        """Slope A, offset c and noise covariance S of linear dynamics at a time.

        They are rates in continuous time, and those of one step in discrete time.
        """
        origin = jnp.zeros(self.n_states)
        if self.step is None:
            c, A = linearize(lambda x: self.drift(x, t, params), origin)
            return A, c, self.noise_covariance(origin, t, params)
        c, A = linearize(lambda x: self.transition_moments(x, t, params)[0], origin)
        return A, c, self.transition_moments(origin, t, params)[1]

    def drift(self, x: Float[Array, " state"], t: Any, params: Params) -> Float[Array, " state"]:
        """Rate of change of the mean, with the infusion that runs, if any."""
        assert self._drift is not None, "in continuous time only"
        rate = checks.as_vector("drift", self._drift(x, t, params), self.states)
        infusion = params.get(INFUSION)
        return rate if infusion is None else rate + self._available(infusion, params)

    def jump(
        self, x: Float[Array, " state"], t: Any, params: Params, amount: Any, target: Any
    ) -> Float[Array, " state"]:
        """State after an event of a given amount; `target` is the index of the state it enters."""
        if self._jump is not None:
            after = self._jump(x, t, {**params, "amount": amount})
            return checks.as_vector("events", after, self.states)
        return x + jnp.where(jnp.arange(self.n_states) == target, 1.0, 0.0) * self._available(
            amount, params
        )

    def _available(self, amount: Any, params: Params) -> Any:
        """Part of a dose that arrives."""
        if self._bioavailability is None:
            return amount
        return jnp.asarray(self._bioavailability(None, None, params), float) * amount

    def diffusion(self, x: Float[Array, " state"], t: Any, params: Params) -> Array:
        """Noise loading: ``(state,)`` for independent noises, else ``(state, noise)``."""
        if self._diffusion is None:
            return jnp.zeros(self.n_states)
        return checks.as_loading(self._diffusion(x, t, params), self.states)

    def observation(self, x: Float[Array, " state"], t: Any, params: Params) -> Any:
        """The law of the datum."""
        return self._observation(x, t, params)

    def observation_moments(
        self, x: Float[Array, " state"], t: Any, params: Params
    ) -> tuple[Float[Array, " component"], Array]:
        """Mean of the datum, and its variances ``(component,)`` or covariance matrix."""
        moments = gaussian_moments(self.observation(x, t, params))
        assert moments is not None, "checked when the system was bound"
        mean, cov = moments
        return (mean[None], cov[None]) if mean.ndim == 0 else (mean, cov)

    def initial(self, params: Params) -> Any:
        """The law of the state at ``t0``; diffuse states are zero in it."""
        if isinstance(self._initial(None, None, params), Stationary):
            continuous = self.step is None
            dynamics = self.linear_dynamics(jnp.zeros(()), params)
            return Gaussian(*stationary_moments(*dynamics, continuous=continuous))
        return checks.as_initial(self._initial(None, None, params), self.states)

    def initial_moments(
        self, params: Params
    ) -> tuple[Float[Array, " state"], Float[Array, "state state"]]:
        """Mean and covariance of the state at ``t0``, given those of the diffuse states."""
        mean, cov = self._state_moments(self.initial(params))
        if DIFFUSE in params:
            which, (delta, spread) = np.flatnonzero(self.diffuse), params[DIFFUSE]
            mean, cov = mean.at[which].add(delta), cov.at[which, which].add(spread)
        return mean, cov

    def _state_moments(self, law: Any) -> tuple[Array, Array]:
        moments = gaussian_moments(law)
        assert moments is not None, "checked when the system was bound"
        mean, cov = moments
        mean = mean.reshape(self.n_states)
        return mean, cov if cov.ndim == 2 else jnp.diag(cov.reshape(self.n_states))

    def drives(self, name: str) -> bool:
        """Whether the dynamics ask for an input."""
        functions = (self._drift, self._diffusion, self._transition)
        return any(f is not None and name in f.parameters for f in functions)

    def is_observed_through(self, name: str) -> bool:
        """Whether observation or the jump of events asks for an input."""
        functions = (self._observation, self._jump, self._bioavailability)
        return any(f is not None and name in f.parameters for f in functions)

    def noise_covariance(self, x: Any, t: Any, params: Params) -> Float[Array, "state state"]:
        """Covariance rate ``L L'`` of the driving noise of an SDE."""
        return loading_covariance(self.diffusion(x, t, params))


def loading_covariance(L: Array) -> Float[Array, "state state"]:
    """``L L'`` of a diagonal ``(state,)`` or full ``(state, noise)`` loading."""
    if L.ndim == 1:
        return jnp.diag(L**2)
    return (L[:, None, :] * L[None, :, :]).sum(-1)
