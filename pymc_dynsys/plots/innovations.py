"""Innovations over time in small multiples, between the lines where they should be."""

from collections.abc import Mapping
from typing import Any

import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import hline

from pymc_dynsys.plots import panels
from pymc_dynsys.plots.own_axes import Target


def plot_innovations(
    dt: xr.DataTree,
    *,
    coords: Mapping[str, Any] | None = None,
    plot_collection: Target | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw the standardised prediction errors of every trajectory, averaged over the draws.

    Nineteen in twenty should lie between the outer lines, without a pattern in time.

    Parameters
    ----------
    dt : DataTree
        From :func:`innovations`.
    coords : dict, optional
        Labels to draw, such as ``{"subject": ["a", "b"]}``.
    plot_collection : PlotCollection, Axes or DataArray, optional
        What to draw into: an earlier plot, matplotlib's axes for a single panel, or a DataArray
        of axes by label.
    backend : {"matplotlib", "plotly", "bokeh"}, optional
        Default ``rcParams["plot.backend"]``.
    visuals : mapping, optional
        Style, or False to leave out: ``innovation``, ``line``, ``title``.
    **pc_kwargs
        For ``PlotCollection.wrap``, such as ``col_wrap`` and ``figure_kwargs``.

    Returns
    -------
    PlotCollection

    Raises
    ------
    ValueError, TypeError
        If there are no innovations in `dt`.

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
    >>> with pm.Model(coords={"time": np.arange(20.0)}) as model:
    ...     y = np.random.default_rng(0).normal(size=20)
    ...     rv = pds.Trajectory("y", walk, params={"mu": pm.Normal("mu")}, observed=y, dims="time")
    ...     prior = pm.sample_prior_predictive(5, random_seed=1)
    >>> errors = pds.innovations(prior, model=model, group="prior")
    >>> pc = pds.plot_innovations(errors, backend="none")
    """
    z = panels.select(panels.variable(dt, "innovations", "z"), coords)
    style = panels.styles(visuals, "innovation", "line", "title")
    mean = z.mean(panels.SAMPLE)
    facets = panels.facets_of(z)
    dim = panels.time_dim(z, facets)
    pc = panels.collection(mean.to_dataset(name="z"), facets, plot_collection, backend, pc_kwargs)
    if style["line"] is not False:
        one = mean.isel({dim: 0}, drop=True)
        for height, linestyle in ((0.0, "C0"), (-1.96, "C1"), (1.96, "C1")):
            look = panels.look(style["line"], color="gray", linestyle=linestyle, width=0.8)
            level = xr.full_like(one, height).to_dataset(name="z")
            pc.map(hline, f"line_{height:g}", data=level, ignore_aes="all", **look)
    if style["innovation"] is not False:
        look = panels.look(style["innovation"], color="C0", size=6)
        panels.points(pc, mean.rename("z"), dim, "innovation", **look)
    titles = bool(facets) and style["title"] is not False
    panels.names(pc, panels.times_of(z, dim), "standardised error", titles)
    return pc
