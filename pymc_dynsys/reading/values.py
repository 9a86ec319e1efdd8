"""Numbers of users at the door: converted once, checked, and matched by label."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr


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
