"""Doses of users as arrays of the trajectories; both doses and inputs checked where needed."""

from typing import Any

import numpy as np
import xarray as xr

from pymc_dynsys.discretization import Design, Doses, Operands, prepare_grid
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.labels import aligned
from pymc_dynsys.reading.times import as_numbers
from pymc_dynsys.reading.values import as_float
from pymc_dynsys.systems import BoundSystem


def read_doses(events: Any, frame: Frame, system: BoundSystem) -> Doses | None:
    """Doses from the event variables of a panel; None without events."""
    if events is None:
        return None
    if system.step is not None:
        raise ValueError(
            "events: a DiscreteTime system has none; let an input enter its transition"
        )
    if not isinstance(events, xr.Dataset):
        raise TypeError(
            f"events: expected an xarray.Dataset with event_time and event_amount, as pds.panel "
            f"makes, got {type(events).__name__}"
        )
    for required in ("event_time", "event_amount"):
        if required not in events:
            raise ValueError(f"events: the Dataset has no variable {required!r}")

    def read(name: str, default: float) -> np.ndarray:
        if name not in events:
            return _everywhere(frame, default)
        array = aligned(name, events[name].reset_coords(drop=True), frame.batch_coords())
        frame.require_lengths(name, array.sizes)
        (dim,) = [d for d in map(str, array.dims) if d not in frame.batch_dims]
        return frame.batch_first(array, (dim,))

    raw = read("event_time", np.nan)
    times, _ = as_numbers("event_time", raw, frame.unit, frame.origin)
    amounts = as_float("event_amount", read("event_amount", np.nan))
    durations = as_float("event_duration", read("event_duration", 0.0))
    if "event_duration" not in events and "event_rate" in events:
        rates = as_float("event_rate", read("event_rate", 0.0))
        durations = np.where(rates > 0, amounts / np.where(rates > 0, rates, 1.0), 0.0)
    targets = _targets(events, read, frame, system)
    shape = np.broadcast_shapes(times.shape, amounts.shape, durations.shape, targets.shape)
    times, amounts, durations, targets = (
        np.broadcast_to(a, shape) for a in (times, amounts, durations, targets)
    )
    there = np.isfinite(times)
    for what, bad in (
        ("amount", there & ~np.isfinite(amounts)),
        ("duration", there & ~(np.isfinite(durations) & (durations >= 0))),
    ):
        where = np.argwhere(bad)
        if len(where):
            here = tuple(where[0])
            raise ValueError(
                f"events: the {what} of the event at time {times[here]:g} for "
                f"{frame.who(here[:-1])} is not a number"
            )
    if system.dosing.has_own_jump:
        if (durations[there] > 0).any() and "event_state" not in events:
            raise ValueError(
                "events: an infusion needs to know its state; a jump function does not say. Add "
                "event_state to the table"
            )
    durations = np.where(there, durations, 0.0)
    return Doses(times, amounts, targets, durations if (durations > 0).any() else None)


def _everywhere(frame: Frame, value: float) -> np.ndarray:
    return np.full((1,) * frame.rank + (1,), value)


def _targets(events: xr.Dataset, read: Any, frame: Frame, system: BoundSystem) -> np.ndarray:
    """Index of the state that each event enters, ``(*batch, event)``.

    The system says it, else the table, by name or by number from 1, else there is one state only.
    """
    n = system.n_states
    if system.dosing.state is not None:
        return _everywhere(frame, float(system.dosing.state)).astype(int)
    if "event_state" in events:
        raw = read("event_state", 1.0)
        if raw.dtype.kind in "OU":
            known = {name: i for i, name in enumerate(system.states)}
            names = {str(v) for v in np.unique(raw.astype(str))} - {""}
            unknown = sorted(names - set(known))
            if unknown:
                raise ValueError(
                    f"events: event_state has {unknown[0]!r}; the states are {system.states}"
                )
            return np.vectorize(lambda v: known.get(str(v), 0), otypes=[int])(raw)
        numbers = as_float("event_state", raw)
        bad = numbers[np.isfinite(numbers) & ~((numbers >= 1) & (numbers <= n))]
        if bad.size:
            raise ValueError(
                f"events: event_state {bad[0]:g}; states are numbered 1 to {n} ({system.states})"
            )
        return np.where(np.isfinite(numbers), numbers - 1, 0).astype(int)
    if n > 1 and not system.dosing.has_own_jump:
        raise ValueError(
            f"events: which of the states {system.states} do doses enter? Say so in the system, "
            f"events={system.states[0]!r} or events=pds.Dose({system.states[0]!r}), or give "
            "event_state in the table"
        )
    return _everywhere(frame, 0.0).astype(int)


def check_schedule(
    design: Design, operands: Operands, frame: Frame, midway: bool = False
) -> np.ndarray:
    """Raise for events before ``t0`` and inputs unknown where needed; returns the gaps.

    Starting `midway`, infusions may have begun before.
    """
    system, doses, t0 = design.system, operands.doses, np.asarray(operands.t0)
    if doses is not None and not midway:
        early = np.argwhere(doses.times < t0[..., None])
        if len(early):
            here = tuple(early[0])
            start = np.broadcast_to(t0, doses.times.shape[:-1])[here[:-1]]
            raise ValueError(
                f"events: {frame.who(here[:-1])} has an event at "
                f"{doses.times[here]:g}, before t0 = {start:g}"
            )
    grid = prepare_grid(design, operands)
    if grid.rows is None or grid.marks is None:
        return np.asarray(grid.gaps)
    for kind in design.inputs:
        name = kind.name
        for what, values, needed in (
            ("over the gap before", grid.rows.gap_inputs[name], system.drives(name)),
            ("at", grid.rows.row_inputs[name], system.is_observed_through(name)),
        ):
            own = tuple(range(grid.gaps.ndim, values.ndim))
            unknown = np.isnan(values).any(axis=own)
            if what == "at":
                unknown = unknown & grid.marks.is_visit
            where = np.argwhere(unknown)
            if needed and len(where):
                here = tuple(where[0])
                at = np.broadcast_to(grid.times, unknown.shape)[here]
                raise ValueError(
                    f"inputs: {name!r} is missing for {frame.who(here[:-1])} {what} time {at:g}; "
                    "fill it (the last value, an interpolation), or drop the visit"
                )
    return np.asarray(grid.gaps)
