"""The options of Laplace's approximation, and the systems that it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

import numpy as np

from pymc_dynsys.discretization import (
    Discretization,
    TimeGrid,
    refuse_discretization,
    require_steps,
)
from pymc_dynsys.discretization.choose import default_scheme
from pymc_dynsys.likelihoods.base import Likelihood, Problem, Variation
from pymc_dynsys.likelihoods.laplace.path import path_shape
from pymc_dynsys.likelihoods.laplace.proofs import has_second_order
from pymc_dynsys.likelihoods.laplace.run import LaplaceRun, Options
from pymc_dynsys.likelihoods.laplace.slopes import require_slopes
from pymc_dynsys.likelihoods.laws import require_gaussian_path
from pymc_dynsys.systems.bound import BoundSystem

STEPS_PER_GAP = 5
"""Steps in which a median gap of a nonlinear system is crossed where the user says nothing."""

PARTICLES = 2000
"""Particles with which it is compared."""

COMPARED = 1000
"""Importance draws with which the approximation is compared."""


@dataclass(frozen=True, repr=False)
class Laplace(Likelihood):
    r"""Laplace's approximation: for counts, categories, proportions, outliers, censored data.

    The most probable path given the data is found by Newton's method, and the path is integrated
    out by the normal distribution with its curvature there. Any distribution of the data will do
    whose log-density is smooth in the state; noise of the dynamics and the start are Gaussian.
    Exact where the data are Gaussian with a mean that is affine in the state and a fixed noise, and
    the dynamics linear. Noise may be singular, starts known, data missing.

    Parameters
    ----------
    discretization : Discretization, optional
        How a gap is crossed: None chooses ``Exact()`` for linear dynamics, and Euler steps of a
        fifth of the median gap for others. Systems in discrete time move in their own steps.
    order : int
        2 adds the second-order correction, which takes about a third as long again and mostly
        leaves a tenth of the error. It is there for linear dynamics of which each datum sees one
        number: a state, or a linear predictor such as ``level + season`` or ``h @ x`` whose weights
        do not depend on the state.
    draws : int
        Importance draws that correct the approximation, an even number; 0 makes none. Their error
        falls with the root of their number: few are often worse than none. Not with ``order=2``.
    seed : int
        Seed of the draws.
    max_iterations : int
        Most turns of Newton's method; where it has not come to rest the log-likelihood is minus
        infinity. It takes 5 to 8 as a rule.

    Raises
    ------
    TypeError, ValueError
        If an option is out of range; when the model is built, if transition or start are not
        Gaussian, if states are exactly diffuse, or if there is no second-order correction.

    See Also
    --------
    Kalman : exact, for linear-Gaussian systems.
    ParticleFilter : any system, without a gradient.

    Notes
    -----
    The error does not fall with the length of a series but with what each datum says: it is largest
    for a few rare events, and what biases a posterior is how it varies, not its size.
    :func:`check_likelihood` states it.

    References
    ----------
    Tierney and Kadane (1986), *JASA* 81, 82-86, eq. 2.2.
    Shun and McCullagh (1995), *JRSS B* 57, 749-760, eq. 4 (second order).
    Skaug and Fournier (2006), *CSDA* 51, 699-709 (state-space models, derivatives).

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.Laplace(order=2)
    Laplace(order=2)
    """

    discretization: Discretization | None = None
    order: int = 1
    draws: int = 0
    seed: int = 0
    max_iterations: int = 50

    def __repr__(self) -> str:
        """Options that differ from what they are where the user says nothing."""
        options = ((f.name, getattr(self, f.name), f.default) for f in fields(self))
        changed = (f"{name}={value!r}" for name, value, usual in options if value != usual)
        return f"Laplace({', '.join(changed)})"

    def __post_init__(self) -> None:
        for name, least in (("order", 1), ("draws", 0), ("seed", 0), ("max_iterations", 1)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | np.integer):
                raise TypeError(f"Laplace: {name} must be an integer, got {value!r}")
            if value < least:
                raise ValueError(f"Laplace: {name} must be at least {least}, got {value}")
        if self.order > 2:
            raise ValueError(f"Laplace: order must be 1 or 2, got {self.order}")
        if self.draws % 2:
            raise ValueError(f"Laplace: draws come in pairs, so an even number, got {self.draws}")
        if self.draws and self.order == 2:
            raise ValueError("Laplace: give draws or order=2, not both; each corrects order 1")
        require_steps("Laplace", self.discretization)

    @classmethod
    def recommended(cls, system: BoundSystem) -> str | None:
        """Where data are not Gaussian, or their noise tells of the state."""
        proof = system.proof
        if not (proof.dynamics.gaussian and proof.start.gaussian) or system.n_diffuse:
            return None
        if not proof.observation.gaussian:
            return "the observation is not Gaussian, so this is an approximation"
        if not proof.observation.constant_noise:
            return "the noise of observation depends on the state, so this is an approximation"
        if proof.unseen:
            return (
                f"a noise depends on {' and '.join(proof.unseen)} and no mean of the data does, so "
                "this is an approximation"
            )
        return None

    def check(self, system: BoundSystem) -> None:
        """Refuse systems whose path is not made of normals, or is not random at all."""
        refuse_discretization("Laplace", system, self.discretization)
        require_gaussian_path("Laplace", system)
        if system.is_deterministic and system.proof.start.known:
            raise ValueError(
                "Laplace has no path to integrate out: the system is an ODE with a known start; "
                "use ODESolve()"
            )
        if self.discretization is not None:
            self.discretization.check(system)
        require_slopes(system)
        if self.order == 2 and not has_second_order(system):
            raise ValueError(
                f"Laplace: there is no second-order correction here: {_why_not(system)}; use "
                "order=1, or draws=1000"
            )

    def resolve_defaults(self, system: BoundSystem, gaps: np.ndarray) -> tuple[Likelihood, str]:
        """Choose a discretization where the user stated none."""
        if self.discretization is not None or system.step is not None:
            return self, ""
        scheme, why = default_scheme(system, gaps, STEPS_PER_GAP)
        said = f"Laplace crosses gaps with {scheme!r} ({why})"
        return self._replaced(discretization=scheme), said

    @property
    def random(self) -> bool:
        """Whether there are draws."""
        return bool(self.draws)

    def draw_noise(self, system: BoundSystem, batch: tuple[int, ...], grid: TimeGrid) -> Any:
        """The fixed normals of importance draws, ``(stage, *batch, pair, noise)``."""
        if not self.draws:
            return None
        rows = grid.times.shape[-1]
        stages, size = path_shape(system, self.scheme(system), rows, grid.max_steps)
        return _normals(self.seed, tuple(batch), stages, self.draws // 2, size)

    def run(self, system: BoundSystem, problem: Problem) -> LaplaceRun:
        """Most probable path of one trajectory, and what follows from it."""
        options = Options(self.order, self.draws, self.seed, self.max_iterations)
        return LaplaceRun(self, system, problem, options)

    def variations(self, system: BoundSystem) -> tuple[Variation, ...]:
        """Steps, the other order, and importance draws."""
        found = list(super().variations(system))
        if has_second_order(system) and not self.draws:
            found.append(Variation("order", self._replaced(order=3 - self.order)))
        if not self.draws:
            found.append(Variation("draws", self._replaced(order=1, draws=COMPARED)))
        return tuple(found)

    def reference(
        self, system: BoundSystem, kinds: Mapping[str, type[Likelihood]]
    ) -> Likelihood | None:
        """The exact likelihood where there is one, else many particles."""
        if system.proof.linear_gaussian:
            return kinds["Kalman"]()
        particles: Any = kinds["ParticleFilter"]
        return particles(PARTICLES, self.discretization)

    def enough(self, spread: float, tolerable: float) -> str | None:
        """Draws that bring the spread over seeds down; it falls with the root of their number."""
        draws = int(np.ceil(self.draws * (spread / tolerable) ** 2 / 10) * 10)
        return f"{draws} draws"

    def floats_per_row(self, system: BoundSystem) -> float:
        """Those of a few passes, and of the draws."""
        d = system.n_states
        return 3 * super().floats_per_row(system) + 4.0 * self.draws * d


def _why_not(system: BoundSystem) -> str:
    """Why there is no second-order correction."""
    if not system.proof.affine_path:
        return "it needs linear dynamics"
    sees = system.proof.observation.sees
    if not sees:
        return "the data see no state"
    names = " and ".join(system.states[i] for i in sees)
    return (
        "it needs data that see one number, a state or one linear predictor, and observation() "
        f"sees {names} through more than one, or not affinely"
    )


@lru_cache(maxsize=2)  # large arrays
def _normals(seed: int, batch: tuple[int, ...], stages: int, pairs: int, size: int) -> np.ndarray:
    """Standard normals, one stream a trajectory, so that each does not depend on the others."""
    streams = [np.random.default_rng([seed, i]) for i in range(int(np.prod(batch)))]
    normals = [g.standard_normal((stages, pairs, size)) for g in streams]
    return np.stack(normals, axis=1).reshape(stages, *batch, pairs, size)
