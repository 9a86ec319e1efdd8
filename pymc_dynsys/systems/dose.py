"""What a dose does to the state."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Dose:
    r"""A dose enters one state: :math:`x_s \to x_s + F a` for amount :math:`a`.

    An infusion over a given duration :math:`T` adds :math:`F a / T` to the drift of the state for
    that long; one at a given rate :math:`r` adds :math:`r` during :math:`F a / r`.

    Parameters
    ----------
    state : str, optional
        The state; default the one that the event table names, or the only one.
    bioavailability : str, float or callable, optional
        Fraction :math:`F` that arrives: the name of a parameter, a number, or a function of
        parameters and inputs, of which values at the time of the dose count. Default 1.
    lag : str, float or callable, optional
        Time :math:`\ell \ge 0` after which a dose arrives, infusions and repeats too: the name of a
        parameter, a number, or a function of parameters. Default none. A lag below zero has a
        likelihood of zero. A lagged bolus into an observed state makes the likelihood jump in the
        lag where it passes a datum, which a warning says.
    rate : str, float or callable, optional
        Rate :math:`r > 0` of the infusions that the event table marks by a rate of -1, which last
        :math:`F a / r`: the name of a parameter, a number, or a function of parameters.
    duration : str, float or callable, optional
        Duration :math:`T > 0` of those that it marks by a rate of -2, at the rate
        :math:`F a / T`. A rate or duration that is not positive has a likelihood of zero.

    Raises
    ------
    ValueError
        When the system is made, if `state` is not one of its states.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.Dose("depot", bioavailability="F")
    Dose(state='depot', bioavailability='F', lag=None, rate=None, duration=None)
    """

    state: str | None = None
    bioavailability: str | float | Callable[..., Any] | None = None
    lag: str | float | Callable[..., Any] | None = None
    rate: str | float | Callable[..., Any] | None = None
    duration: str | float | Callable[..., Any] | None = None


def check_events(events: Any, states: Sequence[str] | None) -> None:
    """Refuse what is neither a state, a Dose nor a function."""
    if events is None or callable(events):
        return
    if not isinstance(events, str | Dose):
        raise TypeError(
            f"events: expected a state's name, a Dose or a function, got {events!r}; the table of "
            "events is given to Trajectory(events=...)"
        )
    state = events if isinstance(events, str) else events.state
    if state is not None and state not in (states or ()):
        known = ", ".join(map(repr, states)) if states else "no named states"
        raise ValueError(f"events: {state!r} is not a state; the system has {known}")


def check_accumulated(names: Sequence[str], states: Sequence[str] | None) -> tuple[str, ...]:
    """Names of states that are set to zero after every visit."""
    found = (names,) if isinstance(names, str) else tuple(names)
    for name in found:
        if name not in (states or ()):
            raise ValueError(
                f"accumulate: {name!r} is none of the states {tuple(states or ())}; name those "
                "that count since the last visit, states=(..., 'cases'), accumulate=('cases',)"
            )
    return found
