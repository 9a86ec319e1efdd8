"""Events of a tidy table: boluses and infusions, as NONMEM's columns say them.

Legend: an event row has kind (EVID) 1, 3 or 4, or, where there is no kind column, a non-zero
amount. It says that `amount` enters `state` at its time, at once or over `duration`, and again
`additional` times, `interval` apart; kinds 3 and 4 begin anew, and what a steady state is stands
in ``regimens.py``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_dynsys.panels.clock import read_spans
from pymc_dynsys.panels.columns import Table, is_text, labels, numbers
from pymc_dynsys.panels.regimens import Regimens, check_regimens
from pymc_dynsys.panels.rows import Rows, refuse_infinite


@dataclass(frozen=True, eq=False)
class Events:
    """What happens to subjects, in order of subject and time, and what is left of the table.

    Attributes
    ----------
    values : dict of array
        What is said of each event, repeats included, by the names of a panel.
    row : array of int
        The row of the table that says so.
    repeated : array of bool
        Whether it is a repeat of the event at its row.
    is_visit : array of bool
        Which rows of the table are visits.
    y : array, (row, column)
        The data without their placeholders.
    """

    values: dict[str, np.ndarray]
    row: np.ndarray
    repeated: np.ndarray
    is_visit: np.ndarray
    y: np.ndarray

    @property
    def acts_at_once(self) -> np.ndarray:
        """Which events change the state at once: boluses, resets and steady states."""
        if not self.values:
            return np.zeros(0, dtype=bool)
        at_once: np.ndarray = (self.values["event_rate"] == 0) & (
            self.values["event_duration"] == 0
        )
        for name in ("event_reset", "event_steady_state"):
            if name in self.values:
                at_once = at_once | (self.values[name] > 0)
        return at_once


def read_events(
    table: Table, columns: Mapping[str, str], rows: Rows, y: np.ndarray, unit: str | None
) -> Events:
    """The events of a table, which rows are visits, and the data without their placeholders."""
    if not columns:
        none = np.zeros(0, dtype=int)
        return Events({}, none, none.astype(bool), np.ones(len(y), dtype=bool), y)
    check = _Checks(table, columns, rows, unit)
    is_event, is_visit, y = _sort_out(check, y)
    _refuse_lost(check, is_event)
    values, row, repeated = _event_values(check, is_event)
    return Events(values, row, repeated, is_visit, y)


def _sort_out(check: "_Checks", y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which rows are events, which are visits, and the data without the placeholders.

    A row may be both where there is no kind column: an amount beside a datum.
    """
    columns = check.columns
    amount = check.read("amount")
    check.refuse("amount", amount, amount < 0, "an amount is positive")
    if "missing" in columns:
        missing = check.read("missing")
        strange = ~np.isin(np.nan_to_num(missing), (0, 1))
        check.refuse("missing", missing, strange, "expected 1 (the datum is missing) or 0")
        y = np.where(np.nan_to_num(missing)[:, None] != 0, np.nan, y)
    if "kind" not in columns:
        is_event = np.nan_to_num(amount) != 0
        return is_event, ~(is_event & np.isnan(y).all(1)), y
    kind = check.read("kind")
    known = "expected 0 (datum), 1 (dose), 2 (other), 3 (reset) or 4 (reset and dose)"
    check.refuse("kind", kind, ~np.isin(kind, (0, 1, 2, 3, 4)), known)
    is_event = np.isin(kind, (1, 3, 4))
    is_dose = is_event & (kind != 3)
    constant = _is_constant(check, amount)
    check.refuse(
        "amount",
        amount,
        is_dose & ~(amount > 0) & ~constant,
        "the row is a dose, so give an amount above 0",
    )
    check.refuse(
        "amount",
        amount,
        ~is_dose & (np.nan_to_num(amount) != 0),
        "the kind of the row says that it is no dose; make the kind 1 or the amount 0",
    )
    datum = np.nan_to_num(y)[np.arange(len(y)), np.argmax(np.nan_to_num(y) != 0, axis=1)]
    check.refuse(
        "kind",
        kind,
        (kind != 0) & (datum != 0),
        "such a row has no datum, but the observed columns hold one; give the datum a row of its "
        "own with kind 0, or make it missing",
    )
    return is_event, ~is_event, np.where((kind != 0)[:, None], np.nan, y)


