"""Names of the axes of an expression, proved from its graph.

They are followed through elementwise operations only, from variables of the model whose dims were
given. A place where two axes meet has a name if all of them that cannot be stretched have this one;
what an operation of another kind makes of its axes, and what axis of a plain array is which, is
for the user to say.
"""

from collections.abc import Mapping
from typing import NamedTuple

import pymc as pm
from pytensor.graph.basic import Apply, Variable
from pytensor.graph.traversal import toposort
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.type import TensorType


class Unproved(ValueError):
    """Why an expression has no names for its axes."""


class Axis(NamedTuple):
    """Name of one axis, None if it has none, and whether it has length one and is stretched."""

    name: str | None
    stretches: bool


Axes = tuple[Axis, ...]


def known_dims(variable: Variable, model: pm.Model | None) -> tuple[str | None, ...] | None:
    """Names of the axes of a variable of the model, as they were given; None for any other."""
    if model is None or model.root.named_vars.get(str(variable.name)) is not variable:
        return None
    dims = model.root.named_vars_to_dims.get(str(variable.name))
    return tuple(dims) if dims else (None,) * variable.type.ndim


def proved_dims(expression: Variable, model: pm.Model | None) -> tuple[str, ...]:
    """Names of the axes of an expression of variables of the model.

    Raises
    ------
    Unproved
        Which says why there are none.
    """
    named = [] if model is None else model.root.named_vars.values()
    variables = [variable for variable in named if isinstance(variable, Variable)]
    found: dict[Variable, Axes | Unproved] = {}
    for node in toposort([expression], blockers=variables):
        axes = _of_node(node, found, model)
        found.update((output, axes) for output in node.outputs)
    result = _of(expression, found, model)
    if isinstance(result, Unproved):
        raise result
    names = tuple(axis.name for axis in result if axis.name is not None)
    if len(names) < len(result):
        raise Unproved("an axis of its has no name")
    return names


def _of(
    variable: Variable, found: Mapping[Variable, Axes | Unproved], model: pm.Model | None
) -> Axes | Unproved:
    """Axes of one variable of the graph: as given, as found, or those of a plain array."""
    if not isinstance(variable.type, TensorType):
        return Unproved(f"{variable.type} has no axes to be named")
    dims = known_dims(variable, model)
    if dims is None and variable in found:
        # A number has no axes, whatever it was made from.
        return found[variable] if variable.type.ndim else ()
    pairs = zip(dims or (None,) * variable.type.ndim, variable.type.broadcastable, strict=True)
    return tuple(Axis(*pair) for pair in pairs)


def _of_node(
    node: Apply, found: Mapping[Variable, Axes | Unproved], model: pm.Model | None
) -> Axes | Unproved:
    """Axes of what an operation returns, or why they are not known.

    Each input has ``(axis, ...)``; those of an elementwise operation meet from position to
    position, and adding axes of length one moves them there.
    """
    elementwise = isinstance(node.op, Elemwise)
    shuffles = isinstance(node.op, DimShuffle)
    if not elementwise and not (shuffles and _only_adds(node.op)):
        what = "a transpose" if shuffles else type(node.op).__name__
        return Unproved(f"they are followed through elementwise operations only, and {what} is not")
    inputs = []
    for variable in node.inputs:
        axes = _of(variable, found, model)
        if isinstance(axes, Unproved):
            return axes
        inputs.append(axes)
    if shuffles:
        (axes,) = inputs
        new = Axis(None, True)
        return tuple(new if i == "x" else axes[i] for i in node.op.new_order)
    return _meet(inputs)


def _only_adds(op: DimShuffle) -> bool:
    """Whether axes of length one are added, and all others stay in their order."""
    return [i for i in op.new_order if i != "x"] == list(range(op.input_ndim))


def _meet(inputs: list[Axes]) -> Axes | Unproved:
    """Axes of the result where inputs with as many axes each are combined entry by entry."""
    result = []
    for place in zip(*inputs, strict=True):
        names = sorted({axis.name for axis in place if axis.name is not None})
        if len(names) > 1:
            return Unproved(f"it joins entries along {names[0]!r} with entries along {names[1]!r}")
        if names and any(axis.name is None and not axis.stretches for axis in place):
            return Unproved(
                f"it joins entries along {names[0]!r} with those of an array without dims, which "
                f"may be named with pm.Data(..., dims={names[0]!r})"
            )
        result.append(Axis(names[0] if names else None, all(axis.stretches for axis in place)))
    return tuple(result)
