"""Axes of the user's own figure as panels to draw into."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from matplotlib.axes import Axes

Target = PlotCollection | Axes | xr.DataArray
"""What a plot can be drawn into: an earlier plot, the axes of one panel, or axes by label."""


def on_axes(data: xr.Dataset, facets: Sequence[str], axes: Axes | xr.DataArray) -> PlotCollection:
    """Panels that are matplotlib's axes, one for each label along the facets."""
    given = axes if isinstance(axes, xr.DataArray) else xr.DataArray(np.array(axes, object))
    wanted = {dim: data.indexes[dim] for dim in facets if data.sizes[dim] > 1 or dim in given.dims}
    if set(given.dims) != set(wanted):
        need = ", ".join(f"{dim!r} ({len(labels)})" for dim, labels in wanted.items())
        raise ValueError(
            f"plot_collection: axes with dims {tuple(given.dims)}, but there is a panel for each "
            f"label of {need or 'nothing'}; give one Axes for a single panel, choose it with "
            "coords=, or give xr.DataArray(axes, dims=..., coords=...)"
        )
    for dim, labels in wanted.items():
        absent = [label for label in labels if dim in given.indexes and label not in given[dim]]
        if dim not in given.indexes or absent:
            lacks = f"no axes for {absent[0]!r}" if absent else "no labels"
            raise ValueError(
                f"plot_collection: there are {lacks} along {dim!r}; give them as "
                f"xr.DataArray(axes, coords={{{dim!r}: ...}})"
            )
    lone = {dim: data.indexes[dim] for dim in facets if dim not in wanted}
    panels = given.sel(wanted).expand_dims(lone).transpose(*facets)
    first = panels.values.flat[0]
    place = np.array([_place(one) for one in panels.values.flat]).reshape(*panels.shape, 2)
    of_labels = {dim: data.indexes[dim] for dim in facets}
    viz = xr.Dataset(
        {
            "figure": ((), np.array(first.figure, object)),
            "plot": (tuple(facets), panels.values),
            "row_index": (tuple(facets), place[..., 0]),
            "col_index": (tuple(facets), place[..., 1]),
        },
        of_labels,
    )
    return PlotCollection(data, xr.DataTree(viz), backend="matplotlib")


def _place(axes: Axes) -> tuple[int, int]:
    """Row and column of axes in their grid; those outside of one are a grid by themselves."""
    spec = axes.get_subplotspec()
    return (0, 0) if spec is None else (spec.rowspan.start, spec.colspan.start)
