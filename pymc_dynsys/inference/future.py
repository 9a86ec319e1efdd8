"""Inputs and doses after the data: those of the model, unless others are given."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Design, Doses, InputKind, Operands, Signal
from pymc_dynsys.inference.times import starts, timed
from pymc_dynsys.reading.consistency import refuse_infinite_input
from pymc_dynsys.reading.doses import read_doses, settled
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.inputs import Input, read_input
from pymc_dynsys.reading.regimens import cut_off, joined_laws, pruned
from pymc_dynsys.reading.schedule import check_schedule


def read_future(
    study: Study, frame: Frame, times: np.ndarray, last: np.ndarray, inputs: Any, events: Any
) -> tuple[Design, Operands]:
    """Design and arrays of a trajectory from its last datum onwards, at those `times` after it.

    The time dim of the frame is that of the times. Infusions under way go on, and an input keeps
    its value until the first one given.
    """
    operands, kinds = study.operands, {kind.name: kind for kind in study.design.inputs}
    signals = dict(timed(operands, operands.times).inputs)
    for name, kind in kinds.items():
        if kind.interpolation != "previous" and signals[name].values is None:
            raise ValueError(
                f"inputs: {name!r} is a PyMC variable that the model interpolates "
                f"({kind.interpolation!r}), so it is not known after its last value; a forecast "
                "needs interpolation='previous', which holds it, or an array in its place"
            )
        if kind.interpolation == "previous" and not kind.own_times:
            signals[name] = signals[name]._replace(times=_from_start(study))
    for name, value in (inputs or {}).items():
        _require_input(name, kinds, signals)
        kinds[name], given = read_input(name, _alike(name, value, kinds[name]), frame, times)
        n_own = len(study.system.input_shapes[name])
        given = given if given.times is not None else given._replace(times=times)
        signals[name] = _followed(signals[name], given, n_own)
    given_doses = read_doses(events, frame, study.system)
    given_doses = settled(given_doses, study.system, operands.params, frame)
    # Doses that arrive late may have been given before the last datum.
    late = study.system.dosing.is_late
    doses = operands.doses if late else _after(operands.doses, last)
    if given_doses is not None:
        doses = _continued(doses, given_doses, last, study)
        doses = doses if late else _after(doses, last)
    ahead = np.where(times >= last[..., None], times, np.nan)
    future = Operands(operands.y, ahead, last, doses, signals, operands.params)
    design = replace(study.design, inputs=tuple(kinds.values())).replaced(future)
    known = tuple(kind for kind in design.inputs if signals[kind.name].values is not None)
    for kind in known:
        refuse_infinite_input(design.system, kind.name, signals[kind.name].values, frame)
    coming = future._replace(doses=_after(doses, last))
    check_schedule(
        replace(design.nominal, inputs=known).replaced(coming), coming, frame, midway=True
    )
    return design, future


def _from_start(study: Study) -> np.ndarray:
    """Times of the visits, but the first one of each trajectory holds from its start on."""
    times = study.operands.times
    first = np.where(np.isnan(times), np.inf, times).min(-1, initial=np.inf)[..., None]
    return np.where(times == first, np.fmin(first, starts(study)[..., None]), times)


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


def _alike(name: str, value: object, kind: InputKind) -> Input:
    """An input that is read between its values as the model reads it, of which it is the future."""
    if not isinstance(value, Input):
        return Input(value, kind.interpolation)
    if value.interpolation != kind.interpolation:
        raise ValueError(
            f"inputs: {name!r} goes on where that of the model ends, whose interpolation is "
            f"{kind.interpolation!r}; got {value.interpolation!r}. Leave it out, or give the model "
            "the same"
        )
    return value


def _after(doses: Doses | None, last: np.ndarray) -> Doses | None:
    """Doses without the boluses that the last states hold already.

    A bolus at the time of the last datum is still to come, unless it has its place before a datum.
    """
    if doses is None:
        return None
    bolus = np.ones(1, bool) if doses.durations is None else doses.durations == 0
    placed = np.zeros(1, bool) if doses.order is None else ~np.isnan(doses.order)
    at = doses.times - last[..., None]
    past = bolus & ((at < 0) | ((at == 0) & placed))
    times = np.broadcast_to(doses.times, past.shape)
    return doses._replace(times=np.where(past, np.nan, times), order=None)


def _continued(old: Doses | None, new: Doses, last: np.ndarray, study: Study) -> Doses:
    """The model's doses up to the last datum, and the new ones.

    What the model gives at the time of the last datum comes after it, so it stays, unless the new
    table has an event there, too.
    """
    if old is None:
        return new
    old, new = _written_out(old), _written_out(new)
    last = last[..., None]
    stays = old.times <= last
    again = (old.times == last) & (new.times == last).any(-1, keepdims=True)
    again = again & np.ones_like(last, dtype=bool)
    if again.any():
        here = tuple(np.argwhere(again)[0])
        at = f" of {study.frame.who(here[:-1])}" if study.frame.rank else ""
        warnings.warn(
            f"events: the model has a dose at time {np.broadcast_to(last, again.shape)[here]:g}"
            f"{at}, the time of the last datum, and so has the new table, whose dose is taken "
            "instead; the model's own would stay if the table began later",
            UserWarning,
            stacklevel=4,
        )
    old = old._replace(times=np.where(stays & ~again, old.times, np.nan))
    lead = np.broadcast_shapes(old.times.shape[:-1], new.times.shape[:-1])
    pairs = zip(old[:6], new[:6], strict=True)
    parts = [_joined(list(pair), lead, -1) for pair in pairs]
    laws = joined_laws(old.laws, new.laws, old.times.shape[-1], lead)
    whole = Doses._make((*parts, laws))
    places = np.broadcast_to(np.arange(whole.times.shape[-1]), whole.times.shape)
    return pruned(cut_off(whole, study.frame, places))


def _written_out(doses: Doses) -> Doses:
    """Doses with all parts, of one shape."""
    durations = np.zeros(1) if doses.durations is None else doses.durations
    order = np.full(1, np.nan) if doses.order is None else doses.order
    stretched = np.zeros(1) if doses.stretched is None else doses.stretched
    parts = (doses.times, doses.amounts, doses.targets, durations, order, stretched)
    return Doses._make((*np.broadcast_arrays(*parts), doses.laws))


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
