"""What may change from one evaluation to the next without another program, by schema.

A :class:`Design` says which arrays there are and which axes of each belong to one trajectory; it is
functions, options and names only, so it can be hashed and compiled code is found again by it.
:class:`Operands` hold the arrays. In every array the batch axes lead, all of them, with length one
where a value does not vary.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any, Literal, NamedTuple, TypedDict

from pymc_dynsys.discretization.events import Doses, Laws
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
    doses : bool
        Whether there are events.
    dose_parts : tuple of str
        What is said of them besides time, amount and state.
    laws : tuple of str
        What is said of events that reset the state or say a steady state; empty: there are none.
    late : bool
        Whether doses arrive some time after they are given.
    """

    system: BoundSystem
    inputs: tuple[InputKind, ...] = ()
    doses: bool = False
    dose_parts: tuple[str, ...] = ()
    laws: tuple[str, ...] = ()
    late: bool = False

    @property
    def scheduled(self) -> bool:
        """Whether there are more instants than visits, or inputs to look up at them."""
        return self.doses or bool(self.inputs)

    @property
    def nominal(self) -> "Design":
        """The design where doses arrive at once, and last as long as the whole amount would."""
        parts = tuple(part for part in self.dose_parts if part not in MOVING)
        laws = tuple(part for part in self.laws if part != "room")
        return replace(self, dose_parts=parts, laws=laws, late=False)

    @property
    def moving(self) -> bool:
        """Whether parameters say when something happens."""
        return self.late or "lasting" in self.dose_parts

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
            for name in self.dose_parts:
                yield Slot(Role.EVENT, name, ("event",), False)
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
            doses = doses._replace(**{name: next(rest) for name in self.dose_parts})
            if self.laws:
                doses = doses._replace(laws=Laws(**{name: next(rest) for name in self.laws}))
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
            flat += [getattr(operands.doses, name) for name in self.dose_parts]
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


MOVING = ("lasting", "until", "age")
"""What is said of doses only where parameters say when something happens."""


class KindsOfDoses(TypedDict):
    """What a design says of doses."""

    doses: bool
    dose_parts: tuple[str, ...]
    late: bool
    laws: tuple[str, ...]


def kinds_of_doses(doses: Doses | None, system: BoundSystem) -> KindsOfDoses:
    """What a design says of doses."""
    laws = None if doses is None else doses.laws
    return {
        "doses": doses is not None,
        "dose_parts": () if doses is None else doses.parts,
        "late": doses is not None and system.dosing.has("lag"),
        "laws": () if laws is None else laws.parts,
    }


def _own_axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"own{i}" for i in range(len(shape)))
