"""States of a path after its steps as a random variable, whose density is that of transitions."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
from jaxtyping import Array
from pymc.distributions.distribution import _support_point
from pymc.logprob.abstract import _logprob
from pytensor.graph.basic import Apply, Variable
from pytensor.link.jax.dispatch.random import jax_sample_fn
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.variable import TensorVariable

from pymc_dynsys.bridge.forks import use_jax
from pymc_dynsys.bridge.path_op import PathOp, require_known
from pymc_dynsys.bridge.random_variable import Specification, signature_of
from pymc_dynsys.discretization import Operands
from pymc_dynsys.latent.centred import centred_paths, drawn_steps
from pymc_dynsys.latent.law import Layout
from pymc_dynsys.likelihoods.program import Program


class CentredPathOp(PathOp):
    """States ``(*batch, time, state)`` and log-densities ``(*batch,)`` of states after steps.

    Inputs are these, ``(*batch, step, state)``, and the arrays of the design but the data.
    """

    __props__ = ("spec",)
    n_leading = 1

    def __init__(self, spec: Specification) -> None:
        super().__init__(spec, guided=False)

    def cores(self) -> tuple[int, ...]:
        """Axes of each input that belong to one trajectory."""
        return (2, *(len(slot.core) for slot in self.program.design.slots[1:]))

    def output_cores(self) -> tuple[int, ...]:
        """Times and states; one number a trajectory."""
        return (2, 0)

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Types of states and log-densities."""
        states = super().output_types(inputs, batch)
        return [*states, pt.TensorType("float64", shape=batch)]

    def apply(self, grid: Layout | None, *arrays: Any) -> tuple[Any, ...]:
        """Look the states up and weigh the steps between them."""
        operands = self.program.design.pack(self.of_design(arrays))
        return centred_paths(self.program, operands, require_known(grid), arrays[0])

    def infer_shape(self, node: Apply, shapes: Sequence[Sequence[Variable]]) -> list[Any]:
        """Batch shape of the inputs together, then times and states; and without these."""
        (states,) = super().infer_shape(node, shapes)
        return [states, states[:-2]]


class StepsRV(RandomVariable):
    """States after the steps of paths, first states that are not known before them."""

    name = "steps"
    dtype = "floatX"
    __props__ = (*RandomVariable.__props__, "spec", "n_steps")  # type: ignore[assignment]

    def __init__(self, spec: Specification, n_steps: int, **kwargs: Any) -> None:
        self.spec = spec
        self.n_steps = n_steps
        self.density = CentredPathOp(spec)
        kwargs.setdefault("signature", signature_of(spec.program.design, "(s,x)"))
        super().__init__(**kwargs)

    def _supp_shape_from_params(
        self, dist_params: object, param_shapes: object = None
    ) -> list[Any]:
        lengths = (self.n_steps, self.spec.system.n_states)
        return [pt.constant(n, dtype="int64") for n in lengths]

    def rng_fn(self, rng: np.random.Generator, *args: Any, **kwargs: Any) -> Any:
        """Draw paths, all trajectories in one call; a key for each."""
        use_jax()
        *params, size = args
        seed = rng.integers(2**32, size=2, dtype=np.uint32)
        return np.array(self.draw(seed, size, params))

    def draw(
        self, key: Array | np.ndarray, size: Sequence[int] | None, params: Sequence[Any]
    ) -> Array:
        """States ``(*batch, step, state)`` from one raw key."""
        shapes = [
            np.shape(value)[: np.ndim(value) - core]
            for value, core in zip(params, self.ndims_params, strict=True)
        ]
        batch = np.broadcast_shapes(*shapes) if size is None else tuple(int(n) for n in size)
        keys = jax.random.split(jnp.asarray(key, jnp.uint32), int(np.prod(batch, dtype=int)))
        layout = self.density.prepare([None, *params])
        operands = self.spec.program.design.pack([None, *params])
        return _drawn(self.spec.program, require_known(layout), keys.reshape(*batch, 2), operands)


@partial(jax.jit, static_argnums=0)
def _drawn(program: Program, layout: Layout, keys: Array, operands: Operands) -> Array:
    return drawn_steps(program, operands, layout, keys)


class FirstStepsOp(PathOp):
    """A draw of the steps with a fixed seed, ``(*batch, step, state)``: where samplers begin.

    Inputs are the arrays of the design but the data.
    """

    __props__ = ("spec", "n_steps")
    n_leading = 0

    def __init__(self, spec: Specification, n_steps: int) -> None:
        super().__init__(spec, guided=False)
        self.n_steps = n_steps

    def cores(self) -> tuple[int, ...]:
        """Axes of each input that belong to one trajectory."""
        return tuple(len(slot.core) for slot in self.program.design.slots[1:])

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Type of the states."""
        own = (self.n_steps, self.program.system.n_states)
        return [pt.TensorType("float64", shape=(*batch, *own))]

    def apply(self, grid: Layout | None, *arrays: Any) -> tuple[Any, ...]:
        """Draw them."""
        operands = self.program.design.pack(self.of_design(arrays))
        pairs = zip(arrays, self.cores(), strict=True)
        batch = np.broadcast_shapes(*(np.shape(a)[: np.ndim(a) - core] for a, core in pairs))
        keys = jax.random.split(jax.random.PRNGKey(0), int(np.prod(batch, dtype=int)))
        keys = keys.reshape(*batch, 2)
        return (drawn_steps(self.program, operands, require_known(grid), keys),)

    def infer_shape(self, node: Apply, shapes: Sequence[Sequence[Variable]]) -> list[Any]:
        """Batch shape of the inputs together, then steps and states."""
        own = (self.n_steps, self.program.system.n_states)
        lengths = [pt.constant(n, dtype="int64") for n in own]
        return [(*self.batch_shape(node, shapes), *lengths)]


@jax_sample_fn.register(StepsRV)
def _jax_sample(op: StepsRV, node: Apply) -> Any:
    def sample(key: Array, size: Sequence[int] | None, dtype: str, *params: Any) -> Array:
        return op.draw(key, size, params).astype(dtype)

    return sample


@_logprob.register(StepsRV)
def _log_density(
    op: StepsRV,
    values: Sequence[Variable],
    rng: Variable,
    size: Variable,
    *params: Variable,
    **kwargs: Any,
) -> Any:
    """One number a trajectory."""
    states: Any = op.density(values[0], *params)
    return states[1]


@_support_point.register(StepsRV)
def _initial_value(
    op: StepsRV, rv: TensorVariable, rng: Variable, size: Variable, *params: Variable
) -> Any:
    """A path that the parameters allow."""
    first: Any = FirstStepsOp(op.spec, op.n_steps)(*params)
    return pt.broadcast_to(first, rv.shape)
