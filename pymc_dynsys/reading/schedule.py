"""Doses and inputs of users as arrays of the trajectories, checked where they are needed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
import xarray as xr

from pymc_dynsys.discretization import Design, Doses, InputKind, Operands, Signal, prepare_grid
from pymc_dynsys.discretization.operands import Interpolation
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.times import as_numbers
from pymc_dynsys.reading.values import aligned, as_float
from pymc_dynsys.systems import BoundSystem


@dataclass(frozen=True, eq=False)
class Input:
    """A time-varying input with times of its own or another interpolation than the default.

    Parameters
    ----------
    values : DataArray or array
        Values, with dims as for ``Trajectory(inputs=...)``.
    interpolation : {"previous", "next", "linear"}
        ``"previous"`` (the default of plain arrays) holds a value until the next one;
        ``"next"`` takes the coming one; ``"linear"`` draws straight lines, of which each gap
        sees the mean.

    Raises
    ------
    ValueError
        For another interpolation.

    Examples
    --------
    >>> import xarray as xr
    >>> import pymc_dynsys as pds
    >>> temperature = xr.DataArray([20.0, 25.0], dims="time", coords={"time": [0.0, 12.0]})
    >>> pds.Input(temperature, interpolation="linear").interpolation
    'linear'
    """

    values: Any
    interpolation: Interpolation = "previous"

    def __post_init__(self) -> None:
        if self.interpolation not in get_args(Interpolation):
            raise ValueError(
                f"Input: interpolation must be one of {get_args(Interpolation)}, got "
                f"{self.interpolation!r}"
            )


def input_core_shape(
    value: Any, batch_dims: Sequence[str], time_dim: str | None
) -> tuple[int, ...]:
    """Shape of one value of an input: its dims that are neither batch nor time."""
    if isinstance(value, Input):
        value = value.values
    if not isinstance(value, xr.DataArray):
        return ()
    of_time = {
        str(dim)
        for key, coord in value.coords.items()
        if key in ("time", time_dim)
        for dim in coord.dims
    }
    others = of_time | {time_dim} | set(batch_dims)
    return tuple(n for dim, n in value.sizes.items() if dim not in others)


def read_input(name: str, value: Any, frame: Frame, times: np.ndarray) -> tuple[InputKind, Signal]:
    """One input with batch axes first, then its knots, then its own axes.

    `times` are those of the visits, ``(*batch, visit)``.
    """
    interpolation: Interpolation = "previous"
    if isinstance(value, Input):
        value, interpolation = value.values, value.interpolation
    role = f"inputs[{name!r}]"
    if not isinstance(value, xr.DataArray):
        array = as_float(role, value)
        dims = (*frame.batch_dims, frame.time_dim)
        if array.ndim == 0:  # the same at all times
            array = np.broadcast_to(array, times.shape[-1:])
        if array.ndim not in (1, len(dims)):
            raise ValueError(
                f"inputs: {name!r} has shape {array.shape}; give a number, (time,), one axis for "
                f"each of {dims}, or an xr.DataArray with named dims"
            )
        value = xr.DataArray(array, dims=dims[-array.ndim :])
    knot_dim, knots = _knots(name, value, frame, times)
    value = aligned(role, value, frame.batch_coords())
    own = [dim for dim in value.dims if dim not in (*frame.batch_dims, knot_dim)]
    frame.require_lengths(role, value.sizes)
    values = as_float(role, frame.batch_first(value, (knot_dim, *own)))
    if np.isinf(values).any():
        raise ValueError(f"inputs: {name!r} has an infinite value")
    if knots is None and values.shape[frame.rank] != times.shape[-1]:
        raise ValueError(
            f"inputs: {name!r} has {values.shape[frame.rank]} values along "
            f"{knot_dim!r}, but there are {times.shape[-1]} times"
        )
    return InputKind(name, interpolation, knots is not None), Signal(values, knots)


def _knots(
    name: str, value: xr.DataArray, frame: Frame, visits: np.ndarray
) -> tuple[str, np.ndarray | None]:
    """Dim along which an input varies in time, and its times unless they are the visits'."""
    candidates = [dim for dim in map(str, value.dims) if dim not in frame.batch_dims]
    own_time = [
        coord
        for key, coord in value.coords.items()
        if key == "time" or key == frame.time_dim
        if set(map(str, coord.dims)) - set(frame.batch_dims)
    ]
    own_time.sort(key=lambda coord: coord.name != "time")
    if own_time:
        coord = own_time[0].reset_coords(drop=True)
        dim = next(d for d in map(str, coord.dims) if d not in frame.batch_dims)
        numbers, _ = as_numbers(f"inputs[{name!r}] times", coord.values, frame.unit, frame.origin)
        times = frame.batch_first(coord.copy(data=numbers), (dim,))
        same = dim == frame.time_dim and _equal(times, visits)
        if not same and (np.diff(np.where(np.isnan(times), np.inf, times)) < 0).any():
            raise ValueError(f"inputs: the times of {name!r} are not ascending; sort them")
        return dim, None if same else times
    if frame.time_dim in candidates:
        return frame.time_dim, None
    raise ValueError(
        f"inputs: {name!r} has dims {tuple(value.dims)}; it needs the time dim {frame.time_dim!r}, "
        "or a 'time' coordinate of its own; what is constant in time goes into params"
    )


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


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of times agree where both vary."""
    if a.shape[-1] != b.shape[-1]:
        return False
    both = np.broadcast_arrays(a, b)
    return np.array_equal(both[0], both[1], equal_nan=True)
