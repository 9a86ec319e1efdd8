"""Moment equations of the linearized SDE, integrated adaptively."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pymc_dynsys.discretization.base import Discretization, Transition
from pymc_dynsys.linalg import linearize, matmul, with_sensitivities
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held


@dataclass(frozen=True)
class MomentODE(Discretization):
    r"""Integrates mean and covariance between visits with an adaptive solver.

    .. math:: \dot m = f(m, t), \quad \dot F = J(m) F, \quad
              \dot Q = J(m) Q + Q J(m)' + L L'

    from ``m = x, F = I, Q = 0``: the continuous-discrete extended Kalman filter, first order
    (no curvature correction of the mean). Several times as expensive as
    :class:`~pymc_dynsys.LocalLinearization`; for long gaps over which the path curves strongly.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute tolerance of the Dormand-Prince 5(4) solver.
    max_steps : int
        Steps allowed in one gap; a gap that needs more gives a log-likelihood of minus
        infinity.

    Raises
    ------
    ValueError
        If a tolerance or the number of steps is not positive.

    References
    ----------
    Jazwinski (1970), *Stochastic Processes and Filtering Theory*, theorem 8.1.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.EKF(discretization=pds.MomentODE(rtol=1e-8, atol=1e-10)).discretization.rtol
    1e-08
    """

    differentiates_forwards = False
    adaptive = True

    rtol: float = 1e-6
    atol: float = 1e-8
    max_steps: int = 4096

    def __post_init__(self) -> None:
        for name in ("rtol", "atol", "max_steps"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value > 0):
                raise ValueError(f"{name}: expected a positive number, got {value!r}")

    def follows_lines(self, system: BoundSystem) -> bool:
        """The solver does."""
        return True

    def step(self, system: BoundSystem, x: Any, t: Any, h: Any, held: Held) -> Transition:
        """Transition over a whole gap; time runs from 0 to 1 so that a gap of zero is one too."""
        import diffrax

        d = x.shape[0]

        def rates(s: Any, moments: Any, args: Any) -> Any:
            m, F, Q = moments
            t, h, held = args
            now = t + s * h
            f, J = linearize(lambda x: system.continuous.drift(x, now, held), m)
            JQ = matmul(J, Q)
            S = system.continuous.noise_covariance(m, now, held)
            return f * h, matmul(J, F) * h, (JQ + JQ.T + S) * h

        def run(inputs: Any, t: Array, h: Array) -> Array:
            x, held = inputs
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(rates),
                diffrax.Dopri5(),
                t0=0.0,
                t1=1.0,
                dt0=None,
                y0=(x, jnp.eye(d), jnp.zeros((d, d))),
                args=(t, h, held),
                stepsize_controller=diffrax.PIDController(rtol=self.rtol, atol=self.atol),
                max_steps=self.max_steps,
                throw=False,
                adjoint=diffrax.ForwardMode(),
            )
            failed = solution.result != diffrax.RESULTS.successful
            m, F, Q = (jnp.where(failed, jnp.nan, y[0]) for y in solution.ys)
            return jnp.concatenate([m[None], F, Q])

        moments = with_sensitivities(run)((x, held), jnp.asarray(t), jnp.asarray(h))
        return Transition(mean=moments[0], F=moments[1 : d + 1], Q=moments[d + 1 :])
