"""PyTensor Ops around compiled functions of the arrays of a design.

Their inputs are the arrays of a design, in the order of its slots. Times become a grid of gaps
outside the compiled code, where they are known; the rest is one jitted JAX function. A gradient
is a :class:`Pullback`, which also returns the value: a rewrite lets a function that asks for both
run the filter once.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.replace import _vectorize_node
from pytensor.link.jax.dispatch import jax_funcify
from pytensor.tensor.extra_ops import broadcast_shape_iter

from pymc_dynsys.bridge.data import is_variable
from pymc_dynsys.bridge.forks import use_jax
from pymc_dynsys.bridge.runtime import (
    check_fixed,
    fixed_arrays,
    has_gaps,
    is_traced,
    known_arrays,
    require_rows,
)
from pymc_dynsys.bridge.when_imported import when_imported
from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.discretization.operands import Slot
from pymc_dynsys.likelihoods.gradient import require_gradient
from pymc_dynsys.likelihoods.program import Program


class TrajectoryOp(Op):
    """Base: batched arrays of a design, outputs from one JAX function."""

    program: Program

    def cores(self) -> tuple[int, ...]:
        """Number of axes of each input that belong to one trajectory."""
        raise NotImplementedError

    def output_cores(self) -> tuple[int, ...]:
        """Number of axes of each output that belong to one trajectory."""
        raise NotImplementedError

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Types of the outputs, given padded inputs and the static batch shape."""
        raise NotImplementedError

    def apply(self, grid: Any, *arrays: Any) -> tuple[Any, ...]:
        """The JAX function; without a grid it makes its own from the times."""
        raise NotImplementedError

    def make_node(self, *inputs: Any) -> Apply:
        """Pad the inputs on the left to a common number of batch axes."""
        tensors = [pt.as_tensor(value) for value in inputs]
        cores = self.cores()
        rank = max(v.type.ndim - core for v, core in zip(tensors, cores, strict=True))
        padded = []
        for tensor, core in zip(tensors, cores, strict=True):
            missing = rank - (tensor.type.ndim - core)
            if missing:
                tensor = tensor.dimshuffle(*("x",) * missing, *range(tensor.type.ndim))
            padded.append(tensor)
        shapes = [v.type.shape[:rank] for v in padded]
        batch = tuple(_static_length(lengths) for lengths in zip(*shapes, strict=True))
        types = self.output_types(padded, batch)
        return Apply(self, padded, [kind() for kind in types])

    def batch_shape(self, node: Apply, shapes: Sequence[Sequence[Variable]]) -> tuple[Any, ...]:
        """Symbolic lengths of the batch axes of all inputs together."""
        rank = node.inputs[0].type.ndim - self.cores()[0]
        parts: Any = [
            tuple(
                pt.constant(1, dtype="int64") if length == 1 else symbolic
                for length, symbolic in zip(v.type.shape[:rank], shape[:rank], strict=True)
            )
            for v, shape in zip(node.inputs, shapes, strict=True)
        ]
        batch: tuple[Any, ...] = broadcast_shape_iter(parts, arrays_are_shapes=True)
        return batch

    def slots(self) -> tuple[Slot | None, ...]:
        """The design's slot of each input; None for inputs beyond them."""
        slots = self.program.design.slots
        return (*slots, *(None,) * (len(self.cores()) - len(slots)))

    def of_design(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """Those of the inputs that are arrays of the design, in the order of its slots."""
        return arrays[: len(self.program.design.slots)]

    def make_grid(self, arrays: Sequence[Any]) -> Any:
        """Grid of gaps of known arrays of the design; what else is laid out once may join it."""
        return self.program.prepare(self.program.design.pack(arrays))

    def check(self, arrays: Sequence[Any]) -> None:
        """Raise where inputs, as they come, do not fit each other."""

    def require_gradient(self, slot: Slot) -> None:
        """Raise TypeError if there is no gradient with respect to an array of the design."""
        require_gradient(self.program, slot)

    def data_of(self, arrays: Sequence[Any]) -> Any:
        """The data among the inputs, if there are any."""
        return None

    def prepare(self, inputs: Sequence[Any]) -> Any:
        """Grid of gaps; kept while the same data come again. None where some of them are traced."""
        design, arrays = self.program.design, self.of_design(inputs)
        if any(map(is_traced, fixed_arrays(design, arrays))):
            return None
        known = [np.asarray(array) for array in known_arrays(design, arrays)]
        y = self.data_of(inputs)
        if y is not None and not is_traced(y) and has_gaps(design, arrays):
            known.append(np.asarray(y))  # what is missing may be so beside missing data only
        last = self.__dict__.get("_last")
        if last is None or len(last[0]) != len(known) or not all(map(_same, last[0], known)):
            arrays = [a if a is None or is_traced(a) else np.asarray(a) for a in arrays]
            check_fixed(design, arrays, y)
            last = ([array.copy() for array in known], self.make_grid(arrays))
            self.__dict__["_last"] = last
        return last[1]

    def __getstate__(self) -> dict[str, Any]:
        """State without grid and data, which are made or looked at again where they are needed."""
        return {k: v for k, v in self.__dict__.items() if k not in ("_last", "_data")}

    def compute(self, *arrays: Any) -> tuple[Any, ...]:
        """Outputs as JAX arrays."""
        self.check(arrays)
        whole = self.prepare(arrays), jnp.asarray(arrays[0]), *arrays[1:]
        # JAX would trace the value of what is compiled by itself, and again with the gradient.
        return self.apply(*whole) if any(map(is_traced, arrays)) else _compiled(self, *whole)

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Outputs as writable numpy arrays."""
        use_jax()
        require_rows(node, self.cores()[0], inputs)
        results = self.compute(*inputs)
        for storage, result, output in zip(output_storage, results, node.outputs, strict=True):
            storage[0] = np.array(result, dtype=output.type.dtype)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Data carry no gradient; what may not be asked for one is connected, so that it raises."""
        flags = [
            slot is None or slot.smooth or is_variable(v)
            for slot, v in zip(self.slots(), node.inputs, strict=True)
        ]
        return [[flag] * len(node.outputs) for flag in flags]

    def pullback(
        self, inputs: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any]
    ) -> list[Any]:
        """Vector-Jacobian product, for the inputs on which something variable depends."""
        slots = self.slots()
        wrt = tuple(i for i, v in enumerate(inputs) if is_variable(v))
        for slot in (slots[i] for i in wrt):
            if slot is not None:
                self.require_gradient(slot)
        given = [
            out.zeros_like() if isinstance(ct.type, DisconnectedType) else ct
            for out, ct in zip(outputs, cotangents, strict=True)
        ]
        results: Any = Pullback(self, wrt)(*inputs, *given, return_list=True)
        gradients = dict(zip(wrt, results[len(outputs) :], strict=True))
        return [
            gradients.get(i, v.zeros_like())
            if slot is None or slot.smooth or i in gradients
            else disconnected_type()
            for i, (slot, v) in enumerate(zip(slots, inputs, strict=True))
        ]


