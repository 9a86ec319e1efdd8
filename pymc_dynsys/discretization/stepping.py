"""The steps of a system in discrete time, in the form of a discretization."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.discretization.base import Discretization, LinearTransition, Transition
from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems.bound import BoundSystem, Params

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
                    f"times: {gaps[broken][0]:g} between two of them is no whole number of steps "
                    f"of {self.length:g}; number the visits, times=np.arange(n), or state the step "
                    "in the user's unit, DiscreteTime(step=...)"
                )
        return counts.astype(int)

    def linear_step(
        self, A: Float[Array, "state state"], S: Float[Array, "state state"], h: Any
    ) -> LinearTransition:
        """The dynamics of one step as they are."""
        return LinearTransition(F=A, G=jnp.eye(A.shape[0]), Q=S)

    def step(self, system: BoundSystem, x: Any, t: Any, h: Any, params: Params) -> Transition:
        """Mean of the next state, its Jacobian and the noise."""
        mean, F = linearize(lambda x: system.transition_moments(x, t, params)[0], x)
        return Transition(mean=mean, F=F, Q=system.transition_moments(x, t, params)[1])


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
