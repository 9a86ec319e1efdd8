"""What comes after the data: states and observations, also under other inputs or doses."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

import jax
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Array

from pymc_dynsys.bridge.draws import OperandDraws, draws_for_new_labels
from pymc_dynsys.bridge.study import find_path, find_trajectory
from pymc_dynsys.inference import blocks
from pymc_dynsys.inference.draws import in_blocks, per_draw
from pymc_dynsys.inference.future import read_future
from pymc_dynsys.inference.future_inputs import read_inputs_to_come, study_to_come
from pymc_dynsys.inference.labels import data_groups, draws_of, labelled, select_rows
from pymc_dynsys.inference.of_paths import labelled_path, last_states
from pymc_dynsys.inference.states import warn_lost_states, warn_unidentified
from pymc_dynsys.inference.times import OutputTimes, last_data, merged, requested_times, steps_ahead
from pymc_dynsys.likelihoods.answers import Present
from pymc_dynsys.likelihoods.base import Run
from pymc_dynsys.reading.times import as_dates, time_labels
from pymc_dynsys.simulation.paths import path_grid, simulate_paths

DEPENDS = 1e-9
"""Share of what a change of the whole state does from which on a result depends on a part of it."""

logger = logging.getLogger("pymc_dynsys")


def forecast(
    idata: xr.DataTree | None,
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
    idata : DataTree or None
        What ``pm.sample`` returned; None where all parameters are known, for one draw.
    model : pm.Model
        The model with the data; or the same model for other subjects, see Notes. In one with a
        :class:`Path` its states go on from the last visit, whose draws are in `idata`.
    times : array or DataArray
        Ascending times, in the unit of the model; a DataArray with batch dims where they differ.
        Dates where the data had dates; of periods also their number after the last one.
        Times before the last datum of a trajectory are NaN in its result: see
        :func:`sample_states` for those.
    inputs : mapping of str to DataArray or Input, optional
        Inputs after the last datum, as for :class:`Trajectory`; an array without times of its own
        holds from `times` on. Until its first time the input is the model's. Default: the
        model's throughout; the last value of one that holds until the next goes on. What random
        variables enter has to be given: an array, or the label at which the draws of a variable
        are taken, ``pds.Input(model["ka"], by=xr.DataArray("third"))``, or one for each subject or
        time.
    events : Dataset, optional
        Doses after the last datum, instead of those of the model. A dose at the time of the last
        datum comes after it: that of the model stays, unless `events` has one there, too, which
        then replaces it with a warning. Infusions that began before go on.
    group : {"posterior", "prior"}
        Where the parameters are.
    var_name : str, optional
        Name of the trajectory or path, if the model has several.
    random_seed : int, Generator or None
        Seed. The same seed gives the same paths.
    progressbar : bool
        Show the progress of work done in several blocks.

    Returns
    -------
    DataTree
        ``predictions`` with the data under the name of the trajectory, dims ``(chain, draw,
        *batch, time[, component])``, and ``states``; ``predictions_constant_data`` with
        ``last_time``, where each path begins; ``observed_data``. Of a :class:`Path` the states
        alone, under its name and with its dims: data at them are the model's to draw.

    Raises
    ------
    ValueError, TypeError
        For draws, times, inputs and events that do not fit; inputs that are not known at a time
        are named with subject and time.

    Notes
    -----
    New subjects: build the model again with their coords and whatever covariates, doses and data
    they have (all NaN if none). Variables along a dim all of whose labels are new are drawn from
    their own distribution given the others: random effects from their population. Without data a
    trajectory begins with its initial distribution at ``t0``.

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
    path = find_path(model, var_name)
    study = find_trajectory(model, var_name) if path is None else path
    if path is None and study.name == "states":
        raise ValueError("model: a trajectory called 'states' hides its states; rename it")
    seed = np.random.default_rng(random_seed)
    draws, new = draws_for_new_labels(study, model, draws, seed)
    if new:
        logger.info(
            "forecast: %s drawn from their own distributions, for new labels", ", ".join(new)
        )
    of_draws = OperandDraws(study, model, draws)
    extra, dim = requested_times(steps_ahead(study, times), study)
    last = last_data(study)
    now: Present | None
    if path is None:
        at = merged(study, last[..., None], dim)
        now = per_draw(
            of_draws, ask_present, at, "Sampling states ...", progressbar, seed, keyed=True
        )
    else:
        last, now = last_states(path, model, draws, new)

    ahead = np.where(extra >= last[..., None], extra, np.nan)
    if np.isnan(ahead).all():
        raise ValueError(
            f"times: all lie before the last data (the latest are at {np.nanmax(last):g}); "
            "sample_states gives the states there"
        )
    frame = study.frame
    along = time_labels(times, extra, dim, frame.unit, frame.origin)
    of_future = replace(frame, time_dim=dim, labels={**frame.labels, dim: along})
    coming = read_inputs_to_come(study, model, of_future, extra, inputs or {})
    design, operands = read_future(study, of_future, extra, last, coming, events)
    after = of_draws
    if coming.tensors:
        to_come = study_to_come(study, design, operands, coming.tensors)
        after = OperandDraws(to_come, model, draws)
    known = jax.tree.map(lambda leaf: np.expand_dims(leaf, 0), operands)
    grid = path_grid(design, known, study.simulator)
    keys = blocks.draw_keys(seed, of_draws.size, study.frame.batch)
    future = OutputTimes(operands, None, ahead, dim)

    def work(which: np.ndarray) -> Any:
        of_block = after.at(which, operands)
        begin = None if now is None else Present(*(part[which][..., 0, :] for part in now))

        def paths(start: Array | None) -> Any:
            return simulate_paths(design, study.simulator, keys[which], of_block, grid, start)

        found = paths(None) if begin is None else known_part(paths, begin)
        return tuple(select_rows(np.asarray(part), future, study) for part in found)

    n_rows = grid.times.shape[-1]
    states, y = in_blocks(of_draws, work, n_rows, "Forecasting ...", progressbar)
    warn_lost_states(study, future, states)
    component = () if frame.component_dim is None else (frame.component_dim,)
    warn_unidentified(study, future, states)
    shown = replace(future, requested=extra)
    if path is None:
        arrays = {study.name: (y, component), "states": (states, ("state",))}
        data, groups = labelled(study, shown, draws, arrays), data_groups(study)
        data[study.name].attrs |= frame.units.of_data()
    else:
        data, groups = labelled_path(path, shown, draws, states), {}
    constant = xr.Dataset(
        {"last_time": (frame.batch_dims, as_dates(last, frame.unit, frame.origin))},
        coords={d: frame.labels[d] for d in frame.batch_dims},
    )
    return xr.DataTree.from_dict(
        {
            "predictions": data,
            "predictions_constant_data": constant,
            **groups,
        }
    )


def ask_present(run: Run, visits: Callable[[Any], Any], key: Array) -> Present:
    """States ``(visit, state)`` to go on from, and what may be added to them."""
    present: Present = visits(run.present(key))
    return present


def known_part(paths: Callable[[Any], Any], begin: Present) -> Any:
    """Paths from a start, not a number where they depend on what the data do not tell of it.

    Systems of which something may not be told are linear, so the derivative along it shows where.
    """
    found = paths(begin.path)
    if not np.any(begin.free):
        return found
    sizes = np.random.default_rng(0).uniform(0.5, 1.0, begin.size.shape) * begin.size
    along, of_all = (jax.jvp(paths, (begin.path,), (to,))[1] for to in (begin.free, sizes))
    return tuple(
        np.where(np.abs(part) > DEPENDS * np.abs(whole), np.nan, values)
        for values, part, whole in zip(found, along, of_all, strict=True)
    )
