"""A colour for each group of panels."""

from typing import NamedTuple

import numpy as np
import xarray as xr

from pymc_dynsys.plots.legend import Entry

DEFAULT = "C0"


class Colors(NamedTuple):
    """The colour of each panel, one for all or by label, and what a legend says of groups."""

    by_panel: str | xr.DataArray
    entries: list[Entry]


def colors_of(groups: xr.DataArray | None, drawn: xr.DataArray) -> Colors:
    """Colours of panels by group, in the order in which groups are first met."""
    if groups is None:
        return Colors(DEFAULT, [])
    if not isinstance(groups, xr.DataArray):
        raise TypeError(f"color_by: expected a DataArray by label, got {type(groups).__name__}")
    strange = [str(dim) for dim in groups.dims if dim not in drawn.dims]
    if strange:
        raise ValueError(
            f"color_by: there is no dim {strange[0]!r} in what is drawn, which has "
            f"{', '.join(map(str, drawn.dims))}"
        )
    labels = {dim: drawn.indexes[dim] for dim in groups.dims if dim in drawn.indexes}
    missing = [
        label for dim, all_of in labels.items() for label in all_of if label not in groups[dim]
    ]
    if missing:
        raise ValueError(f"color_by: no group is given for {missing[0]!r}")
    groups = groups.sel(labels)
    names, code = np.unique(groups.values.astype(str), return_inverse=True)
    names_of = groups.copy(data=np.array([f"C{i % 10}" for i in code]).reshape(groups.shape))
    entries = [Entry(name, "line", {"color": f"C{i % 10}"}) for i, name in enumerate(names)]
    return Colors(names_of.rename("color"), entries)
