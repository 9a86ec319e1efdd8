"""One state against another: the phase plane, one panel a trajectory."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import line_xy, scatter_xy

from pymc_dynsys.plots import panels
from pymc_dynsys.plots.bands import one_color
from pymc_dynsys.plots.colors import colors_of
from pymc_dynsys.plots.legend import Entry, draw_legend
from pymc_dynsys.plots.own_axes import Target
from pymc_dynsys.plots.trajectories import group_with


def plot_phase(
    dt: xr.DataTree,
    x: str | None = None,
    y: str | None = None,
    *,
    var_name: str = "states",
    group: str | None = None,
    coords: Mapping[str, Any] | None = None,
    n_paths: int = 20,
    transform: Callable[[Any], Any] | None = None,
    color_by: xr.DataArray | None = None,
    plot_collection: Target | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw paths of two states in their phase plane, and the mean path, one panel a trajectory.

    Paths run through the times of `dt` in order; for smooth curves ask
    :func:`sample_states` for dense ones, ``times=np.linspace(...)``.

    Parameters
    ----------
    dt : DataTree
        From :func:`sample_states` or :func:`forecast`; draws of whole paths, not
        ``given="past"``, of which each time is drawn by itself.
    x, y : str, optional
        States on the two axes; default the first two.
    var_name : str
        Variable with a dim ``state``: ``"states"``, or the name of a :class:`Path`.
    group : str, optional
        Where it is; default the first group that holds it.
    coords : dict, optional
        Labels to draw, such as ``{"subject": ["a", "b"]}``.
    n_paths : int
        Number of draws that are drawn, evenly spaced among all; 0 for the mean alone.
    transform : callable, optional
        A function of the states that is drawn instead, such as ``np.exp``. The mean is that of
        what is drawn.
    color_by : DataArray, optional
        Group of each panel, as in :func:`plot_trajectories`.
    plot_collection : PlotCollection, Axes or DataArray, optional
        What to draw into: an earlier plot, matplotlib's axes for a single panel, or a DataArray
        of axes by label.
    backend : {"matplotlib", "plotly", "bokeh"}, optional
        Default ``rcParams["plot.backend"]``.
    visuals : mapping, optional
        Style, or False to leave out: ``path``, ``mean``, ``start``, ``title``, ``legend``.
    **pc_kwargs
        For ``PlotCollection.wrap``; ``figure_kwargs={"sharex": False, "sharey": False}`` gives
        each panel scales of its own.

    Returns
    -------
    PlotCollection

    Raises
    ------
    ValueError, TypeError
        For groups, variables and states that are not there, and a system with one state.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> spring = pds.SDE(
    ...     states=("position", "speed"),
    ...     drift=lambda position, speed, k: (speed, -k * position - speed),
    ...     diffusion=(0.0, 0.5),
    ...     initial=dist.Normal(np.zeros(2), 1.0),
    ...     observation=lambda position: dist.Normal(position, 0.2),
    ... )
    >>> with pm.Model(coords={"time": [0.0, 1.0, 3.0]}) as model:
    ...     y, params = [0.1, 0.2, 0.3], {"k": pm.HalfNormal("k")}
    ...     rv = pds.Trajectory("y", spring, params=params, observed=y, dims="time")
    ...     prior = pm.sample_prior_predictive(50, random_seed=1)
    >>> fine = np.linspace(0.0, 3.0, 31)
    >>> states = pds.sample_states(prior, model=model, group="prior", times=fine, random_seed=1)
    >>> pc = pds.plot_phase(states, "position", "speed", backend="none")
    """
    group = group_with(dt, var_name) if group is None else group
    draws = panels.select(panels.variable(dt, group, var_name), coords)
    if f"{var_name}_state" in draws.dims:
        draws = draws.rename({f"{var_name}_state": "state"})
    x, y = _axes(draws, x, y)
    if isinstance(n_paths, bool) or not isinstance(n_paths, int) or n_paths < 0:
        raise ValueError(f"n_paths: expected a number of draws, 0 or more, got {n_paths!r}")
    if transform is not None:
        draws = draws.copy(data=transform(draws).values)
    facets = [d for d in panels.facets_of(draws) if d != "state"]
    dim = panels.time_dim(draws, [*facets, "state"])
    pair = draws.sel(state=[x, y]).transpose(*panels.SAMPLE, *facets, "state", dim)
    pair = pair.drop_vars([name for name in pair.coords if name not in pair.dims])
    pair = pair.rename({"state": "plot_axis", dim: "at"}).drop_vars("at", errors="ignore")
    pair = pair.assign_coords(plot_axis=["x", "y"])
    mean = pair.mean(panels.SAMPLE)

    style = panels.styles(visuals, "path", "mean", "start", "title", "legend")
    colors, entries = colors_of(color_by, draws), []
    frame = draws.isel(state=0, drop=True).to_dataset(name=var_name)
    pc = panels.collection(frame, facets, plot_collection, backend, pc_kwargs)

    def draw(part: str, visual: Callable[..., Any], kind: str, data: xr.DataArray) -> None:
        look = panels.look(style[part], color=colors.by_panel, **USUAL[part])
        pc.map(
            one_color(visual), part, data=data.to_dataset(name=var_name), ignore_aes="all", **look
        )
        entries.append(Entry(part, kind, look))

    if style["path"] is not False and n_paths > 0:
        draw("path", line_xy, "line", _chained(pair, n_paths))
    if style["mean"] is not False:
        draw("mean", line_xy, "line", mean)
    if style["start"] is not False:
        draw("start", scatter_xy, "points", mean.isel(at=[0]))
    draw_legend(pc, [*entries, *colors.entries], style["legend"])
    below, left = (panels.label_after(transform, name) for name in (x, y))
    titles = bool(facets) and style["title"] is not False
    panels.names(pc, xr.DataArray(0.0, attrs={"long_name": below}), left, titles=titles)
    return pc


USUAL: dict[str, dict[str, Any]] = {
    "path": {"alpha": 0.25, "width": 0.8},
    "mean": {},
    "start": {"size": 20},
}
"""How each part looks, its colour aside."""


def _axes(draws: xr.DataArray, x: str | None, y: str | None) -> tuple[str, str]:
    """Names of two different states of what is drawn."""
    if "state" not in draws.dims or draws.sizes["state"] < 2:
        raise ValueError(
            "x, y: there are fewer than two states to draw; plot_trajectories draws one over time"
        )
    known = [str(label) for label in draws["state"].values]
    x = x if x is not None else next(name for name in known if name != y)
    y = y if y is not None else next(name for name in known if name != x)
    for role, name in (("x", x), ("y", y)):
        if name not in known:
            raise ValueError(f"{role}: there is no state {name!r}; there are {', '.join(known)}")
    if x == y:
        raise ValueError(f"x, y: both are {x!r}; name two different states")
    return x, y


def _chained(pair: xr.DataArray, n_paths: int) -> xr.DataArray:
    """Some draws ``(*facets, plot_axis, at)``, one after another, with a break after each."""
    drawn = pair.stack(path=panels.SAMPLE)
    which = np.unique(np.linspace(0, drawn.sizes["path"] - 1, n_paths).round().astype(int))
    drawn = drawn.isel(path=which).drop_vars([*panels.SAMPLE, "path"])
    broken = drawn.pad(at=(0, 1), constant_values=np.nan)
    return broken.stack(all=("path", "at")).drop_vars(["all", "path", "at"]).rename(all="at")
