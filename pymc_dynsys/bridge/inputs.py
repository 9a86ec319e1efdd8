"""Inputs as arrays of a trajectory: what is known is read, variables of a model are placed."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.coords import hold_array
from pymc_dynsys.bridge.data import current_value, is_variable
from pymc_dynsys.bridge.dims import named_dims, require_in_model, static_shape
from pymc_dynsys.discretization import InputKind, Signal
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.inputs import Input, constant_hint, input_core_shape, read_input
from pymc_dynsys.reading.lookups import lookup_dim, positions

INPUTS = "inputs: "


def input_shape(
    name: str, value: object, batch_dims: Sequence[str], time_dim: str, model: pm.Model | None
) -> tuple[int, ...]:
    """Shape of one value of an input, which may be a PyMC variable."""
    given = value if isinstance(value, Input) else Input(value)
    if not isinstance(given.values, Variable):
        return input_core_shape(value, batch_dims, time_dim)
    if model is not None:
        require_in_model(f"inputs: {name!r}", given.values, model)
    tensor, dims = named_dims(name, given.values, model, INPUTS)
    shape = static_shape(pt.as_tensor(tensor), dims, model)
    along = time_dim if given.by is None else lookup_dim(name, dims, batch_dims, given.by)
    known = (*batch_dims, along)
    return tuple(n for n, dim in zip(shape, dims, strict=True) if dim not in known)


class Inputs(NamedTuple):
    """Inputs of a trajectory.

    Attributes
    ----------
    kinds : tuple of InputKind
        How each is read.
    signals : dict of str to Signal
        Current values and times; values are None where random variables enter.
    tensors : dict of str to Variable
        Those that are PyMC variables.
    there : dict of str to Signal
        Signals to check: of one that is looked up, zero where there is a label and NaN where there
        is none.
    """

    kinds: tuple[InputKind, ...]
    signals: dict[str, Signal]
    tensors: dict[str, Variable]
    there: dict[str, Signal]


def place_inputs(
    inputs: Mapping[str, object], frame: Frame, times: np.ndarray, model: pm.Model | None
) -> Inputs:
    """Inputs read, or placed on the axes of the trajectory; `times` are those of the visits."""
    kinds, signals, tensors, there = [], {}, {}, {}
    for name, given in inputs.items():
        value = given if isinstance(given, Input) else Input(given)
        if isinstance(value.values, Variable):
            tensors[name], found = place_input(name, value, frame, times, model)
            signals[name] = Signal(current_value(tensors[name]), found.times)
            own, random = found.times is not None, is_variable(tensors[name])
            kinds.append(InputKind(name, value.interpolation, own, variable=True, random=random))
            there[name] = signals[name] if found.values is None else found
        else:
            kind, signals[name] = read_input(name, given, frame, times)
            kinds.append(kind)
            there[name] = signals[name]
    return Inputs(tuple(kinds), signals, tensors, there)


def place_input(
    name: str, given: Input, frame: Frame, times: np.ndarray, model: pm.Model | None
) -> tuple[Variable, Signal]:
    """A PyMC variable as an input, and where it is there: NaN where not, None if everywhere.

    `times` are those of the visits, ``(*batch, visit)``.
    """
    if given.by is not None:
        return _looked_up(name, given, frame, times, model)
    if given.gaps is not None:
        raise ValueError(
            f"inputs: {name!r} is a PyMC variable, which has no missing values; leave "
            f"gaps={given.gaps!r} out"
        )
    return _over_time(name, given.values, frame, model), Signal(None)


def hold_lookups(inputs: Mapping[str, object], frame: Frame, model: pm.Model | None) -> None:
    """Keep labels by which variables are looked up: which one holds where does not change."""
    for name, given in inputs.items():
        if isinstance(given, Input) and given.by is not None and isinstance(given.values, Variable):
            dims = named_dims(name, given.values, model, INPUTS)[1]
            dim = lookup_dim(name, dims, frame.batch_dims, given.by)
            along = (dim, *map(str, given.by.dims))
            hold_array(f"inputs: what {name!r} is looked up by", along, model)


def _over_time(name: str, value: Variable, frame: Frame, model: pm.Model | None) -> Variable:
    """A variable with the time dim: batch dims first, then time, then its own axes."""
    tensor, dims = named_dims(name, value, model, INPUTS)
    if frame.time_dim not in dims:
        raise ValueError(
            f"inputs: {name!r} has dims {tuple(dims)}; it needs the time dim {frame.time_dim!r}, "
            "or the labels by which it is looked up at each time, "
            f"pds.Input({name}, by=panel['occasion']); {constant_hint(name, frame)}"
        )
    return ordered(tensor, dims, (*frame.batch_dims, frame.time_dim), model)


def ordered(
    tensor: Any, dims: Sequence[str | None], known: tuple[str, ...], model: pm.Model | None
) -> Variable:
    """A tensor with an axis for each of the known dims, of length one or more, then its own."""
    tensor = pt.as_tensor(tensor).astype("float64")
    own = [axis for axis, dim in enumerate(dims) if dim not in known]
    tensor = pt.specify_shape(tensor, static_shape(tensor, dims, model)) if own else tensor
    order: list[int | str] = [dims.index(dim) if dim in dims else "x" for dim in known]
    return tensor.dimshuffle(*order, *own)


def _looked_up(
    name: str, given: Input, frame: Frame, times: np.ndarray, model: pm.Model | None
) -> tuple[Variable, Signal]:
    """Values of a variable at the labels of a table, ``(*batch, knot, *own)``, and where they are.

    Which value holds where is known when the model is built, so a gather is all that is added.
    """
    tensor, dims = named_dims(name, given.values, model, INPUTS)
    dim = lookup_dim(name, dims, frame.batch_dims, given.by)
    tensor = ordered(tensor, dims, (*frame.batch_dims, dim), model)
    labels = {} if model is None else model.coords
    known = labels.get(dim)
    n = static_shape(tensor, (*frame.batch_dims, dim), model)[frame.rank] if known is None else 0
    at = positions(name, given.by, dim, known or range(n), frame.batch_dims)
    if set(map(str, at.dims)) <= set(frame.batch_dims):  # the same label at all times
        at = at.expand_dims({frame.time_dim: times.shape[-1]}, axis=-1)
    table = Input(at, given.interpolation, given.gaps)
    _, signal = read_input(name, table, frame, times)
    index = np.nan_to_num(signal.values, nan=-1.0).astype(int)
    shape = [
        1 if length == 1 else frame.lengths[batch_dim]
        for length, batch_dim in zip(tensor.type.shape, frame.batch_dims, strict=False)
    ]
    places = np.ix_(*map(np.arange, shape), [0])[:-1]
    found = pt.as_tensor(tensor)[(*places, np.maximum(index, 0))]
    n_own = tensor.type.ndim - index.ndim
    missing = (index < 0).reshape(*index.shape, *(1,) * n_own)
    if missing.any():
        found = pt.where(missing, np.nan, found)
    return found, signal._replace(values=np.where(missing, np.nan, 0.0))
