"""cuthbert's square-root Kalman filter, in sequence: its parallel form is for GPUs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from cases import Case
from cuthbert import filter as run_filter
from cuthbert.gaussian import kalman
from data import INITIAL_VARIANCE, Arrays

from competitors.priors import crossing, log_prior, shared


def build(case: Case, data: Arrays) -> Callable:
    """Value and gradient of the joint log-density at a dict of parameters."""
    y = jnp.asarray(data["y"])[..., None]
    gaps = jnp.asarray(np.diff(data["times"], prepend=data["times"][0]))
    one = jnp.eye(1)

    def log_likelihood(point: dict) -> jnp.ndarray:
        rate, sigma, noise = shared(point)
        decays, variances = crossing(case, rate, sigma, gaps)
        # The gap before the first visit is zero, and the root has no derivative there.
        roots = jnp.where(gaps > 0, jnp.sqrt(jnp.where(gaps > 0, variances, 1.0)), 0.0)

        def of_subject(mu, y):
            def dynamics(visit):
                offset = ((1 - visit["decay"]) * mu).reshape(1)
                return visit["decay"] * one, offset, visit["root"] * one

            def observation(visit):
                return one, jnp.zeros(1), noise * one, visit["y"]

            start = jnp.zeros(1), jnp.sqrt(INITIAL_VARIANCE) * one
            algorithm = kalman.build_filter(*start, dynamics, observation)
            visits = {"decay": decays, "root": roots, "y": y}
            states = run_filter(algorithm, visits, algorithm.init_prepare(), parallel=False)
            return states.log_normalizing_constant[-1]

        return jax.vmap(of_subject)(point["mu"], y).sum()

    return jax.value_and_grad(lambda point: log_likelihood(point) + log_prior(case, point))
