"""Numbers of users at the door: converted once and checked."""

import datetime
from collections.abc import Sequence
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


def is_boolean(value: object) -> bool:
    """Whether values are truth values, apart from those that are missing."""
    array = np.asarray(value)
    if array.dtype.kind == "O":
        there = array[~pd.isna(array)]
        return bool(there.size) and all(isinstance(item, bool | np.bool_) for item in there)
    return array.dtype.kind == "b"


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
        parts.append(f"{dim}={plain(label)}")
    return ", ".join(parts) if parts else "the only place"


def plain(label: Any) -> str:
    """A label as one would write it: NumPy's own types say more."""
    if isinstance(label, np.datetime64 | datetime.date):
        return str(label)
    return repr(label.item() if isinstance(label, np.generic) else label)
