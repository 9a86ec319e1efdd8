"""States that count what happened since the last visit: set to zero after every one."""

import warnings

import numpy as np

from pymc_dynsys.discretization import Doses
from pymc_dynsys.systems import BoundSystem


def accumulated_states(system: BoundSystem) -> tuple[str, ...]:
    """Names of the states that begin again after every visit."""
    return tuple(getattr(system.source, "accumulate", ()))


def refuse_beside(system: BoundSystem, events: object, changing: bool) -> None:
    """Raise where something else says what events there are, or visits may change."""
    names = ", ".join(accumulated_states(system))
    if events is not None and system.step is not None:
        raise ValueError(
            "events: a DiscreteTime system has none; let an input enter its transition"
        )
    if events is not None:
        raise ValueError(
            f"events: {names} is set to zero at every visit by an event there, and doses beside "
            "these are not supported; write the visits among your events, with a function of the "
            "amount, SDE(events=lambda ..., amount: ...)"
        )
    if changing:
        raise ValueError(
            f"times: {names} is set to zero at every visit, so visits cannot change with pm.Data; "
            "give times as an array, and build the model again for others"
        )


def restarts(times: np.ndarray) -> Doses:
    """An event after the datum of every visit, ``(*batch, visit)``; NaN where there is none."""
    return Doses(times, np.ones(times.shape), np.zeros(times.shape, int))


def restarts_to_come(known: np.ndarray, last: np.ndarray, ahead: np.ndarray) -> Doses:
    """Those from the last datum on: at visits that the model has from then, and those to come."""
    ahead = np.where(ahead > last[..., None], ahead, np.nan)
    known = np.where(known >= last[..., None], known, np.nan)
    lead = np.broadcast_shapes(known.shape[:-1], ahead.shape[:-1])
    both = [np.broadcast_to(part, (*lead, part.shape[-1])) for part in (known, ahead)]
    return restarts(np.sort(np.concatenate(both, axis=-1), axis=-1))


def warn_of_start(name: str, system: BoundSystem, times: np.ndarray, t0: np.ndarray) -> None:
    """Warn where nothing can have accumulated before the first datum."""
    states = accumulated_states(system)
    if not states:
        return
    first = np.where(np.isnan(times), np.inf, times).min(-1, initial=np.inf)
    at_first = np.isnan(t0) | (t0 == first)
    if (at_first & np.isfinite(first)).any():
        warnings.warn(
            f"{name}: {', '.join(states)} accumulates from t0 on, which is the first visit, so the "
            "first datum covers no time; give the beginning of its first interval, "
            "Trajectory(t0=...)",
            UserWarning,
            stacklevel=4,
        )
