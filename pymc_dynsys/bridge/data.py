"""Observed data and times at the door: checked once, named by label."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.traversal import graph_inputs
from pytensor.tensor.random.type import RandomType
from pytensor.tensor.sharedvar import TensorSharedVariable


def data(name: str, value: Any, dims: str | Sequence[str] | None = None) -> Variable:
    """``pm.Data`` that may hold NaN, for observed values that change with ``pm.set_data``.

    Parameters
    ----------
    name : str
        Name of the data variable in the model.
    value : array, DataArray or pandas object
        Values; NaN is a missing value, infinity an error. Labels are matched to the model's.
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
    values = as_float(name, in_order(name, value, names or (), dict(model.coords)))
    if names is not None and len(names) != values.ndim:
        raise ValueError(f"{name}: dims {tuple(names)} do not fit values of shape {values.shape}")
    refuse_infinite(name, values, [np.arange(n) for n in values.shape], names)
    kind = pt.TensorType("float64", shape=(None,) * values.ndim)
    shared = DataVariable(kind, values, strict=False, name=model.name_for(name))
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
    return shared


class DataVariable(TensorSharedVariable):
    """Shared data that may hold NaN, which ``pm.set_data`` masks on the way here."""

    def set_value(self, new_value: Any, borrow: bool = False) -> None:
        """Replace the values; what is masked is missing."""
        super().set_value(as_float(str(self.name), new_value), borrow)


def as_float(name: str, value: Any) -> np.ndarray:
    """Numbers as float64; a TypeError shows the first value that is not one."""
    if isinstance(value, xr.Dataset):
        raise TypeError(f"{name}: got an xarray.Dataset; choose one of its variables, ds['y']")
    if np.ma.isMaskedArray(value):
        return np.asarray(np.ma.filled(np.ma.asarray(value, dtype=float), np.nan))
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(
            f"{name}: the rows have different lengths; pad them with NaN ({error})"
        ) from error
    if array.dtype.kind in "fiub":
        return array.astype(float)
    if array.dtype.kind in "mM":
        raise TypeError(f"{name}: dates must be converted to numbers in a stated unit")
    if array.dtype.kind == "c":
        raise TypeError(f"{name}: expected real numbers, got complex ones")
    array = np.where(pd.isna(array), np.nan, array.astype(object))
    for index, item in np.ndenumerate(array):
        if not _is_number(item):
            raise TypeError(
                f"{name}: expected numbers, got {str(item)!r} at index {index}; NaN means missing"
            )
    return array.astype(float)


def _is_number(item: Any) -> bool:
    """Whether a Python object is a number; text that reads like one is not."""
    if isinstance(item, str | bytes | complex):
        return False
    try:
        float(item)
    except (TypeError, ValueError):
        return False
    return True


def refuse_infinite(
    name: str, values: np.ndarray, labels: Sequence[Any], dims: Sequence[str] | None
) -> None:
    """Raise if a value is infinite, saying where."""
    where = np.argwhere(np.isinf(values))
    if len(where):
        raise ValueError(
            f"{name}: {values[tuple(where[0])]} at {place(where[0], labels, dims)}; a missing "
            "value is NaN, and infinity is never data"
        )


def place(index: Sequence[int], labels: Sequence[Any], dims: Sequence[str] | None) -> str:
    """Words for a position in an array, such as ``subject='a', time=1.5``."""
    names = dims if dims is not None else [f"axis {i}" for i in range(len(index))]
    parts = []
    for i, dim, along in zip(index, names, labels, strict=False):
        label = along[i] if along is not None and i < len(along) else i
        parts.append(f"{dim}={label.item() if hasattr(label, 'item') else label!r}")
    return ", ".join(parts) if parts else "the only place"


def current_value(variable: Any) -> np.ndarray | None:
    """Value of a constant or shared expression; None if it depends on anything random."""
    if not isinstance(variable, Variable):
        return np.asarray(variable)
    if isinstance(variable, Constant):
        return np.asarray(variable.data)
    if isinstance(variable, SharedVariable):
        return np.asarray(variable.get_value())
    # Not worth compiling: these are reshapes of data.
    return None if is_variable(variable) else np.asarray(variable.eval(mode="FAST_COMPILE"))


def is_variable(v: Variable) -> bool:
    """Whether `v` depends on anything but constants and shared data, random draws included."""
    return any(
        isinstance(i.type, RandomType) or not isinstance(i, Constant | SharedVariable)
        for i in graph_inputs([v])
    )


