"""What many tests need: run a filter by name of its arguments, and differentiate by differences."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pymc_dynsys.discretization import Discretization, Exact, build_grid
from pymc_dynsys.filters.base import Data, Likelihood
from pymc_dynsys.filters.batch import Program, log_likelihood
from pymc_dynsys.filters.ekf import filter_extended
from pymc_dynsys.filters.gaussian import Visit
from pymc_dynsys.filters.kalman import filter_linear
from pymc_dynsys.systems import bind_system


def as_arrays(params: Mapping[str, Any]) -> dict[str, jax.Array]:
    """Parameters as float64 JAX arrays."""
    return {name: jnp.asarray(value, float) for name, value in params.items()}


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
    program = Program(bind_system(system, shapes), likelihood, complete)
    grid = program.prepare(times, t0)
    return jax.jit(lambda params: log_likelihood(program, jnp.asarray(y), params, grid))


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
) -> Visit:
    """Visits of one trajectory through the Kalman filter, or the EKF with a discretization."""
    params = as_arrays(params)
    bound = bind_system(system, {name: value.shape for name, value in params.items()})
    y = np.asarray(y, float)
    y = y[:, None] if bound.n_observed is None else y
    seen = ~np.isnan(y)
    data = Data(jnp.where(seen, y, 0.0), None if seen.all() else jnp.asarray(seen))
    scheme = Exact() if extended is None else extended
    grid = build_grid(times, t0, scheme)
    run = filter_linear if extended is None else filter_extended
    return jax.jit(lambda params: run(bound, scheme, params, data, grid))(params)


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
