"""Observation times turned into gaps, steps and a table of distinct gaps."""

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from pymc_dynsys.discretization.known import is_known
from pymc_dynsys.discretization.laws import LawsAtRows, laws_at_rows
from pymc_dynsys.discretization.layout import Marks, lay_out
from pymc_dynsys.discretization.moving import with_moving, without_moving
from pymc_dynsys.discretization.operands import Design, Operands
from pymc_dynsys.discretization.rows import Rows, look_up

if TYPE_CHECKING:
    from pymc_dynsys.discretization.base import Discretization


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "times",
        "gaps",
        "steps",
        "distinct_gaps",
        "distinct_steps",
        "index",
        "marks",
        "rows",
        "laws",
    ),
    meta_fields=("max_steps", "uneven", "moving"),
)
@dataclass(frozen=True)
class TimeGrid:
    """The gaps a filter crosses. Leaves carry leading batch axes where times vary.

    The gap with index k leads into row k; the first one comes from ``t0`` and is mostly
    zero. A NaN time is no visit: its gap is zero.

    Attributes
    ----------
    times : array, (*batch, row)
        Time of each row. Without events and inputs a row is a visit.
    gaps : array, (*batch, row)
        Time since the row before.
    steps : array of int, (*batch, row)
        Substeps of each gap; zero only where a system in discrete time does not move.
    distinct_gaps, distinct_steps : array, (*batch, distinct)
        The table of gaps: those that differ, or all of them when most differ.
    index : array of int, (*batch, row), or None
        Row of the table for each gap; None: the table has a row for each.
    max_steps : int
        Most substeps of any gap.
    uneven : bool
        Whether gaps differ in their number of substeps, those aside that are zero and may be cut
        at will.
    marks : Marks, optional
        With events or inputs: where things happen.
    rows : Rows, optional
        With events or inputs: their values; None until they are looked up.
    laws : LawsAtRows, optional
        With resets or steady states: where they are; None until parameters are there, too.
    moving : bool
        Whether some rows are where parameters say, so that gaps have slopes. Until the rows are
        looked up the grid is one without these rows, with steps enough for any gap.
    """

    times: Any
    gaps: Any
    steps: Any
    distinct_gaps: Any
    distinct_steps: Any
    index: Any
    max_steps: int
    uneven: bool
    marks: Marks | None = None
    rows: Rows | None = None
    laws: LawsAtRows | None = None
    moving: bool = False

    @property
    def starts(self) -> Any:
        """Time each gap leaves."""
        return self.times - self.gaps

    @property
    def lengths(self) -> Any:
        """Length of the substeps of each gap."""
        return substep_length(self.gaps, self.steps)

    def halved(self) -> "TimeGrid":
        """The grid with every step cut in two."""
        return replace(
            self,
            steps=2 * self.steps,
            distinct_steps=2 * self.distinct_steps,
            max_steps=2 * self.max_steps,
        )


def substep_length(gap: Any, steps: Any) -> Any:
    """Length of the substeps of a gap, zero where there are none."""
    return gap / jnp.maximum(steps, 1)


def prepare_grid(
    design: Design, operands: Operands, discretization: "Discretization | None" = None
) -> TimeGrid:
    """Grid of operands: by numpy where times are known, else as part of the traced program.

    Values of doses and inputs are looked up here too, except those of inputs that are variables,
    which the program looks up itself so that gradients reach them.
    """
    times, t0 = operands.times, operands.t0
    if not design.scheduled:
        return _without_disorder(build_grid(times, t0, discretization), operands)
    if design.moving:
        return _without_disorder(_moving_grid(design, operands, discretization), operands)
    marks = lay_out(design, operands)
    grid = build_grid(marks.times, marks.start, discretization)
    grid = _without_disorder(replace(grid, marks=marks), operands)
    if any(kind.variable for kind in design.inputs):
        return grid
    return with_rows(grid, operands, design)


def with_rows(grid: TimeGrid, operands: Operands, design: Design) -> TimeGrid:
    """The grid with the values of doses and inputs, if they are not there yet."""
    if grid.marks is None or grid.rows is not None:
        return grid
    if grid.moving:
        grid, operands = _moved(grid, operands, design)
    assert grid.marks is not None
    rows = look_up(grid.marks, operands, design.system.n_states)
    return replace(grid, rows=rows, laws=laws_at_rows(grid.marks, operands.doses))


def _moving_grid(
    design: Design, operands: Operands, discretization: "Discretization | None"
) -> TimeGrid:
    """Grid for events at times that parameters say: without these, and not looked up yet.

    Every row has as many steps as the longest gap, since such an event may come before any row.
    """
    marks = lay_out(design, without_moving(design, operands))
    grid = build_grid(marks.times, marks.start, discretization)
    steps = grid.steps * 0 + grid.max_steps
    return replace(
        grid,
        steps=steps,
        distinct_gaps=grid.gaps,
        distinct_steps=steps,
        index=None,
        uneven=False,
        marks=marks,
        moving=True,
    )


