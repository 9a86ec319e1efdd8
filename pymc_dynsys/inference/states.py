"""Latent states behind a posterior: draws or moments, at visits or any other times."""

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, get_args

import jax
import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.bridge.data import place
from pymc_dynsys.bridge.draws import ParameterDraws
from pymc_dynsys.bridge.fitted import Fitted, find_trajectory
from pymc_dynsys.inference import blocks
from pymc_dynsys.inference.times import Asked, asked_times, dates
from pymc_dynsys.smoothers import Given, state_draws, state_moments


def sample_states(
    idata: xr.DataTree,
    *,
    model: pm.Model,
    given: Given = "all",
    times: Any = None,
    moments: bool = False,
    group: Literal["posterior", "prior"] = "posterior",
    var_name: str | None = None,
    random_seed: Any = None,
    progressbar: bool = True,
) -> xr.DataTree:
    r"""Draw the latent states of every trajectory, one path for each draw of the parameters.

    :math:`x \sim p(x \mid y, \theta_s)` with :math:`\theta_s` from the posterior: together the
    draws are the posterior of the states. Exact behind ``Kalman``; behind ``EKF`` exact for the
    system linearized along the filtered path; behind ``EnKF`` a member of the smoothed ensemble;
    for an ODE its solution.

    Parameters
    ----------
    idata : DataTree
        What ``pm.sample`` or ``pm.sample_prior_predictive`` returned. Fewer draws take less time:
        ``idata.isel(draw=slice(None, None, 10))``.
    model : pm.Model
        The model, with the data to condition on.
    given : {"all", "past"}
        Condition on all data of the trajectory (smoothing: whole paths), or on those up to and
        including the time of the state (filtering: each state drawn alone).
    times : array or DataArray, optional
        Ascending times at which to report, in the unit of the model, not before the initial law;
        a DataArray with batch dims where they differ. Default: the visits. A state at the time of
        a datum is that after it was seen; at the time of a dose, that before it was given.
        Filters that take one step a gap take one to each of these times too, so where such steps
        are an approximation it is a finer one.
    moments : bool
        Means and covariances instead of draws.
    group : {"posterior", "prior"}
        Where the parameters are.
    var_name : str, optional
        Name of the trajectory, if the model has several.
    random_seed : int, Generator or None
        Seed. The same seed gives the same states.
    progressbar : bool
        Show the progress of work done in several blocks.

    Returns
    -------
    DataTree
        The same group with ``states``, dims ``(chain, draw, *batch, time, state)``; or ``mean``
        and ``covariance`` with a last dim ``state_2``. Also ``observed_data``.

    Raises
    ------
    ValueError, TypeError
        If the draws do not hold what the parameters depend on, their labels are not those of the
        model, or times lie before the start.

    References
    ----------
    Durbin and Koopman (2002), *A simple and efficient simulation smoother for state space time
    series analysis*. Raanes (2016), *On the ensemble Rauch-Tung-Striebel smoother*.

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
    ...     mu = pm.Normal("mu")
    ...     y = [0.1, 0.3, np.nan]
    ...     rv = pds.Trajectory("y", walk, params={"mu": mu}, observed=y, dims="time")
    ...     prior = pm.sample_prior_predictive(50, random_seed=1)
    >>> states = pds.sample_states(prior, model=model, group="prior", times=np.linspace(0, 6, 7))
    >>> dict(states.prior["states"].sizes)
    {'chain': 1, 'draw': 50, 'time': 7, 'state': 1}
    """
    if given not in get_args(Given):
        raise ValueError(f"given: expected one of {get_args(Given)}, got {given!r}")
    draws = draws_of(idata, group)
    fitted = find_trajectory(model, var_name)
    params = ParameterDraws(fitted, model, draws)
    asked = asked_times(fitted, times)
    arrays = states_at(fitted, params, asked, given, moments, random_seed, progressbar)
    if moments:
        named = {"mean": (arrays[0], ("state",)), "covariance": (arrays[1], ("state", "state_2"))}
    else:
        named = {"states": (arrays[0], ("state",))}
    data = labelled(fitted, asked, draws, named)
    if not moments:
        data["states"].attrs["trajectory"] = fitted.name
    return xr.DataTree.from_dict({group: data, "observed_data": observed_data(fitted)})


def states_at(
    fitted: Fitted,
    params: ParameterDraws,
    asked: Asked,
    given: Given,
    moments: bool,
    random_seed: Any,
    progressbar: bool,
) -> tuple[np.ndarray, ...]:
    """Draws of states, or their means and covariances, ``(draw, *batch, asked, ...)``."""
    program = fitted.program
    if asked.position is not None:
        program = replace(program, complete=False, schedule=asked.schedule)
    grid, constants = blocks.prepared(program, asked.y, asked.times, asked.t0)
    y = asked.y[None]
    keys = None if moments else blocks.draw_keys(random_seed, params.size, fitted.batch)

    def work(which: np.ndarray) -> Any:
        values = params.at(which)
        if keys is None:
            out = state_moments(program, given, y, values, grid, constants)
        else:
            out = (state_draws(program, given, keys[which], y, values, grid, constants),)
        return jax.tree.map(lambda leaf: take(np.asarray(leaf), asked, fitted), out)

    each = blocks.bytes_per_draw(fitted, grid.times.shape[-1])
    result: tuple[np.ndarray, ...] = blocks.run(
        work, params.size, each, "Sampling states ...", progressbar
    )
    warn_unidentified(fitted, asked, result[0])
    return result


