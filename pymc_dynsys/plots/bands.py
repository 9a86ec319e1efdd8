"""Bands and medians of draws over time."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import fill_between_y, line_xy

from pymc_dynsys.plots import panels
from pymc_dynsys.plots.legend import Entry, entries_of_bands


def bands_and_median(
    pc: PlotCollection,
    draws: xr.DataArray,
    dim: str,
    ci_probs: Sequence[float],
    style: Mapping[str, Any],
    color: str | xr.DataArray = "C0",
) -> list[Entry]:
    """Draw the parts ``band`` and ``median`` of a style; returns what a legend says of them."""
    entries: list[Entry] = []
    if style["band"] is not False:
        look = panels.look(style["band"], color=color, alpha=0.25)
        for i, probability in enumerate(sorted(ci_probs, reverse=True)):
            band(pc, draws, dim, probability, f"band_{i}", **look)
        entries += entries_of_bands(ci_probs, look)
    if style["median"] is not False:
        look = panels.look(style["median"], color=color)
        middle(pc, draws, dim, "median", **look)
        entries.append(Entry("median", "line", look))
    return entries


def band(
    pc: PlotCollection, draws: xr.DataArray, dim: str, probability: float, label: str, **style: Any
) -> None:
    """Fill between equal-tailed quantiles of the draws."""
    tail = (1 - probability) / 2
    low, high = quantiles(draws, tail, 1 - tail)
    data = panels.over_time(draws, dim, "kwarg", y_bottom=low, y_top=high)
    pc.map(one_color(_fill), label, data=data, ignore_aes="all", **style)


def quantiles(draws: xr.DataArray, *levels: float) -> list[xr.DataArray]:
    """Quantiles over the draws; NaN where there is no time."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN slice", RuntimeWarning)
        all_of_them = draws.quantile(levels, panels.SAMPLE)
    return [all_of_them.isel(quantile=i, drop=True) for i in range(len(levels))]


def _fill(da: xr.DataArray, target: Any, **style: Any) -> Any:
    there = ~np.isnan(da.sel(kwarg="x").values) & ~np.isnan(da.sel(kwarg="y_top").values)
    return fill_between_y(da.isel(at=there), target, **style)


def one_color(visual: Callable[..., Any]) -> Callable[..., Any]:
    """A visual whose colour may be an array with one entry, that of its panel."""

    def draw(da: xr.DataArray, target: Any, color: Any = None, **style: Any) -> Any:
        color = color.item() if isinstance(color, xr.DataArray) else color
        return visual(da, target, color=color, **style)

    return draw


def middle(pc: PlotCollection, draws: xr.DataArray, dim: str, label: str, **style: Any) -> None:
    """Line of the medians of the draws."""
    data = panels.over_time(draws, dim, "plot_axis", y=quantiles(draws, 0.5)[0])
    pc.map(one_color(line_xy), label, data=data, ignore_aes="all", **style)
