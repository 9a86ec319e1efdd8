"""Whose and when each row is, and from rows to arrays with one line a subject."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Rows:
    """Subject and time of each row of the table.

    Attributes
    ----------
    subjects : array
        Labels of the subjects, in order.
    subject : array of int
        Position of each row's subject.
    times : array of float
        Time of each row.
    """

    subjects: np.ndarray
    subject: np.ndarray
    times: np.ndarray

    def place(self, row: Any) -> str:
        """Words for a row, for an error message."""
        label = self.subjects[self.subject[row]].item()
        return f"subject {label!r}, time {self.times[row]:.10g}, row {row}"

    def instants(self) -> tuple[np.ndarray, np.ndarray]:
        """Rows in order of subject, time and table, and which instant each of these is at."""
        order = np.lexsort((self.times, self.subject))
        who, when = self.subject[order], self.times[order]
        begins = np.ones(len(order), dtype=bool)
        begins[1:] = (who[1:] != who[:-1]) | (when[1:] != when[:-1])
        return order, np.cumsum(begins) - 1


def refuse_infinite(role: str, column: str, values: np.ndarray, rows: Rows) -> None:
    """Raise if a value is infinite, saying where."""
    if np.isinf(values).any():
        row = int(np.argmax(np.isinf(values)))
        raise ValueError(
            f"{role}: column {column!r} holds {values[row]} at {rows.place(row)}; a missing value "
            "is NaN, and infinity is never data"
        )


def one_per_subject(
    role: str, column: str, values: np.ndarray, missing: np.ndarray, rows: Rows
) -> tuple[np.ndarray, np.ndarray]:
    """The row that has each subject's one value, and whether there is such a row.

    Rows without a value take no part; two different values are an error.
    """
    known = np.flatnonzero(~missing)
    source = np.zeros(len(rows.subjects), dtype=int)
    has = np.zeros(len(rows.subjects), dtype=bool)
    source[rows.subject[known]] = known
    has[rows.subject[known]] = True
    differs = known[values[known] != values[source[rows.subject[known]]]]
    if len(differs):
        whose = rows.subject[differs[0]]
        first, second = sorted((int(differs[0]), int(source[whose])))
        raise ValueError(
            f"{role}: column {column!r} varies within subject {rows.subjects[whose].item()!r}: "
            f"{values[first].item()!r} in row {first}, {values[second].item()!r} in row {second}; "
            f"{role} are constant in a subject, give what changes with time as inputs="
        )
    return source, has


def slots(subject: np.ndarray) -> np.ndarray:
    """Number of each item within its subject, from 0; items are in order of subject."""
    counts = np.bincount(subject)
    return np.arange(len(subject)) - (np.cumsum(counts) - counts)[subject]


def pad(values: np.ndarray, subject: np.ndarray, n_subjects: int) -> np.ndarray:
    """One line a subject of its values in order, then NaN, or empty text; at least one column."""
    slot = slots(subject)
    n_slots = int(slot.max(initial=0)) + 1
    empty: Any = "" if values.dtype.kind == "U" else np.nan
    lines = np.full((n_subjects, n_slots, *values.shape[1:]), empty, dtype=values.dtype)
    lines[subject, slot] = values
    return lines
