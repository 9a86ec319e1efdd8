r"""Extended Kalman filter for nonlinear systems with Gaussian noise.

Legend as in ``gaussian/forward.py``. Prediction linearizes the dynamics at the current mean,
step by step; update linearizes the observation at the predicted mean. Särkkä (2013), *Bayesian
Filtering and Smoothing*, algorithm 5.4 (first order); Jazwinski (1970), theorem 8.1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import (
    Discretization,
    LocalLinearization,
    Rows,
    TimeGrid,
    over_gap,
    refuse_discretization,
)
from pymc_dynsys.discretization.grid import substep_length
from pymc_dynsys.discretization.tabulated import tabulated_crossing
from pymc_dynsys.likelihoods.base import Likelihood, Problem
from pymc_dynsys.likelihoods.gaussian import GaussianFilter
from pymc_dynsys.likelihoods.gaussian.forward import Belief, Cross, LinearModel, propagate
from pymc_dynsys.likelihoods.gaussian.reduce import Sensor
from pymc_dynsys.likelihoods.kalman import crossing_of, held_if_seen
from pymc_dynsys.likelihoods.laws import require_gaussian
from pymc_dynsys.linalg import linearize, matvec
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import still_unless

MANY = 1000
"""Members of the ensemble that other approximations are compared with."""


@runtime_checkable
class Advance(Protocol):
    """Carries a belief over one step of length `h` from time `t`."""

    def __call__(self, belief: Belief, t: Any, h: Any, held: Held, /) -> Belief:
        """Belief after the step."""


@dataclass(frozen=True, repr=False)
class EKF(GaussianFilter):
    r"""Gaussian approximation by linearization along the filtered path.

    Exact for linear-Gaussian systems when the discretization is. Good while the state's
    spread is small beside the curvature of drift and observation; misses several modes and
    skewness. Deterministic and smooth, so gradients are as good as the likelihood.

    Parameters
    ----------
    discretization : Discretization, optional
        How a gap is crossed: None chooses ``LocalLinearization(dt=None)``, one step a gap;
        ``EulerMaruyama(dt)``, ``MomentODE()`` or, for linear dynamics, ``Exact()``. Systems in
        discrete time move in their own steps.

    Raises
    ------
    ValueError
        When the model is built, if the observation or the initial distribution is not Gaussian.

    See Also
    --------
    Kalman : exact, for linear systems.
    EnKF : an ensemble instead of a linearization.

    References
    ----------
    Särkkä (2013), *Bayesian Filtering and Smoothing*, sec. 5.2.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.EKF()
    EKF()
    """

    discretization: Discretization | None = None

    default_discretization = LocalLinearization()

    def __post_init__(self) -> None:
        scheme = self.discretization
        if scheme is not None and not isinstance(scheme, Discretization):
            raise TypeError(
                f"EKF: discretization must be a discretization such as LocalLinearization(), "
                f"got {self.discretization!r}"
            )

    @classmethod
    def recommended(cls, system: BoundSystem) -> str | None:
        """Wherever nothing is exact."""
        return f"{' and '.join(system.proof.because)}, so this is an approximation"

    def check(self, system: BoundSystem) -> None:
        """Refuse systems without Gaussian observations and initial distribution."""
        refuse_discretization("EKF", system, self.discretization)
        require_gaussian("EKF", system)
        if self.discretization is not None:
            self.discretization.check(system)

    def linear_model(self, system: BoundSystem, problem: Problem) -> LinearModel:
        """The system linearized along the filtered path."""
        params, grid, scheme = problem.params, problem.grid, self.scheme(system)

        def advance(belief: Belief, t: Any, h: Any, held: Held) -> Belief:
            mean, F, Q = scheme.step(system, belief.m, t, h, held)
            return propagate(belief, mean, F, Q)

        def sense(m: Array, P: Any, t: Any, row: Rows | None, seen: Array | None = None) -> Sensor:
            if seen is not None:
                m = still_unless(seen.any(), m)
            return linear_sensor(system, m, t, held_if_seen(row, params, seen))

        return LinearModel(*crossing(system, scheme, params, grid, advance), sense)

    def reference(
        self, system: BoundSystem, kinds: Mapping[str, type[Likelihood]]
    ) -> Likelihood | None:
        """The exact likelihood, or else a large ensemble."""
        return exact_or_ensemble(self, system, kinds)


def exact_or_ensemble(
    likelihood: Likelihood, system: BoundSystem, kinds: Mapping[str, Any]
) -> Likelihood:
    """The exact likelihood where there is one, else an ensemble of 1,000 members."""
    if system.proof.linear_gaussian:
        exact: Likelihood = kinds["Kalman"]()
        return exact
    scheme = likelihood.discretization
    ensemble: Likelihood = kinds["EnKF"](MANY, None if scheme and scheme.adaptive else scheme)
    return ensemble


def crossing(
    system: BoundSystem,
    discretization: Discretization,
    params: Params,
    grid: TimeGrid,
    advance: Advance,
) -> tuple[Cross, tuple[Any, ...]]:
    """Function that carries a belief over a gap, and its arguments at every row.

    A table of transitions if the dynamics are linear, else ``advance(belief, t, h, params)`` step
    by step.
    """
    if system.proof.dynamics.linear and not discretization.adaptive:
        table = tabulated_crossing(system, discretization, params, grid)
        return crossing_of(table), table.entries

    def cross(belief: Belief, t: Any, gap: Any, steps: Any, row: Rows | None) -> Belief:
        h = substep_length(gap, steps)
        held = over_gap(row, params)

        def step(belief: Belief, i: Any) -> tuple[Belief, None]:
            after = advance(belief, t + i * h, h, held)
            return jax.tree.map(lambda a, b: jnp.where(i < steps, a, b), after, belief), None

        if grid.max_steps == 1 and not grid.uneven:
            return advance(belief, t, h, held)
        return jax.lax.scan(step, belief, jnp.arange(grid.max_steps))[0]

    return cross, (grid.starts, grid.gaps, grid.steps, grid.rows)


def linear_sensor(system: BoundSystem, m: Float[Array, " state"], t: Any, held: Held) -> Sensor:
    """Observation linearized at `m`, with the noise found there."""
    mean, H = linearize(lambda x: system.observation.moments(x, t, held)[0], m)
    R: Array = system.observation.moments(m, t, held)[1]
    return Sensor(H, mean - matvec(H, m), R)
