"""One legend a figure: what dots, lines and bands are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.backend.matplotlib.core import expand_aesthetic_aliases
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

WIDTH = 1.2
"""Room for one entry, in inches."""


class Entry(NamedTuple):
    """A line of a legend: what it is called, how it is drawn, and the style it is drawn in."""

    label: str
    kind: str  # "points", "line" or "band"
    style: Mapping[str, Any]


_WRITTEN: WeakKeyDictionary[Figure, list[Entry]] = WeakKeyDictionary()
"""What the legend of each figure has."""


def entries_of_bands(probabilities: Sequence[float], style: Mapping[str, Any]) -> list[Entry]:
    """Entries of bands that lie one in another: an inner one is darker by those around it."""
    alpha, found, through = style.get("alpha", 1.0), [], 1.0
    for probability in sorted(probabilities, reverse=True):
        through *= 1.0 - alpha
        look = {"color": style.get("color", "C0"), "alpha": 1.0 - through}
        found.append(Entry(f"{100 * probability:g}%", "band", look))
    return found[::-1]


def draw_legend(
    pc: PlotCollection, entries: Sequence[Entry], style: Mapping[str, Any] | bool
) -> None:
    """Write a legend below the panels; what an earlier plot wrote into the figure stays.

    Figures of matplotlib only; plotly and bokeh tell by hovering.
    """
    figure = _figure(pc)
    if style is False or figure is None:
        return
    entries = list({e.label: e for e in [*_WRITTEN.get(figure, []), *entries]}.values())
    _WRITTEN[figure] = entries
    for old in list(figure.legends):
        old.remove()
    engine = figure.get_layout_engine()
    place = "outside lower center" if engine is not None else "lower center"
    across = max(1, int(figure.get_figwidth() / WIDTH))
    look = {"loc": place, "ncols": min(len(entries), across), "frameon": False, "fontsize": "small"}
    handles = [_handle(entry) for entry in entries]
    figure.legend(handles=handles, **{**look, **(style if isinstance(style, Mapping) else {})})


def _figure(pc: PlotCollection) -> Figure | None:
    """The figure if it is matplotlib's, else None."""
    figure = pc.viz["figure"].item() if "figure" in pc.viz else None
    return figure if isinstance(figure, Figure) else None


def _handle(entry: Entry) -> Line2D | Patch:
    look: dict[str, Any] = _plain(**entry.style)
    color = look.get("color")
    # Where each panel has a colour of its own, entries of the groups say which.
    color = "gray" if color is None or isinstance(color, xr.DataArray) else color
    if entry.kind == "band":
        return Patch(facecolor=to_rgba(color, look.get("alpha")), label=entry.label)
    if entry.kind == "line":
        dashes = look.get("linestyle", "-")
        alpha = look.get("alpha")
        return Line2D([], [], color=color, linestyle=dashes, alpha=alpha, label=entry.label)
    return Line2D([], [], color=color, marker="o", markersize=3, linestyle="", label=entry.label)


@expand_aesthetic_aliases
def _plain(**style: Any) -> dict[str, Any]:
    """A style whose ``C0``, ``B1`` and the like are colours, as the panels have them."""
    return style