def _is_constant(check: "_Checks", amount: np.ndarray) -> np.ndarray:
    """Which rows say the steady state of an infusion since ever, which has a rate and no amount."""
    rate, interval = (np.nan_to_num(check.read(part)) for part in ("rate", "interval"))
    steady = np.nan_to_num(check.read("steady_state"))
    return (steady != 0) & (rate > 0) & (np.nan_to_num(amount) == 0) & (interval == 0)


def _refuse_lost(check: "_Checks", is_event: np.ndarray) -> None:
    """Raise where a row that is no dose says something that only a dose can have."""
    if "kind" in check.columns:
        is_event = is_event & (check.read("kind") != 3)
    lost_because = (
        "its kind says that the row is no dose, so it would be lost: make the kind 1 (or 4, a "
        "reset and a dose), or write 0"
        if "kind" in check.columns
        else "there is no amount in this row, so it would be lost: give one, or write 0"
    )
    for part in ("rate", "duration", "additional", "steady_state"):
        value = check.read(part)
        check.refuse(part, value, ~is_event & (np.nan_to_num(value) != 0), lost_because)
    if "state" in check.columns and not is_text(check.table[check.columns["state"]]):
        number = check.read("state")
        check.refuse(
            "state", number, number < 0, "compartments that are switched off are not supported"
        )


def _event_values(
    check: "_Checks", is_event: np.ndarray
) -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """What is said of each event, the row that says so, and whether it is a repeat.

    In order: columns are read and checked, repeats are written out as events of their own, and
    all are sorted by subject and time.
    """
    rows = check.rows
    amount = check.read("amount")
    rate, duration = _infusion(check, amount, is_event)
    regimens = _regimens(check, is_event)
    copies, interval = _repeats(check, is_event, regimens.steady > 0)
    state, rank = _state(check, is_event & ~regimens.only_reset)

    row = np.repeat(np.flatnonzero(is_event), copies[is_event] + 1)
    number = np.arange(len(row)) - np.searchsorted(row, row)
    times = rows.times[row] + number * interval[row]
    kept = regimens.still_to_come(rows, row, times, number)
    row, number, times = row[kept], number[kept], times[kept]
    # Ties are broken by value, so that the order of the table's rows does not matter, unless
    # something begins anew: then it does, and repeats come before the rows of their time.
    by: tuple[np.ndarray, ...] = (rank[row], duration[row], rate[row], amount[row])
    if regimens.any:
        by = (row, number == 0)
    order = np.lexsort((*by, times, rows.subject[row]))
    row, times, number = row[order], times[order], number[order]
    values = {
        "event_time": times,
        "event_amount": np.where(regimens.only_reset, 0.0, amount)[row],
        "event_rate": rate[row],
        "event_duration": duration[row],
    }
    if state is not None:
        nowhere = np.nan if state.dtype.kind == "f" else ""
        values["event_state"] = np.where(regimens.only_reset, nowhere, state)[row]
    return {**values, **regimens.values(row, number > 0, interval)}, row, number > 0


def _regimens(check: "_Checks", is_event: np.ndarray) -> Regimens:
    """Which rows begin anew, or say a steady state."""
    kind = check.read("kind")
    steady = np.where(is_event, np.nan_to_num(check.read("steady_state")), 0.0)
    found = Regimens(steady, is_event & np.isin(kind, (3, 4)), is_event & (kind == 3))
    constant = is_event & _is_constant(check, check.read("amount"))
    check_regimens(check, found, constant)
    return found


