r"""Extended Kalman filter for nonlinear systems with Gaussian noise.

Legend as in ``kalman.py``. Prediction linearizes the dynamics at the current mean, step by
step; update linearizes the observation at the predicted mean. Särkkä (2013), *Bayesian
Filtering and Smoothing*, algorithm 5.4 (first order); Jazwinski (1970), theorem 8.1.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import (
    Discretization,
    LocalLinearization,
    MomentODE,
    Rows,
    TimeGrid,
    refuse_discretization,
)
from pymc_dynsys.discretization.grid import substep_length
from pymc_dynsys.filters.base import Data, Likelihood, require_gaussian
from pymc_dynsys.filters.gaussian import Belief, LinearModel, Visit, moved, run_filter
from pymc_dynsys.filters.kalman import tabulated_crossing
from pymc_dynsys.filters.reduce import Sensor
from pymc_dynsys.linalg import linearize, matvec
from pymc_dynsys.systems.bound import BoundSystem, Params


@dataclass(frozen=True, repr=False)
class EKF(Likelihood):
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
        When the model is built, if the observation or the initial law is not Gaussian.

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

    usual = LocalLinearization()
    forward_scalars = 1

    def __post_init__(self) -> None:
        scheme = self.discretization
        if scheme is not None and not isinstance(scheme, Discretization):
            raise TypeError(
                f"EKF: discretization must be a discretization such as LocalLinearization(), "
                f"got {self.discretization!r}"
            )

    def check(self, system: BoundSystem) -> None:
        """Refuse systems without Gaussian observations and initial law."""
        refuse_discretization("EKF", system, self.discretization)
        require_gaussian("EKF", system)
        if self.discretization is not None:
            self.discretization.check(system)

    def log_likelihood(
        self, system: BoundSystem, params: Params, data: Data, grid: TimeGrid, constants: Any
    ) -> Float[Array, " time"]:
        """Approximate log-density of each visit's datum given the earlier ones."""
        return filter_extended(system, self.scheme(system), params, data, grid).log_likelihood


def filter_extended(
    system: BoundSystem,
    discretization: Discretization,
    params: Params,
    data: Data,
    grid: TimeGrid,
) -> Visit:
    """Run the filter over all visits of one trajectory; leaves gain a leading time axis."""
    return run_filter(
        extended_model(system, discretization, params, grid), system, params, data, grid
    )


def extended_model(
    system: BoundSystem, discretization: Discretization, params: Params, grid: TimeGrid
) -> LinearModel:
    """A system linearized along the filtered path."""

    def advance(belief: Belief, t: Any, h: Any, held: Params) -> Belief:
        mean, F, Q = discretization.step(system, belief.m, t, h, held)
        return moved(belief, mean, F, Q)

    cross, entries = crossing(system, discretization, params, grid, advance)

    def sense(m: Array, P: Any, t: Any, row: Rows | None) -> Sensor:
        return linear_sensor(system, m, t, params if row is None else row.at_row(params))

    return LinearModel(cross, entries, sense)


def crossing(
    system: BoundSystem,
    discretization: Discretization,
    params: Params,
    grid: TimeGrid,
    advance: Any,
) -> Any:
    """Function that carries a belief over a gap, and its arguments at every visit.

    A table of transitions if the dynamics are linear, else ``advance(belief, t, h, params)`` step
    by step.
    """
    if system.structure.linear_dynamics and not isinstance(discretization, MomentODE):
        table = tabulated_crossing(system, discretization, params, grid)
        return table, table.entries

    def cross(belief: Belief, t: Any, gap: Any, steps: Any, row: Rows | None) -> Belief:
        h = substep_length(gap, steps)
        held = params if row is None else row.over_gap(params)

        def step(belief: Belief, i: Any) -> tuple[Belief, None]:
            after = advance(belief, t + i * h, h, held)
            return jax.tree.map(lambda a, b: jnp.where(i < steps, a, b), after, belief), None

        if grid.max_steps == 1 and not grid.uneven:
            return advance(belief, t, h, held)
        return jax.lax.scan(step, belief, jnp.arange(grid.max_steps))[0]

    return cross, (grid.starts, grid.gaps, grid.steps, grid.rows)


def linear_sensor(system: BoundSystem, m: Float[Array, " state"], t: Any, params: Params) -> Sensor:
    """Observation linearized at `m`, with the noise found there."""
    mean, H = linearize(lambda x: system.observation_moments(x, t, params)[0], m)
    R: Array = system.observation_moments(m, t, params)[1]
    return Sensor(H, mean - matvec(H, m), R)
