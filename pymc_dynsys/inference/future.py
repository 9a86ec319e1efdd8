"""Inputs and doses after the data: those of the model, unless others are given."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Design, Doses, InputKind, Operands, Signal
from pymc_dynsys.inference.times import timed
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.inputs import read_input
from pymc_dynsys.reading.schedule import check_schedule, read_doses


def read_future(
    study: Study, frame: Frame, times: np.ndarray, last: np.ndarray, inputs: Any, events: Any
) -> tuple[Design, Operands]:
    """Design and arrays of a trajectory from its last datum onwards, at those `times` after it.

    The time dim of the frame is that of the times. Infusions under way go on, and an input keeps
    its value until the first one given.
    """
    operands, kinds = study.operands, {kind.name: kind for kind in study.design.inputs}
    signals = dict(timed(operands, operands.times).inputs)
    for name, value in (inputs or {}).items():
        _require_input(name, kinds, signals)
        kinds[name], given = read_input(name, value, frame, times)
        n_own = len(study.system.input_shapes[name])
        given = given if given.times is not None else given._replace(times=times)
        signals[name] = _followed(signals[name], given, n_own)
    given_doses = read_doses(events, frame, study.system)
    doses = _after(operands.doses, last)
    if given_doses is not None:
        doses = _after(_continued(doses, given_doses, last), last)
    ahead = np.where(times >= last[..., None], times, np.nan)
    future = Operands(operands.y, ahead, last, doses, signals, operands.params)
    design = replace(study.design, inputs=tuple(kinds.values())).replaced(future)
    known = tuple(kind for kind in design.inputs if signals[kind.name].values is not None)
    check_schedule(replace(design, inputs=known), future, frame, midway=True)
    return design, future


def _require_input(
    name: str, kinds: Mapping[str, InputKind], signals: Mapping[str, Signal]
) -> None:
    """Raise for an input that the model does not have, or whose future is a variable's."""
    if name not in kinds:
        raise ValueError(
            f"inputs: the model has no input {name!r}; it has {', '.join(kinds) or 'none'}"
        )
    if signals[name].values is None:
        raise ValueError(
            f"inputs: {name!r} is a PyMC variable, so its future is the model's: its last value "
            "goes on; make it an array to give another"
        )


def _after(doses: Doses | None, last: np.ndarray) -> Doses | None:
    """Doses without the boluses that the last states hold already."""
    if doses is None:
        return None
    bolus = np.ones(1, bool) if doses.durations is None else doses.durations == 0
    past = bolus & (doses.times < last[..., None])
    times = np.broadcast_to(doses.times, past.shape)
    return doses._replace(times=np.where(past, np.nan, times))


def _continued(old: Doses | None, new: Doses, last: np.ndarray) -> Doses:
    """Infusions that began before the last datum, and the new doses."""
    if old is None:
        return new
    begun = old.times < last[..., None]
    old = old._replace(times=np.where(begun, old.times, np.nan))
    both = [_written_out(doses) for doses in (old, new)]
    lead = np.broadcast_shapes(*(part.shape[:-1] for doses in both for part in doses))
    pairs = zip(*both, strict=True)
    times, amounts, targets, durations = (_joined(list(pair), lead, -1) for pair in pairs)
    return Doses(times, amounts, targets, durations if (durations > 0).any() else None)


def _written_out(doses: Doses) -> Doses:
    """Doses with durations, all parts of one shape."""
    durations = np.zeros(1) if doses.durations is None else doses.durations
    return Doses(*np.broadcast_arrays(doses.times, doses.amounts, doses.targets, durations))


def _followed(old: Signal, new: Signal, n_own: int) -> Signal:
    """Values of one input until the first time of the other, which follows."""
    first = np.min(np.where(np.isnan(new.times), np.inf, new.times), axis=-1)[..., None]
    kept = np.where(old.times < first, old.times, np.nan)
    leads = [a.shape[:-1] for a in (kept, new.times)]
    leads += [signal.values.shape[: signal.values.ndim - n_own - 1] for signal in (old, new)]
    lead = np.broadcast_shapes(*leads)
    times = _joined([kept, new.times], lead, -1)
    values = _joined([old.values, new.values], lead, len(lead))
    order = np.argsort(times, axis=-1, kind="stable")  # NaN last
    index = order.reshape(*order.shape, *(1,) * n_own)
    return Signal(
        np.take_along_axis(values, np.broadcast_to(index, values.shape), axis=len(lead)),
        np.take_along_axis(times, order, axis=-1),
    )


def _joined(arrays: list[np.ndarray], lead: tuple[int, ...], axis: int) -> np.ndarray:
    """Arrays one after the other, which have batch axes first, all of the shape `lead` or one."""
    rank = len(lead)
    return np.concatenate([np.broadcast_to(a, (*lead, *a.shape[rank:])) for a in arrays], axis)