def _infusion(
    check: "_Checks", amount: np.ndarray, is_event: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Rate and duration of each row as they are told: both 0 for a bolus, one for an infusion.

    They stay apart, since what is absorbed in part lasts shorter at the same rate, but has the
    same duration at a lower one.
    """
    rate, duration = (np.nan_to_num(check.read(part)) for part in ("rate", "duration"))
    check.refuse(
        "rate",
        rate,
        is_event & (rate < 0) & ~np.isin(rate, (-1, -2)),
        "a rate is not negative; -1 stands for the rate that the system says, -2 for the duration",
    )
    check.refuse("duration", duration, is_event & (duration < 0), "a duration is not negative")
    given = is_event & (duration > 0)
    check.refuse(
        "rate",
        rate,
        given & (rate < 0),
        f"it says that the system knows how long the dose lasts, and {check.name('duration')} says",
    )
    check.refuse(
        "rate",
        rate,
        given & (rate > 0) & ~np.isclose(rate * duration, amount, rtol=1e-6),
        "rate times duration is not the amount; give only one of the two",
    )
    return rate, duration


def _repeats(
    check: "_Checks", is_event: np.ndarray, is_steady: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """How many more times each row's event happens, and how far apart.

    All arrays are ``(row,)``; an interval says something of a steady state, too.
    """
    copies, interval = (np.nan_to_num(check.read(part)) for part in ("additional", "interval"))
    wrong = (copies < 0) | (copies != np.floor(copies))
    check.refuse("additional", copies, is_event & wrong, "expected a whole number, 0 or more")
    check.refuse(
        "additional",
        copies,
        is_event & (copies > 0) & ~(interval > 0),
        f"repeats need an interval above 0 in {check.name('interval')}",
    )
    check.refuse(
        "interval",
        interval,
        is_event & (interval > 0) & (copies == 0) & ~is_steady,
        "it would do nothing, since no repeats are asked for: say how many more doses follow in "
        "events['additional'] (ADDL), or write 0",
    )
    return copies.astype(int), interval


def _state(check: "_Checks", is_event: np.ndarray) -> tuple[np.ndarray | None, np.ndarray]:
    """Where each event enters: a state's name, or its number from 1; and a key to sort by."""
    if "state" not in check.columns:
        return None, np.zeros(len(is_event))
    column = check.columns["state"]
    if is_text(check.table[column]):
        names, position = labels(check.table, "events['state']", column)
        missing = is_event & (position < 0)
        check.refuse("state", np.full(len(missing), np.nan), missing, "name the state")
        return np.append(names, "")[position], position
    number = check.read("state")
    wrong = ~(number >= 1) | (number != np.floor(number))
    check.refuse("state", number, is_event & wrong, "expected the number of a state, from 1")
    return number, number


class _Checks:
    """Reads the event columns and says what is wrong where."""

    def __init__(
        self, table: Table, columns: Mapping[str, str], rows: Rows, unit: str | None
    ) -> None:
        self.table, self.columns, self.rows, self.unit = table, columns, rows, unit

    def read(self, part: str) -> np.ndarray:
        """Numbers of one column, NaN throughout if there is none."""
        if part not in self.columns:
            return np.full(len(self.table), np.nan)
        role, column = f"events[{part!r}]", self.columns[part]
        if part in ("duration", "interval"):
            values = read_spans(self.table, role, column, self.unit)
        else:
            values = numbers(self.table, role, column)
        refuse_infinite(role, column, values, self.rows)
        return values

    def name(self, part: str) -> str:
        """What the user calls a column."""
        return f"column {self.columns[part]!r}" if part in self.columns else f"events[{part!r}]"

    def refuse(self, part: str, values: np.ndarray, wrong: Any, problem: str) -> None:
        """Raise if any row is wrong, naming the first."""
        if np.any(wrong):
            row = int(np.argmax(wrong))
            value = "nothing" if np.isnan(values[row]) else f"{values[row]:.10g}"
            raise ValueError(
                f"events[{part!r}]: column {self.columns[part]!r} holds {value} at "
                f"{self.rows.place(row)}; {problem}"
            )
