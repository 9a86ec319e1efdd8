"""Values of inputs that are not there: filled where the user says how, else refused by name."""

from typing import Literal

import numpy as np

from pymc_dynsys.discretization import InputKind, Signal, TimeGrid
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.systems import BoundSystem

Gaps = Literal["previous", "linear"] | None
"""How missing values of an input are filled: by the last one, along a line, or not at all."""


def filled(values: np.ndarray, times: np.ndarray, rank: int, gaps: Gaps) -> np.ndarray:
    """Values ``(*batch, knot, *own)`` at times ``(*batch, knot)`` without the gaps between them.

    What comes before the first value stays missing, and after the last one too along a line.
    """
    if gaps is None or not np.isnan(values).any():
        return values
    lead = np.broadcast_shapes(values.shape[: rank + 1], times.shape)
    own = values.shape[rank + 1 :]
    times = np.broadcast_to(times, lead)
    filled = np.broadcast_to(values, (*lead, *own)).copy()
    for batch in np.ndindex(lead[:-1]):
        at = times[batch]
        for which in np.ndindex(own):
            line = filled[(*batch, slice(None), *which)]
            there = np.flatnonzero(np.isfinite(line) & np.isfinite(at))
            lost = np.flatnonzero(np.isnan(line) & np.isfinite(at))
            if not len(there) or not len(lost):
                continue
            if gaps == "previous":
                before = np.searchsorted(there, lost) - 1
                line[lost[before >= 0]] = line[there[before[before >= 0]]]
            else:
                known = line[there]
                line[lost] = np.interp(at[lost], at[there], known, left=np.nan, right=np.nan)
    return filled


def require_inputs(
    system: BoundSystem,
    kinds: tuple[InputKind, ...],
    signals: dict[str, Signal],
    grid: TimeGrid,
    frame: Frame,
    seen: np.ndarray | None = None,
) -> None:
    """Raise where an input that is used is unknown, or has two values at once.

    What only data see may be missing where they are: `seen`, ``(*batch, row)``, says where there
    are some; None: at all visits.
    """
    assert grid.rows is not None and grid.marks is not None
    for kind in kinds:
        name, signal = kind.name, signals[kind.name]
        if system.drives(name):
            early = _before_first(kind, signal, grid.starts) & (grid.gaps > 0)
            _refuse(name, early, "over the gap before", _GIVE_FIRST, grid, frame)
            unknown = _unknown(grid.rows.gap_inputs[name], grid)
            _refuse(name, unknown, "over the gap before", _SAY_HOW, grid, frame)
        if system.is_observed_through(name):
            early = _before_first(kind, signal, grid.times) & grid.marks.is_visit
            _refuse(name, early, "at", _GIVE_FIRST, grid, frame)
            values = grid.rows.row_inputs[name]
            unknown = _unknown(values, grid) & grid.marks.is_visit
            if seen is not None and not system.dosing.asks_for(name):
                unknown = unknown & seen
            which = _first_missing(values, unknown)
            _refuse(name, unknown, "at", _SAY_HOW + _WITH_DATA, grid, frame, which)
            if signal.times is not None:
                _refuse_two_at_once(name, signal, grid, frame)


_GIVE_FIRST = "its values begin later, and each holds from its time on: give it one at the start"
_SAY_HOW = "fill it, or say how: pds.Input(..., gaps='previous') or gaps='linear'"
_WITH_DATA = "; it may be missing where all of y is, and nowhere else"


def _first_missing(values: np.ndarray, wrong: np.ndarray) -> str:
    """Which number of a vector is missing in the first row that is wrong."""
    where = np.argwhere(wrong)
    if not len(where) or values.ndim == wrong.ndim:
        return ""
    row = np.broadcast_to(values, (*wrong.shape, *values.shape[wrong.ndim :]))[tuple(where[0])]
    return f"[{', '.join(map(str, np.argwhere(np.isnan(row))[0]))}]"


def _refuse(
    name: str,
    wrong: np.ndarray,
    what: str,
    remedy: str,
    grid: TimeGrid,
    frame: Frame,
    which: str = "",
) -> None:
    """Raise for the first row that is wrong."""
    where = np.argwhere(wrong)
    if len(where):
        here = tuple(where[0])
        at = np.broadcast_to(grid.times, wrong.shape)[here]
        of = f" for {frame.who(here[:-1])}" if frame.rank else ""
        raise ValueError(f"inputs: {name!r}{which} is missing{of} {what} time {at:g}; {remedy}")


def _unknown(values: np.ndarray, grid: TimeGrid) -> np.ndarray:
    """Where any of the numbers of an input is missing, ``(*batch, row)``."""
    missing: np.ndarray = np.isnan(values).any(axis=tuple(range(grid.gaps.ndim, values.ndim)))
    return missing


def _before_first(kind: InputKind, signal: Signal, at: np.ndarray) -> np.ndarray:
    """Which times come before the first value of an input that holds until the next one."""
    if signal.times is None or kind.interpolation != "previous":
        return np.zeros(np.shape(at), dtype=bool)
    times = np.asarray(signal.times)
    first = np.where(np.isnan(times), np.inf, times).min(axis=-1, keepdims=True, initial=np.inf)
    return np.asarray(at) < first


def _refuse_two_at_once(name: str, signal: Signal, grid: TimeGrid, frame: Frame) -> None:
    """Raise where an input has two values at the time of a visit that sees it."""
    times, values = np.asarray(signal.times), np.asarray(signal.values)
    rank = frame.rank
    differ = values.take(range(1, values.shape[rank]), rank) != values.take(
        range(values.shape[rank] - 1), rank
    )
    differ = differ.any(axis=tuple(range(rank + 1, differ.ndim)))
    assert grid.marks is not None
    visits = np.where(grid.marks.is_visit, grid.times, np.nan)
    for *batch, k in np.argwhere((np.diff(times) == 0) & differ):
        one = tuple(0 if n == 1 else i for i, n in zip(batch, visits.shape[:-1], strict=True))
        at = times[(*(0 if n == 1 else i for i, n in zip(batch, times.shape, strict=False)), k)]
        if (visits[one] == at).any():
            of = f" for {frame.who(batch)}" if frame.rank else ""
            raise ValueError(
                f"inputs: {name!r} has two values at time {at:g}{of}, and observation() sees it "
                "there; which is meant does not follow from the time, so make them equal or move "
                "one of them"
            )
