"""Events and inputs as users have them, laid out for the trajectories of a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

import numpy as np
import xarray as xr
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.data import aligned, as_float, place
from pymc_dynsys.bridge.times import as_numbers
from pymc_dynsys.discretization import Exact, InputTable, Schedule, build_grid
from pymc_dynsys.discretization.schedule import Interpolation
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


@dataclass(frozen=True)
class Frame:
    """Where events and inputs have to fit: dims, lengths, time dim and unit of a trajectory."""

    batch_dims: tuple[str, ...]
    lengths: Mapping[str, int]
    time_dim: str
    times: np.ndarray
    coords: Mapping[str, Any]
    unit: str | None
    origin: Any


def make_schedule(inputs: Any, events: Any, frame: Frame, system: BoundSystem) -> Schedule | None:
    """Schedule of a trajectory; None without events and inputs."""
    if not inputs and events is None:
        return None
    tables = {name: input_table(name, value, frame) for name, value in (inputs or {}).items()}
    if events is None:
        return Schedule(inputs=tables)
    return Schedule(**event_table(events, frame, system), inputs=tables)


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


def input_table(name: str, value: Any, frame: Frame) -> InputTable:
    """One input with batch axes first, then its knots, then its own axes."""
    interpolation: Interpolation = "previous"
    if isinstance(value, Input):
        value, interpolation = value.values, value.interpolation
    if isinstance(value, Variable):
        raise TypeError(
            f"inputs: {name!r} is a PyTensor variable; inputs are data known when the model is "
            "built, such as an xarray.DataArray"
        )
    if not isinstance(value, xr.DataArray):
        array = as_float(f"inputs[{name!r}]", value)
        dims = (*frame.batch_dims, frame.time_dim)
        if array.ndim == 0:  # the same at all times
            array = np.broadcast_to(array, frame.times.shape[-1:])
        if array.ndim not in (1, len(dims)):
            raise ValueError(
                f"inputs: {name!r} has shape {array.shape}; give a number, (time,), one axis for "
                f"each of {dims}, or an xr.DataArray with named dims"
            )
        value = xr.DataArray(array, dims=dims[-array.ndim :])
    knot_dim, times = _knots(name, value, frame)
    coords = {dim: frame.coords.get(dim) for dim in frame.batch_dims}
    value = aligned(f"inputs[{name!r}]", value, {k: v for k, v in coords.items() if v is not None})
    own = [dim for dim in value.dims if dim not in (*frame.batch_dims, knot_dim)]
    _check_lengths(f"inputs[{name!r}]", value, frame)
    values = _with_batch(value, frame, (knot_dim, *own))
    values = as_float(f"inputs[{name!r}]", values)
    if np.isinf(values).any():
        raise ValueError(f"inputs: {name!r} has an infinite value")
    if times is None and values.shape[len(frame.batch_dims)] != frame.times.shape[-1]:
        raise ValueError(
            f"inputs: {name!r} has {values.shape[len(frame.batch_dims)]} values along "
            f"{knot_dim!r}, but there are {frame.times.shape[-1]} times"
        )
    return InputTable(values, times, interpolation, len(own))


def _knots(name: str, value: xr.DataArray, frame: Frame) -> tuple[str, np.ndarray | None]:
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
        times = _with_batch(coord.copy(data=numbers), frame, (dim,))
        same = dim == frame.time_dim and _equal(times, frame.times)
        if not same and (np.diff(np.where(np.isnan(times), np.inf, times)) < 0).any():
            raise ValueError(f"inputs: the times of {name!r} are not ascending; sort them")
        return dim, None if same else times
    if frame.time_dim in candidates:
        return frame.time_dim, None
    raise ValueError(
        f"inputs: {name!r} has dims {tuple(value.dims)}; it needs the time dim {frame.time_dim!r}, "
        "or a 'time' coordinate of its own; what is constant in time goes into params"
    )


def event_table(events: Any, frame: Frame, system: BoundSystem) -> dict[str, np.ndarray]:
    """Arrays of a schedule from the event variables of a panel."""
    if not isinstance(events, xr.Dataset):
        raise TypeError(
            f"events: expected an xarray.Dataset with event_time and event_amount, as pds.panel "
            f"makes, got {type(events).__name__}"
        )
    for required in ("event_time", "event_amount"):
        if required not in events:
            raise ValueError(f"events: the Dataset has no variable {required!r}")
    coords = {d: frame.coords[d] for d in frame.batch_dims if frame.coords.get(d) is not None}

    def read(name: str, default: float) -> np.ndarray:
        if name not in events:
            return np.full((1,) * len(frame.batch_dims) + (1,), default)
        array = aligned(name, events[name].reset_coords(drop=True), coords)
        _check_lengths(name, array, frame)
        (dim,) = [d for d in map(str, array.dims) if d not in frame.batch_dims]
        return _with_batch(array, frame, (dim,))

    raw = read("event_time", np.nan)
    times, _ = as_numbers("event_time", raw, frame.unit, frame.origin)
    amounts = as_float("event_amount", read("event_amount", np.nan))
    durations = as_float("event_duration", read("event_duration", 0.0))
    if "event_duration" not in events and "event_rate" in events:
        rates = as_float("event_rate", read("event_rate", 0.0))
        durations = np.where(rates > 0, amounts / np.where(rates > 0, rates, 1.0), 0.0)
    targets = _targets(events, read, system)
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
            labels = [frame.coords.get(d) for d in frame.batch_dims]
            raise ValueError(
                f"events: the {what} of the event at time {times[here]:g} for "
                f"{place(here[:-1], labels, frame.batch_dims)} is not a number"
            )
    if system.source.events is not None and callable(system.source.events):
        if (durations[there] > 0).any() and "event_state" not in events:
            raise ValueError(
                "events: an infusion needs to know its state; a jump function does not say. Add "
                "event_state to the table"
            )
    return {
        "event_times": times,
        "amounts": amounts,
        "durations": np.where(there, durations, 0.0),
        "targets": targets,
    }


def _targets(events: xr.Dataset, read: Any, system: BoundSystem) -> np.ndarray:
    """Index of the state each event enters: by the system, else the table, else the only one."""
    n = system.n_states
    if system.dose_state is not None:
        return read("no such variable", float(system.dose_state)).astype(int)
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
    if n > 1 and system._jump is None:
        raise ValueError(
            f"events: which of the states {system.states} do doses enter? Say so in the system, "
            f"events={system.states[0]!r} or events=pds.Dose({system.states[0]!r}), or give "
            "event_state in the table"
        )
    return read("no such variable", 0.0).astype(int)


def check_schedule(
    schedule: Schedule,
    times: np.ndarray,
    t0: np.ndarray,
    frame: Frame,
    system: BoundSystem,
    midway: bool = False,
) -> np.ndarray:
    """Raise for events before ``t0`` and inputs unknown where needed; returns the gaps.

    Starting `midway`, infusions may have begun before.
    """
    labels = [frame.coords.get(d) for d in frame.batch_dims]
    if schedule.event_times is not None and not midway:
        early = np.argwhere(schedule.event_times < np.asarray(t0)[..., None])
        if len(early):
            here = tuple(early[0])
            start = np.broadcast_to(t0, schedule.event_times.shape[:-1])[here[:-1]]
            raise ValueError(
                f"events: {place(here[:-1], labels, frame.batch_dims)} has an event at "
                f"{schedule.event_times[here]:g}, before t0 = {start:g}"
            )
    grid = build_grid(times, t0, Exact(), schedule, system.n_states)
    assert grid.rows is not None
    for name in schedule.inputs:
        for what, values, needed in (
            ("over the gap before", grid.rows.gap_inputs[name], system.drives(name)),
            ("at", grid.rows.row_inputs[name], system.is_observed_through(name)),
        ):
            own = tuple(range(grid.gaps.ndim, values.ndim))
            unknown = np.isnan(values).any(axis=own)
            if what == "at":
                unknown = unknown & grid.is_visit
            where = np.argwhere(unknown)
            if needed and len(where):
                here = tuple(where[0])
                who = place(here[:-1], labels, frame.batch_dims)
                at = np.broadcast_to(grid.times, unknown.shape)[here]
                raise ValueError(
                    f"inputs: {name!r} is missing for {who} {what} time {at:g}; fill "
                    "it (the last value, an interpolation), or drop the visit"
                )
    return cast(np.ndarray, grid.gaps)


def _equal(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays of times agree where both vary."""
    if a.shape[-1] != b.shape[-1]:
        return False
    both = np.broadcast_arrays(a, b)
    return np.array_equal(both[0], both[1], equal_nan=True)


def _with_batch(array: xr.DataArray, frame: Frame, rest: Sequence[str]) -> np.ndarray:
    """Array with one axis a batch dim (length one where it lacks it), then the rest."""
    there = [dim for dim in frame.batch_dims if dim in array.dims]
    ordered = array.transpose(*there, *rest).values
    shape = iter(ordered.shape)
    lead = [next(shape) if dim in there else 1 for dim in frame.batch_dims]
    return ordered.reshape(*lead, *shape)


def _check_lengths(role: str, array: xr.DataArray, frame: Frame) -> None:
    for dim in frame.batch_dims:
        if dim in array.dims and array.sizes[dim] != frame.lengths[dim]:
            raise ValueError(
                f"{role}: {array.sizes[dim]} along {dim!r}, which has length {frame.lengths[dim]}"
            )
