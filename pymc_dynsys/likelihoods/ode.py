"""Direct likelihood of an ODE: solve, then evaluate the distribution of each datum."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.discretization import Discretization, EulerMaruyama, Rows, TimeGrid, at_row
from pymc_dynsys.discretization.doses import give_dose
from pymc_dynsys.likelihoods.answers import Moments
from pymc_dynsys.likelihoods.base import Given, Likelihood, Problem, Run
from pymc_dynsys.likelihoods.observe import standardised_errors
from pymc_dynsys.linalg import with_sensitivities
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.held import Held


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
    exact = True
    cheap = True

    @classmethod
    def recommended(cls, system: BoundSystem) -> str | None:
        """For an ODE that begins at a known state."""
        if system.is_deterministic and system.proof.start.known:
            return "the state of an ODE is known given its parameters"
        return None

    @property
    def adaptive_solver(self) -> str | None:
        """It controls its own error."""
        return type(self).__name__

    def follows_lines(self, system: BoundSystem) -> bool:
        """The solver does."""
        return True

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
        if not system.proof.start.known:
            raise ValueError(
                "ODESolve() needs a known initial state (dist.Delta, an array or a tuple, possibly "
                "a function of parameters), and initial is a distribution; make the initial state "
                "a PyMC variable in params, or use Kalman() or EKF()"
            )

    def check_simulates(self, system: BoundSystem) -> None:
        """Raise ValueError if paths of the system are not solutions of an ODE."""
        if not system.is_deterministic:
            raise ValueError(
                "simulator: ODESolve() solves ODEs; an SDE needs EulerMaruyama(dt=...)"
            )

    def substeps(self, gaps: np.ndarray) -> np.ndarray:
        """One solve for each gap."""
        return np.ones(gaps.shape, int)

    def largest_reduction(self, system: BoundSystem) -> int:
        """No sums: the solver steps through states."""
        return 1

    def run(self, system: BoundSystem, problem: Problem) -> Run:
        """Solution of one trajectory."""
        return SolutionRun(self, system, problem)

    def solve(
        self, system: BoundSystem, params: Params, state: Float[Array, " state"], grid: TimeGrid
    ) -> Float[Array, "time state"]:
        """States at the visits, after the events there, from a start; NaN if the solver gave up."""
        times = jnp.asarray(grid.times)
        if grid.rows is None:
            return self._solve(system, Held(params), state, times[0] - grid.gaps[0], times)

        def cross(x: Array, k: Any) -> tuple[Array, Array]:
            t, gap, row = k
            held = row.over_gap(params)
            if grid.moving:
                x = self._solve_over(system, held, x, t - gap, gap, False)
            else:
                x = self._solve(system, held, x, t - gap, t[None])[0]
            x = give_dose(system, params, x, t, row)
            return x, x

        rows = jax.tree.map(jnp.asarray, grid.rows)
        return jax.lax.scan(cross, state, (times, jnp.asarray(grid.gaps), rows))[1]

    def _solve(
        self, system: BoundSystem, held: Held, state: Array, start: Array, times: Array
    ) -> Float[Array, "time state"]:
        """States ``(time, state)`` at ascending times from a state ``(state,)`` at `start`.

        NaN where the solver fails. Derivatives are carried along forwards, so that the solver's
        loop is differentiated by no one.
        """
        return self._integrate(self._drift(system), held, state, start, times, False)

    def _solve_over(
        self, system: BoundSystem, held: Held, x: Array, start: Array, gap: Array, forwards: bool
    ) -> Float[Array, " state"]:
        """State after a gap whose ends have slopes: the solver's time runs from 0 to 1."""
        drift = self._drift(system)

        def scaled(x: Array, s: Array, held: tuple[Held, Array, Array]) -> Array:
            values, start, gap = held
            return gap * drift(x, start + s * gap, values)

        one = jnp.ones(1)
        return self._integrate(scaled, (held, start, gap), x, 0 * one[0], one, forwards)[0]

    def flow(
        self, system: BoundSystem, held: Held, x: Array, gap: Array, *, forwards: bool
    ) -> Float[Array, " state"]:
        """State after a gap, the drift free of time; derivatives forwards or on the way back."""
        return self._solve_over(system, held, x, jnp.zeros(()), gap, forwards)

    def _drift(self, system: BoundSystem) -> Any:
        drift: Any = system.continuous.drift
        return without_slopes_where_not_finite(drift) if self.stiff else drift

    def _integrate(
        self, drift: Any, held: Any, state: Array, start: Array, times: Array, forwards: bool
    ) -> Float[Array, "time state"]:
        """States ``(time, state)`` at ascending times from a state ``(state,)`` at `start`.

        There are slopes in the state and in what is held, and none in the times.
        """
        import diffrax

        solver: Any = diffrax.Kvaerno5() if self.stiff else diffrax.Tsit5()

        def run(inputs: Any, start: Array, times: Array) -> Array:
            held, state = inputs
            controller: Any = diffrax.PIDController(rtol=self.rtol, atol=self.atol)
            if self.stiff:
                # Between its steps Kvaerno5 interpolates with two digits less than it solves. The
                # times come as an argument: no array from outside may enter a function that has
                # derivatives of its own.
                controller = diffrax.ClipStepSizeController(controller, step_ts=times)
            solution = diffrax.diffeqsolve(
                diffrax.ODETerm(lambda t, x, held: drift(x, t, held)),
                solver,
                t0=start,
                t1=times[-1],
                dt0=None,
                y0=state,
                args=held,
                saveat=diffrax.SaveAt(ts=times),
                stepsize_controller=controller,
                max_steps=self.max_steps,
                throw=False,
                adjoint=diffrax.ForwardMode(),
            )
            failed = solution.result != diffrax.RESULTS.successful
            return jnp.where(failed, jnp.nan, solution.ys)

        solved = run if forwards else with_sensitivities(run)
        return solved((held, state), start, times)