def _moved(grid: TimeGrid, operands: Operands, design: Design) -> tuple[TimeGrid, Operands]:
    """The grid with events where they are, and the operands with their times and durations."""
    assert grid.marks is not None
    operands, wrong = with_moving(design, operands, grid.marks.start)
    marks = lay_out(design, operands)
    times, gaps = _gaps(jnp, jnp.asarray(marks.times), jnp.asarray(marks.start))
    wrong = wrong | jnp.isnan(grid.gaps).any(-1, keepdims=True)
    gaps = gaps + jnp.where(wrong, jnp.nan, 0.0)
    steps = jnp.broadcast_to(grid.steps[..., :1], gaps.shape)
    moved = replace(
        grid,
        times=times,
        gaps=gaps,
        steps=steps,
        distinct_gaps=gaps,
        distinct_steps=steps,
        marks=marks,
    )
    return moved, operands


def build_grid(times: Any, t0: Any, discretization: "Discretization | None" = None) -> TimeGrid:
    """Grid for times ``(*batch, row)`` and starts ``t0`` (NaN: the first row), one step a gap.

    With a discretization, gaps are cut into its steps. Known times are prepared with numpy. Times
    that a surrounding program traces are accepted as long as no gap is cut into steps, whose
    number must be known.
    """
    if not is_known(times, t0):
        return _traced_grid(times, t0, discretization)
    times, gaps = _gaps(np, np.asarray(times, float), np.asarray(t0, float))
    steps = np.ones(gaps.shape, int) if discretization is None else discretization.substeps(gaps)
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
    return TimeGrid(times, gaps, steps, table, table_steps, row_of_gap, most, uneven)


def gaps_of(times: Any, t0: Any) -> np.ndarray:
    """Gaps ``(*batch, row)`` between known times; the first is that from ``t0``."""
    return np.asarray(_gaps(np, np.asarray(times, float), np.asarray(t0, float))[1])


def _traced_grid(times: Any, t0: Any, discretization: "Discretization | None") -> TimeGrid:
    if discretization is not None and discretization.longest_step is not None:
        raise ValueError(
            f"{discretization!r} cuts gaps into steps, so the times must be known when the "
            "model is compiled by JAX; freeze the data with "
            "pymc.model.transform.optimization.freeze_dims_and_data(model), or use dt=None where "
            "there is a dt"
        )
    times, gaps = _gaps(jnp, jnp.asarray(times), jnp.asarray(t0))
    steps = jnp.ones(gaps.shape, int)
    return TimeGrid(times, gaps, steps, gaps, steps, None, 1, False)


def _without_disorder(grid: TimeGrid, operands: Operands) -> TimeGrid:
    """The grid with gaps of NaN where traced times do not ascend, or lie before ``t0``.

    Known times are refused before they come here. Traced ones cannot be, and must not give numbers.
    """
    times, t0, doses = operands.times, operands.t0, operands.doses
    given = None if doses is None else doses.times
    if is_known(times, t0, given):
        return grid
    times, t0 = jnp.asarray(times), jnp.asarray(t0)
    known = jnp.where(jnp.isnan(times), -jnp.inf, times)
    latest = jax.lax.cummax(known, axis=known.ndim - 1)
    disorder = (~jnp.isnan(times) & (times < latest)).any(-1)
    first = jnp.where(jnp.isnan(times), jnp.inf, times).min(-1)
    wrong = (disorder | (t0 > first))[..., None]
    if doses is not None and not grid.moving:
        lasts = False if doses.durations is None else jnp.asarray(doses.durations) > 0
        early = jnp.asarray(given) < t0[..., None]
        wrong = wrong | (early & ~jnp.asarray(lasts)).any(-1, keepdims=True)
    gaps = jnp.where(wrong, jnp.nan, grid.gaps)
    return replace(grid, gaps=gaps, distinct_gaps=gaps)


def _gaps(xp: Any, times: Any, t0: Any) -> tuple[Any, Any]:
    """Filled times and gaps; NaN times repeat the row before them."""
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


def grid_cores(grid: TimeGrid, design: Design) -> TimeGrid:
    """Number of axes of each leaf of a grid that belong to one trajectory, as a grid of ints."""
    cores: TimeGrid = jax.tree.map(lambda _: 1, grid)
    if grid.marks is not None:
        assert cores.marks is not None
        running = None if grid.marks.running is None else 2
        cores = replace(cores, marks=replace(cores.marks, start=0, running=running))
    if grid.rows is not None:
        assert cores.rows is not None
        of_inputs = {name: 1 + len(shape) for name, shape in design.system.input_shapes.items()}
        rows = replace(
            cores.rows,
            infusion=None if grid.rows.infusion is None else 2,
            gap_inputs=of_inputs,
            row_inputs=of_inputs,
            rates={name: of_inputs[name] for name in grid.rows.rates},
        )
        cores = replace(cores, rows=rows)
    return cores
