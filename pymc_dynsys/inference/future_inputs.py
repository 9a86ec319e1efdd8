"""Inputs after the data: those of the model, followed by what is given for the time to come."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.inputs import place_inputs
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Design, InputKind, Operands, Signal
from pymc_dynsys.discretization.operands import Role
from pymc_dynsys.inference.times import starts, timed
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.inputs import Input


class Coming(NamedTuple):
    """Inputs of a trajectory that go on after its data.

    Attributes
    ----------
    kinds : tuple of InputKind
        How each is read.
    signals : dict of str to Signal
        Values and times; values are None where random variables enter.
    tensors : dict of str to Variable
        Values of those, ``(*batch, knot, *own)``.
    there : dict of str to Signal
        Signals to check, as in :class:`~pymc_dynsys.bridge.inputs.Inputs`.
    """

    kinds: tuple[InputKind, ...]
    signals: dict[str, Signal]
    tensors: dict[str, Variable]
    there: dict[str, Signal]


def read_inputs_to_come(
    study: Study,
    model: pm.Model,
    frame: Frame,
    times: np.ndarray,
    inputs: Mapping[str, object],
) -> Coming:
    """Inputs until the first time given, and what is given from then on.

    `frame` and `times` are those of the forecast. What random variables enter is never taken to
    stay as it was: which of its values holds is to be said.
    """
    kinds = {kind.name: kind for kind in study.design.inputs}
    signals = dict(timed(study.operands, study.operands.times).inputs)
    _require_inputs(study, inputs, signals)
    for name, kind in kinds.items():
        if kind.interpolation == "previous" and not kind.own_times:
            signals[name] = signals[name]._replace(times=_from_start(study))
    tensors, there = {}, dict(signals)
    pairs = zip(study.design.slots[1:], study.variables, strict=True)
    of_model = {slot.name: v for slot, v in pairs if slot.role is Role.INPUT}
    for name, value in inputs.items():
        value = _alike(name, value, kinds[name], study)
        told = place_inputs({name: value}, frame, times, model)
        (kinds[name],) = told.kinds
        old, new = signals[name], _at(told.signals[name], times)
        own = study.system.input_shapes[name]
        there[name] = _followed(
            _filled(old, frame.rank, own),
            _filled(_at(told.there[name], times), frame.rank, own),
            len(own),
        )
        signals[name] = there[name]
        if old.values is None or new.values is None:
            values = (of_model[name], told.tensors.get(name, new.values))
            signals[name] = there[name]._replace(values=None)
            tensors[name] = _one_after_the_other(values, (old, new), frame, len(own))
            kinds[name] = kinds[name]._replace(variable=True, random=True)
    return Coming(tuple(kinds.values()), signals, tensors, there)


def study_to_come(
    study: Study, design: Design, operands: Operands, tensors: Mapping[str, Variable]
) -> Study:
    """The study of the time to come, in which random variables enter some inputs."""
    pairs = zip(study.design.slots[1:], study.variables, strict=True)
    params = {slot.name: v for slot, v in pairs if slot.role is Role.PARAM}
    inputs = {
        name: signal._replace(values=tensors.get(name)) for name, signal in operands.inputs.items()
    }
    symbolic = operands._replace(params=params, inputs=inputs)
    program = replace(study.program, design=design)
    variables = tuple(design.unpack(symbolic)[1:])
    return replace(study, program=program, variables=variables, operands=operands)


def _require_inputs(
    study: Study, inputs: Mapping[str, object], signals: Mapping[str, Signal]
) -> None:
    """Raise for inputs that the model does not have, and for random ones that are not given."""
    for name in inputs:
        if name not in signals:
            raise ValueError(
                f"inputs: the model has no input {name!r}; it has {', '.join(signals) or 'none'}"
            )
    for name, signal in signals.items():
        if signal.values is None and name not in inputs:
            raise ValueError(
                f"inputs: random variables enter {name!r}, and nothing says which of its values "
                "holds after the data; give its future, an array or the label by which it is "
                f"looked up, inputs={{{name!r}: pds.Input(model[...], by=xr.DataArray(label))}}"
            )


def _alike(name: str, value: object, kind: InputKind, study: Study) -> Input:
    """An input that is read between its values as the model reads it, of which it is the future."""
    value = value if isinstance(value, Input) else Input(value, kind.interpolation)
    if value.interpolation != kind.interpolation:
        raise ValueError(
            f"inputs: {name!r} goes on where that of the model ends, whose interpolation is "
            f"{kind.interpolation!r}; got {value.interpolation!r}. Leave it out, or give the model "
            "the same"
        )
    if isinstance(value.values, Variable) and value.by is None:
        raise ValueError(
            f"inputs: {name!r} is a variable of the model, whose times are those of the data; say "
            f"which of its values holds when, pds.Input(model[{str(value.values.name)!r}], "
            "by=xr.DataArray(label))"
        )
    return value


def _from_start(study: Study) -> np.ndarray:
    """Times of the visits, but the first one of each trajectory holds from its start on."""
    times = study.operands.times
    first = np.where(np.isnan(times), np.inf, times).min(-1, initial=np.inf)[..., None]
    return np.where(times == first, np.fmin(first, starts(study)[..., None]), times)


def _at(signal: Signal, times: np.ndarray) -> Signal:
    """A signal with times, those given where it has none."""
    return signal if signal.times is not None else signal._replace(times=times)


def _filled(signal: Signal, rank: int, own: tuple[int, ...]) -> Signal:
    """A signal with zeros where its values are not known, ``(*batch, knot, *own)``."""
    if signal.values is not None:
        return signal
    return signal._replace(values=np.zeros((*(1,) * rank, signal.times.shape[-1], *own)))


def _order(old: Signal, new: Signal, lead: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Times of the old signal before the first of the new one, which follow, and their order."""
    first = np.min(np.where(np.isnan(new.times), np.inf, new.times), axis=-1)[..., None]
    kept = np.where(old.times < first, old.times, np.nan)
    times = joined([kept, new.times], lead, -1)
    return times, np.argsort(times, axis=-1, kind="stable")  # NaN last


