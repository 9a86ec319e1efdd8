"""A trajectory variable of a model: what is computed, where its values fit, what they are now."""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pymc as pm
from pymc.model.fgraph import clone_model
from pytensor.compile.ops import ViewOp
from pytensor.graph.basic import Apply, Constant, Variable

from pymc_dynsys.bridge.coords import require_labels_of_data
from pymc_dynsys.bridge.data import constant, current_value
from pymc_dynsys.bridge.dims import dim_length
from pymc_dynsys.bridge.labels import labels_of
from pymc_dynsys.bridge.path_op import PathOp
from pymc_dynsys.bridge.random_variable import Specification, TrajectoryRV
from pymc_dynsys.discretization import Design, Operands
from pymc_dynsys.discretization.operands import Role, Slot
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.reading.consistency import check_arrays
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.labels import keys
from pymc_dynsys.simulation.paths import Simulator
from pymc_dynsys.systems.bound import BoundSystem


@dataclass(frozen=True, eq=False)
class Study:
    """A trajectory of a model, with the current values of its data.

    Attributes
    ----------
    name : str
        Name of the variable.
    program : Program
        System, arrays and likelihood.
    simulator : Discretization or ODESolve
        What draws paths.
    frame : Frame
        Dims, labels, unit.
    variables : tuple of Variable
        PyTensor expressions of all arrays but the data, in the order of the design's slots.
    operands : Operands
        Current values of what is known, in numpy, with all batch axes; None for what depends on
        random variables.
    """

    name: str
    program: Program
    simulator: Simulator
    frame: Frame
    variables: tuple[Variable, ...]
    operands: Operands

    @property
    def system(self) -> BoundSystem:
        """The dynamics of one trajectory."""
        return self.program.system

    @property
    def design(self) -> Design:
        """System and arrays."""
        return self.program.design

    @property
    def y(self) -> np.ndarray:
        """The data, ``(*batch, time[, component])``."""
        return np.asarray(self.operands.y)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data: batch, time and perhaps component."""
        observation = self.system.observation
        own = () if observation.scalar else (observation.n_components,)
        return (*self.frame.batch, np.shape(self.operands.times)[-1], *own)

    @property
    def seen(self) -> np.ndarray:
        """Whether anything was observed at each visit, ``(*batch, time)``."""
        there = ~np.isnan(self.y)
        return there if self.system.observation.scalar else there.any(-1)

    def specification(self, known: Container[str]) -> Specification:
        """What the variable is, apart from its values; `known` are the dims of the model."""
        frame = self.frame
        unit = None if frame.origin is None else frame.unit
        labels = [(d, tuple(keys(along))) for d, along in frame.labels.items() if d not in known]
        return Specification(
            self.program, self.simulator, unit, frame.origin, tuple(labels), frame.units
        )


def find_trajectory(model: pm.Model, var_name: str | None = None) -> Study:
    """The trajectory of a model, the one called `var_name` if there are several."""
    if not isinstance(model, pm.Model):
        raise TypeError(f"model: expected a pm.Model, got {type(model).__name__}")
    found = {
        str(rv.name): rv
        for rv in model.basic_RVs
        if rv.owner is not None and isinstance(rv.owner.op, TrajectoryRV)
    }
    if not found:
        paths = list(find_paths(model))
        instead = (
            f"; the states of the path {paths[0]!r} are variables, idata.posterior[{paths[0]!r}], "
            "forecast() goes on from them, and its data are drawn by pm.sample_posterior_predictive"
            if paths
            else ""
        )
        raise ValueError(f"model: there is no Trajectory in it{instead}")
    if var_name is None:
        if len(found) > 1:
            raise ValueError(f"var_name: the model has several trajectories, {', '.join(found)}")
        var_name = next(iter(found))
    if var_name not in found:
        raise ValueError(f"var_name: no trajectory {var_name!r}; there is {', '.join(found)}")
    rv = found[var_name]
    op: TrajectoryRV = rv.owner.op
    spec = op.spec
    variables = tuple(op.dist_params(rv.owner))
    y = current_value(model.rvs_to_values[rv])
    if y is None:
        raise ValueError(
            f"{var_name}: it is not observed, so there are no data to condition on; use "
            "pm.observe(model, {...}) or pds.simulate"
        )
    scalar = spec.system.observation.scalar
    dims, labels = _dims(model, var_name, y, 1 if scalar else 2)
    if isinstance(model.rvs_to_values[rv], Constant):
        require_labels_of_data(model, var_name, y)
    component_dim = None if scalar else dims[-1]
    return _study(
        var_name, model, spec, variables, np.asarray(y, float), dims, labels, component_dim
    )


def find_paths(model: pm.Model) -> dict[str, Variable]:
    """The paths of a model, by name."""
    return {str(v.name): v for v in model.deterministics if _node_of_path(v) is not None}


def _node_of_path(variable: Variable) -> Apply | None:
    """The node that makes a path; a deterministic variable is a view of it, in a copy itself."""
    node = variable.owner
    if node is not None and isinstance(node.op, ViewOp):
        node = node.inputs[0].owner
    return node if node is not None and isinstance(node.op, PathOp) else None


def find_path(model: pm.Model, var_name: str | None = None) -> Study | None:
    """The path called `var_name`, or the only one of a model without a trajectory; else None.

    Its data are zero at each visit: what is seen of a path is not known to it.
    """
    paths = find_paths(model) if isinstance(model, pm.Model) else {}
    if var_name is None:
        if any(isinstance(getattr(rv.owner, "op", None), TrajectoryRV) for rv in model.basic_RVs):
            return None
        if len(paths) > 1:
            raise ValueError(f"var_name: the model has several paths, {', '.join(paths)}")
        var_name = next(iter(paths), None)
    if var_name not in paths:
        return None
    assert var_name is not None
    node: Any = _node_of_path(paths[var_name])
    op: PathOp = node.op
    variables = tuple(op.of_design(node.inputs)[1:])
    dims = tuple(map(str, model.named_vars_to_dims[var_name]))[:-1]
    times = current_value(variables[0])
    lengths = [dim_length(model, dim) for dim in dims]
    y = np.where(np.isnan(np.asarray(times, float)), np.nan, np.zeros(lengths))
    labels = dict(zip(dims, map(_plain, labels_of(model, dims)), strict=True))
    return _study(var_name, model, op.spec, variables, y, dims, labels, None)


def _study(
    name: str,
    model: pm.Model,
    spec: Specification,
    variables: tuple[Variable, ...],
    y: np.ndarray,
    dims: tuple[str, ...],
    labels: dict[str, np.ndarray],
    component_dim: str | None,
) -> Study:
    """The study of a variable whose data, ``(*batch, time[, component])``, have these dims."""
    design = spec.program.design
    rank = len(dims) - (1 if component_dim is None else 2)
    named = name in model.named_vars_to_dims
    lengths = [dim_length(model, dim) if named else n for dim, n in zip(dims, y.shape, strict=True)]
    frame = Frame(
        batch_dims=dims[:rank],
        time_dim=dims[rank],
        component_dim=component_dim,
        lengths=dict(zip(dims[:rank], lengths, strict=False)),
        labels={**_known_labels(model, spec), **labels},
        unit=spec.unit,
        origin=spec.origin,
        units=spec.units,
    )
    values: list[Any] = [y]
    for slot, variable in zip(design.slots[1:], variables, strict=True):
        value = _value(slot.name, slot.role is Role.TIME, variable, rank + len(slot.core))
        _require_batch(slot, variable, value, frame)
        values.append(value)
    operands = design.pack(values)
    check_arrays(design, operands, frame)
    program = replace(spec.program, complete=not np.isnan(y).any())
    return Study(name, program, spec.simulator, frame, variables, operands)


def _require_batch(slot: Slot, variable: Variable, value: np.ndarray | None, frame: Frame) -> None:
    """Raise for known values, batch axes first, that are not one for each trajectory or shared.

    A shared value has an axis whose length is one by its type; one row that happens to be all that
    there is does not stand for the others.
    """
    if value is None:
        return
    for axis, dim in enumerate(frame.batch_dims):
        own = axis - frame.rank - len(slot.core) + variable.type.ndim
        shared = own < 0 or variable.type.shape[own] == 1
        if value.shape[axis] != frame.lengths[dim] and not (shared and value.shape[axis] == 1):
            raise ValueError(
                f"{slot.label}: {value.shape[axis]} along {dim!r}, which has length "
                f"{frame.lengths[dim]} in the model; give one for each, by name and dim"
            )


def _value(name: str, required: bool, variable: Variable, ndim: int) -> Any:
    """Current value with all batch axes; None if it depends on random variables."""
    value = current_value(variable)
    if value is None:
        if required:
            raise ValueError(f"{name}: not known, since random variables of the model enter")
        return None
    value = np.asarray(value)
    return value.reshape((1,) * (ndim - value.ndim) + value.shape)


def _dims(
    model: pm.Model, name: str, y: np.ndarray, n_own: int
) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    named = model.named_vars_to_dims.get(name)
    if named is None:
        batch = [f"{name}_dim_{i}" for i in range(y.ndim - n_own)]
        dims = (*batch, "time", "component")[: y.ndim]
        return tuple(dims), {d: np.arange(n) for d, n in zip(dims, y.shape, strict=True)}
    dims = tuple(map(str, named))
    labels = labels_of(model, dims)
    return dims, dict(zip(dims, map(_plain, labels), strict=True))


def _known_labels(model: pm.Model, spec: Specification) -> dict[str, Any]:
    """Labels of all dims that the model has, and those that belong to the trajectory."""
    known = {dim: labels for dim, labels in model.coords.items() if labels is not None}
    return {**dict(spec.labels), **known}


def _plain(labels: Any) -> np.ndarray:
    """Labels with the dtype of what they are."""
    return np.asarray(list(labels))


def with_data(model: pm.Model, name: str, y: np.ndarray) -> pm.Model:
    """A copy of the model that observes other values of one variable."""
    copy = clone_model(model)
    rv = copy[name]
    old = copy.rvs_to_values[rv]
    new = constant(y)
    new.name = old.name
    copy.rvs_to_values[rv] = new
    copy.values_to_rvs.pop(old)
    copy.values_to_rvs[new] = rv
    return copy
