"""Observation times turned into gaps, steps and a table of distinct gaps."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pymc_dynsys.discretization.base import Discretization
from pymc_dynsys.discretization.schedule import Layout, Rows, Schedule, lay_out


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "times",
        "gaps",
        "steps",
        "distinct_gaps",
        "distinct_steps",
        "index",
        "rows",
        "row_of_visit",
        "visit_of_row",
        "is_visit",
    ),
    meta_fields=("max_steps", "uneven"),
)
@dataclass(frozen=True)
class TimeGrid:
    """The gaps a filter crosses. Leaves carry leading batch axes where times vary.

    The gap with index k leads into visit k; the first one comes from ``t0`` and is mostly
    zero. A NaN time is no visit: its gap is zero.

    Attributes
    ----------
    times : array, (*batch, time)
        Time of each visit.
    gaps : array, (*batch, time)
        Time since the visit before.
    steps : array of int, (*batch, time)
        Substeps of each gap; zero only where a system in discrete time does not move.
    distinct_gaps, distinct_steps : array, (*batch, distinct)
        The table of gaps: those that differ, or all of them when most differ.
    index : array of int, (*batch, time), or None
        Row of the table for each visit; None: the table has a row for each.
    max_steps : int
        Most substeps of any gap.
    uneven : bool
        Whether gaps differ in their number of substeps, those aside that are zero and may be cut
        at will.
    rows, row_of_visit, visit_of_row, is_visit : optional
        With events or inputs there are more instants than visits: then "visit" above reads
        "row", and these say what happens at each row and which rows are visits; -1 is the
        row of a visit that has no time.
    """

    times: Any
    gaps: Any
    steps: Any
    distinct_gaps: Any
    distinct_steps: Any
    index: Any
    max_steps: int
    uneven: bool
    rows: Rows | None = None
    row_of_visit: Any = None
    visit_of_row: Any = None
    is_visit: Any = None

    @property
    def starts(self) -> Any:
        """Time each gap leaves."""
        return self.times - self.gaps

    @property
    def lengths(self) -> Any:
        """Length of the substeps of each gap."""
        return substep_length(self.gaps, self.steps)


def substep_length(gap: Any, steps: Any) -> Any:
    """Length of the substeps of a gap, zero where there are none."""
    return gap / jnp.maximum(steps, 1)


def build_grid(
    times: Any,
    t0: Any,
    discretization: Discretization,
    schedule: Schedule | None = None,
    n_states: int = 0,
) -> TimeGrid:
    """Grid for times ``(*batch, time)`` and starts ``t0`` (NaN: the first visit).

    Known times are prepared once with numpy. Times that a surrounding program traces are
    accepted as long as no gap is cut into steps, whose number must be known.
    """
    if isinstance(times, jax.core.Tracer) or isinstance(t0, jax.core.Tracer):
        return _traced_grid(times, t0, discretization, schedule)
    layout: Layout | None = None
    if schedule is not None:
        layout = lay_out(np.asarray(times, float), np.asarray(t0, float), schedule, n_states)
        times, t0 = layout.times, layout.t0
    times, gaps = _gaps(np, np.asarray(times, float), np.asarray(t0, float))
    steps = discretization.substeps(gaps)
    # Gaps that differ by the rounding of the times they come from are the same gap.
    unit = 8 * np.finfo(float).eps * max(np.abs(times).max(initial=0.0), 1e-300)
    _, first, index = np.unique(np.round(gaps / unit), return_index=True, return_inverse=True)
    distinct = gaps.reshape(-1)[first]
    row_of_gap: np.ndarray | None = None
    if 2 * distinct.size <= gaps.shape[-1]:
        table, table_steps = distinct, steps.reshape(-1)[first]
        row_of_gap = index.reshape(gaps.shape)
    else:
        table, table_steps = gaps, steps
    # A gap of zero may be cut at will, so where all others agree it joins them.
    most = int(steps.max(initial=1))
    uneven = bool((steps[(gaps > 0) | (steps == 0)] != most).any())
    if not uneven:
        steps, table_steps = np.full_like(steps, most), np.full_like(table_steps, most)
    grid = TimeGrid(times, gaps, steps, table, table_steps, row_of_gap, most, uneven)
    if layout is None:
        return grid
    return replace(
        grid,
        rows=layout.rows,
        row_of_visit=layout.row_of_visit,
        visit_of_row=layout.visit_of_row,
        is_visit=layout.is_visit,
    )


def _traced_grid(
    times: Any, t0: Any, discretization: Discretization, schedule: Schedule | None
) -> TimeGrid:
    if schedule is not None:
        raise ValueError(
            "events and inputs need times that are known when the model is compiled by JAX; "
            "freeze the data with "
            "pymc.model.transform.optimization.freeze_dims_and_data(model)"
        )
    if discretization.longest_step is not None:
        raise ValueError(
            f"{discretization!r} cuts gaps into steps, so the times must be known when the "
            "model is compiled by JAX; freeze the data with "
            "pymc.model.transform.optimization.freeze_dims_and_data(model), or use dt=None where "
            "there is a dt"
        )
    times, gaps = _gaps(jnp, jnp.asarray(times), jnp.asarray(t0))
    steps = discretization.substeps(gaps)
    return TimeGrid(times, gaps, steps, gaps, steps, None, 1, False)


def _gaps(xp: Any, times: Any, t0: Any) -> tuple[Any, Any]:
    """Filled times and gaps; NaN times repeat the visit before them."""
    visit = xp.isfinite(times)
    first = xp.min(xp.where(visit, times, xp.inf), axis=-1)
    first = xp.where(xp.isfinite(first), first, 0.0)
    lowest = xp.where(visit, times, -xp.inf)
    running = (
        np.maximum.accumulate(lowest, axis=-1)
        if xp is np
        else jax.lax.cummax(lowest, axis=lowest.ndim - 1)
    )
    filled = xp.where(xp.isfinite(running), running, first[..., None])
    start = xp.where(xp.isnan(t0), first, t0)
    shape = np.broadcast_shapes(start.shape, filled.shape[:-1])
    start = xp.broadcast_to(start, shape)[..., None]
    filled = xp.broadcast_to(filled, (*shape, filled.shape[-1]))
    gaps = xp.diff(filled, axis=-1, prepend=start)
    # Before the first visit of a ragged row there is nothing to cross.
    return filled, xp.where(xp.isfinite(gaps), gaps, 0.0)