def warn_unidentified(fitted: Fitted, asked: Asked, states: np.ndarray) -> None:
    """Warn of diffuse states that the data do not tell; they are NaN."""
    if not fitted.spec.system.n_diffuse:
        return
    lost = np.isnan(states).any(-1).all(0) & ~np.isnan(asked.report)
    where = np.argwhere(lost)
    if len(where):
        here = tuple(where[0])
        of = f" of {place(here[:-1], fitted.labels, fitted.batch_dims)}" if fitted.rank else ""
        at = np.broadcast_to(asked.report, lost.shape)[here]
        warnings.warn(
            f"{fitted.name}: at time {at:g}{of}, and {len(where) - 1} other times, the data do not "
            "tell the states, whose initial law is diffuse; they are NaN there",
            UserWarning,
            stacklevel=4,
        )


def take(states: np.ndarray, asked: Asked, fitted: Fitted) -> np.ndarray:
    """Rows at the asked times, ``(draw, *batch, asked, ...)``; NaN where there is no time."""
    batch = (len(states), *fitted.batch)
    axis = len(batch)
    states = np.broadcast_to(states, (*batch, *states.shape[axis:]))
    if asked.position is not None:
        index = asked.position
        index = index.reshape(1, *index.shape, *(1,) * (states.ndim - axis - 1))
        shape = (*batch, index.shape[axis], *states.shape[axis + 1 :])
        states = np.take_along_axis(states, np.broadcast_to(index, shape), axis=axis)
    nowhere = np.isnan(asked.report)
    if not nowhere.any():
        return states
    nowhere = nowhere.reshape(1, *nowhere.shape, *(1,) * (states.ndim - axis - 1))
    return np.where(nowhere, np.nan, states)


def draws_of(idata: Any, group: str) -> xr.Dataset:
    """The dataset with the draws of the parameters."""
    if not isinstance(idata, xr.DataTree):
        raise TypeError(f"idata: expected the DataTree of pm.sample, got {type(idata).__name__}")
    if group not in idata.children:
        raise ValueError(f"idata: no group {group!r}; it has {', '.join(idata.children)}")
    draws = idata[group].dataset
    if not {"chain", "draw"} <= set(draws.dims):
        raise ValueError(f"idata: {group} has no dims chain and draw, but {tuple(draws.dims)}")
    return draws


def labelled(
    fitted: Fitted,
    asked: Asked,
    draws: xr.Dataset,
    arrays: Mapping[str, tuple[np.ndarray, tuple[str, ...]]],
) -> xr.Dataset:
    """Arrays ``(draw, *batch, time, ...)`` with their dims and labels."""
    sample = (draws.sizes["chain"], draws.sizes["draw"])
    front = ("chain", "draw", *fitted.batch_dims, asked.dim)
    states = list(fitted.spec.system.states)
    data = xr.Dataset(
        {
            name: ((*front, *tail), values.reshape(*sample, *values.shape[1:]))
            for name, (values, tail) in arrays.items()
        },
        coords={
            "chain": draws["chain"].values,
            "draw": draws["draw"].values,
            **{dim: fitted.coords[dim] for dim in fitted.batch_dims},
        },
        attrs={"likelihood": repr(fitted.spec.likelihood)},
    )
    written = {dim for _, tail in arrays.values() for dim in tail}
    data = data.assign_coords({dim: states for dim in ("state", "state_2") if dim in written})
    return with_times(data, fitted, asked.report, asked.dim)


def with_times(data: xr.Dataset, fitted: Fitted, times: np.ndarray, dim: str) -> xr.Dataset:
    """The dataset with its times: an index where all share them, else a coordinate ``time``."""
    shared = all(n == 1 for n in times.shape[:-1])
    own = fitted.times is times
    for array in data.data_vars.values():
        array.attrs["time_dim"] = dim
    if shared and not np.isnan(times).any():
        return data.assign_coords({dim: dates(times.reshape(-1), fitted)})
    dims = [d for d, n in zip(fitted.batch_dims, times.shape, strict=False) if n > 1]
    values = times.reshape(*(n for n in times.shape[:-1] if n > 1), times.shape[-1])
    if dim == "time":
        data, dim = data.rename({"time": "visit"}), "visit"
        for array in data.data_vars.values():
            array.attrs["time_dim"] = dim
    elif own and dim in fitted.coords:
        data = data.assign_coords({dim: fitted.coords[dim]})
    return data.assign_coords(time=((*dims, dim), dates(values, fitted)))


def observed_data(fitted: Fitted) -> xr.Dataset:
    """The data, under the name of the trajectory."""
    coords = {dim: fitted.coords[dim] for dim in fitted.dims if dim != fitted.time_dim}
    data = xr.Dataset({fitted.name: (fitted.dims, fitted.y)}, coords=coords)
    return with_times(data, fitted, fitted.times, fitted.time_dim)
