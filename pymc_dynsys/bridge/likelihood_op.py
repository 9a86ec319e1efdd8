"""The PyTensor Op of a likelihood, and what all Ops with data among their inputs check."""

from collections.abc import Sequence
from typing import Any

import pytensor.tensor as pt
from pytensor.graph.basic import Apply, Variable

from pymc_dynsys.bridge.ops import TrajectoryOp
from pymc_dynsys.bridge.runtime import check_data, is_traced
from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.likelihoods.gradient import log_likelihood
from pymc_dynsys.likelihoods.program import Program

Y, TIMES = 0, 1


class ObservedOp(TrajectoryOp):
    """Base of those whose first input are data."""

    def data_of(self, arrays: Sequence[Any]) -> Any:
        """The first input."""
        return arrays[Y]

    def check(self, arrays: Sequence[Any]) -> None:
        """Raise for data that are infinite, where no visit is, or not as many as times."""
        core, y, times = self.program.n_own_axes, arrays[Y], arrays[TIMES]
        if y.shape[y.ndim - core] != times.shape[-1]:
            raise ValueError(
                f"observed has {y.shape[y.ndim - core]} times, but times has {times.shape[-1]}; "
                "set both together, pm.set_data({...times, ...observed})"
            )
        if y is not self.__dict__.get("_data"):
            check_data(self.program.design, y, times)
            self.__dict__["_data"] = None if is_traced(y) else y


class LogLikelihood(ObservedOp):
    """Log-likelihood of every trajectory, shape ``(*batch,)``."""

    __props__ = ("program",)

    def __init__(self, program: Program) -> None:
        self.program = program

    def cores(self) -> tuple[int, ...]:
        """Axes of each array that belong to one trajectory."""
        return tuple(len(slot.core) for slot in self.program.design.slots)

    def output_cores(self) -> tuple[int, ...]:
        """One number a trajectory."""
        return (0,)

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Type of the batch of log-likelihoods."""
        return [pt.TensorType("float64", shape=batch)]

    def apply(self, grid: TimeGrid | None, *arrays: Any) -> tuple[Any, ...]:
        """Evaluate the batched likelihood."""
        return (log_likelihood(self.program, self.program.design.pack(arrays), grid),)

    def infer_shape(self, node: Apply, shapes: Any) -> list[Any]:
        """Batch shape of the inputs together."""
        return [self.batch_shape(node, shapes)]
