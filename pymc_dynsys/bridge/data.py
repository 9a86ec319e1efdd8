"""Observed data and times at the door: checked once, named by label."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pymc.data import MinibatchOp
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import ancestors, graph_inputs
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.sharedvar import TensorSharedVariable

from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.labels import in_order, keys, labelled
from pymc_dynsys.reading.values import as_float, refuse_infinite


def data(name: str, value: Any, dims: str | Sequence[str] | None = None) -> Variable:
    """``pm.Data`` that may hold NaN, for observed values that change with ``pm.set_data``.

    Parameters
    ----------
    name : str
        Name of the data variable in the model.
    value : array, DataArray or pandas object
        Values; NaN is a missing value, infinity an error. Labels are matched to the model's, also
        in ``pm.set_data`` (but not in copies of the model that ``pm.do`` and ``pm.observe`` make).
    dims : str or sequence of str, optional
        Dims of the value, all known to the model; default those of a DataArray.

    Returns
    -------
    SharedVariable
        To be given to ``Trajectory(observed=...)``.

    Raises
    ------
    TypeError, ValueError
        If the values are not numbers or not finite-or-NaN, or do not fit the dims.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model(coords={"subject": ["a", "b"], "time": [0.0, 1.0]}):
    ...     y = pds.data("y_data", np.array([[1.0, np.nan], [0.5, 0.7]]), dims=("subject", "time"))
    """
    model = pm.modelcontext(None)
    names = (dims,) if isinstance(dims, str) else dims
    if names is None and isinstance(value, xr.DataArray):
        names = tuple(map(str, value.dims))
    value = labelled(name, value, names or (), model.coords)
    indexes = dict(value.indexes) if isinstance(value, xr.DataArray) else {}
    for dim in indexes:
        bring_labels(model, str(dim), value)
    values = as_float(name, in_order(name, value, names or (), model.coords))
    if names is not None and len(names) != values.ndim:
        raise ValueError(f"{name}: dims {tuple(names)} do not fit values of shape {values.shape}")
    refuse_infinite(name, values, [np.arange(n) for n in values.shape], names)
    kind = pt.TensorType("float64", shape=(None,) * values.ndim)
    shared = DataVariable(kind, values, strict=False, name=model.name_for(name))
    shared.tag.labels = {str(dim): tuple(index) for dim, index in indexes.items()}
    shared.tag.attrs = dict(value.attrs) if isinstance(value, xr.DataArray) else {}
    shared.tag.had_times = isinstance(value, xr.DataArray) and "time" in value.coords
    for axis, dim in enumerate(names or ()):
        if dim not in model.dim_lengths:
            raise ValueError(f"{name}: dim {dim!r} is not in the model's coords")
        length = int(np.asarray(current_value(model.dim_lengths[dim])))
        if length != values.shape[axis]:
            raise ValueError(
                f"{name}: dim {dim!r} has length {length} in the model, but the values have "
                f"{values.shape[axis]} along it"
            )
    model.register_data_var(shared, dims=None if names is None else tuple(names))
    for own in (model, model.root):
        vars(own).setdefault("set_data", SetData(own))
    return shared


class DataVariable(TensorSharedVariable):
    """Shared data that may hold NaN, which ``pm.set_data`` masks on the way here."""

    def set_value(self, new_value: Any, borrow: bool = False) -> None:
        """Replace the values; what is masked is missing, and infinity an error."""
        values = as_float(str(self.name), new_value)
        refuse_infinite(str(self.name), values, [np.arange(n) for n in values.shape], None)
        super().set_value(values, borrow)


class SetData:
    """What ``pm.set_data`` calls of a model, matching labels that PyMC would drop.

    Labelled values of a :class:`DataVariable` are put in the order of the labels that the model is
    given with them, or has; labels on one side only are an error. All else is PyMC's.
    """

    def __init__(self, model: pm.Model) -> None:
        self.model = model

    def __call__(
        self, name: str, values: Any, coords: Mapping[str, Sequence[Any]] | None = None
    ) -> None:
        """Replace the values of a data variable, and labels of its dims."""
        variable, given = self.model[name], dict(coords or {})
        if isinstance(variable, DataVariable):
            dims = self.model.named_vars_to_dims.get(str(variable.name)) or ()
            known = {dim: given.get(dim, self.model.coords.get(dim)) for dim in dims}
            values = in_order(name, values, tuple(map(str, dims)), known)
        type(self.model).set_data(self.model, name, values, coords=given)


def bring_labels(model: pm.Model, dim: str, array: xr.DataArray) -> None:
    """Give a dim that the model has without labels those of an array, unless they are positions."""
    unlabelled = dim in model.coords and model.coords[dim] is None
    if not unlabelled or dim not in array.indexes or dim not in array.dims:
        return
    labels = list(array.indexes[dim])
    positions = set(keys(labels)) == set(range(len(labels)))
    if not positions and len(labels) == current_value(model.dim_lengths[dim]):
        model.coords[dim] = tuple(labels)  # where PyMC looks them up


def current_value(variable: object) -> np.ndarray | None:
    """Value of a constant or shared expression; None if it depends on anything random."""
    if not isinstance(variable, Variable):
        return np.asarray(variable)
    if isinstance(variable, Constant):
        return np.asarray(variable.data)
    if isinstance(variable, SharedVariable):
        return np.asarray(variable.get_value())
    # Not worth compiling: these are reshapes of data.
    return None if is_variable(variable) else np.asarray(variable.eval(mode="FAST_COMPILE"))


def refuse_minibatch(role: str, value: object) -> None:
    """Raise for rows that are drawn at each evaluation, here or above."""
    if isinstance(value, Variable) and any(
        v.owner is not None and isinstance(v.owner.op, MinibatchOp)
        for v in (value, *ancestors([value]))
    ):
        raise TypeError(
            f"{role}: it is a pm.Minibatch, whose rows change from one evaluation to the next, "
            "while labels, times and parameters are those of all trajectories; give the whole "
            "array (pm.fit and samplers take it), or build the model for some of the trajectories"
        )


def constant_value(variable: Variable) -> np.ndarray | None:
    """Value of an expression of constants; None if anything in it may change."""
    if not all(isinstance(v, Constant) for v in graph_inputs([variable])):
        return None
    return current_value(variable)


def is_variable(v: Variable) -> bool:
    """Whether `v` depends on anything but constants and shared data, random draws included."""
    return any(
        isinstance(i.type, RandomType) or not isinstance(i, Constant | SharedVariable)
        for i in graph_inputs([v])
    )


def observed_values(model: pm.Model) -> dict[Variable, Variable]:
    """Values of the observed variables of a model, with their types."""
    values = model.rvs_to_values
    return {rv: values[rv].astype(rv.type.dtype) for rv in model.observed_RVs}


def warn_unobserved(name: str, y: np.ndarray, frame: Frame) -> None:
    """Name the trajectories without a single datum."""
    empty = np.isnan(y).all(axis=tuple(range(frame.rank, y.ndim)))
    if empty.any():
        which = "; ".join(frame.who(i) for i in np.argwhere(empty)[:5])
        more = f" and {int(empty.sum()) - 5} more" if empty.sum() > 5 else ""
        what = which if frame.rank else "the trajectory"
        warnings.warn(
            f"{name}: no value observed for {what}{more}; it adds nothing to the likelihood",
            UserWarning,
            stacklevel=4,
        )


def constant(values: np.ndarray, name: str | None = None) -> Variable:
    """A PyTensor constant: NaN in it passes through PyMC untouched."""
    return pt.constant(np.ascontiguousarray(values), name=name)
