"""Doses and time-varying inputs laid out on the rows a filter crosses.

A row is an instant at which something happens: a visit, an event, the start or end of an
infusion, a change of an input. Between rows every input is constant, so a linear system
keeps its exact transition. At one instant the order is: data first, then events, so a datum
taken at the time of a dose is the trough before it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import jax
import numpy as np

from pymc_dynsys.systems.bound import INFUSION

Interpolation = Literal["previous", "next", "linear"]


@dataclass(frozen=True, eq=False)
class InputTable:
    """One time-varying input; arrays have all batch axes first, of length one where shared.

    Attributes
    ----------
    values : array, (*batch, knot, *core)
        Values; NaN where unknown.
    times : array, (*batch, knot), or None
        Times of the values, ascending, NaN padded; None: those of the visits.
    interpolation : str
        ``previous`` holds a value until the next one, ``next`` takes the coming one,
        ``linear`` the mean over each gap of the straight line.
    core_ndim : int
        Number of axes of one value.
    """

    values: np.ndarray
    times: np.ndarray | None
    interpolation: Interpolation
    core_ndim: int


@dataclass(frozen=True, eq=False)
class Schedule:
    """Events and inputs of a panel.

    Attributes
    ----------
    event_times, amounts, durations : array, (*batch, event), or None
        Time and amount of each dose; duration zero for a bolus. NaN padded.
    targets : array of int, (*batch, event), or None
        State that each dose enters.
    inputs : mapping of str to InputTable
        Inputs by name.
    """

    event_times: np.ndarray | None = None
    amounts: np.ndarray | None = None
    durations: np.ndarray | None = None
    targets: np.ndarray | None = None
    inputs: Mapping[str, InputTable] = field(default_factory=dict)

    def batch_shape(self) -> tuple[int, ...]:
        """Batch shape of all arrays together."""
        shapes = []
        if self.event_times is not None:
            shapes.append(self.event_times.shape[:-1])
        shapes += [i.times.shape[:-1] for i in self.inputs.values() if i.times is not None]
        return np.broadcast_shapes(*shapes) if shapes else ()


@partial(
    jax.tree_util.register_dataclass,
    data_fields=("infusion", "amount", "target", "gap_inputs", "row_inputs"),
    meta_fields=(),
)
@dataclass(frozen=True)
class Rows:
    """What happens in the gap into each row and at it; leaves are ``(*batch, row, ...)``.

    Attributes
    ----------
    infusion : array, (*batch, row, state), or None
        Rate of infusion of each state over the gap.
    amount : array, (*batch, row), or None
        Amount given at the row, NaN where there is no bolus.
    target : array of int, (*batch, row), or None
        State that it enters.
    gap_inputs, row_inputs : dict of arrays, (*batch, row, *core)
        Inputs held over the gap into the row, and at it.
    """

    infusion: Any
    amount: Any
    target: Any
    gap_inputs: dict[str, Any]
    row_inputs: dict[str, Any]

    def over_gap(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters, inputs and infusions that hold over the gap."""
        held = {} if self.infusion is None else {INFUSION: self.infusion}
        return {**params, **self.gap_inputs, **held}

    def at_row(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Parameters and inputs that hold at the row."""
        return {**params, **self.row_inputs}


@dataclass(frozen=True)
class Layout:
    """Rows of a panel: their times, what happens at them, and where the visits are."""

    times: np.ndarray
    rows: Rows
    row_of_visit: np.ndarray
    visit_of_row: np.ndarray
    is_visit: np.ndarray
    t0: np.ndarray


def lay_out(times: np.ndarray, t0: np.ndarray, schedule: Schedule, n_states: int) -> Layout:
    """Merge visits, events and changes of inputs into one ascending sequence of rows.

    ``t0`` NaN means the first record, visit or event, of each trajectory.
    """
    batch = np.broadcast_shapes(times.shape[:-1], t0.shape, schedule.batch_shape())
    n_visits = times.shape[-1]
    visits = np.broadcast_to(times, (*batch, n_visits)).reshape(-1, n_visits)
    starts = np.broadcast_to(t0, batch).reshape(-1)
    doses = _Doses(schedule, batch)
    knots = [_knots(i, batch) for i in schedule.inputs.values() if i.times is not None]
    plans = [
        _plan(visits[i], starts[i], doses.of(i), [k[i] for k in knots]) for i in range(len(visits))
    ]
    n_rows = max(len(plan[0]) for plan in plans)
    shape = (*batch, n_rows)
    row_times = np.full((len(plans), n_rows), np.nan)
    visit_of_row = np.zeros((len(plans), n_rows), int)
    is_visit = np.zeros((len(plans), n_rows), bool)
    dose_of_row = np.full((len(plans), n_rows), -1)
    row_of_visit = np.full((len(plans), n_visits), -1)
    begin = np.empty(len(plans))
    for i, (at, visit, dose, start) in enumerate(plans):
        n = len(at)
        row_times[i, :n] = at
        is_visit[i, :n] = visit >= 0
        visit_of_row[i, :n] = np.maximum(visit, 0)
        dose_of_row[i, :n] = dose
        row_of_visit[i, visit[visit >= 0]] = np.flatnonzero(visit >= 0)
        begin[i] = start
    rows = Rows(
        infusion=doses.infusion(row_times, begin, n_states, shape),
        amount=doses.pick(doses.amounts, dose_of_row, np.nan, shape),
        target=None if doses.targets is None else doses.pick(doses.targets, dose_of_row, 0, shape),
        gap_inputs={},
        row_inputs={},
    )
    layout = Layout(
        times=row_times.reshape(shape),
        rows=rows,
        row_of_visit=row_of_visit.reshape(*batch, n_visits),
        visit_of_row=visit_of_row.reshape(shape),
        is_visit=is_visit.reshape(shape),
        t0=begin.reshape(batch),
    )
    for name, given in schedule.inputs.items():
        held, there = _interpolate(given, layout, visits.reshape(*batch, n_visits))
        rows.gap_inputs[name], rows.row_inputs[name] = held, there
    return layout


class _Doses:
    """Events of all trajectories, flattened over the batch."""

    def __init__(self, schedule: Schedule, batch: tuple[int, ...]) -> None:
        self.times = self.amounts = self.durations = self.targets = None
        if schedule.event_times is None:
            return
        assert schedule.amounts is not None and schedule.durations is not None
        n = schedule.event_times.shape[-1]

        def flat(array: np.ndarray) -> np.ndarray:
            return np.broadcast_to(array, (*batch, n)).reshape(-1, n)

        self.times = flat(schedule.event_times)
        self.amounts, self.durations = flat(schedule.amounts), flat(schedule.durations)
        assert schedule.targets is not None
        self.targets = flat(schedule.targets)

    def of(self, i: int) -> tuple[np.ndarray, np.ndarray]:
        """Times and durations of one trajectory's events."""
        if self.times is None:
            return np.empty(0), np.empty(0)
        return self.times[i], self.durations[i]  # type: ignore[index]

    def pick(self, array: Any, index: np.ndarray, missing: Any, shape: Any) -> Any:
        """Value of the event at each row, ``missing`` where there is none."""
        if array is None:
            return None
        taken = np.take_along_axis(array, np.maximum(index, 0), axis=1)
        return np.where(index >= 0, taken, missing).reshape(shape)

    def infusion(
        self, row_times: np.ndarray, begin: np.ndarray, n_states: int, shape: Any
    ) -> np.ndarray | None:
        """Rate of infusion of every state over the gap into each row."""
        if self.times is None or self.durations is None or not np.any(self.durations > 0):
            return None
        assert self.amounts is not None
        leaves = np.concatenate([begin[:, None], row_times[:, :-1]], axis=1)
        middle = 0.5 * (leaves + row_times)[:, :, None]
        durations = np.where(self.durations > 0, self.durations, np.nan)
        rate = self.amounts / durations
        running = (self.times[:, None] < middle) & (middle < (self.times + durations)[:, None])
        rates = np.where(running, rate[:, None], 0.0)
        into = np.arange(n_states) == np.asarray(self.targets)[..., None]
        return np.einsum("ire,ies->irs", rates, into.astype(float)).reshape(*shape, n_states)


def _plan(
    visits: np.ndarray, t0: float, doses: tuple[np.ndarray, np.ndarray], knots: list[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Row times of one trajectory, with the visit and the bolus at each (-1: none)."""
    times, durations = doses
    known = np.flatnonzero(np.isfinite(visits))
    given = np.flatnonzero(np.isfinite(times))
    first = min(visits[known].min(initial=np.inf), times[given].min(initial=np.inf))
    start = t0 if np.isfinite(t0) else (first if np.isfinite(first) else 0.0)
    last = visits[known].max(initial=-np.inf)
    given = given[times[given] <= last]
    boluses = given[durations[given] == 0]
    infusions = given[durations[given] > 0]
    changes = np.concatenate([times[infusions], times[infusions] + durations[infusions], *knots])
    changes = np.unique(changes[(changes > start) & (changes < last)])
    changes = changes[~np.isin(changes, visits[known]) & ~np.isin(changes, times[boluses])]
    at = np.concatenate([visits[known], times[boluses], changes])
    visit = np.concatenate([known, np.full(len(boluses) + len(changes), -1)])
    dose = np.concatenate([np.full(len(known), -1), boluses, np.full(len(changes), -1)])
    # At one instant data come before doses; equal visits and doses keep their order.
    rank = np.concatenate([np.zeros(len(known)), np.ones(len(boluses)), np.full(len(changes), -1)])
    order = np.lexsort((rank, at))
    if len(at) and at[order[0]] < start:
        raise ValueError(f"t0 is {start:g}, after a visit or an event at {at[order[0]]:g}")
    return at[order], visit[order], dose[order], float(start)


def _knots(given: InputTable, batch: tuple[int, ...]) -> np.ndarray:
    assert given.times is not None
    n = given.times.shape[-1]
    return np.broadcast_to(given.times, (*batch, n)).reshape(-1, n)


def _interpolate(
    given: InputTable, layout: Layout, visits: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Values over the gap into each row and at it; NaN where the input is not known."""
    # Inputs that vary by trajectory leave rows that do not vary as they are.
    split = given.values.ndim - given.core_ndim - 1
    own = given.values.shape[split + 1 :]
    batch = np.broadcast_shapes(layout.times.shape[:-1], given.values.shape[:split])
    times = visits if given.times is None else given.times
    n = times.shape[-1]
    n_rows = layout.times.shape[-1]
    knots = np.broadcast_to(times, (*batch, n)).reshape(-1, n)
    values = np.broadcast_to(given.values, (*batch, n, *own)).reshape(-1, n, *own)
    row_times = np.broadcast_to(layout.times, (*batch, n_rows)).reshape(-1, n_rows)
    begin = np.broadcast_to(layout.t0, batch).reshape(-1)
    held = np.empty((*row_times.shape, *own))
    there = np.empty((*row_times.shape, *own))
    for i in range(len(row_times)):
        known = np.isfinite(knots[i])
        knot, value = knots[i][known], values[i][known]
        ends = row_times[i]
        leaves = np.concatenate([[begin[i]], ends[:-1]])
        at_end = _value_at(knot, value, ends, given.interpolation)
        if given.interpolation == "linear":
            mean = 0.5 * (_value_at(knot, value, leaves, "linear") + at_end)
            held[i], there[i] = mean, at_end
        elif given.interpolation == "next":
            held[i], there[i] = at_end, at_end
        else:
            held[i], there[i] = _value_at(knot, value, leaves, "previous"), at_end
    # Nothing is crossed in a gap of zero, and padding is nowhere: an unknown input is no matter.
    leaves = np.concatenate([begin[:, None], row_times[:, :-1]], axis=1)
    idle = ~(row_times > leaves)
    held = np.where(_expand(idle, held) & np.isnan(held), 0.0, held)
    there = np.where(_expand(np.isnan(row_times), there), 0.0, there)
    shape = (*batch, row_times.shape[1], *own)
    return held.reshape(shape), there.reshape(shape)


def _expand(flags: np.ndarray, like: np.ndarray) -> np.ndarray:
    """Flags with trailing axes of length one."""
    return flags.reshape(*flags.shape, *(1,) * (like.ndim - flags.ndim))


def _value_at(
    knot: np.ndarray, value: np.ndarray, at: np.ndarray, interpolation: Interpolation
) -> np.ndarray:
    """Values at given times; before the first knot the first value holds under ``previous``."""
    missing = np.full((len(at), *value.shape[1:]), np.nan)
    if len(knot) == 0:
        return missing
    if interpolation == "previous":
        index = np.maximum(np.searchsorted(knot, at, side="right") - 1, 0)
        found = value[np.minimum(index, len(knot) - 1)]
    elif interpolation == "next":
        index = np.searchsorted(knot, at, side="left")
        found = np.where(
            _expand(index < len(knot), value), value[np.minimum(index, len(knot) - 1)], np.nan
        )
    else:
        right = np.clip(np.searchsorted(knot, at, side="left"), 0, len(knot) - 1)
        left = np.maximum(right - 1, 0)
        span = knot[right] - knot[left]
        weight = np.where(span > 0, (at - knot[left]) / np.where(span > 0, span, 1.0), 1.0)
        found = value[left] + _expand(weight, value) * (value[right] - value[left])
        inside = (at >= knot[0]) & (at <= knot[-1])
        found = np.where(_expand(inside, value), found, np.nan)
    return np.where(_expand(np.isfinite(at), value), found, np.nan)
