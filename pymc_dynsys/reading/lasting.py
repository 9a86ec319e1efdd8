"""How long the infusions of users last: what the table says, and what it leaves to parameters."""

from collections.abc import Mapping

import numpy as np

from pymc_dynsys.discretization import Doses
from pymc_dynsys.discretization.doses import parts_of_doses
from pymc_dynsys.discretization.events import Lasting, Law, Laws
from pymc_dynsys.discretization.lasting import asked_names, lengths
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.laid_apart import laid_apart
from pymc_dynsys.reading.regimens import refuse_event
from pymc_dynsys.systems import BoundSystem
from pymc_dynsys.systems.event_functions import Part

MARKS: dict[int, tuple[Lasting, Part]] = {
    -1: (Lasting.BY_RATE, "rate"),
    -2: (Lasting.BY_DURATION, "duration"),
}
"""Rates of a table that stand for a part of the system's dose."""


def read_lasting(
    frame: Frame,
    system: BoundSystem,
    times: np.ndarray,
    amounts: np.ndarray,
    rates: np.ndarray,
    durations: np.ndarray,
) -> np.ndarray:
    """What says how long each event lasts, a ``Lasting``; all arrays are ``(*batch, event)``."""
    there = np.isfinite(times)
    partial = there & (rates > 0) & (amounts > 0) & system.dosing.has("bioavailability")
    found = np.where(partial, Lasting.BY_FRACTION, Lasting.TOLD)
    for mark, (kind, part) in MARKS.items():
        marked = there & (rates == mark)
        if not system.dosing.has(part):
            expected = (
                f"0 or more: {mark} stands for the {part} that the system says, and it says none; "
                f"let it have events=pds.Dose({part}=...)"
            )
            refuse_event("rate", rates, marked, expected, times, frame)
        expected = f"0 beside a rate of {mark}, which stands for the {part} that the system says"
        refuse_event("duration", durations, marked & (durations > 0), expected, times, frame)
        refuse_event("amount", amounts, marked & ~(amounts > 0), "more than 0", times, frame)
        found = np.where(marked, kind, found)
    return found


def told_durations(
    frame: Frame,
    times: np.ndarray,
    amounts: np.ndarray,
    rates: np.ndarray,
    durations: np.ndarray,
    lasting: np.ndarray,
) -> np.ndarray:
    """Duration of each event, 0 for a bolus, infinite where parameters say it.

    Numbers that make no sense are refused. All arrays are ``(*batch, event)``.
    """
    there, told = np.isfinite(times), (lasting == Lasting.TOLD) | (lasting == Lasting.BY_FRACTION)
    both = there & (rates > 0) & (durations > 0)
    for what, values, bad, expected in (
        ("amount", amounts, ~np.isfinite(amounts), "a number"),
        ("duration", durations, ~((durations >= 0) & (durations < np.inf)), "0 or more"),
        ("rate", rates, told & ~((rates >= 0) & (rates < np.inf)), "0 or more, -1 or -2"),
        (
            "rate",
            rates,
            both & ~np.isclose(rates * durations, amounts, rtol=1e-6),
            "the amount divided by the duration; give only one of rate and duration",
        ),
    ):
        refuse_event(what, values, there & bad, expected, times, frame)
    by_rate = there & (rates > 0) & (durations == 0)
    durations = np.where(by_rate, amounts / np.where(by_rate, rates, 1.0), durations)
    return np.where(told, np.where(there, durations, 0.0), np.inf)


def refuse_undecided(
    frame: Frame, system: BoundSystem, times: np.ndarray, told: np.ndarray, lasting: np.ndarray
) -> None:
    """Raise where rate and duration would mean two things, or an input says how long it lasts."""
    where = np.argwhere((lasting == Lasting.BY_FRACTION) & (told > 0))
    if len(where):
        here = tuple(where[0])
        raise ValueError(
            f"events: the event at time {times[here]:g} for {frame.who(here[:-1])} has a rate and "
            "a duration, but with a bioavailability one of them changes: give only the rate if the "
            "duration does, only the duration if the rate does"
        )
    asked = asked_names(system, lasting)
    inputs = [name for name in asked if name in system.input_shapes]
    if inputs:
        raise ValueError(
            f"events: the bioavailability depends on the input {inputs[0]!r}, and so would the "
            "duration of an infusion at a given rate, which is not supported; give event_duration "
            "(DUR), or a parameter"
        )


def require_punctual(laws: Laws | None, system: BoundSystem) -> None:
    """Raise for doses that arrive late beside what needs to know when they do."""
    if not system.dosing.has("lag"):
        return
    if laws is not None and np.isin(laws.kind, (Law.SINCE_EVER, Law.SINCE_EVER_ADDED)).any():
        raise ValueError(
            "events: when an infusion since ever (event_steady_state with an event_interval of 0) "
            "ends is not clear where doses arrive late (lag); write it out as an infusion of its "
            "own, or give an event_interval"
        )
    inputs = [n for n in system.dosing.names("bioavailability") if n in system.input_shapes]
    if inputs:
        raise ValueError(
            f"events: the bioavailability depends on the input {inputs[0]!r}, whose value at the "
            "record of a dose would count and not where the dose arrives late (lag), which is not "
            "supported; let it depend on parameters"
        )


def settled(
    doses: Doses | None, system: BoundSystem, params: Mapping[str, np.ndarray | None], frame: Frame
) -> Doses | None:
    """Doses whose durations are known as far as parameters are; None: the parameter is not.

    Resets and steady states are then events of their own.
    """
    if doses is None:
        return None
    names = () if doses.lasting is None else asked_names(system, doses.lasting)
    if doses.lasting is not None and all(params[name] is not None for name in names):
        doses = _known(doses, system, params, frame)
    if doses.laws is None:
        return doses
    late = system.dosing.has("lag")
    if late and all(params[name] is not None for name in system.dosing.names("lag")):
        lag = np.asarray(parts_of_doses(system, "lag", params, frame.rank))
        _require_soon(doses.laws, np.asarray(doses.times), lag, frame)
    return laid_apart(doses, late)


def _known(
    doses: Doses, system: BoundSystem, params: Mapping[str, np.ndarray | None], frame: Frame
) -> Doses:
    """Doses that last as long as parameters say that are known."""
    known = {name: value for name, value in params.items() if value is not None}
    durations, unclear = lengths(
        system, known, frame.rank, doses.durations, doses.amounts, doses.lasting
    )
    wrong = np.asarray(unclear) & np.isfinite(doses.times)
    if wrong.any():
        here = tuple(np.argwhere(wrong)[0])
        raise ValueError(
            f"events: the infusion at time {np.broadcast_to(doses.times, wrong.shape)[here]:g} for "
            f"{frame.who(here[:-1])} has no duration: its bioavailability has to be 0 or more, its "
            "rate and duration more than 0"
        )
    return doses._replace(durations=np.asarray(durations), lasting=None)


def _require_soon(laws: Laws, times: np.ndarray, lag: np.ndarray, frame: Frame) -> None:
    """Raise for a steady state of doses that come an interval late; laws are as they were read."""
    interval, kind, lags = np.broadcast_arrays(laws.interval, laws.kind, lag)
    late = np.isin(kind, (Law.STEADY, Law.ADDED)) & (lags >= interval)
    expected = f"more than the lag, {lags[late].max(initial=0):g}"
    refuse_event("interval", interval, late, expected, np.broadcast_to(times, late.shape), frame)
