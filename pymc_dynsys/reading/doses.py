"""Doses of users as arrays of the trajectories."""

import numpy as np
import xarray as xr

from pymc_dynsys.discretization import Doses
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.labels import aligned
from pymc_dynsys.reading.lasting import (
    read_lasting,
    refuse_undecided,
    require_punctual,
    told_durations,
)
from pymc_dynsys.reading.regimens import Read, read_laws, require_lawful
from pymc_dynsys.reading.times import as_numbers
from pymc_dynsys.reading.values import as_float
from pymc_dynsys.systems import BoundSystem

PARTS = tuple(
    f"event_{part}"
    for part in (
        *("time", "amount", "rate", "duration", "state", "order", "recorded"),
        *("steady_state", "interval", "reset"),
    )
)
"""What a table may say of events."""


def read_doses(events: object, frame: Frame, system: BoundSystem) -> Doses | None:
    """Doses from the event variables of a panel; None without events."""
    if events is None:
        return None
    table = _as_table(events, system)

    def read(name: str, default: float) -> np.ndarray:
        if name not in table:
            return _everywhere(frame, default)
        array = aligned(name, table[name].reset_coords(drop=True), frame.batch_coords())
        frame.require_lengths(name, array.sizes)
        (dim,) = [d for d in map(str, array.dims) if d not in frame.batch_dims]
        return frame.batch_first(array, (dim,))

    times, _ = as_numbers("event_time", read("event_time", np.nan), frame.unit, frame.origin)
    amounts, rates, durations, order = (
        as_float(f"event_{part}", read(f"event_{part}", default))
        for part, default in (
            ("amount", np.nan),
            ("rate", 0.0),
            ("duration", 0.0),
            ("order", np.nan),
        )
    )
    targets = _targets(table, read, frame, system)
    times, amounts, rates, told, order, targets = np.broadcast_arrays(
        times, amounts, rates, durations, order, targets
    )
    there, rates = np.isfinite(times), np.nan_to_num(rates)
    if "event_reset" in table:
        amounts = np.where(np.isnan(amounts) & (read("event_reset", 0.0) > 0), 0.0, amounts)
    lasting = read_lasting(frame, system, times, amounts, rates, told)
    durations = told_durations(frame, times, amounts, rates, told, lasting)
    laws = read_laws(read, times, amounts, rates, frame)
    if laws is not None:
        require_lawful(laws, system)
    require_punctual(laws, system)
    refuse_undecided(frame, system, times, told, lasting)
    empty = (amounts == 0) & (rates == 0) & (laws is not None)
    _require_states(table, read, frame, system, np.where(empty, np.nan, times), durations)
    if "event_recorded" in table:
        recorded, _ = as_numbers(
            "event_recorded", read("event_recorded", np.nan), frame.unit, frame.origin
        )
        _refuse_repeats(frame, system, times, there & (recorded != times))
    return Doses(
        times,
        amounts,
        targets,
        durations if (durations > 0).any() else None,
        order if (there & ~np.isnan(order)).any() else None,
        lasting.astype(float) if (lasting > 0).any() else None,
        laws=laws,
    )


def _refuse_repeats(
    frame: Frame, system: BoundSystem, times: np.ndarray, repeated: np.ndarray
) -> None:
    """Raise for repeats whose effect depends on an input: their row says its value, not their time.

    Both arrays are ``(*batch, event)``.
    """
    asked = [name for name in system.input_shapes if system.dosing.asks_for(name)]
    where = np.argwhere(repeated)
    if asked and len(where):
        here = tuple(where[0])
        raise ValueError(
            f"events: what the event at time {times[here]:g} for {frame.who(here[:-1])} does "
            f"depends on the input {asked[0]!r}, and it repeats a dose of an earlier row, whose "
            "value would count; write the repeats as rows of their own, with their values"
        )


def _as_table(events: object, system: BoundSystem) -> xr.Dataset:
    """The table of events; what is none, or says what would not be read, is refused."""
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
    for name in map(str, events):
        if name.startswith("event_") and name not in PARTS:
            raise ValueError(
                f"events: {name!r} is not known, expected {', '.join(PARTS)}; say it in these, or "
                "drop it"
            )
    return events


def _everywhere(frame: Frame, value: float) -> np.ndarray:
    return np.full((1,) * frame.rank + (1,), value)


def _targets(events: xr.Dataset, read: Read, frame: Frame, system: BoundSystem) -> np.ndarray:
    """Index of the state that each event enters, ``(*batch, event)``.

    The system says it, else the table, by name or by number from 1, else there is one state only.
    """
    if system.dosing.state is not None:
        return _everywhere(frame, float(system.dosing.state)).astype(int)
    if "event_state" in events:
        return _told(read, system)
    if system.n_states > 1 and not system.dosing.has_own_jump:
        raise ValueError(
            f"events: which of the states {system.states} do doses enter? Say so in the system, "
            f"events={system.states[0]!r} or events=pds.Dose({system.states[0]!r}), or give "
            "event_state in the table"
        )
    return _everywhere(frame, 0.0).astype(int)


def _told(read: Read, system: BoundSystem) -> np.ndarray:
    """Index of the state that the table tells, by name or by number from 1."""
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
    n = system.n_states
    bad = numbers[np.isfinite(numbers) & ~((numbers >= 1) & (numbers <= n))]
    if bad.size:
        raise ValueError(
            f"events: event_state {bad[0]:g}; states are numbered 1 to {n} ({system.states})"
        )
    return np.where(np.isfinite(numbers), numbers - 1, 0).astype(int)


def _require_states(
    events: xr.Dataset,
    read: Read,
    frame: Frame,
    system: BoundSystem,
    times: np.ndarray,
    durations: np.ndarray,
) -> None:
    """Raise where the table and the system disagree about the states that events enter.

    Times and durations are ``(*batch, event)``.
    """
    dosing = system.dosing
    if "event_state" not in events:
        if dosing.has_own_jump and (durations > 0).any():
            raise ValueError(
                "events: an infusion needs to know its state; a jump function does not say. Add "
                "event_state to the table"
            )
        return
    told = np.broadcast_to(_told(read, system), times.shape)
    bolus = np.isfinite(times) & (durations == 0)
    if dosing.has_own_jump and len(np.unique(told[bolus])) > 1:
        raise ValueError(
            "events: event_state names several states, but the jump function of the system is not "
            "told which; let the system have events=pds.Dose(), or drop event_state if it is the "
            "same for all"
        )
    if dosing.state is None:
        return
    where = np.argwhere(np.isfinite(times) & (told != dosing.state))
    if len(where):
        here = tuple(where[0])
        said, own = system.states[told[here]], system.states[dosing.state]
        raise ValueError(
            f"events: by event_state the event at time {times[here]:g} for "
            f"{frame.who(here[:-1])} enters {said!r}, but the system says {own!r}; leave the state "
            f"out of the system (events=pds.Dose()), or drop the table's: "
            "panel.drop_vars('event_state')"
        )
