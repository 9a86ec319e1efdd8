"""What may change from one evaluation to the next without another program, by schema.

A :class:`Design` says which arrays there are and which axes of each belong to one trajectory; it is
functions, options and names only, so it can be hashed and compiled code is found again by it.
:class:`Operands` hold the arrays. In every array the batch axes lead, all of them, with length one
where a value does not vary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum, IntEnum
from typing import Any, Literal, NamedTuple, TypedDict

from pymc_dynsys.systems.bound import BoundSystem

Interpolation = Literal["previous", "next", "linear"]


class Role(Enum):
    """What an array is for."""

    DATA = "observed"
    TIME = "times"
    EVENT = "events"
    INPUT = "inputs"
    PARAM = "params"


class Slot(NamedTuple):
    """One array of a design: its role, its name, the axes of one trajectory.

    ``smooth`` says whether gradients with respect to it exist; where they do not, asking for one
    is an error and never zero.
    """

    role: Role
    name: str
    core: tuple[str, ...]
    smooth: bool

    @property
    def label(self) -> str:
        """Name of the array in an error message."""
        if self.role in (Role.PARAM, Role.INPUT, Role.EVENT):
            return f"{self.role.value}: {self.name!r}"
        return self.name


class InputKind(NamedTuple):
    """How one time-varying input is read.

    ``own_times`` says whether its knots have times of their own instead of those of the visits,
    ``variable`` whether its values are a variable of a model, and ``random`` whether that is more
    than data.
    """

    name: str
    interpolation: Interpolation = "previous"
    own_times: bool = False
    variable: bool = False
    random: bool = False


class Signal(NamedTuple):
    """Values ``(*batch, knot, *own)`` of an input, NaN where unknown, and times of the knots.

    Times ascend along ``(*batch, knot)`` and are padded with NaN; None: the knots are the visits.
    """

    values: Any
    times: Any = None


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
    the last one where there are only boluses, and no infusion since ever either.
    """

    event: Any
    kind: Any
    amount: Any = None
    interval: Any = None
    duration: Any = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the arrays that there are."""
        return tuple(name for name in self._fields if getattr(self, name) is not None)


class Doses(NamedTuple):
    """Events ``(*batch, event)``, padded with NaN times; a duration of zero is a bolus.

    ``durations`` is None where there is no infusion. ``targets`` are indices of states. ``order``
    counts the visits at the time of an event that come before it, NaN where all do; None: they do
    everywhere. ``stretched`` is 1 where the duration is that of the whole amount, and what arrives
    lasts a fraction of it; None where the durations are known. ``laws`` is None where no event
    resets the state or says a steady state; an amount of NaN is then no dose.
    """

    times: Any
    amounts: Any
    targets: Any
    durations: Any = None
    order: Any = None
    stretched: Any = None
    laws: Laws | None = None


class Operands(NamedTuple):
    """The arrays of a design. ``y`` is None where there are no data, as in a simulation."""

    y: Any
    times: Any
    t0: Any
    doses: Doses | None
    inputs: dict[str, Signal]
    params: dict[str, Any]


@dataclass(frozen=True)
class Design:
    """Which arrays describe a batch of trajectories of a system.

    Attributes
    ----------
    system : BoundSystem
        Dynamics of one trajectory.
    inputs : tuple of InputKind
        Time-varying inputs.
    doses, infusions, ordered, stretched : bool
        Whether there are events, whether some last, whether some come before a visit of their
        time, and whether parameters say how long some last.
    laws : tuple of str
        What is said of events that reset the state or say a steady state; empty: there are none.
    late : bool
        Whether doses arrive some time after they are given.
    """

    system: BoundSystem
    inputs: tuple[InputKind, ...] = ()
    doses: bool = False
    infusions: bool = False
    ordered: bool = False
    stretched: bool = False
    laws: tuple[str, ...] = ()
    late: bool = False

    @property
    def scheduled(self) -> bool:
        """Whether there are more instants than visits, or inputs to look up at them."""
        return self.doses or bool(self.inputs)

    @property
    def nominal(self) -> "Design":
        """The design where doses arrive at once, and last as long as the whole amount would."""
        return replace(self, stretched=False, late=False)

    @property
    def moving(self) -> bool:
        """Whether parameters say when something happens."""
        return self.stretched or self.late

    @property
    def slots(self) -> tuple[Slot, ...]:
        """All arrays, in the order in which they travel."""
        return tuple(self._slots())

    def _slots(self) -> Iterator[Slot]:
        component = () if self.system.observation.scalar else ("component",)
        yield Slot(Role.DATA, "y", ("time", *component), True)
        yield Slot(Role.TIME, "times", ("time",), False)
        yield Slot(Role.TIME, "t0", (), False)
        if self.doses:
            for name in ("time", "amount", "state"):
                yield Slot(Role.EVENT, name, ("event",), False)
            if self.infusions:
                yield Slot(Role.EVENT, "duration", ("event",), False)
            if self.ordered:
                yield Slot(Role.EVENT, "order", ("event",), False)
            if self.stretched:
                yield Slot(Role.EVENT, "stretched", ("event",), False)
            for name in self.laws:
                yield Slot(Role.EVENT, f"law {name}", ("law",), False)
        for kind in self.inputs:
            own = _own_axes(self.system.input_shapes[kind.name])
            yield Slot(Role.INPUT, kind.name, ("knot", *own), kind.variable)
            if kind.own_times:
                yield Slot(Role.TIME, f"times of input {kind.name!r}", ("knot",), False)
        for name, shape in self.system.param_shapes.items():
            yield Slot(Role.PARAM, name, _own_axes(shape), True)

    def pack(self, arrays: Sequence[Any]) -> Operands:
        """The operands from their arrays in the order of the slots."""
        rest = iter(arrays)
        y, times, t0 = next(rest), next(rest), next(rest)
        doses = None
        if self.doses:
            doses = Doses(next(rest), next(rest), next(rest))
            if self.infusions:
                doses = doses._replace(durations=next(rest))
            if self.ordered:
                doses = doses._replace(order=next(rest))
            if self.stretched:
                doses = doses._replace(stretched=next(rest))
            if self.laws:
                parts = {name: next(rest) for name in self.laws}
                doses = doses._replace(laws=Laws(**parts))
        inputs = {
            kind.name: Signal(next(rest), next(rest) if kind.own_times else None)
            for kind in self.inputs
        }
        params = {name: next(rest) for name in self.system.param_shapes}
        return Operands(y, times, t0, doses, inputs, params)

    def unpack(self, operands: Operands) -> tuple[Any, ...]:
        """The arrays of the operands in the order of the slots."""
        flat = [operands.y, operands.times, operands.t0]
        if operands.doses is not None:
            flat += operands.doses[:3]
            flat += [operands.doses.durations] if self.infusions else []
            flat += [operands.doses.order] if self.ordered else []
            flat += [operands.doses.stretched] if self.stretched else []
            flat += [getattr(operands.doses.laws, name) for name in self.laws]
        for kind in self.inputs:
            signal = operands.inputs[kind.name]
            flat += [signal.values, signal.times] if kind.own_times else [signal.values]
        return (*flat, *(operands.params[name] for name in self.system.param_shapes))

    def replaced(self, operands: Operands) -> "Design":
        """The design of operands with other events or inputs than these."""
        doses = operands.doses
        kinds = tuple(
            kind._replace(own_times=operands.inputs[kind.name].times is not None)
            for kind in self.inputs
        )
        return Design(self.system, kinds, **kinds_of_doses(doses, self.system))


class KindsOfDoses(TypedDict):
    """What a design says of doses."""

    doses: bool
    infusions: bool
    ordered: bool
    stretched: bool
    late: bool
    laws: tuple[str, ...]


def kinds_of_doses(doses: Doses | None, system: BoundSystem) -> KindsOfDoses:
    """What a design says of doses."""
    laws = None if doses is None else doses.laws
    return {
        "doses": doses is not None,
        "infusions": doses is not None and doses.durations is not None,
        "ordered": doses is not None and doses.order is not None,
        "stretched": doses is not None and doses.stretched is not None,
        "late": doses is not None and system.dosing.is_late,
        "laws": () if laws is None else laws.parts,
    }


def _own_axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"own{i}" for i in range(len(shape)))
