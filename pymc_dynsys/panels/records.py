"""What varies in time, at the times of all rows: a row with a dose only says something, too."""

from typing import Any

import numpy as np

from pymc_dynsys.panels.rows import Rows, pad
from pymc_dynsys.panels.visits import Visits


def as_record(
    values: np.ndarray,
    rows: Rows,
    visits: Visits,
    dims: tuple[str, str],
    coordinates: dict[str, Any],
    attrs: dict[str, str],
) -> tuple[Any, ...]:
    """An input over the visits, or over all rows where rows and visits are not the same.

    Values are those of the table's rows. In the second case their times become the coordinate
    ``record_time``; what only one of several rows of one time says holds for all of these.
    """
    n = len(rows.subjects)
    order, instant = rows.instants()
    inverse = np.argsort(visits.of_row)
    if np.array_equal(visits.of_row[inverse], np.arange(len(visits.subject))):
        return dims, pad(values[inverse], visits.subject, n)
    clock = pad(rows.times[order], rows.subject[order], n)
    coordinates["record_time"] = (("subject", "record"), clock, attrs)
    told = _shared(values[order], instant)
    return ("subject", "record"), pad(told, rows.subject[order], n)


def _shared(values: np.ndarray, instant: np.ndarray) -> np.ndarray:
    """Values of rows in order; what only one of the rows of one time says holds for all of them."""
    for step in (1, -1):
        there, at = values[::step], instant[::step]
        last = np.maximum.accumulate(np.where(np.isnan(there), -1, np.arange(len(there))))
        same = (last >= 0) & (at[last] == at)
        values = np.where(same, there[last], there)[::step]
    return values