def without_slopes_where_not_finite(drift: Any) -> Any:
    """The same drift, with zero derivatives where it is not a finite number.

    Differentiating an implicit step solves a linear system, and a NaN in that stops the whole
    program instead of failing the one trajectory.
    """

    def guarded(x: Array, t: Any, held: Held) -> Array:
        broken = ~jnp.isfinite(drift(x, t, held)).all()

        def still(leaf: Any) -> Array:
            return jnp.where(broken, jax.lax.stop_gradient(leaf), leaf)

        value = drift(still(x), t, jax.tree.map(still, held))
        return jnp.where(broken, jnp.nan, value)

    return guarded


class SolutionRun(Run):
    """The solution of an ODE, and the data along it."""

    terms_by_row = True

    @cached_property
    def states(self) -> Float[Array, "row state"]:
        """The solution at every row, regardless of the data."""
        system, params = self.system, self.problem.params
        start, _ = system.start.moments(params)
        solver: Any = self.likelihood
        path: Array = solver.solve(system, params, start, self.problem.grid)
        return path

    def terms(self) -> Float[Array, " term"]:
        """Log-density of the data at each row."""
        params, data, grid, _ = self.problem

        def visit(x: Array, t: Array, y: Array, seen: Any, row: Rows | None) -> Array:
            held = at_row(row, params)
            return self.system.observation.log_density(y, seen, x, t, held)

        rows = jax.tree.map(jnp.asarray, grid.rows)
        return jax.vmap(visit)(self.states, jnp.asarray(grid.times), data.y, data.seen, rows)

    def innovations(self) -> Float[Array, "row component"]:
        """Standardised distances of the data from the solution; NaN if missing."""
        params, data, grid, _ = self.problem
        known = jnp.zeros((*self.states.shape, self.system.n_states))
        return standardised_errors(self.system, params, *data, grid, self.states, known)

    def predictive_cdf(self, key: Array) -> tuple[Array, Array]:
        """The distribution functions of the data themselves."""
        params, data, grid, _ = self.problem

        def visit(x: Array, t: Array, y: Array, row: Rows | None) -> tuple[Array, Array]:
            return self.system.observation.cdf_bounds(y, x, t, at_row(row, params))

        rows = jax.tree.map(jnp.asarray, grid.rows)
        each = jax.vmap(visit)(self.states, jnp.asarray(grid.times), data.y, rows)
        return self._where_seen(each)

    def moments(self, given: Given) -> Moments:
        """The solution, known without error."""
        return Moments(self.states, jnp.zeros((*self.states.shape, self.system.n_states)))

    def draw(self, given: Given, key: Array) -> Float[Array, "row state"]:
        """The solution."""
        return self.states