def _followed(old: Signal, new: Signal, n_own: int) -> Signal:
    """Values of one input until the first time of the other, which follows."""
    leads = [signal.times.shape[:-1] for signal in (old, new)]
    leads += [signal.values.shape[: signal.values.ndim - n_own - 1] for signal in (old, new)]
    lead = np.broadcast_shapes(*leads)
    times, order = _order(old, new, lead)
    values = joined([old.values, new.values], lead, len(lead))
    index = order.reshape(*order.shape, *(1,) * n_own)
    return Signal(
        np.take_along_axis(values, np.broadcast_to(index, values.shape), axis=len(lead)),
        np.take_along_axis(times, order, axis=-1),
    )


def _one_after_the_other(
    values: tuple[Variable, Variable | np.ndarray],
    signals: tuple[Signal, Signal],
    frame: Frame,
    n_own: int,
) -> Variable:
    """Values ``(*batch, knot, *own)`` of both, in the order in which they hold."""
    lead, rank = frame.batch, frame.rank
    parts = []
    for value, signal in zip(values, signals, strict=True):
        tensor = pt.as_tensor(value)
        own = [tensor.shape[tensor.type.ndim - n_own + i] for i in range(n_own)]
        parts.append(pt.broadcast_to(tensor, (*lead, signal.times.shape[-1], *own)))
    _, order = _order(*signals, lead)
    places = np.ix_(*map(np.arange, lead), [0])[:-1]
    found: Variable = pt.concatenate(parts, axis=rank)[(*places, order)]
    return found


def joined(arrays: Sequence[np.ndarray], lead: tuple[int, ...], axis: int) -> np.ndarray:
    """Arrays one after the other, which have batch axes first, all of the shape `lead` or one."""
    rank = len(lead)
    return np.concatenate([np.broadcast_to(a, (*lead, *a.shape[rank:])) for a in arrays], axis)
