"""What the plots share: one panel a trajectory, bands and points over time."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_base import rcParams
from arviz_base.labels import BaseLabeller
from arviz_plots import PlotCollection
from arviz_plots.visuals import (
    labelled_title,
    labelled_x,
    labelled_y,
    scatter_xy,
)

from pymc_dynsys.plots.own_axes import Target, on_axes

SAMPLE = ("chain", "draw")

WIDTH, HEIGHT = 2.8, 2.1
"""Size of one panel, in inches."""


class Labeller(BaseLabeller):
    """Titles name the trajectory only; the variable is on the vertical axis."""

    def make_label_vert(self, var_name: Any, sel: Any, isel: Any) -> str:
        """Labels of the facet, such as ``a, central``, or ``a, sleep to mood``.

        A number comes with its dim, ``subject 1``.
        """
        labels = {d: f"{d} {v}" if _is_number(v) else str(v) for d, v in sel.items()}
        for cause in ("shock", "predictor"):
            if cause in labels and "response" in labels:
                labels["response"] = f"{labels.pop(cause)} to {labels['response']}"
        return ", ".join(labels.values()) or str(var_name)


def _is_number(label: object) -> bool:
    """Whether a label says nothing of itself, as ``1`` or ``"17"``."""
    return str(label).replace(".", "", 1).isdigit()


def styles(visuals: Mapping[str, Any] | None, *parts: str) -> dict[str, Any]:
    """The style of each part, empty where none was given, and False where it is left out."""
    return {part: {} for part in parts} | dict(visuals or {})


def look(style: Mapping[str, Any] | bool, **usual: Any) -> dict[str, Any]:
    """What a part looks like: as usual, but for what its style says."""
    return usual | (dict(style) if isinstance(style, Mapping) else {})


def group_of(dt: Any, group: str) -> xr.Dataset:
    """A group; an error says what there is."""
    if not isinstance(dt, xr.DataTree):
        raise TypeError(f"dt: expected a DataTree, got {type(dt).__name__}")
    if group not in dt.children:
        raise ValueError(f"dt: no group {group!r}; it has {', '.join(dt.children) or 'none'}")
    return dt[group].dataset


def variable(dt: Any, group: str, name: str) -> xr.DataArray:
    """A variable of a group; an error says what there is."""
    data = group_of(dt, group)
    if name not in data:
        raise ValueError(
            f"dt: no {name!r} in {group}; it has {', '.join(map(str, data.data_vars))}"
        )
    return _with_times(dt, group, data[name])


def _with_times(dt: xr.DataTree, group: str, array: xr.DataArray) -> xr.DataArray:
    """The array with its times where they are kept apart, as they are in PyMC's own groups.

    There ``<name>_time`` is in ``constant_data``, with the dims along which times vary.
    """
    beside = "predictions_constant_data" if group == "predictions" else "constant_data"
    name = f"{array.name}_time"
    if "time_dim" in array.attrs or beside not in dt.children or name not in dt[beside].dataset:
        return array
    times = dt[beside].dataset[name]
    if not set(times.dims) <= set(array.dims):
        return array
    labels = {d: array.indexes[d] for d in times.dims[:-1] if d in array.indexes}
    times = times.reindex(labels)
    if "time" in times.dims:  # its labels are no times
        array, times = (
            part.drop_vars("time", errors="ignore").rename(time="visit") for part in (array, times)
        )
    return array.assign_coords(time=(times.dims, times.values))


def select(array: xr.DataArray, coords: Mapping[str, Any] | None) -> xr.DataArray:
    """The labels to draw; an error says which there are."""
    for dim, labels in (coords or {}).items():
        if dim not in array.dims:
            there = ", ".join(repr(d) for d in array.dims if d not in SAMPLE)
            raise ValueError(f"coords: there is no dim {dim!r}; there are {there}")
        try:
            array = array.sel({dim: labels})
        except KeyError as error:
            known = ", ".join(map(str, array[dim].values[:6]))
            raise ValueError(
                f"coords: no label {error.args[0]} along {dim!r}; its labels are {known}, ..."
            ) from error
    return array


def time_dim(array: xr.DataArray, facets: Sequence[str]) -> str:
    """The dim along which time runs: the one that is neither a sample nor a facet."""
    own = [str(dim) for dim in array.dims if dim not in (*SAMPLE, *facets)]
    if len(own) != 1:
        raise ValueError(f"expected one dim of time among {tuple(array.dims)}, got {own}")
    return own[0]


def facets_of(array: xr.DataArray, last: Sequence[str] = ("state", "component")) -> list[str]:
    """Dims of which every label has its own panel."""
    if "time_dim" in array.attrs:
        return [str(d) for d in array.dims if d not in (*SAMPLE, array.attrs["time_dim"])]
    times = array.coords.get("time")
    batch = [] if times is None else [d for d in times.dims if d in array.dims]
    dim = str(batch[-1]) if batch else None
    if dim is None:
        rest = [str(d) for d in array.dims if d not in (*SAMPLE, *last)]
        dim = rest[-1]
    return [str(d) for d in array.dims if d not in (*SAMPLE, dim)]


def times_of(array: xr.DataArray, dim: str) -> xr.DataArray:
    """Times along `dim`, perhaps with other dims; what is not known to be time is called `dim`."""
    found = xr.DataArray(np.arange(array.sizes[dim]), dims=dim)
    for name in (dim, "time"):
        if name in array.coords and dim in array.coords[name].dims:
            found = array.coords[name].reset_coords(drop=True)
    if dim == "time" or "time" in array.coords or "time_dim" in array.attrs:
        return found
    return found.assign_attrs({"long_name": dim, **found.attrs})


def as_numbers(values: np.ndarray) -> np.ndarray:
    """Times as numbers: dates are days since 1970, as matplotlib counts them."""
    if values.dtype.kind != "M":
        return values
    days = (values - np.datetime64(0, "D")) / np.timedelta64(1, "D")
    return np.where(np.isnat(values), np.nan, days)


def days(unit: str) -> float:
    """One unit of time in days."""
    one: Any = unit
    return float(np.timedelta64(1, one) / np.timedelta64(1, "D"))


def over_time(array: xr.DataArray, dim: str, axis: str, **parts: xr.DataArray) -> xr.Dataset:
    """Times and `parts` stacked along a dim called `axis`, in a common dim ``at``."""
    x = times_of(array, dim)
    x = x.copy(data=as_numbers(x.values).astype(float))
    pieces = xr.broadcast(x, *(p.reset_coords(drop=True) for p in parts.values()))
    labels = ["x", *parts]
    stacked = xr.concat(pieces, dim=xr.DataArray(labels, dims=axis, name=axis), coords="minimal")
    stacked = stacked.rename({dim: "at"})
    return stacked.drop_vars("at", errors="ignore").to_dataset(name=str(array.name))


def collection(
    data: xr.Dataset,
    facets: Sequence[str],
    plot_collection: Target | None,
    backend: str | None,
    options: Mapping[str, Any],
) -> PlotCollection:
    """A grid of panels with common axes, one for each label along the facets."""
    if isinstance(plot_collection, PlotCollection):
        return plot_collection
    if plot_collection is not None:
        return on_axes(data, facets, plot_collection)
    backend = rcParams["plot.backend"] if backend is None else backend
    options = {"cols": list(facets), "col_wrap": 4, **options}
    figure = {**options.get("figure_kwargs", {})}
    states = [d for d in ("state", "component", "response") if d in facets and data.sizes[d] > 1]
    figure.setdefault("sharex", True)
    figure.setdefault("sharey", not states)
    # Panels whose first number is NaN would get no titles.
    one = xr.zeros_like(data.isel({d: 0 for d in data.dims if d not in facets}, drop=True))
    n = int(np.prod([data.sizes[d] for d in facets], dtype=int))
    require_few(n, {d: data.sizes[d] for d in facets})
    columns = min(n, options.get("col_wrap") or int(np.ceil(np.sqrt(n))))
    options["figure_kwargs"] = sized(figure, columns, -(-n // columns), backend)
    return PlotCollection.wrap(one, backend=backend, **options)


def require_few(n: int, sizes: Mapping[str, int]) -> None:
    """Raise for more panels than fit; `sizes` are those of the dims that may be cut."""
    most = rcParams["plot.max_subplots"]
    if most is not None and n > most:
        long = max(sizes, key=lambda d: sizes[d])
        raise ValueError(
            f"{n} panels are more than the {most} of az.rcParams['plot.max_subplots']; choose "
            f"some with coords={{{long!r}: [...]}}, or set that to more"
        )


def sized(figure: dict[str, Any], columns: int, rows: float, backend: str) -> dict[str, Any]:
    """Options of a figure, whose size is that of its panels unless it was given."""
    if "figsize" not in figure:
        dots = 100 if backend != "matplotlib" else 1
        figure["figsize"] = (dots * max(WIDTH * columns, 5.0), dots * max(HEIGHT * rows, 3.0))
        figure["figsize_units"] = "inches" if backend == "matplotlib" else "dots"
    if backend == "matplotlib":
        figure.setdefault("layout", "constrained")
    return figure


def points(pc: PlotCollection, values: xr.DataArray, dim: str, label: str, **style: Any) -> None:
    """Points over time."""
    data = over_time(values, dim, "plot_axis", y=values)
    pc.map(scatter_xy, label, data=data, ignore_aes="all", **style)


def names(pc: PlotCollection, times: xr.DataArray, y: str, titles: bool = True) -> None:
    """Titles from the labels, and what is on the axes at the outer edges."""
    if titles:
        pc.map(labelled_title, "title", ignore_aes="all", subset_info=True, labeller=Labeller())
    below, left = _edges(pc)
    look = {"text": label_of(times, "time"), "dates": times.dtype.kind == "M"}
    pc.map(_at_edge(labelled_below, below), "xlabel", ignore_aes="all", subset_info=True, **look)
    pc.map(_at_edge(labelled_y, left), "ylabel", ignore_aes="all", subset_info=True, text=y)


def _edges(pc: PlotCollection) -> tuple[Any, Any]:
    """Whether a panel has none below it, and none to its left."""
    row, column = pc.viz["row_index"], pc.viz["col_index"]
    rows, columns = np.ravel(row.values), np.ravel(column.values)
    lowest = {c: rows[columns == c].max() for c in set(columns.tolist())}

    def below(sel: Any) -> bool:
        return bool(row.sel(sel).item() == lowest[column.sel(sel).item()])

    def left(sel: Any) -> bool:
        return bool(column.sel(sel).item() == 0)

    return below, left


def labelled_below(da: Any, target: Any, dates: bool = False, **kwargs: Any) -> Any:
    """What is on the axis and its numbers, which shared axes have in the last row only."""
    if hasattr(target, "tick_params"):  # of matplotlib
        target.tick_params(axis="x", labelbottom=True)
        if dates:
            target.xaxis_date()
            target.tick_params(axis="x", rotation=30)
    return labelled_x(da, target, **kwargs)


def _at_edge(visual: Any, at_edge: Any) -> Any:
    def draw(da: Any, target: Any, sel: Any = None, **kwargs: Any) -> Any:
        kwargs.pop("var_name", None), kwargs.pop("isel", None)
        return visual(da, target, **kwargs) if at_edge(sel) else None

    return draw


def label_of(array: xr.DataArray, default: str) -> str:
    """Name and unit of a variable or coordinate, from its attributes."""
    name = array.attrs.get("long_name", default)
    units = array.attrs.get("units", array.attrs.get("unit"))
    return f"{name} ({units})" if units else str(name)


def label_after(transform: Callable[[Any], Any] | None, label: str) -> str:
    """What a transformed variable is called: ``exp(y)``, if the function has a name."""
    name = getattr(transform, "__name__", "<lambda>")
    return label if name == "<lambda>" else f"{name}({label})"
