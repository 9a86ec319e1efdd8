"""Trajectories in small multiples: bands of states or predictions, and the data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import xarray as xr
from arviz_plots import PlotCollection

from pymc_dynsys.plots import panels
from pymc_dynsys.plots.bands import bands_and_median
from pymc_dynsys.plots.colors import colors_of
from pymc_dynsys.plots.legend import Entry, draw_legend
from pymc_dynsys.plots.own_axes import Target

GROUPS = ("posterior", "posterior_predictive", "predictions", "prior", "prior_predictive")


def plot_trajectories(
    dt: xr.DataTree,
    *,
    var_name: str = "states",
    group: str | None = None,
    observed: str | bool | None = None,
    coords: Mapping[str, Any] | None = None,
    ci_probs: Sequence[float] = (0.5, 0.9),
    transform: Callable[[Any], Any] | None = None,
    color_by: xr.DataArray | None = None,
    plot_collection: Target | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw every trajectory with bands of its states or predictions, one panel each.

    Parameters
    ----------
    dt : DataTree
        From :func:`sample_states`, :func:`forecast` or ``pm.sample_posterior_predictive``, whose
        times are those of ``<var_name>_time`` in ``constant_data``.
    var_name : str
        Variable to draw: ``"states"``, the name of the trajectory for its data, or that of a
        :class:`Path`, whose draws are also in what ``pm.sample`` returns.
    group : str, optional
        Where it is; default the first group that holds it.
    observed : str or bool, optional
        Data to lay over: a variable of ``observed_data``, or whether to show the only one there.
        Default: shown where they have the dims of what is drawn, apart from a single state.
    coords : dict, optional
        Labels to draw, such as ``{"subject": ["a", "b"]}``; at most
        ``rcParams["plot.max_subplots"]`` panels fit.
    ci_probs : sequence of float
        Probabilities of the bands, equal-tailed.
    transform : callable, optional
        A function of draws and data that is drawn instead, such as ``np.exp`` for what was
        modelled on the log scale.
    color_by : DataArray, optional
        Group of each panel, such as ``panel["arm_of_subject"]``: each group has its own colour.
    plot_collection : PlotCollection, Axes or DataArray, optional
        What to draw into: an earlier plot, matplotlib's axes for a single panel, or a DataArray
        of axes by label.
    backend : {"matplotlib", "plotly", "bokeh"}, optional
        Default ``rcParams["plot.backend"]``.
    visuals : mapping, optional
        Style, or False to leave out: ``band``, ``median``, ``observed``, ``title``, ``legend``.
    **pc_kwargs
        For ``PlotCollection.wrap``, such as ``col_wrap`` and ``figure_kwargs``, in which
        ``"sharey": False`` gives each panel a scale of its own.

    Returns
    -------
    PlotCollection
        With matplotlib ``pc.viz["figure"].item()`` is the figure, and ``pc.viz["plot"]`` has the
        axes by label.

    Raises
    ------
    ValueError, TypeError
        For groups and variables that are not there.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> walk = pds.SDE(
    ...     states=("level",),
    ...     drift=lambda level, mu: mu - level,
    ...     diffusion=0.3,
    ...     initial=dist.Normal(0.0, 1.0),
    ...     observation=lambda level: dist.Normal(level, 0.1),
    ... )
    >>> with pm.Model(coords={"time": [0.0, 1.0, 3.0]}) as model:
    ...     y = [0.1, 0.2, 0.3]
    ...     rv = pds.Trajectory("y", walk, params={"mu": pm.Normal("mu")}, observed=y, dims="time")
    ...     prior = pm.sample_prior_predictive(50, random_seed=1)
    >>> fine = np.linspace(0.0, 3.0, 31)
    >>> states = pds.sample_states(prior, model=model, group="prior", times=fine, random_seed=1)
    >>> pc = pds.plot_trajectories(states, backend="none")
    """
    group = group_with(dt, var_name) if group is None else group
    draws = panels.select(panels.variable(dt, group, var_name), coords)
    if f"{var_name}_state" in draws.dims:
        draws = draws.rename({f"{var_name}_state": "state"})
    data = _observed(dt, draws, observed, coords or {})
    # A single state or component needs no panel of its own.
    for dim in ("state", "component"):
        if dim in draws.dims and draws.sizes[dim] == 1:
            draws = draws.isel({dim: 0})
    facets = panels.facets_of(draws)
    dim = panels.time_dim(draws, facets)
    style = panels.styles(visuals, "band", "median", "observed", "title", "legend")
    if transform is not None:
        draws = draws.copy(data=transform(draws).values)
        data = data if data is None else data.copy(data=transform(data).values)
    colors, entries = colors_of(color_by, draws), []
    pc = panels.collection(
        draws.to_dataset(name=var_name), facets, plot_collection, backend, pc_kwargs
    )
    if data is not None and style["observed"] is not False:
        lone = [d for d in panels.facets_of(data) if d not in facets and data.sizes[d] == 1]
        data = data.isel(dict.fromkeys(lone, 0), drop=True)
        own = [d for d in panels.facets_of(data) if d in facets]
        look = panels.look(style["observed"], color="B1", size=5)
        panels.points(pc, data.rename(var_name), panels.time_dim(data, own), "observed", **look)
        entries.append(Entry("data", "points", look))
    entries += bands_and_median(pc, draws, dim, ci_probs, style, colors.by_panel)
    draw_legend(pc, [*entries, *colors.entries], style["legend"])
    y = panels.label_of(draws, var_name)
    if var_name == "states" and "state" in draws.coords and draws.coords["state"].ndim == 0:
        y = panels.label_of(draws, str(draws.coords["state"].item()))
    y = panels.label_after(transform, y)
    times = panels.times_of(draws, dim)
    panels.names(pc, times, y, titles=bool(facets) and style["title"] is not False)
    return pc


def group_with(dt: Any, name: str) -> str:
    """The first group that holds a variable."""
    if not isinstance(dt, xr.DataTree):
        raise TypeError(f"dt: expected a DataTree, got {type(dt).__name__}")
    for group in GROUPS:
        if group in dt.children and name in dt[group].dataset:
            return group
    raise ValueError(f"dt: no group has {name!r}; there are {', '.join(dt.children) or 'none'}")


def _observed(
    dt: xr.DataTree, draws: xr.DataArray, observed: Any, coords: Mapping[str, Any]
) -> xr.DataArray | None:
    """Data to lay over, if they fit."""
    if observed is False or "observed_data" not in dt.children:
        return None
    held = dt["observed_data"].dataset
    if observed is None and not held.data_vars:
        return None
    name = observed if isinstance(observed, str) else None
    if name is None:
        known = str(draws.attrs.get("trajectory", draws.name))
        name = known if known in held else next(iter(map(str, held.data_vars)))
    data = panels.variable(dt, "observed_data", name)
    data = data.sel({d: labels for d, labels in coords.items() if d in data.dims})
    if observed is None and "state" in draws.dims and draws.sizes["state"] > 1:
        return None
    several = [d for d in panels.facets_of(data) if d not in draws.dims and data.sizes[d] > 1]
    if observed is None and several:
        return None
    return data
