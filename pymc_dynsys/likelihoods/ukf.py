r"""Unscented Kalman filter for nonlinear systems with Gaussian noise.

Legend: m, P mean and covariance; :math:`P = C C'`, C lower triangular; :math:`x_i = m + C \xi_i`
sigma points with weights w of the mean and u of covariances; B slope in :math:`\xi`.

.. math:: \xi_0 = 0, \quad \xi_{\pm j} = \pm\sqrt{n + \lambda}\, e_j, \quad
          \lambda = \alpha^2 (n + \kappa) - n

A function f is replaced by its linear regression on the sigma points (Särkkä 2013, sec. 5.5):

.. math:: \bar f = \sum w_i f(x_i), \quad B = \sum u_i (f(x_i) - \bar f) \xi_i', \quad
          F = B C^{-1}, \quad E = \sum u_i (f(x_i) - \bar f)(f(x_i) - \bar f)' - B B'

with E, the error of the regression, joining the noise. Predicted covariances F P F' + E + Q and
cross-covariances P F' are then those of the unscented transform, so filter, smoother and draws are
those of any linear model. Points are drawn again after each prediction, noise included.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.discretization import (
    Discretization,
    LocalLinearization,
    Rows,
    refuse_discretization,
)
from pymc_dynsys.likelihoods.base import Likelihood, Problem
from pymc_dynsys.likelihoods.ekf import crossing, exact_or_ensemble, linear_sensor
from pymc_dynsys.likelihoods.gaussian import GaussianFilter
from pymc_dynsys.likelihoods.gaussian.forward import Belief, LinearModel, propagate
from pymc_dynsys.likelihoods.gaussian.reduce import Sensor
from pymc_dynsys.likelihoods.kalman import held_if_seen
from pymc_dynsys.likelihoods.laws import require_gaussian
from pymc_dynsys.linalg import ldl, matmul, matvec, symmetrize, unit_lower_solve
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import still_unless


@dataclass(frozen=True, repr=False)
class UKF(GaussianFilter):
    r"""Gaussian approximation by points spread about the mean, instead of derivatives.

    Right to second order in the spread of the state where :class:`~pymc_dynsys.EKF` is to first,
    at the cost of 2n + 1 evaluations for `n` states. Deterministic and smooth. Like every Gaussian
    filter it misses skewness and several modes.

    Parameters
    ----------
    discretization : Discretization, optional
        How an SDE crosses a gap: None chooses ``LocalLinearization()``; ``EulerMaruyama(dt)``.
        Systems in discrete time move in their own steps.
    alpha, beta, kappa : float
        Spread of the points, ``n + lambda = alpha**2 * (n + kappa)``, and weight of the middle one
        in covariances, ``beta`` more (and ``1 - alpha**2``). The defaults, with ``kappa=None`` for
        ``max(3 - n, 0)``, have no negative weight: the points of Gauss and Hermite for one state,
        those of the cubature filter from three states on.

    Raises
    ------
    ValueError, TypeError
        For parameters under which the points have no spread; when the model is built, if noises
        are not Gaussian, or for a discretization of a system in discrete time.

    See Also
    --------
    EKF : cheaper.
    Kalman : exact for linear systems.
    EnKF : by simulation.

    References
    ----------
    Julier and Uhlmann (2004), *Proceedings of the IEEE* 92, 401-422. Wan and van der Merwe (2000).
    Särkkä (2013), *Bayesian Filtering and Smoothing*, algorithm 5.14.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.UKF(alpha=0.5, beta=2.0)
    UKF(alpha=0.5, beta=2.0, kappa=None)
    """

    discretization: Discretization | None = None
    alpha: float = 1.0
    beta: float = 0.0
    kappa: float | None = None

    default_discretization = LocalLinearization()

    def __post_init__(self) -> None:
        scheme = self.discretization
        if scheme is not None and (not isinstance(scheme, Discretization) or scheme.adaptive):
            raise ValueError(
                "UKF: discretization must be LocalLinearization(dt=...), EulerMaruyama(dt=...), "
                f"Exact() or None, got {scheme!r}"
            )
        for name in ("alpha", "beta", "kappa"):
            value = getattr(self, name)
            if not ((name == "kappa" and value is None) or _is_finite(value)):
                raise TypeError(f"UKF: {name} must be a number, got {value!r}")
        if self.alpha <= 0:
            raise ValueError(f"UKF: alpha must be positive, got {self.alpha}")

    def check(self, system: BoundSystem) -> None:
        """Refuse systems without Gaussian noises, and points without a spread."""
        refuse_discretization("UKF", system, self.discretization)
        require_gaussian("UKF", system)
        if self.discretization is not None:
            self.discretization.check(system)
        if system.n_states + self.kappa_for(system.n_states) <= 0:
            raise ValueError(
                f"UKF: kappa={self.kappa} leaves no spread to the points of {system.n_states} "
                f"states; it must be above {-system.n_states}"
            )

    def kappa_for(self, n: int) -> float:
        """The kappa of `n` states."""
        return max(3.0 - n, 0.0) if self.kappa is None else float(self.kappa)

    def points(self, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Standard sigma points ``(point, state)`` and their weights of means and covariances."""
        scale = self.alpha**2 * (n + self.kappa_for(n))
        spread = np.sqrt(scale) * np.eye(n)
        w = np.full(2 * n + 1, 0.5 / scale)
        w[0] = 1 - n / scale
        u = w.copy()
        u[0] += 1 - self.alpha**2 + self.beta
        return np.concatenate([np.zeros((1, n)), spread, -spread]), w, u

    def largest_reduction(self, system: BoundSystem) -> int:
        """Numbers in the products of sigma points that make a covariance."""
        d, m = system.n_states, system.observation.n_components
        return (2 * d + 1) * d * max(d, m)

    def linear_model(self, system: BoundSystem, problem: Problem) -> LinearModel:
        """The system regressed on sigma points along the filtered path; as it is if linear."""
        params, grid, scheme = problem.params, problem.grid, self.scheme(system)

        def advance(belief: Belief, t: Any, h: Any, held: Held) -> Belief:
            def step(x: Array) -> tuple[Array, Array]:
                mean, _, Q = scheme.step(system, x, t, h, held)
                return mean, Q

            mean, F, Q = regress(self, step, belief.m, belief.P)
            return propagate(belief, mean, F, Q)

        def sense(m: Array, P: Any, t: Any, row: Rows | None, seen: Array | None = None) -> Sensor:
            held, proof = held_if_seen(row, params, seen), system.proof.observation
            if seen is not None:
                m, P = still_unless(seen.any(), (m, P))
            if proof.affine and proof.constant_noise:
                return linear_sensor(system, m, t, held)

            def datum(x: Array) -> tuple[Array, Array]:
                mean, R = system.observation.moments(x, t, held)
                return mean, R if R.ndim == 2 else jnp.diag(R)

            mean, H, R = regress(self, datum, m, P)
            return Sensor(H, mean - matvec(H, m), R)

        return LinearModel(*crossing(system, scheme, params, grid, advance), sense)

    def reference(
        self, system: BoundSystem, kinds: Mapping[str, type[Likelihood]]
    ) -> Likelihood | None:
        """The exact likelihood, or else a large ensemble."""
        return exact_or_ensemble(self, system, kinds)


