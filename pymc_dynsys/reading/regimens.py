"""Resets and steady states of users: read, checked, and laid apart from their doses."""

from collections.abc import Callable

import numpy as np

from pymc_dynsys.discretization import Doses
from pymc_dynsys.discretization.operands import Law, Laws
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.values import as_float
from pymc_dynsys.systems import BoundSystem

Read = Callable[[str, float], np.ndarray]
"""Reads a variable of the table, or its default where there is none, ``(*batch, event)``."""

ROUNDING = 1e-9
"""Part of an interval by which an infusion may last longer without one more that still runs."""


def read_laws(
    read: Read, times: np.ndarray, amounts: np.ndarray, rates: np.ndarray, frame: Frame
) -> Laws | None:
    """What each event says of the law of the state, ``(*batch, event)``; None if none does.

    Amounts are those of an interval, or the rate of an infusion since ever; durations are left out.
    """
    steady, interval, reset = (
        np.broadcast_to(np.nan_to_num(as_float(f"event_{p}", read(f"event_{p}", 0.0))), times.shape)
        for p in ("steady_state", "interval", "reset")
    )
    there = np.isfinite(times)
    endless = (steady > 0) & (amounts == 0) & (rates > 0) & (interval == 0)

    def refuse(what: str, values: np.ndarray, wrong: np.ndarray, expected: str) -> None:
        refuse_event(what, values, there & wrong, expected, times, frame)

    refuse("steady_state", steady, ~np.isin(steady, (0, 1, 2)), "0, 1 or 2")
    refuse("reset", reset, ~np.isin(reset, (0, 1)), "1 (the state begins anew) or 0")
    refuse(
        "interval",
        interval,
        (steady > 0) & ~endless & ~((interval > 0) & (interval < np.inf)),
        "more than 0, the time between the doses of its steady state",
    )
    refuse("amount", amounts, (steady > 0) & ~endless & ~(amounts > 0), "more than 0")
    refuse(
        "steady_state",
        steady,
        (reset > 0) & (steady == 2),
        "1: a steady state cannot be added to what the event has just reset. Write the reset as an "
        "event of its own before it",
    )
    kind = np.where(reset > 0, Law.RESET, Law.NONE)
    kind = np.where(steady == 1, np.where(endless, Law.SINCE_EVER, Law.STEADY), kind)
    kind = np.where(steady == 2, np.where(endless, Law.SINCE_EVER_ADDED, Law.ADDED), kind)
    kind = np.where(there, kind, Law.NONE)
    if not (kind > 0).any():
        return None
    event = np.broadcast_to(np.arange(kind.shape[-1]), kind.shape)
    return Laws(event, kind, np.where(endless, rates, amounts), interval)


def refuse_event(
    what: str,
    values: np.ndarray,
    wrong: np.ndarray,
    expected: str,
    times: np.ndarray,
    frame: Frame,
) -> None:
    """Raise for the first event, ``(*batch, event)``, that says something that makes no sense."""
    where = np.argwhere(wrong)
    if len(where):
        here = tuple(where[0])
        raise ValueError(
            f"events: the {what} of the event at time {times[here]:g} for {frame.who(here[:-1])} "
            f"is {values[here]:g}, expected {expected}"
        )


def require_lawful(laws: Laws, system: BoundSystem) -> None:
    """Raise for resets and steady states that a system cannot have."""
    kinds = {Law(int(kind)) for kind in np.unique(laws.kind)}
    if Law.RESET in kinds and not (system.proof.start.gaussian and not system.n_diffuse):
        raise ValueError(
            "events: a reset puts the initial distribution again, which has to be Gaussian and "
            "not diffuse; give initial= numbers, or a normal distribution"
        )
    steady = kinds - {Law.NONE, Law.RESET}
    if not steady:
        return
    dynamics = system.proof.dynamics
    if system.dosing.has_own_jump:
        raise ValueError(
            "events: the steady state of doses that a function of the system explains is not "
            "known; let the system have events=pds.Dose(...)"
        )
    if system.n_diffuse:
        raise ValueError(
            "events: a steady state needs an initial distribution that is not diffuse; give "
            "initial= numbers, or a distribution"
        )
    if not dynamics.autonomous:
        raise ValueError(
            "events: there is no steady state where drift or diffusion depend on the time t; "
            "write out earlier doses with event_time (ADDL), and give t0"
        )
    if dynamics.linear:
        return
    if not system.is_deterministic:
        raise ValueError(
            "events: the steady state of a nonlinear SDE has no distribution that is known; write "
            "out earlier doses as events of their own, from a time that is long enough ago"
        )
    if steady != {Law.STEADY}:
        raise ValueError(
            "events: in a nonlinear system there is only steady_state 1 of doses at intervals: "
            "states do not add up (2), and an infusion since ever (interval 0) is not supported. "
            "Write out earlier doses as events of their own"
        )


