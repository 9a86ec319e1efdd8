"""Pointwise log-likelihoods for ArviZ."""

from typing import Any, Literal, get_args

import jax
import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.bridge.draws import ParameterDraws
from pymc_dynsys.bridge.fitted import Fitted, find_trajectory
from pymc_dynsys.filters.batch import visit_log_likelihoods
from pymc_dynsys.inference import blocks
from pymc_dynsys.inference.states import draws_of, labelled
from pymc_dynsys.inference.times import asked_times

By = Literal["trajectory", "datum", "time"]


def log_likelihood(
    idata: xr.DataTree,
    *,
    model: pm.Model,
    by: By = "datum",
    var_name: str | None = None,
    progressbar: bool = True,
) -> xr.DataTree:
    r"""Add the log-likelihood of each trajectory, datum or time to a copy of the results.

    A datum's is :math:`\log p(y_k \mid y_{<k}, \theta)`: one step ahead, given those before it in
    its trajectory. Summed they are the trajectory's, which ``pm.compute_log_likelihood`` gives.

    Parameters
    ----------
    idata : DataTree
        What ``pm.sample`` returned.
    model : pm.Model
        The model.
    by : {"trajectory", "datum", "time"}
        What to leave out together: whole trajectories, for ``az.loo`` over subjects; single data,
        of which missing ones are no part; or all data at one time, for ``az.lfo_cv``, which needs
        times that the trajectories share.
    var_name : str, optional
        Name of the trajectory, if the model has several.
    progressbar : bool
        Show the progress of work done in several blocks.

    Returns
    -------
    DataTree
        A copy of `idata` whose group ``log_likelihood`` has one variable with the name of the
        trajectory and the dims ``(chain, draw)`` and ``*batch``, ``datum`` or ``time``.

    Raises
    ------
    ValueError, TypeError
        As :func:`sample_states`; and for ``by="time"`` if times differ by trajectory.

    Notes
    -----
    Leaving single data out of a time series with ``az.loo`` lets later data tell about the one
    left out only through the parameters, as all factors are conditional on the past; what it
    estimates is one-step-ahead prediction with parameters that know the rest.

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
    ...     y = [0.1, np.nan, 0.3]
    ...     rv = pds.Trajectory("y", walk, params={"mu": pm.Normal("mu")}, observed=y, dims="time")
    ...     idata = pm.sample(50, tune=50, chains=1, nuts_sampler="numpyro", progressbar=False,
    ...                       random_seed=1, compute_convergence_checks=False)
    >>> dict(pds.log_likelihood(idata, model=model).log_likelihood["y"].sizes)
    {'chain': 1, 'draw': 50, 'datum': 2}
    """
    if by not in get_args(By):
        raise ValueError(f"by: expected one of {get_args(By)}, got {by!r}")
    draws = draws_of(idata, "posterior")
    fitted = find_trajectory(model, var_name)
    each = of_visits(fitted, model, draws, progressbar)
    seen = ~np.isnan(fitted.y)
    if fitted.spec.system.n_observed is not None:
        seen = seen.any(-1)
    data = labelled(fitted, asked_times(fitted, None), draws, {fitted.name: (each, ())})
    array = data[fitted.name]
    if by == "trajectory":
        time_dim = str(array.dims[-1])
        out = array.sum(time_dim, skipna=False).drop_vars("time", errors="ignore")
    elif by == "time":
        require_shared_times(fitted)
        out = array.sum(list(fitted.batch_dims), skipna=False)
        lead = tuple(range(fitted.rank))
        some = np.broadcast_to(seen, fitted.y.shape[: fitted.rank + 1]).any(lead)
        out = out.isel({out.dims[-1]: np.flatnonzero(some)})
    else:
        front = array.dims[2:]
        out = array.stack(datum=front, create_index=False)
        out = out.isel(datum=np.flatnonzero(seen.ravel()))
    copy = idata.copy()
    group = out.to_dataset(name=fitted.name)
    if "log_likelihood" in copy.children:
        held = copy["log_likelihood"].dataset.drop_vars(fitted.name, errors="ignore")
        if all(held.sizes.get(dim, n) == n for dim, n in group.sizes.items()):
            group = xr.merge([held, group], compat="override", join="override")
    copy["log_likelihood"] = xr.DataTree(group)
    return copy


def of_visits(
    fitted: Fitted, model: pm.Model, draws: xr.Dataset, progressbar: bool = False
) -> np.ndarray:
    """Log-density of each datum given the earlier ones, ``(draw, *batch, time)``."""
    params = ParameterDraws(fitted, model, draws)
    asked = asked_times(fitted, None)
    program = fitted.program
    grid, constants = blocks.prepared(program, fitted.y, asked.times, asked.t0)
    batch = fitted.y.shape[: fitted.rank + 1]

    def work(which: np.ndarray) -> Any:
        values = np.asarray(_compiled(program, fitted.y[None], params.at(which), grid, constants))
        # What is not a number is no density: the likelihood of PyMC is minus infinity there.
        values = np.where(np.isfinite(values), values, -np.inf)
        return np.broadcast_to(values, (len(values), *batch))

    each = blocks.bytes_per_draw(fitted, grid.times.shape[-1])
    out: np.ndarray = blocks.run(
        work, params.size, each, "Computing log-likelihoods ...", progressbar
    )
    return out


_compiled = jax.jit(visit_log_likelihoods, static_argnums=0)


def require_shared_times(fitted: Fitted) -> None:
    """Refuse a panel whose trajectories have times of their own."""
    shared = all(n == 1 for n in fitted.times.shape[:-1])
    if not shared:
        first = fitted.times.reshape(-1, fitted.times.shape[-1])[0]
        shared = np.array_equal(
            fitted.times, np.broadcast_to(first, fitted.times.shape), equal_nan=True
        )
    if not shared:
        raise ValueError(
            f"{fitted.name}: trajectories have times of their own, so there is no common future "
            "to leave out; use by='trajectory' or by='datum'"
        )
