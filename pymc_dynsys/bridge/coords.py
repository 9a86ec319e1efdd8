"""Labels that fixed values were matched with: one does not change without the other."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import graph_inputs

from pymc_dynsys.discretization import Design
from pymc_dynsys.discretization.operands import Role, Slot
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.labels import keys

Labels = Sequence[Any] | None


class HeldCoords(dict[str, Labels]):
    """Coords of a model in which labels cannot change where values that cannot follow lie along.

    ``pm.set_data(..., coords=)`` and ``set_dim`` write here, before anything else changes.

    Attributes
    ----------
    held : dict of dim to str
        What lies along each dim and how to make it follow.
    given : dict of str to pair
        Labels that fixed data had, and the data, by name of the trajectory.
    """

    def __init__(
        self,
        coords: Mapping[str, Labels],
        held: dict[str, str],
        given: dict[str, tuple[dict[str, Labels], np.ndarray]],
    ) -> None:
        super().__init__(coords)
        self.held = held
        self.given = given

    def __setitem__(self, dim: str, labels: Labels) -> None:
        old = self.get(dim)
        if dim in self.held and old is not None and not same_labels(old, labels):
            raise ValueError(
                f"coords: the labels along {dim!r} cannot change, since {self.held[dim]}"
            )
        super().__setitem__(dim, labels)

    def copy(self) -> "HeldCoords":
        """Coords of a copy of the model, which hold the same."""
        return HeldCoords(self, dict(self.held), dict(self.given))

    def __reduce__(self) -> Any:
        return HeldCoords, (dict(self), self.held, self.given)


def same_labels(old: Labels, new: Labels) -> bool:
    """Whether labels are the same, in the same order."""
    return old is new or (old is not None and new is not None and keys(old) == keys(new))


def hold_labels(
    name: str,
    design: Design,
    variables: Sequence[Variable],
    frame: Frame,
    model: pm.Model,
) -> None:
    """Keep the labels along which arrays of a trajectory lie that are not data variables.

    `variables` are those of all arrays but the data. Data that are an array hold no label, since
    predictions do without them; :func:`require_labels_of_data` asks later.
    """
    coords = _held_coords(model)
    for slot, variable in zip(design.slots[1:], variables, strict=True):
        if is_fixed(variable):
            for dim in _dims_along(slot, variable, design, frame):
                coords.held.setdefault(dim, _as_data(f"{slot.label} of {name!r}", dim))
    observed = model.root.rvs_to_values.get(model.root.named_vars.get(name))
    if isinstance(observed, Constant):
        labels = {dim: coords.get(dim) for dim in frame.dims}
        coords.given[name] = (labels, np.asarray(observed.data))


def hold_array(what: str, dims: Iterable[str], model: pm.Model | None) -> None:
    """Keep labels that those of an array were matched with, which is a constant of the model."""
    dims = [] if model is None else [dim for dim in dims if dim in model.coords]
    if model is not None and dims:
        held = _held_coords(model).held
        for dim in dims:
            held.setdefault(dim, _as_data(what, dim))


def hold_times(name: str, dim: str, model: pm.Model) -> None:
    """Keep the labels along a time dim, from which the times of a trajectory were taken."""
    _held_coords(model).held[dim] = (
        f"the times of {name!r} were taken from them and would stay as they are; give the times "
        f"as data, times=pm.Data('times', ..., dims={dim!r}), and set both together, "
        f"pm.set_data({{'times': ..., ...}}, coords={{{dim!r}: ...}})"
    )


def hold(dim: str, why: str, model: pm.Model) -> None:
    """Keep the labels along a dim, for a reason that the error tells."""
    _held_coords(model).held[dim] = why


def require_labels_of_data(model: pm.Model, name: str, y: np.ndarray) -> None:
    """Raise where labels changed under data that were given as an array."""
    coords: Any = model.coords
    labels, numbers = getattr(coords, "given", {}).get(name, ({}, None))
    changed = [
        dim
        for dim, old in labels.items()
        if old is not None and not same_labels(old, coords.get(dim))
    ]
    if changed and np.array_equal(numbers, y, equal_nan=True):
        raise ValueError(
            f"observed: the labels along {changed[0]!r} have changed since the model was built, "
            f"and the data of {name!r}, given as an array, are those of the old ones; give them as "
            f"pds.data(..., dims={tuple(labels)}) and set both together, or build the model again"
        )


def is_fixed(variable: Variable) -> bool:
    """Whether nothing that enters can ever change."""
    return all(
        isinstance(v, Constant) and not isinstance(v, SharedVariable)
        for v in graph_inputs([variable])
    )


def _held_coords(model: pm.Model) -> HeldCoords:
    """Coords of a model that hold labels, put in the place of plain ones."""
    root = model.root
    old = root._coords
    if isinstance(old, HeldCoords):
        return old
    held = HeldCoords(old, {}, {})
    above: Any = model
    while above is not None:
        above._coords = held
        above = above.parent
    return held


def _dims_along(slot: Slot, variable: Variable, design: Design, frame: Frame) -> list[str]:
    """Dims of the trajectory along which a fixed array varies."""
    shape = variable.type.shape
    batch = shape[: len(shape) - len(slot.core)]
    own = frame.batch_dims[frame.rank - len(batch) :]
    dims = [dim for dim, n in zip(own, batch, strict=True) if n != 1]
    own_times = {kind.name for kind in design.inputs if kind.own_times}
    at_visits = slot.core[:1] == ("time",) or (
        slot.role is Role.INPUT and slot.name not in own_times
    )
    return [*dims, frame.time_dim] if at_visits else dims


def _as_data(what: str, dim: str) -> str:
    return (
        f"{what} lies along them, was given as an array and would stay as it is; give "
        f"it as data, pm.Data(..., dims=...), and set both together, or build the model again for "
        f"other labels along {dim!r}"
    )