def require_punctual(laws: Laws | None, system: BoundSystem) -> None:
    """Raise for doses that arrive late beside what needs to know when they do."""
    if not system.dosing.is_late:
        return
    if laws is not None:
        raise ValueError(
            "events: doses that arrive late (lag) beside resets and steady states (event_reset, "
            "event_steady_state) are not supported; write out the earlier doses of a steady state"
        )
    inputs = [name for name in system.dosing.fraction_names if name in system.input_shapes]
    if inputs:
        raise ValueError(
            f"events: the bioavailability depends on the input {inputs[0]!r}, whose value at the "
            "record of a dose would count and not where the dose arrives late (lag), which is not "
            "supported; let it depend on parameters"
        )


def laid_apart(doses: Doses, frame: Frame) -> Doses:
    """Doses where what says a law is an event of its own, before the infusion it comes with.

    In a steady state, infusions that last longer than the interval are joined by those of earlier
    intervals that still run. What runs where the state is forgotten ends there.
    """
    said = doses.laws
    assert said is not None
    durations = np.zeros(1) if doses.durations is None else doses.durations
    order = np.full(1, np.nan) if doses.order is None else doses.order
    stretched = np.zeros(1) if doses.stretched is None else doses.stretched
    given = (doses.times, doses.amounts, doses.targets, durations, order, stretched, *said)
    arrays = np.broadcast_arrays(*(part for part in given if part is not None))
    times, amounts, targets, durations, order, stretched, place, kind, regular, interval = arrays
    is_law, lasts = kind > 0, durations > 0
    _require_known(frame, times, is_law & lasts & (stretched > 0))
    empty = is_law & (lasts | (amounts == 0))
    points = np.where(empty, np.nan, amounts), targets, np.where(is_law, 0.0, durations), order
    parts = [[times, *points, stretched, place]]
    periodic = np.isin(kind, (Law.STEADY, Law.ADDED))
    safe = np.where(periodic, interval, 1.0)
    earlier = np.where(periodic & lasts, np.ceil(durations / safe - ROUNDING) - 1, 0)
    for k in range(int(earlier.max(initial=0)) + 1):
        left = durations - k * interval
        runs = is_law & lasts & (k <= earlier)
        which = runs.any(tuple(range(runs.ndim - 1)))
        if which.any():
            amount = amounts * left / np.where(lasts, durations, 1.0)
            infusion = (np.where(runs, times, np.nan), amount, targets, np.where(runs, left, 0.0))
            parts.append([a[..., which] for a in (*infusion, order, stretched, place)])
    pairs = zip(*parts, strict=True)
    times, amounts, targets, lengths, order, stretched, places = (
        np.concatenate(pair, axis=-1) for pair in pairs
    )
    laws = compact(Laws(place, kind, regular, interval, np.where(periodic, durations, 0.0)))
    whole = Doses(times, amounts, targets, lengths, order, stretched, laws)
    return pruned(cut_off(whole, frame, places))


