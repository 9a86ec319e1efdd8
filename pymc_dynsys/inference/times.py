"""Other times than the visits: merged with them, and found again afterwards."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Operands
from pymc_dynsys.panels.periods import Origin
from pymc_dynsys.reading.times import as_times, check_times


@dataclass(frozen=True, eq=False)
class OutputTimes:
    """Where results are asked for.

    Attributes
    ----------
    operands : Operands
        Arrays of a trajectory with the requested times among its visits.
    position : array of int, or None
        Place of each requested time among the visits, ``(*batch, requested)``; None: all of them.
    requested : array
        The requested times, NaN where there is none.
    dim : str
        Name of the time dim of the result.
    """

    operands: Operands
    position: np.ndarray | None
    requested: np.ndarray
    dim: str


def output_times(study: Study, times: Any) -> OutputTimes:
    """The visits, or `times` merged with them; a datum comes before a state at its own time."""
    if times is None:
        operands = study.operands._replace(t0=starts(study))
        return OutputTimes(operands, None, study.operands.times, study.frame.time_dim)
    extra, dim = requested_times(times, study)
    return merged(study, extra, dim)


def requested_times(times: Any, study: Study) -> tuple[np.ndarray, str]:
    """Times ``(*batch, requested)`` with length-one axes where shared, and their dim."""
    frame = study.frame
    if frame.origin is None and np.asarray(times).dtype.kind == "M":
        raise TypeError(
            "times: the model's times are numbers, and these are dates; if panel() made them "
            "from dates, (dates - origin) / pd.Timedelta(1, unit) are numbers like them, with "
            "unit and origin from panel['time'].attrs"
        )
    known = study.operands.times
    shared = all(n == 1 for n in known.shape[:-1]) and not np.isnan(known).any()
    times = np.atleast_1d(times) if np.ndim(times) == 0 else times
    extra, dim, _ = as_times(
        "times",
        times,
        frame.batch_dims,
        frame.time_dim if shared else "time",
        coords=frame.batch_coords(),
        lengths=frame.lengths,
        unit=frame.unit,
        origin=frame.origin,
    )
    if np.isnan(extra).all():
        raise ValueError("times is empty")
    check_times(extra, np.asarray(np.nan), frame.batch_labels, frame.batch_dims)
    return extra, dim


def steps_ahead(study: Study, times: object) -> object:
    """Periods after the last visit, where a number of them is asked for."""
    origin = study.frame.origin
    is_count = isinstance(times, int | np.integer) and not isinstance(times, bool)
    if not isinstance(origin, Origin) or not is_count:
        return times
    last = np.nanmax(study.operands.times)
    return origin.dates(last + np.arange(1, int(times) + 1))  # type: ignore[call-overload]


def merged(study: Study, extra: np.ndarray, dim: str) -> OutputTimes:
    """Times ``(*batch, requested)`` among the visits."""
    _check_start(extra, starts(study), study)
    times, y, rank = study.operands.times, study.y, study.frame.rank
    lead = np.broadcast_shapes(times.shape[:-1], extra.shape[:-1])
    known, new = (np.broadcast_to(t, (*lead, t.shape[-1])) for t in (times, extra))
    both = np.concatenate([known, new], axis=-1)
    order = np.argsort(np.where(np.isnan(both), np.inf, both), axis=-1, kind="stable")
    place_of = np.argsort(order, axis=-1, kind="stable")
    unseen = np.full((*study.frame.batch, new.shape[-1], *y.shape[rank + 1 :]), np.nan)
    y = np.concatenate([y, unseen], axis=rank)
    index = order.reshape(*order.shape, *(1,) * (y.ndim - rank - 1))
    operands = timed(study.operands, study.operands.times)._replace(
        y=np.take_along_axis(y, np.broadcast_to(index, y.shape), axis=rank),
        times=np.take_along_axis(both, order, axis=-1),
        t0=starts(study),
    )
    return OutputTimes(operands, place_of[..., known.shape[-1] :], extra, dim)


def starts(study: Study) -> np.ndarray:
    """Time of each initial distribution: ``t0``, else the first visit or event."""
    operands = study.operands
    records = [operands.times]
    if operands.doses is not None:
        records.append(operands.doses.times)
    first = [np.where(np.isfinite(t), t, np.inf).min(-1, initial=np.inf) for t in records]
    earliest = np.minimum(*first) if len(first) == 2 else first[0]
    earliest = np.where(np.isfinite(earliest), earliest, np.nan)
    return np.where(np.isnan(operands.t0), earliest, operands.t0)


def last_data(study: Study) -> np.ndarray:
    """Time of the last datum of each trajectory, or else of its initial distribution."""
    has = study.seen
    times = np.broadcast_to(study.operands.times, has.shape)
    last = np.max(np.where(has, times, -np.inf), axis=-1)
    return np.where(np.isfinite(last), last, np.broadcast_to(starts(study), last.shape))


def timed(operands: Operands, times: np.ndarray) -> Operands:
    """The operands with the visits written out as the times of inputs that have no others."""
    inputs = {
        name: signal if signal.times is not None else signal._replace(times=times)
        for name, signal in operands.inputs.items()
    }
    return operands._replace(inputs=inputs)


def _check_start(extra: np.ndarray, start: np.ndarray, study: Study) -> None:
    """Refuse times before the initial distribution."""
    frame = study.frame
    first = np.min(np.where(np.isnan(extra), np.inf, extra), axis=-1)
    early = np.argwhere(np.broadcast_to(first < start, frame.batch))
    if len(early):
        here = tuple(early[0])
        at = f" of {frame.who(here)}" if frame.rank else ""
        raise ValueError(
            f"times: {np.broadcast_to(first, frame.batch)[here]:g} lies before the start{at} at "
            f"{np.broadcast_to(start, frame.batch)[here]:g}, where the initial distribution holds; "
            "to look further back give Trajectory an earlier t0"
        )
    lost = np.argwhere(np.broadcast_to(np.isnan(start), frame.batch))
    if len(lost):
        at = frame.who(lost[0]) if frame.rank else study.name
        raise ValueError(
            f"times: {at} has neither a visit nor an event, so nothing says when its initial "
            "distribution holds; give Trajectory a t0"
        )
