"""PyTensor Ops around the compiled likelihood.

All have inputs ``(y, times, t0, *rest)``. Times become a grid of gaps outside the compiled
code, where they are known; the rest is one jitted JAX function. A gradient is a
:class:`Pullback`, which also returns the value: a rewrite lets a function that asks for both
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
from pytensor.compile.mode import optdb
from pytensor.gradient import DisconnectedType, disconnected_type
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.op import Op
from pytensor.graph.replace import _vectorize_node
from pytensor.graph.rewriting.basic import GraphRewriter
from pytensor.graph.traversal import apply_depends_on
from pytensor.link.jax.dispatch import jax_funcify
from pytensor.tensor.extra_ops import broadcast_shape_iter

from pymc_dynsys.bridge.data import check_times, is_variable
from pymc_dynsys.bridge.when_imported import when_imported
from pymc_dynsys.filters.batch import Program, log_likelihood

Y, TIMES, T0 = 0, 1, 2


class TrajectoryOp(Op):
    """Base: batched inputs ``(y, times, t0, *rest)``, outputs from one JAX function."""

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

    def apply(self, y: Any, grid: Any, *rest: Any) -> tuple[Any, ...]:
        """The JAX function."""
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

    def prepare(self, times: Any, t0: Any) -> Any:
        """Grid of gaps; kept while the same times come again."""
        if isinstance(times, jax.core.Tracer) or isinstance(t0, jax.core.Tracer):
            return self.program.prepare(times, t0)
        times, t0 = np.asarray(times), np.asarray(t0)
        last = self.__dict__.get("_last")
        if last is None or not (_same(last[0], times) and _same(last[1], t0)):
            check_times(times, t0)
            last = (times.copy(), t0.copy(), self.program.prepare(times, t0))
            self.__dict__["_last"] = last
        return last[2]

    def __getstate__(self) -> dict[str, Any]:
        """State without the grid, which is made again where it is needed."""
        return {name: value for name, value in self.__dict__.items() if name != "_last"}

    def compute(self, y: Any, times: Any, t0: Any, *rest: Any) -> tuple[Any, ...]:
        """Outputs as JAX arrays."""
        core = self.cores()[Y]
        if y.shape[y.ndim - core] != times.shape[-1]:
            raise ValueError(
                f"observed has {y.shape[y.ndim - core]} times, but times has {times.shape[-1]}; "
                "set both together, pm.set_data({...times, ...observed})"
            )
        return _compiled(self, jnp.asarray(y), self.prepare(times, t0), *rest)

    def perform(self, node: Apply, inputs: Sequence[Any], output_storage: Any) -> None:
        """Outputs as writable numpy arrays."""
        results = self.compute(*inputs)
        for storage, result, output in zip(output_storage, results, node.outputs, strict=True):
            storage[0] = np.array(result, dtype=output.type.dtype)

    def connection_pattern(self, node: Apply) -> list[list[bool]]:
        """Times and starts carry no gradient: they are data."""
        flags = [i not in (TIMES, T0) for i in range(len(node.inputs))]
        return [[flag] * len(node.outputs) for flag in flags]

    def pullback(
        self, inputs: Sequence[Any], outputs: Sequence[Any], cotangents: Sequence[Any]
    ) -> list[Any]:
        """Vector-Jacobian product, for the inputs on which something variable depends."""
        wrt = tuple(i for i, v in enumerate(inputs) if i not in (TIMES, T0) and is_variable(v))
        given = [
            out.zeros_like() if isinstance(ct.type, DisconnectedType) else ct
            for out, ct in zip(outputs, cotangents, strict=True)
        ]
        results: Any = Pullback(self, wrt)(*inputs, *given, return_list=True)
        gradients = dict(zip(wrt, results[len(outputs) :], strict=True))
        return [
            disconnected_type() if i in (TIMES, T0) else gradients.get(i, v.zeros_like())
            for i, v in enumerate(inputs)
        ]


class LogLikelihood(TrajectoryOp):
    """Log-likelihood of every trajectory, shape ``(*batch,)``."""

    __props__ = ("program",)

    def __init__(self, program: Program) -> None:
        self.program = program

    def cores(self) -> tuple[int, ...]:
        """Axes of y, times, t0 and of each parameter that belong to one trajectory."""
        system = self.program.system
        of_y = 1 if system.n_observed is None else 2
        return (of_y, 1, 0, *(len(shape) for shape in system.param_shapes.values()))

    def output_cores(self) -> tuple[int, ...]:
        """One number a trajectory."""
        return (0,)

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Type of the batch of log-likelihoods."""
        return [pt.TensorType("float64", shape=batch)]

    def apply(self, y: Any, grid: Any, *rest: Any) -> tuple[Any, ...]:
        """Evaluate the batched filter."""
        params = dict(zip(self.program.system.param_shapes, rest, strict=True))
        return (log_likelihood(self.program, y, params, grid),)

    def infer_shape(self, node: Apply, shapes: Any) -> list[Any]:
        """Batch shape of the inputs together."""
        rank = node.outputs[0].type.ndim
        parts = [
            tuple(
                pt.constant(1, dtype="int64") if length == 1 else symbolic
                for length, symbolic in zip(v.type.shape[:rank], shape[:rank], strict=True)
            )
            for v, shape in zip(node.inputs, shapes, strict=True)
        ]
        return [broadcast_shape_iter(parts, arrays_are_shapes=True)]


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

    def output_cores(self) -> tuple[int, ...]:
        """Axes of each output that belong to one trajectory."""
        cores = self.op.cores()
        return (*self.op.output_cores(), *(cores[i] for i in self.wrt))

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Types of the other Op's outputs, then of the inputs differentiated."""
        n = len(self.op.cores())
        types = self.op.output_types(inputs[:n], batch)
        return [*types, *(inputs[i].type for i in self.wrt)]

    def apply(self, y: Any, grid: Any, *rest: Any) -> tuple[Any, ...]:
        """Run the other Op and pull the cotangents back."""
        n = len(self.op.cores()) - 3
        inputs: dict[int, Any] = {Y: y, **{3 + i: value for i, value in enumerate(rest[:n])}}
        cotangents = rest[n:]

        def outputs(varied: dict[int, Any]) -> tuple[Any, ...]:
            merged = {**inputs, **varied}
            return self.op.apply(merged[Y], grid, *(merged[3 + i] for i in range(n)))

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
def _compiled(op: TrajectoryOp, y: Any, grid: Any, *rest: Any) -> tuple[Any, ...]:
    return op.apply(y, grid, *rest)


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


class ReuseValueOfPullback(GraphRewriter):
    """Take a value from the Pullback that computes it anyway."""

    def apply(self, fgraph: Any) -> None:
        """Replace an Op's outputs by those of a Pullback of it with the same inputs."""
        for node in fgraph.toposort():
            if not isinstance(node.op, Pullback):
                continue
            n = len(node.op.op.cores())
            for client, _ in tuple(fgraph.clients[node.inputs[Y]]):
                if client.op == node.op.op and list(client.inputs) == list(node.inputs[:n]):
                    if apply_depends_on(node, client):
                        # A cotangent made from the value: the replacement would be a cycle.
                        continue
                    pairs = list(zip(client.outputs, node.outputs, strict=False))
                    fgraph.replace_all(pairs, reason="reuse_value_of_pullback")


optdb.register(
    "pymc_dynsys_reuse_value_of_pullback",
    ReuseValueOfPullback(),
    "fast_run",
    "fast_compile",
    position=49.5,
)
