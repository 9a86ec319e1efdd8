"""A path of a model as a JAX function of the model's free variables."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
import pymc as pm
from pymc.sampling.jax import get_jaxified_graph

Point = dict[str, np.ndarray]


def compiled(model: pm.Model, *outputs: Any) -> Callable[[Mapping[str, Any]], Any]:
    """Outputs of the model as a function of values of its free variables."""
    graph = model.replace_rvs_by_values([out for out in outputs])
    values = model.value_vars
    function = jax.jit(get_jaxified_graph(values, graph))
    names = [value.name for value in values]
    return lambda point: function(*(point[name] for name in names))


def draw_point(model: pm.Model, seed: int, scale: float = 1.0) -> Point:
    """Normal values of all free variables."""
    rng = np.random.default_rng(seed)
    initial = model.initial_point()
    return {k: v + scale * rng.normal(size=np.shape(v)) for k, v in initial.items()}


def slope_along(f: Callable[[Point], float], point: Point, direction: Point, h: float) -> float:
    """Slope by differences of fourth order."""

    def at(s: float) -> float:
        return float(f({k: v + s * direction[k] for k, v in point.items()}))

    return (8 * (at(h) - at(-h)) - (at(2 * h) - at(-2 * h))) / (12 * h)
