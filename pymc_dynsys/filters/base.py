"""What a likelihood is, and which one a system gets when the user names none."""

from dataclasses import fields, replace
from typing import Any, ClassVar, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import Discretization, TimeGrid, scheme_of
from pymc_dynsys.linalg import LARGE
from pymc_dynsys.systems.bound import BoundSystem, Params


class Data(NamedTuple):
    """One trajectory's data: ``y`` is ``(time, component)``, NaN-free where `seen` is False.

    ``seen`` is None when every value is known to be there, which spares every later step
    from carrying a mask that varies by trajectory.
    """

    y: Float[Array, "time component"]
    seen: Bool[Array, "time component"] | None


class Likelihood:
    """Base of the likelihoods: a frozen dataclass of options.

    A subclass computes the log-density of each visit's datum given the earlier ones, for one
    trajectory; batching, missing data at the door and gradients are the caller's business.
    """

    forward_scalars: ClassVar[int] = 0
    """Differentiate forwards when at most this many scalars a trajectory need a gradient."""

    usual: ClassVar[Discretization | None] = None
    """The discretization where the user states none."""

    discretization: Discretization | None

    def __repr__(self) -> str:
        """Options, without a discretization that is left open."""
        options = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        if options.get("discretization") is None:
            options.pop("discretization", None)
        inside = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"{type(self).__name__}({inside})"

    def scheme(self, system: BoundSystem) -> Discretization:
        """What carries a system over its gaps: its own steps, or the discretization."""
        return scheme_of(system, self.discretization or self.usual)

    def check(self, system: BoundSystem) -> None:
        """Raise ValueError, naming the function at fault, if the system does not suit."""

    def settle(self, system: BoundSystem, gaps: np.ndarray) -> tuple["Likelihood", str]:
        """Fill in what the user left open; returns the likelihood and what to announce."""
        if self.usual is None or self.discretization is not None or system.step is not None:
            return self, ""
        settled: Any = replace(self, discretization=self.usual)  # type: ignore[type-var]
        return settled, ""

    def step_numbers(self, system: BoundSystem) -> int:
        """Numbers in the largest array that a step for one trajectory sums over."""
        d, m = system.n_states, system.n_observed or 1
        return max(d * d * (d if d < LARGE else 1), m * d)

    def constants(self, system: BoundSystem, params: Params, batch: Any, grid: TimeGrid) -> Any:
        """Arrays ``(time, *batch, ...)`` fixed for all evaluations, such as an ensemble's noise."""
        return None

    def log_likelihood(
        self, system: BoundSystem, params: Params, data: Data, grid: TimeGrid, constants: Any
    ) -> Float[Array, " time"]:
        """Log-density of each visit's datum given the earlier ones; zero where all is missing."""
        raise NotImplementedError


def require_gaussian(name: str, system: BoundSystem) -> None:
    """Refuse laws that a Gaussian filter cannot use."""
    if not system.structure.gaussian_transition:
        raise ValueError(
            f"{name} needs a Gaussian transition (dist.Normal, dist.MultivariateNormal, "
            "pds.Gaussian, dist.Delta), and transition() returns another law; transform the state "
            "(the logarithm of a positive one), or approximate the law by its mean and variance"
        )
    if system.n_diffuse:
        states = [s for s, flag in zip(system.states, system.diffuse, strict=True) if flag]
        raise ValueError(
            f"{name} cannot begin with exactly diffuse states ({', '.join(states)}); only Kalman() "
            "can. Give initial=Diffuse(kappa=...) a variance far above that of the data, or a law"
        )
    if not system.structure.gaussian_observation:
        raise ValueError(
            f"{name} needs a Gaussian observation (dist.Normal, dist.MultivariateNormal, "
            "pds.Gaussian), and observation() returns another law; an ODE with a known initial "
            "state takes any law with ODESolve(); otherwise transform the data or approximate "
            "the law by its mean and variance in a dist.Normal"
        )
    if not system.structure.gaussian_initial:
        raise ValueError(
            f"{name} needs a Gaussian or exactly known initial state (dist.Normal, "
            "dist.MultivariateNormal, pds.Gaussian, dist.Delta); initial is another law"
        )


def choose_likelihood(system: BoundSystem) -> tuple[Likelihood, str]:
    """The likelihood an expert would choose, and why in a few words."""
    from pymc_dynsys.filters.ekf import EKF
    from pymc_dynsys.filters.kalman import Kalman
    from pymc_dynsys.filters.ode_solve import ODESolve

    structure = system.structure
    if system.is_deterministic and structure.known_initial:
        return ODESolve(), "the state of an ODE is known given its parameters"
    if structure.linear_gaussian:
        return Kalman(), "the system is linear and Gaussian, so this is exact"
    why = " and ".join(structure.reasons)
    chosen = EKF()
    chosen.check(system)
    return chosen, f"{why}, so this is an approximation"
