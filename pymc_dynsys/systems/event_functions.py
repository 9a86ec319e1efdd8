"""Functions of a user that say what events do, with their arguments found."""

from collections.abc import Callable
from typing import Literal, NamedTuple

from pymc_dynsys.systems.binding import BoundFunction, bind, bind_part
from pymc_dynsys.systems.dose import Dose

Part = Literal["bioavailability", "lag", "rate", "duration"]
"""What may be said of a dose besides the state that it enters."""


class EventFunctions(NamedTuple):
    """Either a jump, which says all of what a dose does, or what a ``Dose`` says.

    ``state`` is the index of the state that doses enter, where the system says which. Fractions may
    depend on inputs, times on parameters only. ``accumulated`` are indices of states that are set
    to zero after every visit, by an event of its own.
    """

    jump: BoundFunction | None = None
    bioavailability: BoundFunction | None = None
    lag: BoundFunction | None = None
    rate: BoundFunction | None = None
    duration: BoundFunction | None = None
    state: int | None = None
    accumulated: tuple[int, ...] = ()


def bind_events(
    events: Callable[..., object] | Dose | str | None,
    accumulated: tuple[str, ...],
    states: tuple[str, ...] | None,
    params: tuple[str, ...],
    names: tuple[str, ...],
) -> EventFunctions:
    """Find the arguments of these functions; `names` are those of parameters and inputs."""
    counts = tuple((states or ()).index(name) for name in accumulated)
    if events is None:
        return EventFunctions(accumulated=counts)
    if isinstance(events, str):
        events = Dose(events)
    if not isinstance(events, Dose):
        if "amount" in (*(states or ()), *names):
            raise ValueError(
                "events: 'amount' is the amount of a dose in a function, and a state, parameter or "
                "input of this system too; rename that"
            )
        jump = bind("events", events, states, (*names, "amount"))
        return EventFunctions(jump, accumulated=counts)
    return EventFunctions(
        None,
        bind_part("bioavailability", events.bioavailability, states, names),
        bind_part("lag", events.lag, states, params),
        bind_part("rate", events.rate, states, params),
        bind_part("duration", events.duration, states, params),
        None if events.state is None else (states or ()).index(events.state),
        counts,
    )
