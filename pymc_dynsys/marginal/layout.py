"""Which free variables are integrated out, which are estimated, and how both are flat arrays.

The *effects* are the free variables that carry a dim of members; those of the innermost dim that a
variable carries are its members. Their values are the flat array u, level by level and member by
member. All other free variables are *parameters*, theta. Both are unconstrained values, as a
sampler sees them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
from jaxtyping import Array, Float
from pymc.initial_point import convert_str_to_rv_dict, make_initial_point_expression
from pymc.model.transform.optimization import freeze_dims_and_data
from pymc.pytensorf import replace_rng_nodes
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
    level : int
        The level of its members, 0 for the outermost; -1 for a parameter.
    axes : tuple of int
        Its axes of members.
    first, size : int
        Its places: among the effects of one member, or entries of theta.
    """

    name: str
    value: str
    shape: tuple[int, ...]
    level: int
    axes: tuple[int, ...]
    first: int
    size: int

    @property
    def places(self) -> slice:
        """Among the effects of one member, or entries of theta."""
        return slice(self.first, self.first + self.size)


@dataclass(frozen=True, eq=False)
class Layout:
    """A model with its effects and parameters.

    Attributes
    ----------
    model : Model
        A copy with fixed data and lengths.
    over : tuple of str
        The dims of the members, the outermost level first.
    sizes : tuple of int
        Members of each level.
    members : ndarray
        Labels of the outermost ones.
    effects, parameters : tuple of Block
        What is integrated out and what is estimated.
    order : tuple of str
        Names of the values of free variables, in the order of the user's model; a copy may have
        another.
    point : mapping
        PyMC's starting point.
    """

    model: pm.Model
    over: tuple[str, ...]
    sizes: tuple[int, ...]
    members: np.ndarray
    effects: tuple[Block, ...]
    parameters: tuple[Block, ...]
    order: tuple[str, ...]
    point: Mapping[str, np.ndarray]

    @property
    def told(self) -> str:
        """The argument `over`, as in messages."""
        return f"over={self.over[0]!r}" if len(self.over) == 1 else f"over={self.over!r}"

    @property
    def widths(self) -> tuple[int, ...]:
        """Effects of one member of each level."""
        return tuple(
            sum(block.size for block in self.effects if block.level == level)
            for level in range(len(self.over))
        )

    @property
    def n_effects(self) -> int:
        """Effects of one member of each level, together."""
        return sum(self.widths)

    @property
    def n_parameters(self) -> int:
        """Numbers that are estimated."""
        return sum(block.size for block in self.parameters)

    def values(self, u: Float[Array, " entry"], theta: Float[Array, " parameter"]) -> list[Array]:
        """Values of the free variables, in the order of the model."""
        found: dict[str, Array] = {}
        for block in self.effects:
            array, back = self._of_members(block, u)
            found[block.value] = jnp.moveaxis(array, back, block.axes)
        for block in self.parameters:
            found[block.value] = theta[block.places].reshape(block.shape)
        return [found[str(value.name)] for value in self.model.value_vars]

    def shaped(self, block: Block, u: Float[np.ndarray, " entry"]) -> np.ndarray:
        """The values of one variable among all effects, in its own shape."""
        array, back = self._of_members(block, u)
        return np.moveaxis(array, back, block.axes)

    def _of_members[A: (np.ndarray, Array)](self, block: Block, u: A) -> tuple[A, tuple[int, ...]]:
        """The same with the axes of members in front, and which these are."""
        before = sum(self.sizes[level] * self.widths[level] for level in range(block.level))
        n, q = self.sizes[block.level], self.widths[block.level]
        own = u[before : before + n * q].reshape(n, q)[:, block.places]
        rest = tuple(np.delete(block.shape, block.axes))
        array = own.reshape(*(block.shape[axis] for axis in block.axes), *rest)
        return array, tuple(range(len(block.axes)))

    def flat(self, point: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """The arrays u and theta of a point of the model, as ``model.initial_point`` gives it."""
        columns: list[list[np.ndarray]] = [[] for _ in self.over]
        for b in self.effects:
            front = np.moveaxis(np.asarray(point[b.value], float), b.axes, range(len(b.axes)))
            columns[b.level].append(front.reshape(self.sizes[b.level], -1))
        u = [np.concatenate(level, axis=1).ravel() for level in columns]
        theta = [np.ravel(np.asarray(point[b.value], float)) for b in self.parameters]
        return np.concatenate(u), np.concatenate([*theta, np.zeros(0)])

    def start(
        self, overrides: Mapping[str, object] | None, seed: int, jitter: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """The arrays u and theta at PyMC's starting point, with PyMC's jitter where asked for."""
        if not overrides and not jitter:
            return self.flat(self.point)
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
    names = [str(model.rvs_to_values[rv].name) for rv in model.free_RVs]
    given = convert_str_to_rv_dict(model, dict(overrides or {}))
    values = make_initial_point_expression(
        free_rvs=model.free_RVs,
        rvs_to_transforms=model.rvs_to_transforms,
        initval_strategies={**model.rvs_to_initial_values, **given},
        jitter_rvs=jittered,
        return_transformed=True,
    )
    mode = Mode(linker="py", optimizer="fast_compile")
    with pytensor.config.change_flags(cxx=""):  # else it looks for a BLAS to compile with
        draw = pm.compile([], replace_rng_nodes(values), random_seed=seed, mode=mode)
    return dict(zip(names, map(np.asarray, draw()), strict=True))


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


def lay_out(model: pm.Model, over: tuple[str, ...]) -> Layout:
    """Effects and parameters of a model whose variables :func:`refuse.check_model` has passed."""
    frozen = freeze_dims_and_data(model)
    point = starting_point(frozen, None, 0, set())
    effects: list[Block] = []
    parameters: list[Block] = []
    lengths = {dim: dim_length(frozen, dim) for dim in over}
    dims_of_level: dict[int, tuple[str, tuple[str, ...]]] = {}
    for rv in (frozen[str(v.name)] for v in model.free_RVs):  # in the order of the user
        name, value = str(rv.name), str(frozen.rvs_to_values[rv].name)
        shape = np.shape(point[value])
        dims = tuple(map(str, frozen.named_vars_to_dims.get(name) or ()))
        own = tuple(dim for dim in over if dim in dims)
        if not own:
            first = sum(b.size for b in parameters)
            size = int(np.prod(shape, dtype=int))
            parameters.append(Block(name, value, shape, -1, (), first, size))
            continue
        for dim in own:
            refuse_constrained(name, dim, dims, shape, lengths[dim])
        level = over.index(own[-1])
        other, known = dims_of_level.setdefault(level, (name, own))
        if known != own:
            raise ValueError(
                f"over={over!r}: {other} has an effect for each label of {' and '.join(known)} and "
                f"{name} for each of {' and '.join(own)}, so their levels are crossed, not nested; "
                "give both the same dims, or use pm.sample"
            )
        axes = tuple(dims.index(dim) for dim in own)
        size = int(np.prod(np.delete(shape, axes), dtype=int))
        first = sum(b.size for b in effects if b.level == level)
        effects.append(Block(name, value, shape, level, axes, first, size))
    order = tuple(str(frozen.rvs_to_values[frozen[str(v.name)]].name) for v in model.free_RVs)
    sizes = tuple(
        int(np.prod([lengths[dim] for dim in dims_of_level[level][1]]))
        for level in range(len(over))
    )
    labels = frozen.coords.get(over[0])
    members = np.arange(sizes[0]) if labels is None else np.asarray(list(labels))
    return Layout(frozen, over, sizes, members, tuple(effects), tuple(parameters), order, point)


def refuse_constrained(
    name: str, dim: str, dims: tuple[str, ...], shape: tuple[int, ...], length: int
) -> None:
    """Raise for a variable whose unconstrained values are not one for each member."""
    found = shape[dims.index(dim)] if len(shape) == len(dims) else None
    if found != length:
        raise ValueError(
            f"over={dim!r}: {name} has {'other' if found is None else found} values for {length} "
            f"labels of {dim!r} where it is unconstrained, so its members are not independent; "
            f"write it without the constraint, such as pm.Normal({name!r}, ..., dims={dim!r})"
        )


def compiled_values(layout: Layout, names: Sequence[str]) -> "jax.stages.Wrapped":
    """A function of u and theta: values of variables on their own scales, in the order of names."""
    from pymc.sampling.jax import get_jaxified_graph

    model = layout.model
    found = {str(v.name): v for v in model.unobserved_value_vars}
    graph = get_jaxified_graph(model.value_vars, [found[name] for name in names])
    return jax.jit(lambda u, theta: graph(*layout.values(u, theta)))
