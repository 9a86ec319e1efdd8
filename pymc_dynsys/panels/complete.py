"""A visit of every subject at every time of the table, so that dropout is missing data."""

import warnings

import numpy as np

from pymc_dynsys.panels.rows import Rows
from pymc_dynsys.panels.visits import Visits


def completed(rows: Rows, visits: Visits) -> Visits:
    """Visits of all subjects at all times at which there is one; those added have no datum."""
    n = len(rows.subjects)
    grid, column = np.unique(visits.times, return_inverse=True)
    place = visits.subject * len(grid) + column
    _refuse_replicates(rows, visits, place)
    if len(grid):
        _warn_of_earlier_starts(rows, grid[0])
    y = np.full((n * len(grid), visits.y.shape[1]), np.nan)
    y[place] = visits.y
    of_row = np.where(visits.of_row >= 0, place[visits.of_row], -1)
    subject, times = np.repeat(np.arange(n), len(grid)), np.tile(grid, n)
    return Visits(subject, times, y, of_row, visits.before_event)


def _refuse_replicates(rows: Rows, visits: Visits, place: np.ndarray) -> None:
    """Raise where a subject has two visits at one time, which others would need as well."""
    again = np.flatnonzero(np.diff(place) == 0)
    if len(again):
        first = again[0]
        raise ValueError(
            f"complete: subject {rows.subjects[visits.subject[first]].item()!r} has two visits at "
            f"time {visits.times[first]:.10g}, and on a grid of all subjects a time is one visit; "
            "give replicates columns of their own, or leave out complete=True"
        )


def _warn_of_earlier_starts(rows: Rows, first: float) -> None:
    """Warn of subjects whose trajectory now begins before any of their rows."""
    begins = np.full(len(rows.subjects), np.inf)
    np.minimum.at(begins, rows.subject, rows.times)
    late = np.flatnonzero(begins > first)
    if len(late):
        more = f", and so does that of {len(late) - 1} more" if len(late) > 1 else ""
        warnings.warn(
            f"complete: the first row of subject {rows.subjects[late[0]].item()!r} is at time "
            f"{begins[late[0]]:.10g}, but on the grid its trajectory begins at {first:.10g} with "
            f"the initial distribution{more}; write a row without a datum there if it does, or "
            "leave out complete=True",
            UserWarning,
            stacklevel=4,
        )
