"""Resets and steady states of users: read and checked."""

from collections.abc import Callable

import numpy as np

from pymc_dynsys.discretization.events import Law, Laws
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.values import as_float
from pymc_dynsys.systems import BoundSystem

Read = Callable[[str, float], np.ndarray]
"""Reads a variable of the table, or its default where there is none, ``(*batch, event)``."""


def read_laws(
    read: Read, times: np.ndarray, amounts: np.ndarray, rates: np.ndarray, frame: Frame
) -> Laws | None:
    """What each event says of the law of the state, ``(*batch, event)``; None if none does.

    Amounts are those of an interval, or the rate of an infusion since ever; durations are left out.
    """
    steady, interval, reset = (
        np.broadcast_to(np.nan_to_num(as_float(f"event_{p}", read(f"event_{p}", 0.0))), times.shape)
        for p in ("steady_state", "interval", "reset")
    )
    there = np.isfinite(times)
    endless = (steady > 0) & (amounts == 0) & (rates > 0) & (interval == 0)

    def refuse(what: str, values: np.ndarray, wrong: np.ndarray, expected: str) -> None:
        refuse_event(what, values, there & wrong, expected, times, frame)

    refuse("steady_state", steady, ~np.isin(steady, (0, 1, 2)), "0, 1 or 2")
    refuse("reset", reset, ~np.isin(reset, (0, 1)), "1 (the state begins anew) or 0")
    refuse(
        "interval",
        interval,
        (steady > 0) & ~endless & ~((interval > 0) & (interval < np.inf)),
        "more than 0, the time between the doses of its steady state",
    )
    refuse("amount", amounts, (steady > 0) & ~endless & ~(amounts > 0), "more than 0")
    refuse(
        "steady_state",
        steady,
        (reset > 0) & (steady == 2),
        "1: a steady state cannot be added to what the event has just reset. Write the reset as an "
        "event of its own before it",
    )
    kind = np.where(reset > 0, Law.RESET, Law.NONE)
    kind = np.where(steady == 1, np.where(endless, Law.SINCE_EVER, Law.STEADY), kind)
    kind = np.where(steady == 2, np.where(endless, Law.SINCE_EVER_ADDED, Law.ADDED), kind)
    kind = np.where(there, kind, Law.NONE)
    if not (kind > 0).any():
        return None
    event = np.broadcast_to(np.arange(kind.shape[-1]), kind.shape)
    return Laws(event, kind, np.where(endless, rates, amounts), interval)


def refuse_event(
    what: str,
    values: np.ndarray,
    wrong: np.ndarray,
    expected: str,
    times: np.ndarray,
    frame: Frame,
) -> None:
    """Raise for the first event, ``(*batch, event)``, that says something that makes no sense."""
    where = np.argwhere(wrong)
    if len(where):
        here = tuple(where[0])
        raise ValueError(
            f"events: the {what} of the event at time {times[here]:g} for {frame.who(here[:-1])} "
            f"is {values[here]:g}, expected {expected}"
        )


def require_lawful(laws: Laws, system: BoundSystem) -> None:
    """Raise for resets and steady states that a system cannot have."""
    kinds = {Law(int(kind)) for kind in np.unique(laws.kind)}
    if Law.RESET in kinds and not (system.proof.start.gaussian and not system.n_diffuse):
        raise ValueError(
            "events: a reset puts the initial distribution again, which has to be Gaussian and "
            "not diffuse; give initial= numbers, or a normal distribution"
        )
    steady = kinds - {Law.NONE, Law.RESET}
    if not steady:
        return
    dynamics = system.proof.dynamics
    if system.dosing.has_own_jump:
        raise ValueError(
            "events: the steady state of doses that a function of the system explains is not "
            "known; let the system have events=pds.Dose(...)"
        )
    if system.n_diffuse:
        raise ValueError(
            "events: a steady state needs an initial distribution that is not diffuse; give "
            "initial= numbers, or a distribution"
        )
    if not dynamics.autonomous:
        raise ValueError(
            "events: there is no steady state where drift or diffusion depend on the time t; "
            "write out earlier doses with event_time (ADDL), and give t0"
        )
    if dynamics.linear:
        return
    if not system.is_deterministic:
        raise ValueError(
            "events: the steady state of a nonlinear SDE has no distribution that is known; write "
            "out earlier doses as events of their own, from a time that is long enough ago"
        )
    if steady != {Law.STEADY}:
        raise ValueError(
            "events: in a nonlinear system there is only steady_state 1 of doses at intervals: "
            "states do not add up (2), and an infusion since ever (interval 0) is not supported. "
            "Write out earlier doses as events of their own"
        )