def regress(
    ukf: UKF, function: Any, m: Float[Array, " state"], P: Float[Array, "state state"]
) -> tuple[Float[Array, " out"], Float[Array, "out state"], Float[Array, "out out"]]:
    """Mean, slope in the state and total noise of a function that returns mean and noise."""
    xi, w, u = (jnp.asarray(part) for part in ukf.points(m.shape[0]))
    L, D = ldl(P)
    positive = D > 0
    root = jnp.where(positive, jnp.sqrt(jnp.where(positive, D, 1.0)), D)
    means, noises = jax.vmap(lambda z: function(m + matvec(L, root * z)))(xi)
    mean = matvec(means.T, w)
    off = means - mean[None, :]
    B = matmul((off * u[:, None]).T, xi)
    error = matmul((off * u[:, None]).T, off) - matmul(B, B.T)
    # A direction in which the state is known has no slope.
    scaled = B * jnp.where(positive, 1.0 / jnp.where(positive, root, 1.0), 0.0)[None, :]
    slope = _right_solve(L, scaled)
    noise = (noises * w[:, None, None]).sum(0)
    return mean, slope, symmetrize(error + noise)


def _right_solve(
    L: Float[Array, "state state"], B: Float[Array, "out state"]
) -> Float[Array, "out state"]:
    """``B L^{-1}`` for a unit lower triangular `L`."""
    flip = slice(None, None, -1)
    return unit_lower_solve(L.T[flip, flip], B.T[flip]).T[:, flip]


def _is_finite(value: Any) -> bool:
    is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
    return is_number and bool(np.isfinite(value))
