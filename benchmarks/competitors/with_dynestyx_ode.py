"""dynestyx's Kalman filter that carries the moments over each gap with an ODE solver."""

from collections.abc import Callable
from contextlib import nullcontext

from cases import Case
from data import Arrays
from dynestyx import Filter
from dynestyx.inference.filters import ContinuousTimeKFConfig

from competitors.with_dynestyx import run_nuts, value_and_gradient


def build(case: Case, data: Arrays) -> Callable:
    """Value and gradient of the joint log-density at a dict of parameters."""
    return value_and_gradient(case, data, settings())


def sample(case: Case, data: Arrays, seed: int) -> Arrays:
    """Draws by parameter."""
    return run_nuts(case, data, seed, settings())


def settings() -> tuple:
    return Filter(ContinuousTimeKFConfig(warn=False)), nullcontext()
