"""One normal effect of a model, moved between its centred and its non-centred form."""

from collections.abc import Callable

import numpy as np
import pymc as pm
from pytensor.compile.mode import Mode

Point = dict[str, np.ndarray]

# Evaluated at a few draws only: compiling would take seconds, and save milliseconds.
INTERPRETED = Mode("py", "fast_run")


def partly_centered(model: pm.Model, name: str, share: np.ndarray) -> pm.Model:
    """A copy of the model in which one effect is made from a partly centred one.

    What is sampled is ``<name>_offset``; the share of centring is the data variable
    ``<name>_centeredness``, over the dims of the effect.
    """
    new = model.copy()
    old = new[name]
    dims = new.named_vars_to_dims.get(name)
    mean, sd = old.owner.op.dist_params(old.owner)
    with new:
        data = pm.Data(f"{name}_centeredness", share, dims=dims)
        size = {"dims": dims} if dims else {"shape": share.shape}
        offset = pm.Normal(f"{name}_offset", data * mean, sd**data, **size)
    return pm.do(new, {old: mean + sd ** (1.0 - data) * (offset - data * mean)})


def offset_of(value: np.ndarray, mean: np.ndarray, sd: np.ndarray, share: np.ndarray) -> np.ndarray:
    """What ``partly_centered`` samples, where the effect has a value."""
    return share * mean + (value - mean) * sd ** (share - 1.0)


def prior_of(model: pm.Model, name: str) -> Callable[[Point], tuple[np.ndarray, np.ndarray]]:
    """Mean and sd of a normal effect, of its shape, where all free variables have values.

    The model's variables have no transforms.
    """
    effect = model[name]
    graph = model.replace_rvs_by_values(list(effect.owner.op.dist_params(effect.owner)))
    compiled = model.compile_fn(
        graph, inputs=model.value_vars, on_unused_input="ignore", mode=INTERPRETED
    )

    def at(point: Point) -> tuple[np.ndarray, np.ndarray]:
        mean, sd = (np.broadcast_to(x, np.shape(point[name])) for x in compiled(point))
        return mean, sd

    return at
