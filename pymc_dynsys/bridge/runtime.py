"""Arrays as they come while PyTensor computes, checked as they were when the model was built.

Data change with ``pm.set_data`` and compiled functions go on, so this is where all of them are
seen. Labels are not known here, hence places are positions. Traced arrays are left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike
from pytensor.graph.basic import Apply

from pymc_dynsys.discretization import Design
from pymc_dynsys.discretization.operands import Role
from pymc_dynsys.reading.consistency import check_arrays, check_values
from pymc_dynsys.reading.frame import Frame


def is_traced(array: object) -> bool:
    """Whether JAX is compiling a program in which this array may be anything."""
    return isinstance(array, jax.core.Tracer)


@lru_cache(maxsize=256)
def fixed_places(design: Design) -> tuple[int, ...]:
    """Where times, doses and inputs that no parameter enters are among the arrays of a design."""
    roles = (Role.TIME, Role.EVENT, Role.INPUT)
    slots = enumerate(design.slots)
    return tuple(i for i, slot in slots if slot.role in roles and not slot.smooth)


@lru_cache(maxsize=256)
def data_places(design: Design) -> tuple[int, ...]:
    """Where inputs are that are data, and as such a variable of a model."""
    data = {kind.name for kind in design.inputs if kind.variable and not kind.random}
    slots = enumerate(design.slots)
    return tuple(i for i, slot in slots if slot.role is Role.INPUT and slot.name in data)


def fixed_arrays(design: Design, arrays: Sequence[Any]) -> list[Any]:
    """Times, doses and inputs, which no parameter enters."""
    return [arrays[i] for i in fixed_places(design)]


def known_arrays(design: Design, arrays: Sequence[Any]) -> list[Any]:
    """Fixed arrays, and inputs that are data: all that parameters do not enter."""
    data = [arrays[i] for i in data_places(design)]
    return fixed_arrays(design, arrays) + [array for array in data if not is_traced(array)]


@lru_cache(maxsize=256)
def _places_seen(design: Design) -> tuple[int, ...]:
    """Where inputs are that data see and no parameter enters."""
    system, places = design.system, {*fixed_places(design), *data_places(design)}
    return tuple(
        i
        for i, slot in enumerate(design.slots)
        if i in places and slot.role is Role.INPUT and system.observation.asks_for(slot.name)
    )


def has_gaps(design: Design, arrays: Sequence[Any]) -> bool:
    """Whether a value is missing of an input that data see."""
    known = [arrays[i] for i in _places_seen(design)]
    return any(not is_traced(array) and bool(np.isnan(array).any()) for array in known)


def check_fixed(design: Design, arrays: Sequence[Any], y: object = None) -> None:
    """Raise for times, doses and inputs that do not fit each other, or not the data.

    Data that are None are to be drawn.
    """
    # Comparisons of known JAX arrays would be traced, where a program is traced.
    known = [a if is_traced(a) else np.asarray(a) for a in arrays[1 : len(design.slots)]]
    data = None if y is None or is_traced(y) else np.asarray(y)
    operands = design.pack([data, *known])
    inputs = {
        kind.name: signal._replace(values=None)
        if kind.random or is_traced(signal.values)
        else signal
        for kind, signal in ((kind, operands.inputs[kind.name]) for kind in design.inputs)
    }
    frame = _frame(design, np.ndim(operands.times) - 1)
    if data is not None:
        frame = replace(frame, lengths=dict(zip(frame.batch_dims, data.shape, strict=False)))
    check_arrays(design, operands._replace(inputs=inputs, params={}), frame, drawn=data is None)


def check_data(design: Design, y: ArrayLike, times: ArrayLike) -> None:
    """Raise for data that are infinite, or where there is no visit."""
    if not is_traced(y) and not is_traced(times):
        y, times = np.asarray(y), np.asarray(times)
        check_values(design, y, times, _frame(design, times.ndim - 1))


def require_rows(node: Apply, n_own: int, arrays: Sequence[Any]) -> None:
    """Raise where one row would stand for all trajectories though no type says that it is shared.

    PyTensor refuses this of its own elementwise functions too. `n_own` is the number of own axes of
    the first array.
    """
    shapes = tuple([np.shape(array) for array in arrays])
    if getattr(node.tag, "shapes", None) == shapes:
        return
    rank = len(shapes[0]) - n_own
    for axis in range(rank):
        most = max(shape[axis] for shape in shapes)
        for variable, shape in zip(node.inputs, shapes, strict=True):
            if shape[axis] == 1 < most and variable.type.shape[axis] != 1:
                raise ValueError(
                    f"{variable.name or variable}: 1 row for {most} trajectories (axis {axis} of "
                    f"shape {shape}); one row does not stand for the others, so give all of them"
                )
    node.tag.shapes = shapes


def _frame(design: Design, rank: int) -> Frame:
    """Dims without names or labels."""
    component = None if design.system.observation.scalar else "component"
    return Frame(tuple(f"trajectory axis {i}" for i in range(rank)), "time", component, {}, {})
