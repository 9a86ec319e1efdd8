"""Pointwise log-likelihoods for ArviZ."""

from typing import Literal, get_args

import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.bridge.draws import OperandDraws
from pymc_dynsys.bridge.study import Study, find_trajectory
from pymc_dynsys.inference.draws import per_draw
from pymc_dynsys.inference.labels import data_groups, draws_of, labelled
from pymc_dynsys.inference.times import output_times
from pymc_dynsys.likelihoods.program import ask_pointwise, ask_terms

By = Literal["trajectory", "datum", "time"]


def log_likelihood(
    idata: xr.DataTree | None,
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
    idata : DataTree or None
        What ``pm.sample`` returned; None where all parameters are known, for one draw.
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

    A datum that only places a diffuse state has the same density for all parameters. ``az.loo``
    refuses such a constant. With ``lik = idata.log_likelihood["y"]``, the others are
    ``lik.where((lik != lik[0, 0]).any(("chain", "draw")), drop=True)``.

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
    study = find_trajectory(model, var_name)
    each = _of_draws(study, model, draws, progressbar, whole=by == "trajectory")
    seen = study.seen
    data = labelled(study, output_times(study, None), draws, {study.name: (each, ())})
    array = data[study.name]
    if by == "trajectory":
        out = array.isel({str(array.dims[-1]): 0}, drop=True).drop_vars("time", errors="ignore")
    elif by == "time":
        require_shared_times(study)
        out = array.sum(list(study.frame.batch_dims), skipna=False)
        some = seen.any(tuple(range(study.frame.rank)))
        out = out.isel({out.dims[-1]: np.flatnonzero(some)})
    else:
        front = array.dims[2:]
        out = array.stack(datum=front, create_index=False)
        out = out.isel(datum=np.flatnonzero(seen.ravel()))
    copy = xr.DataTree() if idata is None else idata.copy()
    for name, known in data_groups(study).items():
        if name == "constant_data":
            held = copy[name].dataset if name in copy.children else xr.Dataset()
            copy[name] = xr.DataTree(held.assign(known.data_vars))
    group = out.to_dataset(name=study.name)
    if "log_likelihood" in copy.children:
        held = copy["log_likelihood"].dataset.drop_vars(study.name, errors="ignore")
        group = _beside(held, group, study.name)
    copy["log_likelihood"] = xr.DataTree(group)
    return copy


def _beside(held: xr.Dataset, group: xr.Dataset, name: str) -> xr.Dataset:
    """What is there already and what is new, each with its own labels.

    Where their labels along a dim differ, the dim of the new one and the labels along it are
    called after its variable, ``datum_of_y``.
    """
    held = held.drop_vars([c for c in held.coords if not _is_used(held, str(c))])
    for dim in ("chain", "draw"):
        if held and not held[dim].equals(group[dim]):
            raise ValueError(
                f"{name}: idata holds log-likelihoods of {', '.join(map(str, held.data_vars))} at "
                f"other draws (along {dim!r}); delete its group 'log_likelihood' first"
            )
    renamed: dict[str, str] = {}
    for dim in map(str, set(held.dims) & set(group.dims)):
        along = [str(c) for c in group.coords if dim in group[c].dims]
        same = held.sizes[dim] == group.sizes[dim] and all(
            c in held.coords and held[c].equals(group[c]) for c in along
        )
        if not same:
            renamed |= {own: f"{own}_of_{name}" for own in (dim, *along)}
    return xr.merge([held, group.rename(renamed)], compat="equals", join="exact")


def _is_used(data: xr.Dataset, coord: str) -> bool:
    """Whether a variable varies along all the dims of a coordinate."""
    return any(set(data[coord].dims) <= set(array.dims) for array in data.data_vars.values())


def of_visits(
    study: Study, model: pm.Model, draws: xr.Dataset, progressbar: bool = False
) -> np.ndarray:
    """Log-density of each datum given the earlier ones, ``(draw, *batch, time)``."""
    return _of_draws(study, model, draws, progressbar, whole=False)


def _of_draws(
    study: Study, model: pm.Model, draws: xr.Dataset, progressbar: bool, *, whole: bool
) -> np.ndarray:
    """Log-densities of data, or of whole trajectories; those need no run for each datum."""
    of_draws, at = OperandDraws(study, model, draws), output_times(study, None)
    ask = ask_terms if whole else ask_pointwise
    values = per_draw(of_draws, ask, at, "Computing log-likelihoods ...", progressbar)
    if whole:
        values = values.sum(-1, keepdims=True)
    else:
        # A visit without a time has no datum. What else is not a number is no density: the
        # likelihood of PyMC is minus infinity there.
        values = np.where(np.isnan(at.requested), 0.0, values)
    found: np.ndarray = np.where(np.isfinite(values), values, -np.inf)
    # What belongs to the whole stands at every visit, whose times and labels it then has.
    return np.broadcast_to(found, (*found.shape[:-1], at.requested.shape[-1]))


def require_shared_times(study: Study) -> None:
    """Refuse a panel whose trajectories have times of their own."""
    times = study.operands.times
    first = times.reshape(-1, times.shape[-1])[0]
    shared = np.array_equal(times, np.broadcast_to(first, times.shape), equal_nan=True)
    if not shared:
        raise ValueError(
            f"{study.name}: trajectories have times of their own, so there is no common future "
            "to leave out; use by='trajectory' or by='datum'"
        )
