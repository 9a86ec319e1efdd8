"""Bands of impulse responses and of lagged effects, a panel for each pair of states."""

from collections.abc import Mapping, Sequence
from typing import Any

import xarray as xr
from arviz_plots import PlotCollection

from pymc_dynsys.plots import panels
from pymc_dynsys.plots.bands import bands_and_median
from pymc_dynsys.plots.legend import draw_legend
from pymc_dynsys.plots.own_axes import Target

Visuals = Mapping[str, Mapping[str, Any] | bool]


def plot_impulse_response(
    dt: xr.DataTree,
    *,
    group: str = "posterior",
    coords: Mapping[str, Any] | None = None,
    ci_probs: Sequence[float] = (0.5, 0.9),
    plot_collection: Target | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw bands of responses over the horizon, a panel for each pair of states.

    Parameters
    ----------
    dt : DataTree
        From :func:`impulse_response`.
    group : str
        Where it is.
    coords : dict, optional
        Labels to draw, such as ``{"shock": ["rate"]}``.
    ci_probs : sequence of float
        Probabilities of the bands, equal-tailed.
    plot_collection : PlotCollection, Axes or DataArray, optional
        What to draw into: an earlier plot, matplotlib's axes for a single panel, or a DataArray
        of axes by label.
    backend : {"matplotlib", "plotly", "bokeh"}, optional
        Default ``rcParams["plot.backend"]``.
    visuals : mapping, optional
        Style, or False to leave out: ``band``, ``median``, ``title``, ``legend``.
    **pc_kwargs
        For ``PlotCollection.wrap``, such as ``col_wrap`` and ``figure_kwargs``.

    Returns
    -------
    PlotCollection

    Raises
    ------
    ValueError, TypeError
        For groups, variables and labels that are not there.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model(coords={"time": range(4), "component": ["a", "b"]}) as model:
    ...     var = pds.vector_autoregression([[[0.5, 0.2], [0.0, 0.4]]], np.eye(2))
    ...     y = pds.Trajectory("y", var, observed=np.zeros((4, 2)), dims=("time", "component"))
    >>> found = pds.impulse_response(None, model=model, horizons=range(9))
    >>> pc = pds.plot_impulse_response(found, backend="none")
    """
    array = panels.variable(dt, group, "impulse_response")
    return _plot(array, coords, ci_probs, plot_collection, backend, visuals, pc_kwargs)


def plot_lagged_effects(
    dt: xr.DataTree,
    *,
    group: str = "posterior",
    coords: Mapping[str, Any] | None = None,
    ci_probs: Sequence[float] = (0.5, 0.9),
    plot_collection: Target | None = None,
    backend: str | None = None,
    visuals: Visuals | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw bands of effects against the interval, a panel for each pair of states.

    Parameters
    ----------
    dt : DataTree
        From :func:`lagged_effects`.
    group, coords, ci_probs, plot_collection, backend, visuals, **pc_kwargs
        As for :func:`plot_impulse_response`; labels are those of ``response`` and ``predictor``.

    Returns
    -------
    PlotCollection

    Raises
    ------
    ValueError, TypeError
        For groups, variables and labels that are not there.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model(coords={"time": range(4), "component": ["a", "b"]}) as model:
    ...     var = pds.vector_autoregression([[[0.5, 0.2], [0.0, 0.4]]], np.eye(2))
    ...     y = pds.Trajectory("y", var, observed=np.zeros((4, 2)), dims=("time", "component"))
    >>> found = pds.lagged_effects(None, model=model, intervals=range(9))
    >>> pc = pds.plot_lagged_effects(found, coords={"predictor": ["var_1"]}, backend="none")
    """
    array = panels.variable(dt, group, "lagged_effects")
    return _plot(array, coords, ci_probs, plot_collection, backend, visuals, pc_kwargs)


def _plot(
    array: xr.DataArray,
    coords: Mapping[str, Any] | None,
    ci_probs: Sequence[float],
    plot_collection: Target | None,
    backend: str | None,
    visuals: Visuals | None,
    pc_kwargs: Mapping[str, Any],
) -> PlotCollection:
    """Bands and medians over the length of time, which has no dates."""
    draws = panels.select(array, coords)
    facets = panels.facets_of(draws)
    dim = panels.time_dim(draws, facets)
    style = panels.styles(visuals, "band", "median", "title", "legend")
    data = draws.to_dataset(name=str(draws.name))
    pc = panels.collection(data, facets, plot_collection, backend, pc_kwargs)
    draw_legend(pc, bands_and_median(pc, draws, dim, ci_probs, style), style["legend"])
    x = draws[dim].assign_attrs({"long_name": dim, **draws[dim].attrs})
    label = str(draws.attrs.get("kind", "effect"))
    panels.names(pc, x, label, titles=bool(facets) and style["title"] is not False)
    return pc
