"""What many tests need: run a filter by name of its arguments, and differentiate by differences."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import pymc_dynsys as pds
from pymc_dynsys.discretization import Design, Discretization, Operands, TimeGrid, build_grid
from pymc_dynsys.inference.draws import answer
from pymc_dynsys.inference.states import AskMoments, AskStates
from pymc_dynsys.likelihoods import gradient
from pymc_dynsys.likelihoods.base import Data, Likelihood, Problem
from pymc_dynsys.likelihoods.gaussian import forward
from pymc_dynsys.likelihoods.program import Program, ask_pointwise, map_run
from pymc_dynsys.systems import BoundSystem, bind_system


def as_arrays(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Parameters as float64 JAX arrays."""
    return {name: jnp.asarray(value, float) for name, value in params.items()}


def program_of(
    system: BoundSystem, likelihood: Likelihood, complete: bool, **options: Any
) -> Program:
    """A program without events and inputs."""
    return Program(Design(system), likelihood, complete, **options)


def prepare(program: Program, times: Any, t0: Any) -> TimeGrid:
    """Grid of a program for times and starts."""
    return program.prepare(Operands(None, np.asarray(times), np.asarray(t0), None, {}, {}))


def operands_of(y: Any, params: Mapping[str, Any], grid: TimeGrid) -> Operands:
    """Data and parameters; the times are those of the grid."""
    return Operands(jnp.asarray(y), grid.times, np.asarray(np.nan), None, {}, dict(params))


def log_likelihood(program: Program, y: Any, params: Any, grid: TimeGrid) -> jax.Array:
    """Log-likelihood of each trajectory."""
    return gradient.log_likelihood(program, operands_of(y, params, grid), grid)


@partial(jax.jit, static_argnums=0)
def compiled_log_likelihood(program: Program, y: Any, params: Any, grid: TimeGrid) -> jax.Array:
    """:func:`log_likelihood`, compiled."""
    return log_likelihood(program, y, params, grid)


def visit_log_likelihoods(
    program: Program, y: Any, params: Any, grid: TimeGrid, noise: Any
) -> jax.Array:
    """Log-density of each visit given the earlier ones."""
    return map_run(program, ask_pointwise, operands_of(y, params, grid), grid, noise)


def state_moments(
    program: Program, given: Any, y: Any, params: Any, grid: TimeGrid, noise: Any
) -> Any:
    """Means and covariances of states."""
    return answer(program, AskMoments(given), operands_of(y, params, grid), grid, noise, None)


def state_draws(
    program: Program, given: Any, keys: Any, y: Any, params: Any, grid: TimeGrid, noise: Any
) -> Any:
    """One path of states a trajectory."""
    return answer(program, AskStates(given), operands_of(y, params, grid), grid, noise, keys)


def likelihood_function(
    system: Any,
    likelihood: Likelihood,
    y: Any,
    times: Any,
    shapes: Mapping[str, tuple[int, ...]],
    t0: Any = np.nan,
    complete: bool | None = None,
) -> Callable[[Mapping[str, Any]], jax.Array]:
    """Compiled log-likelihood of each trajectory; `shapes` of params are one trajectory's."""
    y = np.asarray(y, float)
    complete = not np.isnan(y).any() if complete is None else complete
    program = program_of(bind_system(system, shapes), likelihood, complete)
    grid = prepare(program, times, t0)
    return jax.jit(lambda params: log_likelihood(program, y, params, grid))


def total_and_gradient(function: Callable[[Any], jax.Array]) -> Callable[[Any], Any]:
    """Compiled sum over trajectories together with its gradient."""
    return jax.jit(jax.value_and_grad(lambda params: function(params).sum()))


def values_and_gradient(function: Callable[[Any], jax.Array]) -> Callable[[Any], Any]:
    """Compiled values of all trajectories and the gradient of their sum, in one program."""

    def both(params: Any) -> tuple[jax.Array, Any]:
        values, pull = jax.vjp(function, params)
        return values, pull(jnp.ones_like(values))[0]

    return jax.jit(both)


def run_filter(
    system: Any,
    params: Mapping[str, Any],
    y: Any,
    times: Any,
    *,
    extended: Discretization | None = None,
    t0: Any = np.nan,
) -> forward.Visit:
    """Visits of one trajectory through the Kalman filter, or the EKF with a discretization."""
    params = as_arrays(params)
    bound = bind_system(system, {name: value.shape for name, value in params.items()})
    y = np.asarray(y, float)
    y = y[:, None] if bound.observation.scalar else y
    seen = ~np.isnan(y)
    data = Data(jnp.where(seen, y, 0.0), None if seen.all() else jnp.asarray(seen))
    likelihood = pds.Kalman(pds.Exact()) if extended is None else pds.EKF(extended)
    grid = build_grid(times, t0, likelihood.discretization)

    def run(params: Any) -> forward.Visit:
        problem = Problem(params, data, grid)
        return forward.run_filter(likelihood.linear_model(bound, problem), bound, problem)

    return jax.jit(run)(params)


def finite_differences(
    function: Callable[[dict[str, np.ndarray]], float],
    params: Mapping[str, Any],
    step: float = 1e-3,
) -> dict[str, np.ndarray]:
    """Gradient by fourth-order central differences, entry by entry."""
    point = {name: np.array(value, float) for name, value in params.items()}
    gradient = {}
    for name, value in point.items():
        slopes = np.zeros(value.shape)
        for index in np.ndindex(value.shape):
            values = []
            for shift in (-2, -1, 1, 2):
                moved = value.copy()
                moved[index] += shift * step
                values.append(float(function({**point, name: moved})))
            far_below, below, above, far_above = values
            slopes[index] = (8 * (above - below) - (far_above - far_below)) / (12 * step)
        gradient[name] = slopes
    return gradient


def assert_gradients_agree(
    gradient: Mapping[str, Any], expected: Mapping[str, Any], rtol: float, atol: float
) -> None:
    """Compare gradients name by name."""
    assert set(gradient) == set(expected)
    for name in expected:
        np.testing.assert_allclose(
            gradient[name], expected[name], rtol=rtol, atol=atol, err_msg=f"gradient of {name}"
        )
