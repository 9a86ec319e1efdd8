"""What comes after the data: states and observations, also under other inputs or doses."""

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.bridge.draws import ParameterDraws, renewed
from pymc_dynsys.bridge.fitted import Fitted, find_trajectory
from pymc_dynsys.bridge.schedule import Frame, check_schedule, make_schedule
from pymc_dynsys.discretization import InputTable, Schedule
from pymc_dynsys.inference import blocks
from pymc_dynsys.inference.states import draws_of, labelled, observed_data, states_at, take
from pymc_dynsys.inference.times import Asked, as_times, check_times, last_data, merged, timed
from pymc_dynsys.simulation.paths import path_grid, simulate_paths

logger = logging.getLogger("pymc_dynsys")


def forecast(
    idata: xr.DataTree,
    *,
    model: pm.Model,
    times: Any,
    inputs: Mapping[str, Any] | None = None,
    events: xr.Dataset | None = None,
    group: Literal["posterior", "prior"] = "posterior",
    var_name: str | None = None,
    random_seed: Any = None,
    progressbar: bool = True,
) -> xr.DataTree:
    r"""Draw the future of every trajectory, one path for each draw of the parameters.

    The state at a trajectory's last datum is drawn given all its data; from there the system is
    simulated with the trajectory's ``simulator``, and data are drawn with it. So uncertainty of
    parameters, of the present state and of what is to come are all in the result.

    Parameters
    ----------
    idata : DataTree
        What ``pm.sample`` returned.
    model : pm.Model
        The model with the data; or the same model for other subjects, see Notes.
    times : array or DataArray
        Ascending times, in the unit of the model; a DataArray with batch dims where they differ.
        Times before the last datum of a trajectory are NaN in its result: see
        :func:`sample_states` for those.
    inputs : mapping of str to DataArray or Input, optional
        Inputs after the last datum, as for :class:`Trajectory`; an array without times of its own
        holds from `times` on. Until its first time the input is the model's. Default: the
        model's throughout; the last value of one that holds until the next goes on.
    events : Dataset, optional
        Doses at and after the last datum, instead of those of the model; a dose at the time of
        the last datum comes after it. Infusions that began before it go on.
    group : {"posterior", "prior"}
        Where the parameters are.
    var_name : str, optional
        Name of the trajectory, if the model has several.
    random_seed : int, Generator or None
        Seed. The same seed gives the same paths.
    progressbar : bool
        Show the progress of work done in several blocks.

    Returns
    -------
    DataTree
        ``predictions`` with the data under the name of the trajectory, dims ``(chain, draw,
        *batch, time[, component])``, and ``states``; ``predictions_constant_data`` with
        ``last_time``, where each path begins; ``observed_data``.

    Raises
    ------
    ValueError, TypeError
        For draws, times, inputs and events that do not fit; inputs that are not known at a time
        are named with subject and time.

    Notes
    -----
    New subjects: build the model again with their coords and whatever covariates, doses and data
    they have (all NaN if none). Variables along a dim all of whose labels are new are drawn from
    their own law given the others: random effects from their population. Without data a
    trajectory begins with its initial law at ``t0``.

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
    ...     y = [0.1, 0.3, 0.2]
    ...     rv = pds.Trajectory("y", walk, params={"mu": mu}, observed=y, dims="time")
    ...     prior = pm.sample_prior_predictive(50, random_seed=1)
    >>> future = pds.forecast(prior, model=model, group="prior", times=[4.0, 5.0], random_seed=1)
    >>> dict(future.predictions["y"].sizes)
    {'chain': 1, 'draw': 50, 'time': 2}
    """
    draws = draws_of(idata, group)
    fitted = find_trajectory(model, var_name)
    if fitted.name == "states":
        raise ValueError("model: a trajectory called 'states' hides its states; rename it")
    seed = np.random.default_rng(random_seed)
    draws, new = renewed(fitted, model, draws, seed)
    if new:
        logger.info("forecast: %s drawn from their own laws, for new labels", ", ".join(new))
    params = ParameterDraws(fitted, model, draws)
    extra, dim = as_times(times, fitted)
    check_times(extra)
    last = last_data(fitted)
    now = states_at(
        fitted, params, merged(fitted, last[..., None], dim), "all", False, seed, progressbar
    )[0][..., 0, :]

    ahead = np.where(extra >= last[..., None], extra, np.nan)
    if np.isnan(ahead).all():
        raise ValueError(
            f"times: all lie before the last data (the latest are at {np.nanmax(last):g}); "
            "sample_states gives the states there"
        )
    schedule = future_schedule(fitted, ahead, last, dim, inputs, events)
    spec = fitted.spec
    grid = path_grid(ahead, last, spec.simulator, schedule, spec.system.n_states)
    keys = blocks.draw_keys(seed, params.size, fitted.batch)
    asked = Asked(fitted.y, ahead, last, schedule, None, ahead, dim)

    def work(which: np.ndarray) -> Any:
        values = params.at(which)
        paths = simulate_paths(
            spec.system, spec.simulator, keys[which], ahead, grid, values, now[which]
        )
        return tuple(take(np.asarray(part), asked, fitted) for part in paths)

    each = blocks.bytes_per_draw(fitted, grid.times.shape[-1])
    states, y = blocks.run(work, params.size, each, "Forecasting ...", progressbar)
    component = () if spec.system.n_observed is None else (fitted.dims[-1],)
    shown = replace(asked, report=extra)
    data = labelled(
        fitted, shown, draws, {fitted.name: (y, component), "states": (states, ("state",))}
    )
    if component:
        data = data.assign_coords({component[0]: fitted.coords[component[0]]})
    constant = xr.Dataset(
        {"last_time": (fitted.batch_dims, last)},
        coords={d: fitted.coords[d] for d in fitted.batch_dims},
    )
    return xr.DataTree.from_dict(
        {
            "predictions": data,
            "predictions_constant_data": constant,
            "observed_data": observed_data(fitted),
        }
    )