def cut_off(doses: Doses, frame: Frame, places: np.ndarray) -> Doses:
    """Doses whose infusions end where the state is forgotten; all parts are ``(*batch, event)``.

    ``places`` says the order of events at one time.
    """
    laws = doses.laws
    if laws is None:
        return doses
    forgets = np.isin(laws.kind, [kind for kind in Law if kind.forgets]) & (laws.event >= 0)
    event = np.maximum(laws.event, 0)
    event, forgets = np.broadcast_arrays(event, forgets)
    lead = doses.times.shape[:-1]
    event = np.broadcast_to(event, (*lead, event.shape[-1]))
    at = np.where(forgets, np.take_along_axis(doses.times, event, -1), np.inf)
    at = np.where(np.isnan(at), np.inf, at)[..., None, :]
    place = np.take_along_axis(np.broadcast_to(places, doses.times.shape), event, -1)[..., None, :]
    time = doses.times[..., None]
    later = (at > time) | ((at == time) & (place > places[..., None]))
    until = np.where(later, at, np.inf).min(-1)
    lasts = doses.durations > 0
    _require_known(frame, doses.times, lasts & (doses.stretched > 0) & np.isfinite(until))
    left = np.where(lasts, np.minimum(doses.durations, until - doses.times), 0.0)
    share = np.where(lasts, left / np.where(lasts, doses.durations, 1.0), 1.0)
    return doses._replace(
        times=np.where(lasts & (left <= 0), np.nan, doses.times),
        amounts=share * doses.amounts,
        durations=left,
    )


def compact(laws: Laws) -> Laws:
    """Laws without the events that say none, and without the arrays that say nothing."""
    is_law = laws.kind > 0
    first = np.argsort(~is_law, axis=-1, kind="stable")[..., : int(is_law.sum(-1).max(initial=1))]
    kept = [np.take_along_axis(np.asarray(part, float), first, axis=-1) for part in laws]
    event, kind, amount, interval, duration = kept
    there = np.take_along_axis(is_law, first, axis=-1)
    event, kind = np.where(there, event, -1).astype(int), np.where(there, kind, 0).astype(int)
    if not (there & (kind != Law.RESET)).any():
        return Laws(event, kind)
    amount = np.where(there, amount, 0.0)
    endless = np.isin(kind, (Law.SINCE_EVER, Law.SINCE_EVER_ADDED))
    if not (there & ((duration > 0) | endless)).any():
        return Laws(event, kind, amount, np.where(there, interval, 1.0))
    return Laws(event, kind, amount, np.where(there, interval, 1.0), np.where(there, duration, 0.0))


def joined_laws(
    old: Laws | None, new: Laws | None, n_old: int, lead: tuple[int, ...]
) -> Laws | None:
    """Laws of the events of two tables, the second after the `n_old` events of the first."""
    if old is None and new is None:
        return None
    parts = []
    for laws, first in ((old, 0), (new, n_old)):
        if laws is not None:
            event = np.where(laws.event >= 0, laws.event + first, -1)
            fills = zip(laws[2:], (0.0, 1.0, 0.0), strict=True)
            rest = [np.full(event.shape, fill) if part is None else part for part, fill in fills]
            arrays = (event, laws.kind, *rest)
            parts.append([np.broadcast_to(a, (*lead, a.shape[-1])) for a in arrays])
    return compact(Laws(*(np.concatenate(pair, axis=-1) for pair in zip(*parts, strict=True))))


def pruned(doses: Doses) -> Doses:
    """Doses without the arrays that say nothing."""
    durations, order, stretched = doses.durations, doses.order, doses.stretched
    there = np.isfinite(doses.times)
    return doses._replace(
        durations=durations if (there & (durations > 0)).any() else None,
        order=None if np.isnan(order).all() else order,
        stretched=stretched if (there & (stretched > 0)).any() else None,
    )


def _require_known(frame: Frame, times: np.ndarray, wrong: np.ndarray) -> None:
    """Raise where parameters say how long an infusion lasts that is cut, or repeated since ever."""
    where = np.argwhere(wrong)
    if len(where):
        here = tuple(where[0])
        raise ValueError(
            f"events: the infusion at time {times[here]:g} for {frame.who(here[:-1])} is given by "
            "its rate, so its bioavailability, which is not known, says how long it lasts; beside "
            "resets and steady states that is not supported. Give event_duration (DUR) instead"
        )