class Pullback(TrajectoryOp):
    """Outputs of another Op together with the vector-Jacobian product of some inputs.

    Inputs are those of the other Op followed by one cotangent for each of its outputs.
    """

    __props__ = ("op", "wrt")

    def __init__(self, op: TrajectoryOp, wrt: tuple[int, ...]) -> None:
        self.op = op
        self.wrt = wrt
        self.program = op.program

    def cores(self) -> tuple[int, ...]:
        """Axes of the other Op's inputs, then of the cotangents."""
        return (*self.op.cores(), *self.op.output_cores())

    def slots(self) -> tuple[Slot | None, ...]:
        """Slots of the other Op's inputs; none of cotangents."""
        return (*self.op.slots(), *(None for _ in self.op.output_cores()))

    def of_design(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """Those among the other Op's inputs."""
        return self.op.of_design(arrays[: len(self.op.cores())])

    def make_grid(self, arrays: Sequence[Any]) -> Any:
        """That of the other Op."""
        return self.op.make_grid(arrays)

    def data_of(self, arrays: Sequence[Any]) -> Any:
        """Those of the other Op."""
        return self.op.data_of(arrays)

    def check(self, arrays: Sequence[Any]) -> None:
        """As the other Op does."""
        self.op.check(arrays[: len(self.op.cores())])

    def output_cores(self) -> tuple[int, ...]:
        """Axes of each output that belong to one trajectory."""
        cores = self.op.cores()
        return (*self.op.output_cores(), *(cores[i] for i in self.wrt))

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Types of the other Op's outputs, then of the inputs differentiated."""
        n = len(self.op.cores())
        types = self.op.output_types(inputs[:n], batch)
        return [*types, *(inputs[i].type for i in self.wrt)]

    def apply(self, grid: TimeGrid | None, *arrays: Any) -> tuple[Any, ...]:
        """Run the other Op and pull the cotangents back."""
        n = len(self.op.cores())
        inputs, cotangents = arrays[:n], arrays[n:]

        def outputs(varied: dict[int, Any]) -> tuple[Any, ...]:
            return self.op.apply(grid, *(varied.get(i, v) for i, v in enumerate(inputs)))

        values, pull = jax.vjp(outputs, {i: inputs[i] for i in self.wrt})
        shaped = tuple(
            jnp.broadcast_to(ct, v.shape) for ct, v in zip(cotangents, values, strict=True)
        )
        (gradients,) = pull(shaped)
        return (*values, *(gradients[i] for i in self.wrt))

    def infer_shape(self, node: Apply, shapes: Any) -> list[Any]:
        """Shapes of the cotangents, then of the inputs differentiated."""
        n = len(self.op.cores())
        return [*shapes[n:], *(shapes[i] for i in self.wrt)]


@partial(jax.jit, static_argnums=0)
def _compiled(op: TrajectoryOp, grid: TimeGrid | None, *arrays: Any) -> tuple[Any, ...]:
    return op.apply(grid, *arrays)


def _static_length(lengths: Sequence[int | None]) -> int | None:
    """Static length of a batch axis from those of the inputs, which are one or agree."""
    known = {length for length in lengths if length not in (1, None)}
    if len(known) > 1:
        raise ValueError(f"a batch axis has lengths {sorted(known)} in different inputs")
    if known:
        return known.pop()
    return None if None in lengths else 1


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a is b or np.array_equal(a, b, equal_nan=True)


@_vectorize_node.register(TrajectoryOp)
def _vectorize(op: TrajectoryOp, node: Apply, *batched: Variable) -> Apply:
    return op.make_node(*batched)


@jax_funcify.register(TrajectoryOp)
def _jaxify(op: TrajectoryOp, node: Apply | None = None, **kwargs: Any) -> Any:
    def trajectory_op(*inputs: Any) -> Any:
        if node is not None:
            require_rows(node, op.cores()[0], inputs)
        results = op.compute(*inputs)
        return results if len(results) > 1 else results[0]

    return trajectory_op


def _register_with_numba(dispatch: ModuleType) -> None:
    """Let numba call the compiled JAX function from object mode without a warning."""

    def numbafy(op: TrajectoryOp, node: Apply, **kwargs: Any) -> Any:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Numba will use object mode")
            return dispatch.generate_fallback_impl(op, node, **kwargs)

    dispatch.numba_funcify.register(TrajectoryOp, numbafy)


# Numba is slow to import, and a model that runs in JAX never needs it.
when_imported("pytensor.link.numba.dispatch.basic", _register_with_numba)
