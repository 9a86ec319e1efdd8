"""Resets and steady states as events of their own, apart from the doses they come with."""

import numpy as np

from pymc_dynsys.discretization import Doses
from pymc_dynsys.discretization.events import Lasting, Law, Laws

ROUNDING = 1e-9
"""Part of an interval by which an infusion may last longer without one more that still runs."""

ROOM = 6
"""Infusions of earlier intervals that may still run where parameters say how long they last."""


def laid_apart(doses: Doses, late: bool) -> Doses:
    """Doses where what says a law is an event of its own, before the dose it comes with.

    In a steady state, infusions that last longer than the interval are joined by those of earlier
    intervals that still run. What is under way where the state is forgotten ends there. Where
    parameters say when doses arrive (they are `late`) or infusions end, a program cuts them.
    """
    doses = doses.written_out()
    said = doses.laws
    assert said is not None
    moving = late or bool((doses.lasting > 0).any())
    place, kind, regular, interval = np.broadcast_arrays(*said[:4], doses.times)[:4]
    is_law, lasts = kind > 0, doses.durations > 0
    apart = is_law & (lasts | late | (doses.amounts == 0))
    points = doses._replace(
        amounts=np.where(apart, np.nan, doses.amounts),
        durations=np.where(is_law, 0.0, doses.durations),
    )
    parts: list[tuple[np.ndarray, ...]] = [(*points[:-1], place)]

    def add(runs: np.ndarray, given: Doses) -> None:
        which = runs.any(tuple(range(runs.ndim - 1)))
        if which.any():
            given = given._replace(times=np.where(runs, given.times, np.nan))
            parts.append(tuple(part[..., which] for part in (*given[:-1], place)))

    if late:
        add(is_law & ~lasts & (doses.amounts != 0), doses)
    periodic = np.isin(kind, (Law.STEADY, Law.ADDED))
    earlier = np.where(periodic & lasts, _earlier(doses, interval, late), 0)
    for k in range(int(earlier.max(initial=0)) + 1):
        runs = is_law & lasts & (k <= earlier)
        if moving:
            add(runs, doses._replace(age=np.where(runs, k * interval, 0.0)))
            continue
        left = np.where(runs, doses.durations - k * interval, 0.0)
        share = left / np.where(lasts, doses.durations, 1.0)
        add(runs, doses._replace(amounts=doses.amounts * share, durations=left))
    *arrays, places = (np.concatenate(pair, axis=-1) for pair in zip(*parts, strict=True))
    duration = np.where(periodic, doses.durations, 0.0)
    laws = compact(Laws(place, kind, regular, interval, duration, earlier if moving else None))
    return cut_off(Doses.of(arrays, laws), places, moving).pruned()


def _earlier(doses: Doses, interval: np.ndarray, late: bool) -> np.ndarray:
    """How many infusions of earlier intervals may still run, ``(*batch, event)``.

    One more if they are late by less than an interval. All parts are written out.
    """
    known = np.isfinite(doses.durations) & (interval > 0)
    intervals = np.where(known, doses.durations, 0.0) / np.where(known, interval, 1.0)
    more = late | (doses.lasting == Lasting.BY_FRACTION)
    return np.where(known, np.ceil(intervals - ROUNDING) - ~more, ROOM)


def cut_off(doses: Doses, places: np.ndarray, moving: bool) -> Doses:
    """Doses that end where the state is forgotten; all parts are ``(*batch, event)``.

    ``places`` says the order of events at one time. Where parameters are to say what is under way,
    it is only said when.
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
    if moving:
        return doses._replace(until=np.minimum(until, doses.until))
    lasts = doses.durations > 0
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
    there = np.take_along_axis(is_law, first, axis=-1)

    def kept(part: np.ndarray, nothing: float) -> np.ndarray:
        return np.where(there, np.take_along_axis(part, first, axis=-1), nothing)

    event, kind = kept(laws.event, -1).astype(int), kept(laws.kind, 0).astype(int)
    if not (there & (kind != Law.RESET)).any():
        return Laws(event, kind)
    found = Laws(event, kind, kept(laws.amount, 0.0), kept(laws.interval, 1.0))
    duration = kept(laws.duration, 0.0)
    endless = np.isin(kind, (Law.SINCE_EVER, Law.SINCE_EVER_ADDED))
    if not (there & ((duration > 0) | endless)).any():
        return found
    room = None if laws.room is None else kept(laws.room, 0.0)
    return found._replace(duration=duration, room=room)


def joined_laws(
    old: Laws | None, new: Laws | None, n_old: int, lead: tuple[int, ...]
) -> Laws | None:
    """Laws of the events of two tables, the second after the `n_old` events of the first."""
    both = [laws for laws in (old, new) if laws is not None]
    if not both:
        return None
    roomy = any(laws.room is not None for laws in both)
    parts = []
    for laws, first in ((old, 0), (new, n_old)):
        if laws is not None:
            event = np.where(laws.event >= 0, laws.event + first, -1)
            fills = zip(laws[2:], (0.0, 1.0, 0.0, 0.0), strict=True)
            rest = [np.full(event.shape, fill) if part is None else part for part, fill in fills]
            arrays = (event, laws.kind, *rest)
            parts.append([np.broadcast_to(a, (*lead, a.shape[-1])) for a in arrays])
    joined = Laws(*(np.concatenate(pair, axis=-1) for pair in zip(*parts, strict=True)))
    return compact(joined if roomy else joined._replace(room=None))
