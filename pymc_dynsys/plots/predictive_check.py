"""Visual predictive check: percentiles of the data over time, and of data that the model makes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from arviz_plots import PlotCollection
from arviz_plots.visuals import line_xy

from pymc_dynsys.plots import panels
from pymc_dynsys.plots.bands import band, middle
from pymc_dynsys.plots.legend import Entry, draw_legend
from pymc_dynsys.plots.own_axes import Target

STRATUM = "stratum"


def plot_predictive_check(
    dt: xr.DataTree,
    *,
    var_name: str | None = None,
    group: str = "posterior_predictive",
    bins: int | Sequence[float] = 8,
    percentiles: Sequence[float] = (10, 50, 90),
    ci_prob: float = 0.9,
    by: xr.DataArray | None = None,
    transform: Callable[[Any], Any] | None = None,
    plot_collection: Target | None = None,
    backend: str | None = None,
    visuals: Mapping[str, Mapping[str, Any] | bool] | None = None,
    **pc_kwargs: Any,
) -> PlotCollection:
    """Compare percentiles of all subjects' data over time with those of replicated data.

    The visual predictive check (VPC) of pharmacometrics. Data are put into bins of time. Lines are
    percentiles of what was observed in each bin, bands those of the replicates: where a line leaves
    its band, the model makes data that differ from those there are. Replicates have the times and
    the missing values of the data.

    Parameters
    ----------
    dt : DataTree
        From ``pm.sample_posterior_predictive`` or ``pm.sample_prior_predictive``, with
        ``observed_data``.
    var_name : str, optional
        Name of the trajectory; default the only variable of `group`.
    group : str
        Where the replicates are.
    bins : int or sequence of float
        Number of bins with about equally many data each, or their edges in units of time.
    percentiles : sequence of float
        Percentiles, between 0 and 100.
    ci_prob : float
        Probability of the bands, equal-tailed.
    by : DataArray, optional
        Stratum of each subject, such as ``panel["arm_of_subject"]``: each has its own panel.
    transform : callable, optional
        An increasing function of the data that is drawn instead, such as ``np.exp``.
    plot_collection, backend, visuals, **pc_kwargs
        As for :func:`plot_trajectories`; visuals are ``band``, ``median``, ``observed``, ``title``
        and ``legend``.

    Returns
    -------
    PlotCollection

    Raises
    ------
    ValueError, TypeError
        For groups and variables that are not there, percentiles and bins out of range, and data
        of several components, of which one has to be selected.

    References
    ----------
    Holford (2005), *The visual predictive check*, PAGE 14, abstract 738.

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
    >>> y = np.random.default_rng(1).normal(size=(20, 3))
    >>> with pm.Model(coords={"subject": range(20), "time": [0.0, 1.0, 3.0]}) as model:
    ...     mu = pm.Normal("mu")
    ...     rv = pds.Trajectory("y", walk, params={"mu": mu}, observed=y, dims=("subject", "time"))
    ...     prior = pm.sample_prior_predictive(50, random_seed=1)
    >>> pc = pds.plot_predictive_check(prior, group="prior_predictive", backend="none", bins=3)
    """
    name = _only_name(dt, group) if var_name is None else var_name
    replicates = panels.variable(dt, group, name)
    data = panels.variable(dt, "observed_data", name)
    for dim in ("component", "state"):
        if replicates.sizes.get(dim, 1) > 1:
            raise ValueError(f"{name} has several components; select one along {dim!r}")
    shares = [_share(p) for p in percentiles]
    binned = _percentiles(replicates, data, shares, bins, by)
    if transform is not None:
        binned = binned.map(lambda values: values.copy(data=transform(values)))
    facets = [STRATUM] if by is not None else []
    style = panels.styles(visuals, "band", "median", "observed", "title", "legend")
    first = binned["replicates"].isel(percentile=0, drop=True).rename(name)
    pc = panels.collection(first.to_dataset(), facets, plot_collection, backend, pc_kwargs)
    distances = sorted({abs(percentile - 50) for percentile in percentiles})
    named: dict[str, list[str]] = {}
    for i, percentile in enumerate(percentiles):
        one = binned.isel(percentile=i, drop=True)
        color = f"C{distances.index(abs(percentile - 50))}"
        made, seen = one["replicates"].rename(name), one["observed"].rename(name)
        named.setdefault(color, []).append(f"{percentile:g}%")
        if style["band"] is not False:
            look = panels.look(style["band"], color=color, alpha=0.25)
            band(pc, made, "bin", ci_prob, f"band_{i}", **look)
        if style["median"] is not False:
            look = panels.look(style["median"], color=color, linestyle="C1")
            middle(pc, made, "bin", f"median_{i}", **look)
        if style["observed"] is not False:
            look = panels.look(style["observed"], color=color)
            lines = panels.over_time(seen, "bin", "plot_axis", y=seen)
            pc.map(line_xy, f"observed_{i}", data=lines, ignore_aes="all", **look)
    entries = [Entry(", ".join(who), "line", {"color": color}) for color, who in named.items()]
    if style["observed"] is not False:
        entries.append(Entry("data", "line", {"color": "gray"}))
    if style["median"] is not False:
        entries.append(Entry("model", "line", {"color": "gray", "linestyle": "C1"}))
    if style["band"] is not False:
        look = {"color": "gray", "alpha": 0.25}
        entries.append(Entry(f"{100 * ci_prob:g}% of replicates", "band", look))
    draw_legend(pc, entries, style["legend"])
    times = panels.times_of(first, "bin").assign_attrs(panels.times_of(data, _own_dim(data)).attrs)
    times.attrs.setdefault("long_name", "time")
    y = panels.label_after(transform, panels.label_of(data, name))
    panels.names(pc, times, y, titles=bool(facets) and style["title"] is not False)
    return pc


def _only_name(dt: Any, group: str) -> str:
    names = [str(name) for name in panels.group_of(dt, group).data_vars]
    if len(names) != 1:
        raise ValueError(f"var_name: {group} has {', '.join(names) or 'nothing'}; name one")
    return names[0]


def _share(percentile: float) -> float:
    if not 0 <= percentile <= 100:
        raise ValueError(f"percentiles: expected numbers between 0 and 100, got {percentile}")
    return percentile / 100


def _own_dim(data: xr.DataArray) -> str:
    return panels.time_dim(data, panels.facets_of(data))


def _percentiles(
    replicates: xr.DataArray,
    data: xr.DataArray,
    shares: Sequence[float],
    bins: int | Sequence[float],
    by: xr.DataArray | None,
) -> xr.Dataset:
    """Percentiles by bin and stratum, at the mean times of the data in each bin.

    Returns ``observed`` with dims ``(stratum, percentile, bin)``, ``replicates`` with ``(chain,
    draw, stratum, percentile, bin)`` and the coordinate ``time``, ``(stratum, bin)``; without
    strata all lack that dim. Cells without data are NaN.
    """
    dim = _own_dim(data)
    times = panels.times_of(data, dim)
    times = times.copy(data=panels.as_numbers(times.values).astype(float)).broadcast_like(data)
    if by is None:
        by = xr.DataArray("all")
    strata = by.broadcast_like(data.isel({dim: 0}, drop=True)).broadcast_like(data)
    replicates = replicates.transpose(*panels.SAMPLE, *data.dims)
    seen = ~np.isnan(data.values)
    t, y = times.transpose(*data.dims).values[seen], data.values[seen]
    made, stratum = replicates.values[..., seen], strata.transpose(*data.dims).values[seen]
    names, edges = np.unique(stratum.astype(str)), _edges(t, bins)
    place = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, len(edges) - 2)
    shape = (len(names), len(shares), len(edges) - 1)
    observed, at = np.full(shape, np.nan), np.full((shape[0], shape[2]), np.nan)
    of_model = np.full((*made.shape[:2], *shape), np.nan)
    for i, name in enumerate(names):
        for k in range(shape[-1]):
            here = (stratum.astype(str) == name) & (place == k)
            if here.any():
                at[i, k] = t[here].mean()
                observed[i, :, k] = np.quantile(y[here], shares)
                of_model[:, :, i, :, k] = np.moveaxis(
                    np.quantile(made[..., here], shares, axis=-1), 0, -1
                )
    found = xr.Dataset(
        {
            "observed": ((STRATUM, "percentile", "bin"), observed),
            "replicates": ((*panels.SAMPLE, STRATUM, "percentile", "bin"), of_model),
        },
        coords={STRATUM: names, "time": ((STRATUM, "bin"), at)},
    )
    return found if by.ndim else found.isel({STRATUM: 0}, drop=True)


def _edges(times: np.ndarray, bins: int | Sequence[float]) -> np.ndarray:
    """Edges of bins with about equally many data each, or those that were given."""
    if isinstance(bins, int | np.integer):
        if bins < 1:
            raise ValueError(f"bins: expected at least one, got {bins}")
        edges = np.unique(np.quantile(times, np.linspace(0.0, 1.0, bins + 1)))
        return edges if len(edges) > 1 else np.array([edges[0], edges[0] + 1.0])
    edges = np.asarray(bins, float)
    if edges.ndim != 1 or len(edges) < 2 or not (np.diff(edges) > 0).all():
        raise ValueError("bins: edges must ascend, and be at least two")
    outside = (times < edges[0]) | (times > edges[-1])
    if outside.any():
        raise ValueError(
            f"bins: data at {times[outside][0]:g} are outside of the edges, which go from "
            f"{edges[0]:g} to {edges[-1]:g}"
        )
    return edges