def future_schedule(
    fitted: Fitted, ahead: np.ndarray, last: np.ndarray, dim: str, inputs: Any, events: Any
) -> Schedule | None:
    """Inputs and events from the last data onwards: those of the model, unless others are given."""
    whole = timed(fitted.spec.schedule, fitted.times)
    lengths, spec = dict(zip(fitted.batch_dims, fitted.batch, strict=True)), fitted.spec
    frame = Frame(fitted.batch_dims, lengths, dim, ahead, fitted.coords, spec.unit, spec.origin)
    if events is not None and spec.system.step is not None:
        raise ValueError(
            "events: a DiscreteTime system has none; let an input enter its transition"
        )
    if inputs or events is not None:
        _check_names(inputs or {}, whole)
        given = timed(make_schedule(inputs or {}, events, frame, spec.system), ahead)
        assert given is not None
        whole = given if whole is None else continued(whole, given, last)
    if whole is None:
        return None
    whole = replace(whole, **_from(whole, last))
    check_schedule(whole, ahead, last, frame, fitted.spec.system, midway=True)
    return whole


def _check_names(inputs: Mapping[str, Any], whole: Schedule | None) -> None:
    known = {} if whole is None else whole.inputs
    for name in inputs:
        if name not in known:
            raise ValueError(
                f"inputs: the model has no input {name!r}; it has {', '.join(known) or 'none'}"
            )


PARTS = ("event_times", "amounts", "durations", "targets")


def continued(whole: Schedule, given: Schedule, last: np.ndarray) -> Schedule:
    """The model's schedule, and from the last data onwards what was given instead of it.

    Infusions under way go on, and an input keeps its value until the first one given.
    """
    inputs = dict(whole.inputs)
    for name, table in given.inputs.items():
        inputs[name] = _followed(whole.inputs[name], table)
    if given.event_times is None:
        return replace(whole, inputs=inputs)
    if whole.event_times is None:
        return replace(given, inputs=inputs)
    old = _from(whole, last)
    begun = old["event_times"] < last[..., None]
    old["event_times"] = np.where(begun, old["event_times"], np.nan)
    new = {name: getattr(given, name) for name in PARTS}
    lead = np.broadcast_shapes(begun.shape[:-1], new["event_times"].shape[:-1])
    both = {name: _joined([old[name], new[name]], lead, -1) for name in PARTS}
    return replace(whole, inputs=inputs, **both)


def _from(whole: Schedule, last: np.ndarray) -> dict[str, Any]:
    """Events without the boluses that the last states hold already."""
    if whole.event_times is None:
        return {}
    parts = {name: getattr(whole, name) for name in PARTS}
    past = (parts["durations"] == 0) & (parts["event_times"] < last[..., None])
    shape = past.shape
    parts = {name: np.broadcast_to(array, shape) for name, array in parts.items()}
    return {**parts, "event_times": np.where(past, np.nan, parts["event_times"])}


def _followed(old: InputTable, new: InputTable) -> InputTable:
    """Values of one table until the first time of the other, which follows."""
    assert old.times is not None and new.times is not None
    first = np.min(np.where(np.isnan(new.times), np.inf, new.times), axis=-1)[..., None]
    kept = np.where(old.times < first, old.times, np.nan)
    n_core = new.core_ndim
    leads = [a.shape[:-1] for a in (kept, new.times)]
    leads += [t.values.shape[: t.values.ndim - n_core - 1] for t in (old, new)]
    lead = np.broadcast_shapes(*leads)
    times = _joined([kept, new.times], lead, -1)
    values = _joined([old.values, new.values], lead, len(lead))
    order = np.argsort(times, axis=-1, kind="stable")  # NaN last
    index = order.reshape(*order.shape, *(1,) * n_core)
    return replace(
        new,
        times=np.take_along_axis(times, order, axis=-1),
        values=np.take_along_axis(values, np.broadcast_to(index, values.shape), axis=len(lead)),
    )


def _joined(arrays: list[np.ndarray], lead: tuple[int, ...], axis: int) -> np.ndarray:
    """Concatenate arrays that have batch axes first, all of the shape `lead` or one."""
    rank = len(lead)
    return np.concatenate([np.broadcast_to(a, (*lead, *a.shape[rank:])) for a in arrays], axis)
