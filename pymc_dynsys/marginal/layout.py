"""Which free variables are integrated out, which are estimated, and how both are flat arrays.

The *effects* are the free variables that carry the dim of the members; the values of one member are
a row of u, ``(member, effect)``. All other free variables are *parameters*, theta ``(parameter,)``.
Both are unconstrained values, as a sampler sees them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
from jaxtyping import Array, Float
from pymc.initial_point import make_initial_point_fn
from pymc.model.transform.optimization import freeze_dims_and_data
from pytensor.compile.mode import Mode

from pymc_dynsys.bridge.dims import dim_length


@dataclass(frozen=True)
class Block:
    """One free variable.

    Attributes
    ----------
    name, value : str
        Names of the variable and of its unconstrained value.
    shape : tuple of int
        Shape of the value.
    axis : int
        Its axis of members; -1 for a parameter.
    first, size : int
        Its places: columns of u, or entries of theta.
    """

    name: str
    value: str
    shape: tuple[int, ...]
    axis: int
    first: int
    size: int

    @property
    def places(self) -> slice:
        """Its columns of u, or its entries of theta."""
        return slice(self.first, self.first + self.size)


@dataclass(frozen=True, eq=False)
class Layout:
    """A model with its effects and parameters.

    Attributes
    ----------
    model : Model
        A copy with fixed data and lengths.
    over : str
        The dim of the members.
    members : ndarray
        Its labels.
    effects, parameters : tuple of Block
        What is integrated out and what is estimated.
    order : tuple of str
        Names of the values of free variables, in the order of the user's model; a copy may have
        another.
    point : mapping
        PyMC's starting point.
    """

    model: pm.Model
    over: str
    members: np.ndarray
    effects: tuple[Block, ...]
    parameters: tuple[Block, ...]
    order: tuple[str, ...]
    point: Mapping[str, np.ndarray]

    @property
    def n_members(self) -> int:
        """Members."""
        return len(self.members)

    @property
    def n_effects(self) -> int:
        """Effects of one member."""
        return sum(block.size for block in self.effects)

    @property
    def n_parameters(self) -> int:
        """Numbers that are estimated."""
        return sum(block.size for block in self.parameters)

    def values(
        self, u: Float[Array, "member effect"], theta: Float[Array, " parameter"]
    ) -> list[Array]:
        """Values of the free variables, in the order of the model."""
        found: dict[str, Array] = {}
        for block in self.effects:
            rest = tuple(np.delete(block.shape, block.axis))
            array = u[:, block.places].reshape(self.n_members, *rest)
            found[block.value] = jnp.moveaxis(array, 0, block.axis)
        for block in self.parameters:
            found[block.value] = theta[block.places].reshape(block.shape)
        return [found[str(value.name)] for value in self.model.value_vars]

    def flat(self, point: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The arrays u and theta of a point of the model, as ``model.initial_point`` gives it."""
        u = [
            np.moveaxis(np.asarray(point[b.value], float), b.axis, 0).reshape(self.n_members, -1)
            for b in self.effects
        ]
        theta = [np.ravel(np.asarray(point[b.value], float)) for b in self.parameters]
        return np.concatenate(u, axis=1), np.concatenate([*theta, np.zeros(0)])

    def start(
        self, overrides: Mapping[str, object] | None, seed: int, jitter: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The arrays u and theta at PyMC's starting point, with PyMC's jitter where asked for."""
        jittered = set(self.model.free_RVs) if jitter else set()
        return self.flat(starting_point(self.model, overrides, seed, jittered))

    def coordinates(self) -> list[str]:
        """Names of the entries of theta, as in ``"beta_log__[age]"``."""
        return [
            name for b in self.parameters for name in entries(self.model, b.name, b.value, b.shape)
        ]

    def owner(self, position: int) -> Block:
        """The parameter to which an entry of theta belongs."""
        return next(b for b in self.parameters if b.first <= position < b.first + b.size)


def starting_point(
    model: pm.Model, overrides: Mapping[str, object] | None, seed: int, jittered: set
) -> dict[str, np.ndarray]:
    """Values of the free variables where PyMC would start; nothing is compiled for it."""
    with pytensor.config.change_flags(mode=Mode(linker="py", optimizer="fast_compile"), cxx=""):
        draw = make_initial_point_fn(
            model=model, overrides=dict(overrides or {}), jitter_rvs=jittered
        )
        return draw(seed)


def entries(model: pm.Model, name: str, shown: str, shape: tuple[int, ...]) -> list[str]:
    """Names of the elements of an array, by its labels where it has as many, else by positions."""
    dims = model.named_vars_to_dims.get(name) or ()
    labels: list[Sequence[object]] = []
    for axis, length in enumerate(shape):
        known = model.coords.get(dims[axis]) if len(dims) == len(shape) else None
        labels.append(range(length) if known is None or len(known) != length else list(known))
    return [
        shown + (f"[{', '.join(str(labels[a][i]) for a, i in enumerate(where))}]" if where else "")
        for where in np.ndindex(*shape)
    ]


def lay_out(model: pm.Model, over: str) -> Layout:
    """Effects and parameters of a model whose variables :func:`refuse.check_model` has passed."""
    frozen = freeze_dims_and_data(model)
    point = starting_point(frozen, None, 0, set())
    effects: list[Block] = []
    parameters: list[Block] = []
    n = dim_length(frozen, over)
    for rv in (frozen[str(v.name)] for v in model.free_RVs):  # in the order of the user
        name, value = str(rv.name), str(frozen.rvs_to_values[rv].name)
        shape = np.shape(point[value])
        dims = tuple(map(str, frozen.named_vars_to_dims.get(name) or ()))
        if over in dims:
            axis = dims.index(over)
            if len(shape) != len(dims) or shape[axis] != n:
                length = shape[axis] if len(shape) == len(dims) else "other"
                raise ValueError(
                    f"over={over!r}: {name} has {length} values for {n} labels of {over!r} where "
                    "it is unconstrained, so its members are not independent; write it without "
                    f"the constraint, such as pm.Normal({name!r}, ..., dims={over!r})"
                )
            size, first = int(np.prod(shape)) // n, sum(b.size for b in effects)
            effects.append(Block(name, value, shape, axis, first, size))
        else:
            first = sum(b.size for b in parameters)
            size = int(np.prod(shape, dtype=int))
            parameters.append(Block(name, value, shape, -1, first, size))
    order = tuple(str(frozen.rvs_to_values[frozen[str(v.name)]].name) for v in model.free_RVs)
    labels = frozen.coords.get(over)
    members = np.arange(n) if labels is None else np.asarray(list(labels))
    return Layout(frozen, over, members, tuple(effects), tuple(parameters), order, point)


def compiled_values(layout: Layout, names: Sequence[str]) -> "jax.stages.Wrapped":
    """A function of u and theta: values of variables on their own scales, in the order of names."""
    from pymc.sampling.jax import get_jaxified_graph

    model = layout.model
    found = {str(v.name): v for v in model.unobserved_value_vars}
    graph = get_jaxified_graph(model.value_vars, [found[name] for name in names])
    return jax.jit(lambda u, theta: graph(*layout.values(u, theta)))
