"""From rows to visits: which rows are one, and what comes first where a dose has the same time.

Legend: an instant is a subject at a time. Rows at one instant are one visit, but for those that the
order of the table keeps apart: replicates, and data on either side of a bolus.
"""

import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from pymc_dynsys.panels.events import Events
from pymc_dynsys.panels.rows import Rows

Ties = Literal["data", "record"] | None
"""What comes first at one instant: data, or whatever does in the table. None: data, said aloud."""


class Visits(NamedTuple):
    """Visits in order of subject and time, with their data.

    ``of_row`` is the position of each row's visit, -1 where a row is none. ``before_event`` counts,
    for each event, the visits at its instant that come before it: NaN where all of them do. It is
    None where that is so everywhere.
    """

    subject: np.ndarray
    times: np.ndarray
    y: np.ndarray
    of_row: np.ndarray
    before_event: np.ndarray | None


def find_visits(
    rows: Rows, events: Events, y: np.ndarray, components: Sequence[str], ties: Ties
) -> Visits:
    """The visits of a table whose data are `y`, ``(row, component)``."""
    if ties not in (None, "data", "record"):
        raise ValueError(
            f"ties: {ties!r} is not known; pass 'data' (at one time data come before doses) or "
            "'record' (the order of the table's rows)"
        )
    order, instant = rows.instants()
    part = np.zeros(len(order), dtype=int)
    if ties == "record":
        part = _parts(rows, events, y, order, instant)
    chosen = events.is_visit[order]
    kept, number = np.unique(
        np.column_stack([instant[chosen], part[chosen]]), axis=0, return_inverse=True
    )
    of_row = np.full(len(order), -1)
    of_row[order[chosen]] = number.reshape(-1)
    data = np.full((len(kept), y.shape[1]), np.nan)
    row, component = np.nonzero(~np.isnan(y) & events.is_visit[:, None])
    _refuse_twice(rows, of_row, row, component, components)
    data[of_row[row], component] = y[row, component]
    first = np.zeros(len(kept), dtype=int)
    first[of_row[order[chosen]][::-1]] = order[chosen][::-1]
    visits = Visits(rows.subject[first], rows.times[first], data, of_row, None)
    if ties == "record":
        return visits._replace(before_event=_before_events(rows, events, visits))
    if ties is None:
        _warn_of_peaks(rows, events, y)
    return visits


def _refuse_twice(
    rows: Rows,
    of_row: np.ndarray,
    row: np.ndarray,
    component: np.ndarray,
    components: Sequence[str],
) -> None:
    """Raise where a visit has two values of one component.

    `row` and `component` say where data are, in the order of the table.
    """
    place = of_row[row] * len(components) + component
    order = np.argsort(place, kind="stable")
    again = np.flatnonzero(np.diff(place[order]) == 0)
    if len(again):
        first, second = row[order[again[0] : again[0] + 2]].tolist()
        what = f" for {components[component[order[again[0]]]]!r}" if len(components) > 1 else ""
        raise ValueError(
            f"time: subject {rows.subjects[rows.subject[first]].item()!r} has time "
            f"{rows.times[first]:.10g} twice{what}, in rows {first} and {second}; if they are "
            "replicates, ties='record' makes a visit of each, or average them; if they are "
            "different quantities, tell them apart with endpoint=, or give each a column of its own"
        )


def _parts(
    rows: Rows, events: Events, y: np.ndarray, order: np.ndarray, instant: np.ndarray
) -> np.ndarray:
    """Number of each row's visit within its instant, for rows in `order`.

    A row begins another visit where a bolus came since, or where its datum is there already.
    """
    part = np.zeros(len(order), dtype=int)
    bolus = np.zeros(len(order), dtype=bool)
    bolus[events.row[events.acts_at_once & ~events.repeated]] = True
    counts = np.bincount(instant)
    for place in np.flatnonzero(counts > 1):
        begin = np.searchsorted(instant, place)
        number, seen, dosed = 0, np.zeros(y.shape[1], dtype=bool), False
        some = False
        for i in range(begin, begin + counts[place]):
            row = order[i]
            if events.is_visit[row]:
                has = ~np.isnan(y[row])
                if some and (dosed or (seen & has).any()):
                    number, seen = number + 1, np.zeros_like(seen)
                seen, some, dosed = seen | has, True, False
            part[i] = number
            dosed = dosed or bool(bolus[row])
    return part


def _before_events(rows: Rows, events: Events, visits: Visits) -> np.ndarray | None:
    """How many visits at its instant come before each bolus; repeats come before all.

    A row that is both is the trough.
    """
    if not events.acts_at_once.any():
        return None
    at: dict[tuple[int, float], dict[int, int]] = {}
    near = np.isin(rows.times, events.values["event_time"][events.acts_at_once])
    for row in np.flatnonzero((visits.of_row >= 0) & near).tolist():
        instant = (rows.subject[row], rows.times[row])
        at.setdefault(instant, {}).setdefault(int(visits.of_row[row]), row)
    before = np.full(len(events.row), np.nan)
    for i in np.flatnonzero(events.acts_at_once):
        row = events.row[i]
        firsts = at.get((rows.subject[row], events.values["event_time"][i]), {})
        earlier = 0 if events.repeated[i] else sum(first <= row for first in firsts.values())
        if earlier < len(firsts):
            before[i] = earlier
    return None if np.isnan(before).all() else before


def _warn_of_peaks(rows: Rows, events: Events, y: np.ndarray) -> None:
    """Warn of data that are read before a bolus of their time, which the table has before them.

    Repeats of a dose have no row of their own; they would come before all rows of their time.
    """
    boluses = np.flatnonzero(events.acts_at_once)
    if not len(boluses):
        return
    near = np.isin(rows.times, events.values["event_time"][boluses])
    data = np.flatnonzero(events.is_visit & near & ~np.isnan(y).all(1))
    last: dict[tuple[int, float], int] = {}
    for row in data.tolist():
        last[rows.subject[row], rows.times[row]] = row
    found = []
    for i in boluses:
        row, when = events.row[i], events.values["event_time"][i]
        datum = last.get((rows.subject[row], when), -1)
        if datum > row or (datum >= 0 and events.repeated[i]):
            found.append((row, datum, when, "a repeat of " if events.repeated[i] else ""))
    if found:
        row, datum, when, what = found[0]
        more = f", and {len(found) - 1} more doses like it" if len(found) > 1 else ""
        warnings.warn(
            f"events: {what}the dose of row {row} comes before the datum of row {datum} in the "
            f"table's order, and both are at time {when:.10g} of subject "
            f"{rows.subjects[rows.subject[row]].item()!r}{more}; the datum is read as the trough "
            "before the dose. Pass ties='record' if that order counts, as in NONMEM, or "
            "ties='data' if it is the trough",
            UserWarning,
            stacklevel=4,
        )
