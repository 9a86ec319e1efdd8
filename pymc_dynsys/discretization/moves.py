"""Steps and events of trajectories, one after the other, for a path that is a variable.

A path has a normal for every source of noise at every step. What takes no time takes no step: a
first visit at ``t0``, visits at one time, a visit that is not there. A visit at 0 and at 2, a dose
at 2, and steps of at most 1 become::

    move      0      1        2
    t         0      1        2
    noise     0      1        -     a dose takes no step of its own
    event     no     no       yes
    at_visit  0 and 2 (so many moves come before the visit)
"""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

from pymc_dynsys.discretization.grid import TimeGrid

LEAVES = ("t", "h", "noise", "active", "event", "row", "at_visit", "visit_row")


@partial(jax.tree_util.register_dataclass, data_fields=LEAVES, meta_fields=("n_steps",))
@dataclass(frozen=True)
class Moves:
    """Moves of trajectories; leaves are ``(*batch, move)``, padded at the end.

    Attributes
    ----------
    t, h : array
        Time that a move leaves, and its length; zero for an event alone, and for padding.
    noise : array of int
        Place of its normals among those of all steps.
    active, event : array of bool
        Whether it is a step; whether the event at its row happens after it.
    row : array of int
        Row that it leads to.
    at_visit : array of int, (*batch, visit)
        Moves that come before each visit; where there is no visit, those before the last one.
    visit_row : array of int, (*batch, visit)
        Row of each visit; where there is none, that of the last one, or -1.
    n_steps : int
        Most steps of any trajectory.
    """

    t: Any
    h: Any
    noise: Any
    active: Any
    event: Any
    row: Any
    at_visit: Any
    visit_row: Any
    n_steps: int


def lay_out_moves(grid: TimeGrid, whole_gaps: bool) -> Moves:
    """Moves of a grid of known times, by numpy; one for each gap where they are crossed at once."""
    marks = grid.marks
    times, gaps = np.asarray(grid.times), np.asarray(grid.gaps)
    counts = np.where(gaps > 0, 1 if whole_gaps else np.asarray(grid.steps), 0)
    dose = np.full(times.shape, -1) if marks is None or marks.dose is None else marks.dose
    batch = np.broadcast_shapes(counts.shape[:-1], dose.shape[:-1])
    n_rows = times.shape[-1]
    counts, dose, times, gaps = (
        np.broadcast_to(a, (*batch, n_rows)).reshape(-1, n_rows)
        for a in (counts, dose, times, gaps)
    )
    moves = counts + ((dose >= 0) & (counts == 0))
    before = np.cumsum(moves, axis=-1)
    size, n_steps = int(before[:, -1].max(initial=0)), int(counts.sum(-1).max(initial=0))
    shape = (len(counts), size)
    leaves = {
        "t": np.zeros(shape),
        "h": np.zeros(shape),
        "noise": np.zeros(shape, int),
        "active": np.zeros(shape, bool),
        "event": np.zeros(shape, bool),
        "row": np.full(shape, n_rows - 1),
    }
    for i, n in enumerate(moves):
        row = np.repeat(np.arange(n_rows), n)
        here = slice(0, len(row))
        number = np.arange(len(row)) - (before[i] - n)[row]
        active = number < counts[i, row]
        h = np.where(active, gaps[i, row] / np.maximum(counts[i, row], 1), 0.0)
        leaves["row"][i, here], leaves["active"][i, here], leaves["h"][i, here] = row, active, h
        leaves["t"][i, here] = times[i, row] - gaps[i, row] + number * h
        leaves["t"][i, len(row) :] = times[i, -1]
        leaves["noise"][i, here] = np.where(active, np.cumsum(active) - 1, 0)
        leaves["event"][i, here] = (dose[i, row] >= 0) & (number == n[row] - 1)
    found = {name: leaf.reshape(*batch, size) for name, leaf in leaves.items()}
    rows = _rows_of_visits(grid)
    at_visit = _at_visits(rows, before.reshape(*batch, n_rows))
    return Moves(**found, at_visit=at_visit, visit_row=rows, n_steps=n_steps)


def _rows_of_visits(grid: TimeGrid) -> np.ndarray:
    """Row of each visit, ``(*batch, visit)``; where there is none, that of the last one, or -1."""
    if grid.marks is None:
        n = grid.times.shape[-1]
        return np.broadcast_to(np.arange(n), grid.times.shape)
    return np.maximum.accumulate(np.asarray(grid.marks.row_of_visit), axis=-1)


def _at_visits(rows: np.ndarray, before: np.ndarray) -> np.ndarray:
    """Moves before each visit, from those up to each row."""
    batch = np.broadcast_shapes(rows.shape[:-1], before.shape[:-1])
    rows = np.broadcast_to(rows, (*batch, rows.shape[-1]))
    before = np.broadcast_to(before, (*batch, before.shape[-1]))
    found = np.take_along_axis(before, np.maximum(rows, 0), axis=-1)
    return np.where(rows >= 0, found, 0)
