"""Panels in blocks: for each trajectory one above the other, blocks side by side."""

from collections.abc import Collection, Mapping
from importlib import import_module
from typing import Any

import numpy as np
import xarray as xr
from arviz_base import rcParams
from arviz_plots import PlotCollection
from arviz_plots.visuals import labelled_title, labelled_y

from pymc_dynsys.plots import panels

LOW = 0.45
"""Height of a low panel, of that of the others."""


def collection(
    cells: xr.DataArray,
    low: Collection[str],
    backend: str | None,
    columns: int,
    figure_kwargs: Mapping[str, Any] | None,
) -> PlotCollection:
    """A panel for each entry of `cells`, those along its last dim below each other.

    All share the horizontal axis; those whose label along the last dim is among `low` are low.
    """
    backend = rcParams["plot.backend"] if backend is None else backend
    dim = cells.dims[-1]
    panels.require_few(cells.size, {str(d): k for d, k in cells.sizes.items() if d != dim})
    deep = cells.sizes[dim]
    n = cells.size // deep
    across = min(n, columns)
    down = -(-n // across)
    heights = [LOW if label in low else 1.0 for label in cells[dim].values]
    figure = {"sharex": True, "height_ratios": heights * down, **(figure_kwargs or {})}
    figure = panels.sized(figure, across, down * sum(heights), backend)
    module = import_module(f"arviz_plots.backend.{backend}")
    rows = down * deep
    drawn, grid = module.create_plotting_grid(rows * across, rows, across, squeeze=False, **figure)
    block = np.arange(n)[:, None]
    row = block // across * deep + np.arange(deep)
    column = np.broadcast_to(block % across, (n, deep))
    for unused in set(np.ndindex(rows, across)) - set(zip(row.flat, column.flat, strict=True)):
        if backend == "matplotlib":
            module.remove_axis(grid[unused], axis="both")
    found = {"plot": grid[row, column], "row_index": row, "col_index": column}
    viz = xr.Dataset(
        {name: (cells.dims, values.reshape(cells.shape)) for name, values in found.items()},
        cells.coords,
    ).assign(figure=((), np.array(drawn, dtype=object)))
    return PlotCollection(cells.to_dataset(name="data"), xr.DataTree(viz), backend=backend)


def names(pc: PlotCollection, x: str, titles: bool, dates: bool) -> None:
    """Trajectories above their blocks, panels at the left, times below the lowest ones."""
    row, column = pc.viz["row_index"], pc.viz["col_index"]
    dim = str(row.dims[-1])
    first = row[dim].values[0]
    rows, columns = np.ravel(row.values), np.ravel(column.values)
    ends = {c: rows[columns == c].max() for c in set(columns.tolist())}

    def title(da: xr.DataArray, target: object, sel: Mapping[str, Any], **kwargs: Any) -> Any:
        if sel[dim] != first:
            return None
        who = {d: label for d, label in sel.items() if d != dim}
        return labelled_title(da, target, labeller=panels.Labeller(), sel=who, **kwargs)

    def below(da: xr.DataArray, target: object, sel: Mapping[str, Any], **kwargs: Any) -> Any:
        if row.sel(sel).item() != ends[column.sel(sel).item()]:
            return None
        return panels.labelled_below(da, target, text=x, dates=dates)

    def left(da: xr.DataArray, target: object, sel: Mapping[str, Any], **kwargs: Any) -> Any:
        return None if column.sel(sel).item() else labelled_y(da, target, text=str(sel[dim]))

    if titles:
        pc.map(title, "title", ignore_aes="all", subset_info=True)
    pc.map(below, "xlabel", ignore_aes="all", subset_info=True)
    pc.map(left, "ylabel", ignore_aes="all", subset_info=True)
