"""What a forecast computes with: doses of the model after the data, unless others are given."""

import warnings
from dataclasses import replace

import numpy as np

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Design, Doses, Operands
from pymc_dynsys.inference.future_inputs import Coming, joined
from pymc_dynsys.reading.accumulated import (
    require_fixed,
    restarts_to_come,
    with_restarts,
    without_restarts,
)
from pymc_dynsys.reading.consistency import refuse_infinite_input
from pymc_dynsys.reading.doses import read_doses
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.laid_apart import cut_off, joined_laws
from pymc_dynsys.reading.lasting import settled
from pymc_dynsys.reading.schedule import check_schedule


def read_future(
    study: Study, frame: Frame, times: np.ndarray, last: np.ndarray, coming: Coming, events: object
) -> tuple[Design, Operands]:
    """Design and arrays of a trajectory from its last datum onwards, at those `times` after it.

    The time dim of the frame is that of the times. Infusions under way go on, and an input keeps
    its value until the first one given.
    """
    operands = study.operands
    given_doses = read_doses(events, frame, study.system)
    require_fixed(study.system, given_doses, False, False)
    given_doses = settled(given_doses, study.system, operands.params, frame)
    # Doses that arrive late may have been given before the last datum.
    late = study.system.dosing.has("lag")
    doses = _after(without_restarts(operands.doses), last, late)
    if given_doses is not None:
        doses = _after(_continued(doses, given_doses, last, study), last, late)
    if study.system.dosing.accumulated:
        begun = restarts_to_come(np.asarray(operands.times), last, times)
        doses = with_restarts(begun, doses)
    ahead = np.where(times >= last[..., None], times, np.nan)
    future = Operands(operands.y, ahead, last, doses, coming.signals, operands.params)
    design = replace(study.design, inputs=coming.kinds).replaced(future)
    there = coming.there
    known_kinds = tuple(kind for kind in design.inputs if there[kind.name].values is not None)
    for kind in known_kinds:
        refuse_infinite_input(design.system, kind.name, there[kind.name].values, frame)
    # The data are those before; what comes is to be known at all times.
    to_come = future._replace(y=None, doses=_after(doses, last), inputs=there)
    check_schedule(
        replace(design.nominal, inputs=known_kinds).replaced(to_come), to_come, frame, midway=True
    )
    return design, future


def _after(doses: Doses | None, last: np.ndarray, late: bool = False) -> Doses | None:
    """Doses without the boluses, resets and steady states that the last states hold already.

    One at the time of the last datum is still to come, unless it has its place before a datum. A
    bolus that is `late` stays: it may still arrive.
    """
    if doses is None:
        return None
    bolus = np.ones(1, bool) if doses.durations is None else doses.durations == 0
    placed = np.zeros(1, bool) if doses.order is None else ~np.isnan(doses.order)
    at = doses.times - last[..., None]
    past = bolus & ((at < 0) | ((at == 0) & placed))
    if late:
        past = past & np.isnan(doses.amounts)
    times = np.broadcast_to(doses.times, past.shape)
    return doses._replace(times=np.where(past, np.nan, times), order=None)


def _continued(old: Doses | None, new: Doses, last: np.ndarray, study: Study) -> Doses:
    """The model's doses up to the last datum, and the new ones.

    What the model gives at the time of the last datum comes after it, so it stays, unless the new
    table has an event there, too.
    """
    if old is None:
        return new
    old, new = old.written_out(), new.written_out()
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
    pairs = zip(old[:-1], new[:-1], strict=True)
    parts = [joined(list(pair), lead, -1) for pair in pairs]
    laws = joined_laws(old.laws, new.laws, old.times.shape[-1], lead)
    whole = Doses.of(parts, laws)
    places = np.broadcast_to(np.arange(whole.times.shape[-1]), whole.times.shape)
    moving = study.system.dosing.has("lag") or bool((whole.lasting > 0).any())
    return cut_off(whole, places, moving).pruned()