def check_times(
    times: np.ndarray,
    t0: np.ndarray,
    labels: Sequence[Any] | None = None,
    dims: Sequence[str] | None = None,
) -> None:
    """Raise unless times ascend along the last axis and start at or after ``t0``.

    Equal times are allowed: they are two data at one instant. NaN is no visit.
    """
    if np.isinf(times).any() or np.isinf(t0).any():
        raise ValueError("times and t0 must be finite; NaN in times means no visit")
    n_batch = times.ndim - 1
    labels = labels or [np.arange(n) for n in times.shape[:-1]]
    dims = dims or [f"trajectory axis {i}" for i in range(n_batch)]
    known = np.where(np.isnan(times), -np.inf, times)
    before = np.maximum.accumulate(known, axis=-1)[..., :-1]
    late = np.argwhere(known[..., 1:] < np.where(np.isnan(times[..., 1:]), -np.inf, before))
    if len(late):
        *batch, k = late[0]
        where = place(batch, labels, dims) + ": " if batch else ""
        here = tuple(late[0][:-1])
        raise ValueError(
            f"times: {where}the time at index {k + 1} is {times[(*here, k + 1)]:g}, before "
            f"{before[(*here, k)]:g}; sort the rows by time"
        )
    first = np.where(np.isnan(times), np.inf, times).min(-1, initial=np.inf)
    early = np.argwhere(np.broadcast_arrays(t0 > first, first)[0])
    if len(early):
        here = tuple(early[0])
        where = place(here, labels, dims) + ": " if here else ""
        start = np.broadcast_to(t0, np.broadcast_shapes(t0.shape, first.shape))[here]
        raise ValueError(
            f"t0: {where}t0 is {start:g}, after the first observation at "
            f"{np.broadcast_to(first, np.broadcast_shapes(t0.shape, first.shape))[here]:g}"
        )


def warn_unobserved(name: str, y: np.ndarray, batch: int, labels: Any, dims: Any) -> None:
    """Name the trajectories without a single datum."""
    empty = np.isnan(y).all(axis=tuple(range(batch, y.ndim)))
    if empty.any():
        which = "; ".join(place(i, labels, dims) for i in np.argwhere(empty)[:5])
        more = f" and {int(empty.sum()) - 5} more" if empty.sum() > 5 else ""
        what = which if batch else "the trajectory"
        warnings.warn(
            f"{name}: no value observed for {what}{more}; it adds nothing to the likelihood",
            UserWarning,
            stacklevel=4,
        )


def constant(values: np.ndarray, name: str | None = None) -> Variable:
    """A PyTensor constant: NaN in it passes through PyMC untouched."""
    return pt.constant(np.ascontiguousarray(values), name=name)


def plain(label: Any) -> str:
    """A label as one would write it: NumPy's own types say more."""
    return repr(label.item() if isinstance(label, np.generic) else label)


def aligned(name: str, array: xr.DataArray, coords: dict[str, Any]) -> xr.DataArray:
    """Reorder a labelled array to the model's labels; a label on one side only is an error."""
    for dim in array.dims:
        wanted = coords.get(str(dim))
        if dim not in array.indexes:
            continue
        have = list(array.indexes[dim])
        if wanted is None and set(have) == set(range(len(have))):
            wanted = range(len(have))  # positions are what a dim without labels has
        if wanted is None:
            continue
        want = list(wanted)
        if have == want:
            continue
        extra = [label for label in have if label not in set(want)]
        lacking = [label for label in want if label not in set(have)]
        if extra or lacking:
            which = (
                f"has {plain(extra[0])}, which the model's coords do not have"
                if extra
                else f"lacks {plain(lacking[0])}, which the model's coords have"
            )
            raise ValueError(f"{name}: dim {dim!r} {which}; labels must be the same on both sides")
        if len(set(have)) < len(have):
            raise ValueError(f"{name}: dim {dim!r} has a label twice, so it cannot be aligned")
        place = {label: i for i, label in enumerate(have)}
        array = array.isel({dim: [place[label] for label in want]})
    return array


def labelled(name: str, value: Any, dims: Sequence[str], coords: Mapping[str, Any]) -> Any:
    """A pandas object as a DataArray, so that its labels are matched, never its positions."""
    if not isinstance(value, pd.Series | pd.DataFrame) or value.ndim != len(dims):
        return value
    axes = {
        dim: index
        for dim, index in zip(dims, value.axes, strict=True)
        if has_labels(index, dim, coords.get(dim))
    }
    return xr.DataArray(as_float(name, value), dims=tuple(dims), coords=axes)


def has_labels(index: pd.Index, dim: str, known: Sequence[Any] | None) -> bool:
    """Whether an index says which row is whose.

    Default labels 0, 1, 2, ... do not, unless they are those of the model or have the dim's name.
    """
    default = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
    if known is None:
        return False
    return not default or index.name == dim or set(index) == set(known)


def in_order(name: str, value: Any, dims: Sequence[str], coords: Mapping[str, Any]) -> Any:
    """Labelled values in the order of the dims and of the model's labels; others as they are."""
    value = labelled(name, value, dims, coords)
    if not isinstance(value, xr.DataArray):
        return value
    if set(map(str, value.dims)) != set(dims):
        raise ValueError(f"{name}: its dims are {tuple(value.dims)}, but dims={tuple(dims)}")
    return aligned(name, value, dict(coords)).transpose(*dims).values
