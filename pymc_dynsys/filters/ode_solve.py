"""Direct likelihood of an ODE: solve, then evaluate the law of each datum."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro import distributions as dist

from pymc_dynsys.discretization import Discretization, EulerMaruyama, TimeGrid
from pymc_dynsys.filters.base import Data, Likelihood
from pymc_dynsys.filters.enkf import give_doses
from pymc_dynsys.filters.gaussian import Belief, update
from pymc_dynsys.linalg import with_sensitivities
from pymc_dynsys.systems.bound import BoundSystem, Params


@dataclass(frozen=True)
class ODESolve(Likelihood):
    r"""Likelihood :math:`\prod_k p(y_k \mid x(t_k))` along the solution of an ODE.

    Uses diffrax with adaptive steps; gradients go through the steps taken. Any numpyro
    distribution serves as observation.

    Parameters
    ----------
    rtol, atol : float
        Relative and absolute tolerance of the solver, the latter in units of the state.
        Loose tolerances make the likelihood rough in the parameters, which NUTS notices.
    stiff : bool
        False: Tsitouras 5(4), explicit. True: Kvaerno 5(4), implicit, for time scales that
        differ by orders of magnitude.
    max_steps : int
        Steps allowed over a whole trajectory; one that needs more gives minus infinity.

    Raises
    ------
    ValueError
        When the model is built, if the system is an SDE, or an ODE whose initial state is
        uncertain.

    See Also
    --------
    Kalman : exact and faster for a linear ODE with Gaussian noise.

    References
    ----------
    Kidger (2021), *On Neural Differential Equations*, sec. 5.1 (the solvers of diffrax).

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.ODESolve(stiff=True).rtol
    1e-08
    """

    rtol: float = 1e-8
    atol: float = 1e-8
    stiff: bool = False
    max_steps: int = 4096

    def __post_init__(self) -> None:
        for name in ("rtol", "atol", "max_steps"):
            value = getattr(self, name)
            if not (np.ndim(value) == 0 and np.isfinite(value) and value > 0):
                raise ValueError(f"ODESolve: {name} must be a positive number, got {value!r}")

    discretization = None

    def scheme(self, system: BoundSystem) -> Discretization:
        """One solve for all gaps: no gap is cut beforehand."""
        return EulerMaruyama(dt=None)

    def check(self, system: BoundSystem) -> None:
        """Refuse systems with noise in the dynamics or in the initial state."""
        if not system.is_deterministic:
            raise ValueError(
                "ODESolve() is the likelihood of an ODE; an SDE needs a filter: Kalman() if it is "
                "linear, else EKF() or EnKF()"
            )
        if not system.structure.known_initial:
            raise ValueError(
                "ODESolve() needs a known initial state (dist.Delta, an array or a tuple, possibly "
                "a function of parameters), and initial is a law; make the initial state a PyMC "
                "variable in params, or use Kalman() or EKF()"
            )

    def step_numbers(self, system: BoundSystem) -> int:
        """No sums: the solver steps through states."""
        return 1

    def log_likelihood(
        self, system: BoundSystem, params: Params, data: Data, grid: TimeGrid, constants: Any
    ) -> Float[Array, " time"]:
        """Log-density of each datum along the solution."""

        def visit(x: Array, t: Array, y: Array, seen: Any, row: Any) -> Array:
            here = params if row is None else row.at_row(params)
            return log_density(system, here, x, t, y, seen)

        rows = jax.tree.map(jnp.asarray, grid.rows)
        start, _ = system.initial_moments(params)
        states = self.solve(system, params, start, grid)
        return jax.vmap(visit)(states, jnp.asarray(grid.times), data.y, data.seen, rows)

    def solve(
        self, system: BoundSystem, params: Params, state: Float[Array, " state"], grid: TimeGrid
    ) -> Float[Array, "time state"]:
        """States at the visits, after the events there, from a start; NaN if the solver gave up."""
        times = jnp.asarray(grid.times)
        if grid.rows is None:
            return self._solve(system, params, state, times[0] - grid.gaps[0], times)

        def cross(x: Array, k: Any) -> tuple[Array, Array]:
            t, gap, row = k
            x = self._solve(system, row.over_gap(params), x, t - gap, t[None])[0]
            x = give_doses(system, row.at_row(params), x[None], t, row)[0]
            return x, x

        rows = jax.tree.map(jnp.asarray, grid.rows)
        return jax.lax.scan(cross, state, (times, jnp.asarray(grid.gaps), rows))[1]

    def _solve(
        self, system: BoundSystem, params: Params, state: Array, start: Array, times: Array
    ) -> Float[Array, "time state"]:
        """States at ascending times from a state at `start`."""
        import diffrax

        solver: Any = diffrax.Kvaerno5() if self.stiff else diffrax.Tsit5()
        controller: Any = diffrax.PIDController(rtol=self.rtol, atol=self.atol)
        drift: Any = system.drift
        if self.stiff:
            drift = without_slopes_where_not_finite(drift)
            # Between its steps Kvaerno5 interpolates with two digits less than it solves.
            controller = diffrax.ClipStepSizeController(controller, step_ts=times)

        def run(inputs: Any, start: Array, times: Array) -> Array:
            params, state = inputs
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda t, x, params: drift(x, t, params)),
                solver,
                t0=start,
                t1=times[-1],
                dt0=None,
                y0=state,
                args=params,
                saveat=diffrax.SaveAt(ts=times),
                stepsize_controller=controller,
                max_steps=self.max_steps,
                throw=False,
                adjoint=diffrax.ForwardMode(),
            )
            failed = solution.result != diffrax.RESULTS.successful
            return jnp.where(failed, jnp.nan, solution.ys)

        return with_sensitivities(run)((dict(params), state), start, times)


def without_slopes_where_not_finite(drift: Any) -> Any:
    """The same drift, with zero derivatives where it is not a finite number.

    Differentiating an implicit step solves a linear system, and a NaN in that stops the whole
    program instead of failing the one trajectory.
    """

    def guarded(x: Array, t: Any, params: Params) -> Array:
        broken = ~jnp.isfinite(drift(x, t, params)).all()

        def held(leaf: Any) -> Array:
            return jnp.where(broken, jax.lax.stop_gradient(leaf), leaf)

        value = drift(held(x), t, jax.tree.map(held, dict(params)))
        return jnp.where(broken, jnp.nan, value)

    return guarded


def log_density(
    system: BoundSystem, params: Params, x: Array, t: Any, y: Array, seen: Any
) -> Float[Array, ""]:
    """Log-density of the components of one datum that are there."""
    if system.structure.gaussian_observation:
        mean, R = system.observation_moments(x, t, params)
        known = Belief(x, jnp.zeros((x.shape[0], x.shape[0])))
        nothing = jnp.zeros((y.shape[0], x.shape[0]))
        return update(known, y - mean, seen, nothing, R)[1]
    law = system.observation(x, t, params)
    while isinstance(law, dist.Independent):
        law = law.base_dist
    density = law.log_prob(y if system.n_observed is not None else y[0])
    if seen is None:
        return density.sum()
    if not law.event_dim:
        return jnp.where(seen if density.ndim else seen[0], density, 0.0).sum()
    # A joint law has no marginal for part of a datum: no number is better than a wrong one.
    partly = seen.any() & ~seen.all()
    return jnp.where(partly, jnp.nan, jnp.where(seen.all(), density, 0.0))
