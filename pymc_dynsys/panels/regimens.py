"""What begins anew in a table of doses: resets, and steady states of repeated doses.

Legend: a row of kind 3 or 4 resets the state; kind 4 then gives its dose. Steady state 1 forgets
all before and puts the state that its doses, `interval` apart since ever, lead to; steady state 2
adds that state to the one there is. What was under way of earlier rows ends at a reset and at a
steady state 1.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pymc_dynsys.panels.rows import Rows


@dataclass(frozen=True, eq=False)
class Regimens:
    """By row of the table: the steady state (0, 1, 2), whether it resets, and does only that."""

    steady: np.ndarray
    reset: np.ndarray
    only_reset: np.ndarray

    @property
    def any(self) -> bool:
        """Whether there is any."""
        return bool((self.steady > 0).any() or self.reset.any())

    def still_to_come(
        self, rows: Rows, row: np.ndarray, times: np.ndarray, number: np.ndarray
    ) -> np.ndarray:
        """Which events take place: those of rows, and repeats that no later row has cancelled.

        `row`, `times` and `number` are the row of each event, its time, and which repeat it is.
        """
        kept = np.ones(len(row), dtype=bool)
        for k in np.flatnonzero(self.reset | (self.steady == 1)):
            when, of_row = rows.times[k], rows.times[row]
            earlier = (of_row < when) | ((of_row == when) & (row < k))
            same = rows.subject[row] == rows.subject[k]
            kept &= ~(same & earlier & (number > 0) & (times >= when))
        return kept

    def values(
        self, row: np.ndarray, repeated: np.ndarray, interval: np.ndarray
    ) -> dict[str, np.ndarray]:
        """What is said of each event, of those things that any is said of."""
        found = {}
        if self.reset.any():
            found["event_reset"] = np.where(repeated, 0.0, self.reset[row])
        if (self.steady > 0).any():
            steady = np.where(repeated, 0.0, self.steady[row])
            found["event_steady_state"] = steady
            found["event_interval"] = np.where(steady > 0, interval[row], 0.0)
        return found


class Reader(Protocol):
    """Reads event columns, and raises with the place of the first row that is wrong."""

    def read(self, part: str) -> np.ndarray:
        """Numbers of one column."""

    def name(self, part: str) -> str:
        """What the user calls a column."""

    def refuse(self, part: str, values: np.ndarray, wrong: np.ndarray, problem: str) -> None:
        """Raise if any row is wrong."""


def check_regimens(check: Reader, found: Regimens, constant: np.ndarray) -> None:
    """Raise for steady states that say too little, or too much.

    `constant` are the rows of an infusion since ever.
    """
    steady, interval = found.steady, np.nan_to_num(check.read("interval"))
    check.refuse(
        "steady_state",
        steady,
        ~np.isin(steady, (0, 1, 2)),
        "expected 0 (none), 1 (the steady state of its doses) or 2 (added to what there is)",
    )
    check.refuse(
        "steady_state",
        steady,
        (steady > 0) & ~(interval > 0) & ~constant,
        f"a steady state needs the interval of its doses, above 0, in {check.name('interval')}",
    )
    check.refuse(
        "additional",
        check.read("additional"),
        constant & (np.nan_to_num(check.read("additional")) > 0),
        "the steady state of an infusion since ever, which ends here, has no doses that follow",
    )
