"""The PyTensor Op of a path: states from standard normals, and a correction of the log-density."""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax.numpy as jnp
import pytensor.tensor as pt
from pytensor.graph.basic import Apply, Variable

from pymc_dynsys.bridge.ops import TrajectoryOp
from pymc_dynsys.bridge.random_variable import Specification
from pymc_dynsys.discretization.operands import Slot
from pymc_dynsys.latent.guide import Guide
from pymc_dynsys.latent.law import Layout, Pull, lay_out_paths, paths
from pymc_dynsys.latent.paths import Normals

OF_GUIDE = (2, 3, 2)
"""Axes of information, precisions and reference normals of one trajectory."""


class PathOp(TrajectoryOp):
    """States ``(*batch, time, state)``; with a guide also corrections ``(*batch,)``.

    Inputs are the normals of the start and of the steps, the arrays of the design but the data,
    and, with a guide, information, precisions and normals of the reference.
    """

    __props__: tuple[str, ...] = ("spec", "guided")

    n_leading: ClassVar[int] = 2
    """Inputs before the arrays of the design: normals of the start and of the steps."""

    def __init__(self, spec: Specification, guided: bool) -> None:
        self.spec = spec
        self.program = spec.program
        self.guided = guided

    def slots(self) -> tuple[Slot | None, ...]:
        """The design's slot of each input; None for normals and the guide."""
        leading = (None,) * self.n_leading
        return (*leading, *self.program.design.slots[1:], *(None for _ in self._guide_cores()))

    def of_design(self, arrays: Sequence[Any]) -> Sequence[Any]:
        """Arrays of the design, of which there are no data."""
        n = len(self.program.design.slots) - 1
        return (None, *arrays[self.n_leading : self.n_leading + n])

    def make_grid(self, arrays: Sequence[Any]) -> Layout:
        """Grid of gaps, and moves."""
        return lay_out_paths(self.program, self.program.design.pack(arrays))

    def cores(self) -> tuple[int, ...]:
        """Axes of each input that belong to one trajectory."""
        of_design = (len(slot.core) for slot in self.program.design.slots[1:])
        return (1, 2, *of_design, *self._guide_cores())

    def output_cores(self) -> tuple[int, ...]:
        """Times and states; one number a trajectory."""
        return (2, 0) if self.guided else (2,)

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Types of states and corrections."""
        n_times = inputs[self.n_leading].type.shape[-1]
        states = pt.TensorType("float64", shape=(*batch, n_times, self.program.system.n_states))
        return [states, pt.TensorType("float64", shape=batch)] if self.guided else [states]

    def apply(self, grid: Layout | None, *arrays: Any) -> tuple[Any, ...]:
        """Roll the paths out."""
        layout = require_known(grid)
        operands = self.program.design.pack(self.of_design(arrays))
        normals = Normals(*(jnp.asarray(z) for z in arrays[: self.n_leading]))
        pull = None
        if self.guided:
            information, precision, reference = arrays[-3:]
            pull = Pull(Guide(information, precision), reference)
        return paths(self.program, operands, layout, normals, pull)[: 1 + self.guided]

    def infer_shape(self, node: Apply, shapes: Any) -> list[Any]:
        """Batch shape of the inputs together, then times and states."""
        batch = self.batch_shape(node, shapes)
        n_states = pt.constant(self.program.system.n_states, dtype="int64")
        states = (*batch, shapes[self.n_leading][-1], n_states)
        return [states, batch] if self.guided else [states]

    def _guide_cores(self) -> tuple[int, ...]:
        return OF_GUIDE if self.guided else ()


def require_known(layout: Layout | None) -> Layout:
    """Raise for times that are traced."""
    if layout is None:
        raise ValueError(
            "times: a path has variables for each of its steps, so its times must be known when "
            "the model is compiled"
        )
    return layout
