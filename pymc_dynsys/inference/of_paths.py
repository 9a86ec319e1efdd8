"""Paths that are variables of a model: where a forecast goes on, labels, and what has no check."""

from collections.abc import Container

import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.bridge.draws import aligned_draws
from pymc_dynsys.bridge.study import Study, find_path, find_trajectory
from pymc_dynsys.inference.labels import labelled
from pymc_dynsys.inference.times import OutputTimes, last_data, starts
from pymc_dynsys.latent.law import PathLaw
from pymc_dynsys.likelihoods.answers import Present


def trajectory_to_check(model: pm.Model, var_name: str | None) -> Study:
    """The trajectory whose likelihood is checked; a path, which has none, raises with what helps.

    The likelihood of a path is PyMC's of the data given its states. What may be approximate are
    the steps that it takes.
    """
    path = find_path(model, var_name)
    if path is None:
        return find_trajectory(model, var_name)
    law, system = path.program.likelihood, path.system
    assert isinstance(law, PathLaw)
    scheme = law.scheme(system)
    if system.step is not None or (scheme.exact_if_linear and system.proof.affine_path):
        what = f"its states move exactly, by {law.parts}, so that there is nothing to check"
    elif law.solver is not None:
        what = f"its error is that of {law.parts}; compare draws under smaller tolerances"
    else:
        step = scheme.longest_step
        if step is None:
            step = float(np.nanmax(np.diff(np.asarray(path.operands.times, float), axis=-1)))
        half = f"discretization=pds.{type(scheme).__name__}(dt={step / 2:g})"
        what = (
            f"what is approximate are its steps, {law.parts}; build the model with {half}, half "
            "their length, and compare the posteriors"
        )
    raise ValueError(
        f"model: {path.name!r} is a path whose states are variables, so that no likelihood is "
        f"approximated; {what}"
    )


def last_states(
    path: Study, model: pm.Model, draws: xr.Dataset, new: Container[str]
) -> tuple[np.ndarray, Present | None]:
    """Time ``(*batch,)`` and draws ``(draw, *batch, 1, state)`` of the states at the last visits.

    New members of a population, whose parameters were drawn (`new`), have no draws of their
    states: they begin with their initial distribution.
    """
    name, frame = path.name, path.frame
    if name not in draws and not new:
        raise ValueError(
            f"idata: the draws do not hold the path {name!r}, from whose last states a forecast "
            f"goes on; leave var_names out of pm.sample, or add {name!r} to them"
        )
    if new:
        return np.broadcast_to(starts(path), frame.batch), None
    x = aligned_draws(name, draws, model).values
    x = x.reshape(-1, *x.shape[2:])
    visits = ~np.isnan(np.broadcast_to(path.operands.times, (*frame.batch, x.shape[-2])))
    place = np.where(visits, np.arange(visits.shape[-1]), 0).max(-1)
    index = np.broadcast_to(place[None, ..., None, None], (*x.shape[:-2], 1, x.shape[-1]))
    found = jnp.asarray(np.take_along_axis(x, index, axis=-2))
    told = jnp.zeros_like(found)
    return last_data(path), Present(found, told, told)


def labelled_path(
    path: Study, at: OutputTimes, draws: xr.Dataset, states: np.ndarray
) -> xr.Dataset:
    """States ``(draw, *batch, time, state)`` with the dims and labels of the path."""
    of_state = f"{path.name}_state"
    data = labelled(path, at, draws, {path.name: (states, (of_state,))})
    del data.attrs["likelihood"]
    return data.assign_coords({of_state: list(path.system.states)})
