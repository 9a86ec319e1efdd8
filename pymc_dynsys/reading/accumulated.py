"""States that count what happened since the last visit: set to zero after every one."""

import warnings

import numpy as np

from pymc_dynsys.discretization import Doses
from pymc_dynsys.systems import BoundSystem
from pymc_dynsys.systems.dosing import RESTART


def require_fixed(
    system: BoundSystem, doses: Doses | None, times_change: bool, doses_change: bool
) -> None:
    """Raise where visits may change, or where doses do what is not supported beside restarts."""
    names = ", ".join(system.dosing.accumulated)
    if not names:
        return
    if times_change:
        raise ValueError(
            f"times: {names} is set to zero at every visit, so visits cannot change with pm.Data; "
            "give times as an array, and build the model again for others"
        )
    if doses_change:
        raise ValueError(
            f"events: {names} is set to zero at every visit, and doses beside that cannot change "
            "with pm.Data; give numbers, as in pds.panel's Dataset, and build the model again for "
            "others, or forecast with others, forecast(events=...)"
        )
    if doses is None:
        return
    said = {
        "doses that arrive late (lag)": system.dosing.has("lag"),
        "infusions whose duration parameters say (a rate of -1 or -2, or a bioavailability beside "
        "a rate)": doses.lasting is not None,
        "resets and steady states (EVID 3 and 4, SS)": doses.laws is not None,
    }
    for what, there in said.items():
        if there:
            raise ValueError(
                f"events: {names} is set to zero at every visit, and {what} are not supported "
                "beside that; write out doses with times and durations that are known"
            )


def restarts(times: np.ndarray) -> Doses:
    """An event after the datum of every visit, ``(*batch, visit)``; NaN where there is none."""
    return Doses(times, np.ones(times.shape), np.full(times.shape, RESTART))


def with_restarts(begun: Doses, doses: Doses | None) -> Doses:
    """Restarts, and doses; at one time restarts come before the doses that follow its data."""
    if doses is None:
        return begun
    lead = np.broadcast_shapes(begun.times.shape[:-1], doses.times.shape[:-1])
    both = []
    for part, other in zip(begun.written_out()[:-1], doses.written_out()[:-1], strict=True):
        wide = [np.broadcast_to(array, (*lead, array.shape[-1])) for array in (part, other)]
        both.append(np.concatenate(wide, axis=-1))
    return Doses.of(both, None).pruned()


def without_restarts(doses: Doses | None) -> Doses | None:
    """The doses among events, in which restarts have places of their own; None if there are none.

    Events are those of :func:`with_restarts`, or of a system where nothing restarts.
    """
    if doses is None:
        return None
    begins = np.asarray(doses.targets) == RESTART
    if not begins.any():
        return doses
    own = np.flatnonzero(~begins.any(tuple(range(begins.ndim - 1))))
    if not len(own):
        return None
    return Doses.of((None if part is None else part[..., own] for part in doses[:-1]), doses.laws)


def restarts_to_come(known: np.ndarray, last: np.ndarray, ahead: np.ndarray) -> Doses:
    """Those from the last datum on: at visits that the model has from then, and those to come."""
    ahead = np.where(ahead > last[..., None], ahead, np.nan)
    known = np.where(known >= last[..., None], known, np.nan)
    lead = np.broadcast_shapes(known.shape[:-1], ahead.shape[:-1])
    both = [np.broadcast_to(part, (*lead, part.shape[-1])) for part in (known, ahead)]
    return restarts(np.sort(np.concatenate(both, axis=-1), axis=-1))


def warn_of_start(name: str, system: BoundSystem, times: np.ndarray, t0: np.ndarray) -> None:
    """Warn where nothing can have accumulated before the first datum."""
    states = system.dosing.accumulated
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
