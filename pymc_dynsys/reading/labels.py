"""The rule of labels: what is labelled meets what is labelled by label, never by position.

Known labels come as a mapping of dims. A dim that is not in it has no labels but those that values
bring along; one that is there with None has members without labels, and these are numbered.
"""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from pymc_dynsys.reading.values import plain

Labels = Mapping[str, Sequence[Any] | None]


def aligned(role: str, array: xr.DataArray, known: Labels) -> xr.DataArray:
    """Reorder a labelled array to the known labels; a label on one side only is an error.

    Coordinates that vary along a dim are reordered with the values.
    """
    for dim in map(str, array.dims):
        if dim not in array.indexes or dim not in known:
            continue
        have = keys(array.indexes[dim])
        given = known[dim]
        want = list(range(len(have))) if given is None else keys(given)
        if have == want:
            continue
        _require_same(role, dim, have, want)
        position = {label: i for i, label in enumerate(have)}
        array = array.isel({dim: [position[label] for label in want]})
    return array


def keys(labels: Iterable[Any]) -> list[Any]:
    """Labels that are equal if they mean the same, whatever holds them."""
    return [key(label) for label in labels]


def key(label: object) -> Any:
    """A date in whatever resolution as one that is equal to, and hashed like, the others."""
    if isinstance(label, np.datetime64 | datetime.datetime):
        date = pd.Timestamp(label)
        return date if date.tzinfo is None else date.tz_convert("UTC").tz_localize(None)
    return label.item() if isinstance(label, np.generic) else label


def _require_same(role: str, dim: str, have: list[Any], want: list[Any]) -> None:
    """Raise unless both sides have the same labels, each once."""
    for labels in (have, want):
        if any(map(is_missing, labels)):
            raise ValueError(f"{role}: along {dim!r} there is a label that is missing; name it")
    ours, theirs = set(have), set(want)
    extra = [label for label in have if label not in theirs]
    lacking = [label for label in want if label not in ours]
    if extra or lacking:
        which = (
            f"has {plain(extra[0])}, which the model's coords do not have"
            if extra
            else f"lacks {plain(lacking[0])}, which the model's coords have"
        )
        raise ValueError(f"{role}: dim {dim!r} {which} ({shown(want)}); {_remedy(dim, have, want)}")
    for labels, whose in ((have, "dim"), (want, "the model's dim")):
        if len(set(labels)) < len(labels):
            raise ValueError(
                f"{role}: {whose} {dim!r} has {plain(_twice(labels))} twice, so it cannot be "
                "aligned; give each a label of its own"
            )


def _remedy(dim: str, have: list[Any], want: list[Any]) -> str:
    """What to do about labels that are not the same on both sides."""
    if want == list(range(len(want))):
        return (
            f"members are only numbered there, so there is nothing to match {plain(have[0])} with: "
            f"name them, pm.Model(coords={{{dim!r}: [...]}})"
        )
    if {str(label) for label in have} == {str(label) for label in want}:
        return "text and numbers are different labels, so convert one side"
    return "labels must be the same on both sides"


def is_missing(label: object) -> bool:
    """Whether a label is None or not a number or date."""
    return label is None or label is pd.NaT or label is pd.NA or label != label


def _twice(labels: list[Any]) -> Any:
    return next(label for i, label in enumerate(labels) if label in labels[:i])


def shown(labels: Sequence[Any]) -> str:
    """Some of the labels, as one would write them."""
    return ", ".join(map(plain, labels[:4])) + (", ..." if len(labels) > 4 else "")


def require_names(dim: str, labels: Sequence[Any]) -> None:
    """Raise for labels that results could not carry, or not tell apart."""
    found = list(labels)
    what, remedy = "", "each member has a label of its own"
    if any(map(is_missing, found)):
        what = f"has the label {plain(next(label for label in found if is_missing(label)))}"
    elif any(isinstance(label, tuple | list) for label in found):
        what, remedy = "has labels of several parts", "join them to one text each"
    elif any(getattr(label, "tzinfo", None) is not None for label in found):
        what = "has timestamps with a time zone as labels, which results cannot hold"
        remedy = "write .tz_convert('UTC').tz_localize(None), or make them text"
    elif len(set(keys(found))) < len(found):
        what = f"has the label {plain(_twice(keys(found)))} twice"
    elif any(isinstance(label, str) for label in found):
        other = next((label for label in found if not isinstance(label, str)), None)
        if other is not None:
            what = f"has text and {plain(other)} among its labels, and results make all of it text"
            remedy = "make them all text"
    if what:
        raise ValueError(f"coords: {dim!r} {what}; {remedy}")


def gathered(
    arrays: Iterable[Any], known: Labels, dims: Sequence[str] | None = None
) -> dict[str, Any]:
    """Known labels, and those of other dims that the first labelled array with the dim brings.

    `dims` are those that may be brought, by default all.
    """
    found: dict[str, Any] = dict(known)
    for array in arrays:
        if isinstance(array, xr.DataArray):
            for dim in map(str, array.dims):
                if dim in array.indexes and (dims is None or dim in dims):
                    found.setdefault(dim, array.indexes[dim])
    return found


def labelled(role: str, value: object, dims: Sequence[str], known: Labels) -> Any:
    """A pandas object as a DataArray, so that its labels are matched, never its positions.

    Rows and columns are along `dims`, in the order of their own names if they have these.
    """
    if not isinstance(value, pd.Series | pd.DataFrame) or value.ndim != len(dims):
        return value
    names = [index.name for index in value.axes]
    if set(names) == set(dims):
        dims = list(map(str, names))
    axes = {
        dim: index.rename(None)
        for dim, index in zip(dims, value.axes, strict=True)
        if has_labels(index, dim, known.get(dim))
    }
    return xr.DataArray(value.to_numpy(), dims=tuple(dims), coords=axes)


def has_labels(index: pd.Index, dim: str, known: Sequence[Any] | None) -> bool:
    """Whether an index says which row is whose.

    Default labels 0, 1, 2, ... do not, unless they are those of the model or have the dim's name.
    """
    default = isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1
    return not default or index.name == dim or (known is not None and set(index) == set(known))


def named(role: str, value: object) -> Any:
    """A pandas object whose rows and columns have names as a DataArray with these dims."""
    if not isinstance(value, pd.Series | pd.DataFrame):
        return value
    names = [index.name for index in value.axes]
    if all(isinstance(name, str) for name in names):
        return xr.DataArray(
            value.to_numpy(),
            dims=names,
            coords={str(index.name): index.rename(None) for index in value.axes},
        )
    if any(has_labels(index, "", None) for index in value.axes):
        raise TypeError(
            f"{role} is a {type(value).__qualname__} with labels, whose "
            f"{'rows have' if len(names) == 1 else 'rows and columns have'} no name in the model; "
            "write .rename_axis('subject'), with the dim that they are along, or .to_numpy() if "
            "every trajectory sees all of it"
        )
    return value


def in_order(role: str, value: object, dims: Sequence[str], known: Labels) -> Any:
    """Labelled values in the order of the dims and of known labels; others as they are."""
    value = labelled(role, value, dims, known)
    if not isinstance(value, xr.DataArray):
        return value
    if set(map(str, value.dims)) != set(dims):
        raise ValueError(f"{role}: its dims are {tuple(value.dims)}, but dims={tuple(dims)}")
    return aligned(role, value, known).transpose(*dims).values
