"""What a model says of a path: the log-density of all that depends on it, given its states."""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from jaxtyping import Array, Float
from pymc.model.transform.conditioning import remove_value_transforms
from pymc.sampling.jax import get_jaxified_graph
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

from pymc_dynsys.latent.mode import Bend, Data

PROBES = 4
"""Vectors of random signs; one is enough where each datum sees the states of one visit."""

Point = Mapping[str, np.ndarray]


class GivenPath:
    """Log-density of whatever depends on a path, in its states and all free variables.

    These are laws of data, potentials, and laws of free variables that the path enters. The normals
    of the path itself say nothing here.
    """

    def __init__(self, model: pm.Model, name: str) -> None:
        shape = tuple(int(n) for n in model[name].shape.eval(mode="FAST_COMPILE"))
        given = pm.do(remove_value_transforms(model), {name: np.zeros(shape)})
        states = given[name]
        touched = [
            v
            for v in (*given.basic_RVs, *given.potentials)
            if v.name != f"{name}_guide" and states in set(ancestors([v]))
        ]
        if not touched:
            raise ValueError(
                f"{name}: nothing in the model depends on this path, so that no data say where it "
                "is; give it data first, then ask"
            )
        place = states.type()
        total = clone_replace(
            given.logp(vars=touched, jacobian=False), {states: place}, rebuild_strict=False
        )
        needed = set(ancestors([total]))
        values = [v for v in given.value_vars if v in needed]
        self._names = [str(v.name) for v in values]
        graph = get_jaxified_graph([place, *values], [total])

        def value(x: Array, *rest: Array) -> Array:
            found: Array = graph(x, *rest)[0]
            return found

        def bend(x: Array, *rest: Array) -> tuple[Array, Array]:
            return _bend(lambda x: value(x, *rest), x)

        self._value, self._bend = jax.jit(value), jax.jit(bend)

    def at(self, point: Point) -> Data:
        """The log-density in the states, where free variables have values on their own scales."""
        return _Given(self, tuple(jnp.asarray(point[name]) for name in self._names))


class _Given:
    """See :meth:`GivenPath.at`."""

    def __init__(self, of: GivenPath, rest: tuple[Array, ...]) -> None:
        self.of, self.rest = of, rest

    def value(self, x: Array) -> float:
        """The log-density."""
        return float(self.of._value(x, *self.rest))

    def bend(self, x: Array) -> Bend:
        """Its slopes and curvatures."""
        return Bend(*self.of._bend(x, *self.rest))


def _bend(
    value: Callable[[Array], Array], x: Float[Array, "*batch visit state"]
) -> tuple[Array, Array]:
    """Slopes, and blocks of minus the Hessian by visit, without what is negative in them.

    Random signs along all visits at once, one state after the other, find the columns of all
    blocks: exactly where no datum sees several visits.
    """
    slope = jax.grad(value)
    d = x.shape[-1]
    signs = jax.random.rademacher(jax.random.PRNGKey(0), (PROBES, *x.shape[:-1]), x.dtype)

    def column(sign: Array, unit: Array) -> Array:
        along = jnp.einsum("...,i->...i", sign, unit)
        return -sign[..., None] * jax.jvp(slope, (x,), (along,))[1]

    of_sign = jax.vmap(column, in_axes=(None, 0), out_axes=-1)
    columns = jax.vmap(of_sign, in_axes=(0, None))(signs, jnp.eye(d)).mean(0)
    size, axes = jnp.linalg.eigh(0.5 * (columns + jnp.swapaxes(columns, -1, -2)))
    return slope(x), jnp.einsum("...ij,...j,...kj->...ik", axes, jnp.maximum(size, 0.0), axes)
