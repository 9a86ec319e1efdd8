"""Events of trajectories: doses, and what some of them say of the law of the state."""

from collections.abc import Iterable
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np


class Law(IntEnum):
    """What an event says of the law of the state before it gives its own dose.

    The numbers are those that arrays hold. ``SINCE_EVER`` is the state under an infusion without
    end, which ends here; ``ADDED`` puts a steady state on top of the state that there is, and the
    others forget it.
    """

    NONE = 0
    STEADY = 1
    ADDED = 2
    RESET = 3
    SINCE_EVER = 4
    SINCE_EVER_ADDED = 5

    @property
    def forgets(self) -> bool:
        """Whether what was before no longer matters."""
        return self in (Law.STEADY, Law.RESET, Law.SINCE_EVER)


class Laws(NamedTuple):
    """Events that say a law of the state, ``(*batch, law)``, padded with events of -1.

    ``event`` is the place of the event among those of a trajectory, ``kind`` a :class:`Law`. In a
    steady state ``amount`` (for ``SINCE_EVER`` a rate) enters every ``interval``, over
    ``duration``, which is zero for a bolus. The first two are None where there are only resets,
    the third one where there are only boluses, and no infusion since ever either. ``room`` is for
    how many infusions of earlier intervals there are events, where parameters say how many still
    run; None where their number is known.
    """

    event: Any
    kind: Any
    amount: Any = None
    interval: Any = None
    duration: Any = None
    room: Any = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the arrays that there are."""
        return tuple(name for name in self._fields if getattr(self, name) is not None)


class Lasting(IntEnum):
    """What says how long an infusion lasts; the numbers are those that arrays hold.

    ``TOLD``: the table. ``BY_FRACTION``: the table does for the whole amount, and what arrives
    lasts a fraction of that. ``BY_RATE``, ``BY_DURATION``: the rate or the duration of the system's
    dose.
    """

    TOLD = 0
    BY_FRACTION = 1
    BY_RATE = 2
    BY_DURATION = 3


class Doses(NamedTuple):
    """Events ``(*batch, event)``, padded with NaN times; a duration of zero is a bolus.

    ``targets`` are indices of states. What follows is None where it says nothing of any event:

    ``durations``
        Infinite where only parameters say them.
    ``order``
        Visits at the time of an event that come before it; NaN: all do.
    ``lasting``
        A :class:`Lasting` where parameters say how long infusions last.
    ``until``
        When the state is forgotten and with it what is under way, where parameters say how much is.
    ``age``
        How long before its time an infusion began that still runs there, in a steady state.
    ``laws``
        Events that reset the state or say a steady state; an amount of NaN is then no dose.
    """

    times: Any
    amounts: Any
    targets: Any
    durations: Any = None
    order: Any = None
    lasting: Any = None
    until: Any = None
    age: Any = None
    laws: Laws | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the arrays that there are of those that may be None."""
        return tuple(name for name in SAYS_NOTHING if getattr(self, name) is not None)

    def written_out(self) -> "Doses":
        """The same with all arrays, of one shape."""
        told = [
            np.full(1, nothing) if getattr(self, name) is None else getattr(self, name)
            for name, nothing in SAYS_NOTHING.items()
        ]
        return Doses.of(np.broadcast_arrays(*self[:3], *told), self.laws)

    @classmethod
    def of(cls, arrays: Iterable[np.ndarray | None], laws: Laws | None) -> "Doses":
        """Doses from all their arrays."""
        return cls._make((*arrays, laws))

    def pruned(self) -> "Doses":
        """The same without arrays that say nothing."""
        there = np.isfinite(self.times)
        told = []
        for name, nothing in SAYS_NOTHING.items():
            part = getattr(self, name)
            wide = None if part is None else np.broadcast_to(part, there.shape)
            told.append(None if wide is None or _says_nothing(wide[there], nothing) else wide)
        return Doses.of((*self[:3], *told), self.laws)


SAYS_NOTHING = {"durations": 0.0, "order": np.nan, "lasting": 0.0, "until": np.inf, "age": 0.0}
"""Values of arrays of doses that are as if there were none."""


def _says_nothing(values: np.ndarray, nothing: float) -> bool:
    return bool(np.array_equal(values, np.full(values.shape, nothing), equal_nan=True))
