"""What a model has read, one trajectory a column of panels: data, doses and inputs."""

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import line_xy, scatter_xy, set_ylim

from pymc_dynsys.plots import blocks, panels
from pymc_dynsys.plots.reading import PANEL, WhatWasRead


def plot_data(
    dt: xr.DataTree,
    *,
    coords: Mapping[str, Any] | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    col_wrap: int = 4,
    figure_kwargs: Mapping[str, Any] | None = None,
) -> PlotCollection:
    """Draw what a model has read: data over time, visits without a datum, doses, and inputs below.

    One panel for each trajectory (and component), with a cross at the bottom for each visit without
    a datum and doses at the top: a tick for a bolus, a box as long as an infusion, as high as the
    amount. Below it a strip for each input: a line for what the dynamics see over each gap, a point
    for what the observation sees at each visit.

    Parameters
    ----------
    dt : DataTree
        From :func:`check_data`.
    coords : dict, optional
        Labels to draw, such as ``{"subject": ["a", "b"]}``; at most
        ``rcParams["plot.max_subplots"]`` panels fit.
    backend : {"matplotlib", "plotly", "bokeh"}, optional
        Default ``rcParams["plot.backend"]``.
    visuals : mapping, optional
        Style, or False to leave out: ``observed``, ``line`` (between data), ``missing``, ``dose``,
        ``input``, ``title``.
    col_wrap : int
        Trajectories side by side.
    figure_kwargs : mapping, optional
        For the figure, such as ``figsize``.

    Returns
    -------
    PlotCollection

    Raises
    ------
    ValueError, TypeError
        If `dt` is not from :func:`check_data`, or has no such labels.

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
    >>> y = np.array([[0.1, np.nan, 0.3], [0.2, 0.4, 0.1]])
    >>> with pm.Model(coords={"subject": ["ann", "bob"], "time": [0.0, 1.0, 3.0]}) as model:
    ...     params = {"mu": pm.Normal("mu")}
    ...     rv = pds.Trajectory("y", walk, params=params, observed=y, dims=("subject", "time"))
    >>> pc = pds.plot_data(pds.check_data(model), backend="none")
    """
    read = WhatWasRead.of(dt, coords)
    keys = ("observed", "line", "missing", "dose", "input", "title")
    style = panels.styles(visuals, *keys)
    pc = blocks.collection(read.panels(), read.inputs, backend, col_wrap, figure_kwargs)

    def draw(
        what: str, kind: Callable[..., Any], label: str, data: xr.DataArray, **look: Any
    ) -> None:
        given = style[what]
        if given is not False:
            look = panels.look(given, **look)
            pc.map(kind, label, data=data.to_dataset(name="data"), ignore_aes="all", **look)

    draw("line", line_xy, "line", read.observed(), color="C0", alpha=0.4, width=0.8)
    draw("observed", scatter_xy, "observed", read.observed(), color="C0", size=8)
    draw("missing", scatter_xy, "missing", read.missing(), color="C3", size=18, marker="C3")
    doses = read.doses()
    for i, (state, boxes) in enumerate(doses.items(), 1):
        draw("dose", line_xy, f"dose_{state}", boxes, color=f"C{i}", width=1.2)
    for name in read.inputs:
        draw("input", line_xy, f"{name}_over_gaps", read.over_gaps(name), color="C4", width=1.2)
        draw("input", scatter_xy, f"{name}_at_visits", read.at_visits(name), color="C4", size=5)
    for label, limits in read.limits.items():
        one = read.panels().sel({PANEL: [label]}).to_dataset(name="data")
        pc.map(set_ylim, "ylim", data=one, ignore_aes="all", limits=limits, store_artist=False)
    titles = bool(read.batch) and style["title"] is not False
    blocks.names(pc, read.x_label, titles, read.dates)
    if len(doses) > 1 and style["dose"] is not False and pc.backend == "matplotlib":
        looks = [{"color": f"C{i}"} for i in range(1, len(doses) + 1)]
        legend = import_module(f"arviz_plots.backend.{pc.backend}").legend
        legend(pc, looks, list(doses), title="dose into")
    return pc
