"""dynestyx's Kalman filter that carries the moments over each gap with an ODE solver."""

from collections.abc import Callable
from contextlib import nullcontext

from data import Arrays
from dynestyx import Filter
from dynestyx.inference.filters import ContinuousTimeKFConfig
from works import Work

from contenders.with_dynestyx import run_nuts, value_and_gradient


def build(work: Work, data: Arrays) -> Callable:
    """Value and gradient of the joint log-density at a dict of parameters."""
    return value_and_gradient(work, data, settings())


def sample(work: Work, data: Arrays, seed: int) -> Arrays:
    """Draws by parameter."""
    return run_nuts(work, data, seed, settings())


def settings() -> tuple:
    return Filter(ContinuousTimeKFConfig(warn=False)), nullcontext()
