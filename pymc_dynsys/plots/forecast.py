"""Forecasts in small multiples: what was seen, and bands of what is to come."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import vline

from pymc_dynsys.plots import panels
from pymc_dynsys.plots.own_axes import Target
from pymc_dynsys.plots.trajectories import plot_trajectories


def plot_forecast(
    dt: xr.DataTree,
    *,
    var_name: str | None = None,
    fitted: xr.DataTree | None = None,
    coords: Mapping[str, Any] | None = None,
    ci_probs: Sequence[float] = (0.5, 0.9),
    transform: Callable[[Any], Any] | None = None,
    color_by: xr.DataArray | None = None,
    plot_collection: Target | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Draw forecasts of data (or states) after the data, with a line where the data end.

    Parameters
    ----------
    dt : DataTree
        From :func:`forecast`.
    var_name : str, optional
        Variable of ``predictions``; default the data.
    fitted : DataTree, optional
        From :func:`sample_states`, to be drawn before the forecast in grey: data where it was
        called with ``observations=True``, else states.
    coords, ci_probs, transform, color_by, plot_collection, backend, visuals, **pc_kwargs
        As for :func:`plot_trajectories`; the line is the visual ``last_time``, and ``fitted`` the
        style of the bands before it.

    Returns
    -------
    PlotCollection

    Raises
    ------
    ValueError, TypeError
        For groups and variables that are not there.

    Examples
    --------
    >>> import pymc as pm
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
    >>> future = pds.forecast(prior, model=model, group="prior", times=[4.0, 5.0], random_seed=1)
    >>> pc = pds.plot_forecast(future, backend="none")
    """
    if var_name is None:
        panels.variable(dt, "predictions", "states")
        var_name = next(str(n) for n in dt["predictions"].dataset.data_vars if n != "states")
    style = dict(visuals or {})
    line, look = style.pop("last_time", {}), style.pop("fitted", {})
    if fitted is not None:
        plot_collection = _draw_fitted(
            fitted,
            var_name,
            look,
            coords=coords,
            ci_probs=ci_probs,
            transform=transform,
            plot_collection=plot_collection,
            backend=backend,
            **pc_kwargs,
        )
    pc = plot_trajectories(
        dt,
        var_name=var_name,
        group="predictions",
        coords=coords,
        ci_probs=ci_probs,
        transform=transform,
        color_by=color_by,
        plot_collection=plot_collection,
        backend=backend,
        visuals=style,
        **pc_kwargs,
    )
    if line is not False and _has_data(dt):
        last = panels.variable(dt, "predictions_constant_data", "last_time")
        last = last.sel({d: labels for d, labels in (coords or {}).items() if d in last.dims})
        last = last.copy(data=panels.as_numbers(last.values))
        last = xr.broadcast(last, xr.zeros_like(pc.viz["plot"], float))[0]
        look = panels.look(line, color="gray", linestyle="C2")
        pc.map(vline, "last_time", data=last.to_dataset(name=var_name), ignore_aes="all", **look)
    return pc


def _has_data(dt: xr.DataTree) -> bool:
    """Whether anything was seen before the forecast."""
    seen = dt["observed_data"].dataset if "observed_data" in dt.children else {}
    return any(np.isfinite(values.astype(float)).any() for values in dict(seen).values())


def _draw_fitted(
    fitted: xr.DataTree, var_name: str, style: Mapping[str, Any] | bool, **options: Any
) -> PlotCollection:
    """Bands of what was fitted, without data, in a style that stands back."""
    groups = ("posterior", "posterior_predictive")
    there = [g for g in groups if g in fitted.children and var_name in fitted[g].dataset]
    look = panels.look(style, color="gray")
    return plot_trajectories(
        fitted,
        var_name=var_name if there else "states",
        group=there[0] if there else None,
        observed=False,
        visuals={"band": {"alpha": 0.2, **look}, "median": look, "legend": False},
        **options,
    )
