"""The steps of a system in discrete time, in the form of a discretization."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.discretization.base import Discretization, LinearTransition, Transition
from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held

WHOLE = 1e-6
"""Part of a step by which a gap may miss a whole number of them."""


@dataclass(frozen=True)
class Stepping(Discretization):
    """One transition a step: a gap of k steps is k transitions, a gap of zero none."""

    length: float = 1.0

    @property
    def longest_step(self) -> float | None:
        """The step."""
        return self.length

    def substeps(self, gaps: Any) -> Any:
        """Number of steps in each gap; ValueError for a known gap that is not whole steps."""
        xp = np if isinstance(gaps, np.ndarray) else jnp
        counts = xp.round(gaps / self.length)
        if xp is np:
            broken = np.abs(gaps / self.length - counts) > WHOLE
            if broken.any():
                raise ValueError(
                    f"times: {gaps[broken][0]:g} between two of them is not a whole number of "
                    f"steps of {self.length:g}; number the visits, times=np.arange(n), or state "
                    "the step in the user's unit, DiscreteTime(step=...)"
                )
        return counts.astype(int)

    def linear_step(
        self, A: Float[Array, "state state"], S: Float[Array, "state state"], h: Any
    ) -> LinearTransition:
        """The dynamics of one step as they are."""
        return LinearTransition(F=A, G=jnp.eye(A.shape[0]), Q=S)

    def follows_lines(self, system: BoundSystem) -> bool:
        """What an input that is a line does to a step is its mean over it."""
        return True

    def step(self, system: BoundSystem, x: Any, t: Any, h: Any, held: Held) -> Transition:
        """Mean of the next state, its Jacobian and the noise."""
        held = held.over_step(t, h)
        mean, F = linearize(lambda x: system.discrete.moments(x, t, held)[0], x)
        return Transition(mean=mean, F=F, Q=system.discrete.moments(x, t, held)[1])

    def draw(
        self, system: BoundSystem, key: Any, x: Any, t: Any, h: Any, held: Held
    ) -> Float[Array, " state"]:
        """Draw the next state from its own distribution, Gaussian or not."""
        return system.discrete.sample(key, x, t, held.over_step(t, h))

    def log_density(
        self, system: BoundSystem, after: Any, x: Any, t: Any, h: Any, held: Held
    ) -> Float[Array, ""]:
        """Log-density of the next state."""
        return system.discrete.log_density(after, x, t, held.over_step(t, h))


def scheme_of(system: BoundSystem, chosen: Discretization | None) -> Discretization:
    """What carries a system over its gaps: its own steps, or the discretization chosen."""
    if system.step is not None:
        return Stepping(system.step)
    assert chosen is not None, "settled when the trajectory was built"
    return chosen


def refuse_discretization(name: str, system: BoundSystem, chosen: Discretization | None) -> None:
    """Raise for a discretization of a system that moves in steps of its own."""
    if system.step is not None and chosen is not None:
        raise ValueError(
            f"{name}: discretization={chosen!r} has no meaning for a DiscreteTime system, which "
            f"moves in its own steps; write {name}() without it"
        )


def require_steps(name: str, chosen: object) -> None:
    """Raise for what is no discretization, or one that takes no steps with a noise of their own."""
    if chosen is not None and (not isinstance(chosen, Discretization) or chosen.adaptive):
        raise ValueError(
            f"{name}: discretization must be EulerMaruyama(dt=...), LocalLinearization(dt=...), "
            f"Exact() or None, got {chosen!r}"
        )
