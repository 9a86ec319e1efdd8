"""Latent states behind a posterior: draws or moments, at visits or any other times."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Array

from pymc_dynsys.bridge.draws import OperandDraws
from pymc_dynsys.bridge.study import Study, find_path, find_trajectory
from pymc_dynsys.bridge.told import some
from pymc_dynsys.inference.draws import per_draw
from pymc_dynsys.inference.labels import data_groups, draws_of, labelled
from pymc_dynsys.inference.states_of_paths import states_of_path
from pymc_dynsys.inference.times import OutputTimes, output_times
from pymc_dynsys.likelihoods.answers import Moments
from pymc_dynsys.likelihoods.base import Given, Run
from pymc_dynsys.likelihoods.program import Ask
from pymc_dynsys.simulation.lost import warn_lost
from pymc_dynsys.simulation.paths import draw_data


def sample_states(
    idata: xr.DataTree | None,
    *,
    model: pm.Model,
    given: Given = "all",
    times: Any = None,
    moments: bool = False,
    observations: bool = False,
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
    idata : DataTree or None
        What ``pm.sample`` or ``pm.sample_prior_predictive`` returned. Fewer draws take less time:
        ``idata.isel(draw=slice(None, None, 10))``.
    model : pm.Model
        The model, with the data to condition on.
    given : {"all", "past"}
        Condition on all data of the trajectory (smoothing: whole paths), or on those up to and
        including the time of the state (filtering: each state drawn alone).
    times : array or DataArray, optional
        Ascending times at which to report, in the unit of the model, not before the initial
        distribution; a DataArray with batch dims where they differ. Default: the visits. A state
        at the time of a datum is that after it was seen; at the time of a dose, that before it
        was given.
        Filters that take one step a gap take one to each of these times too, so where such steps
        are an approximation it is a finer one.
    moments : bool
        Means and covariances instead of draws.
    observations : bool
        Draw data at the states too, as they might be seen again at these times.
    group : {"posterior", "prior"}
        Where the parameters are.
    var_name : str, optional
        Name of the trajectory or path, if the model has several.
    random_seed : int, Generator or None
        Seed. The same seed gives the same states.
    progressbar : bool
        Show the progress of work done in several blocks.

    Returns
    -------
    DataTree
        The same group with ``states``, dims ``(chain, draw, *batch, time, state)``; or ``mean``
        and ``covariance`` with a last dim ``state_2``. With `observations` also data under the name
        of the trajectory, dims ``(chain, draw, *batch, time[, component])``. Also
        ``observed_data``, and ``constant_data`` with the times where they are not labels of a dim.
        Of a :class:`Path`, whose states are in `idata`, the states alone: at its visits as they
        were drawn, and at other times drawn given these, exactly, where the dynamics are linear.

    Raises
    ------
    ValueError, TypeError
        If the draws do not hold what the parameters depend on, their labels are not those of the
        model, or times lie before the start; other times than the visits of a :class:`Path` that is
        not linear.

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
    if observations and moments:
        raise ValueError(
            "observations: data are drawn at states that are drawn; leave moments out for them"
        )
    draws = draws_of(idata, group)
    path = find_path(model, var_name)
    if path is not None:
        if given != "all" or moments or observations:
            raise ValueError(
                f"the states of the path {path.name!r} are draws given all data: leave given, "
                "moments and observations out (averages are those of the draws, and its data are "
                "drawn by pm.sample_posterior_predictive)"
            )
        found = states_of_path(path, model, draws, times, random_seed, progressbar)
        return xr.DataTree.from_dict({group: found})
    study = find_trajectory(model, var_name)
    at = output_times(study, times)
    of_draws = OperandDraws(study, model, draws)
    if observations and study.name == "states":
        raise ValueError("model: a trajectory called 'states' hides its states; rename it")
    ask: Ask[Any] = AskMoments(given) if moments else AskStates(given)
    if observations:
        ask = AskObservations(given)
    title = "Sampling states ..."
    found = per_draw(of_draws, ask, at, title, progressbar, random_seed, keyed=not moments)
    states = found[0] if moments or observations else found
    warn_unidentified(study, at, states)
    warn_lost_states(study, at, states)
    if moments:
        named = {"mean": (found[0], ("state",)), "covariance": (found[1], ("state", "state_2"))}
    else:
        named = {"states": (states, ("state",))}
    if observations:
        component = study.frame.component_dim
        named[study.name] = (
            (found[1][..., 0], ()) if component is None else (found[1], (component,))
        )
    data = labelled(study, at, draws, named)
    if observations:
        data[study.name].attrs |= study.frame.units.of_data()
    if not moments:
        data["states"].attrs["trajectory"] = study.name
    return xr.DataTree.from_dict({group: data, **data_groups(study)})


@dataclass(frozen=True)
class AskStates:
    """A path of states, or states each drawn alone."""

    given: Given

    def __call__(self, run: Run, visits: Callable[[Any], Any], key: Any) -> Array:
        """States ``(visit, state)``."""
        states: Array = visits(run.draw(self.given, key))
        return states


@dataclass(frozen=True)
class AskObservations:
    """A path of states, or states each drawn alone, and data drawn at them."""

    given: Given

    def __call__(self, run: Run, visits: Callable[[Any], Any], key: Any) -> tuple[Array, Array]:
        """States ``(visit, state)`` and data ``(visit, component)``."""
        of_states, of_data = jax.random.split(key)
        params, grid = run.problem.params, run.problem.grid
        states = run.draw(self.given, of_states)
        found: tuple[Array, Array] = visits(
            (states, draw_data(run.system, of_data, params, grid, states))
        )
        return found


@dataclass(frozen=True)
class AskMoments:
    """Means and covariances of states."""

    given: Given

    def __call__(self, run: Run, visits: Callable[[Any], Any], key: Any) -> Moments:
        """Means ``(visit, state)`` and covariances ``(visit, state, state)``."""
        moments: Moments = visits(run.moments(self.given))
        return moments


def warn_lost_states(study: Study, at: OutputTimes, states: np.ndarray) -> None:
    """Warn of states ``(draw, *batch, time, state)`` that are no numbers, at draws that have some.

    Diffuse states that the data do not tell are NaN at all draws, and no failure.
    """
    if study.system.n_diffuse:
        untold = np.isnan(states).all(0, keepdims=True)
        states = np.where(untold, 0.0, states)
    warn_lost(study.name, states, at.requested, 1, study.frame.who, stacklevel=4)


def warn_unidentified(study: Study, at: OutputTimes, states: np.ndarray) -> None:
    """Warn of states that depend on diffuse ones that the data do not tell; they are NaN."""
    if not study.system.n_diffuse:
        return
    lost = np.isnan(states).all(0) & ~np.isnan(at.requested)[..., None]
    where = np.argwhere(lost.any(-1))
    if len(where):
        here = tuple(where[0])
        of = f" of {study.frame.who(here[:-1])}" if study.frame.rank else ""
        when = np.broadcast_to(at.requested, lost.shape[:-1])[here]
        names = [n for n, gone in zip(study.system.states, lost[here], strict=True) if gone]
        warnings.warn(
            f"{study.name}: at time {when:g}{of}, and {len(where) - 1} other times, the data do "
            f"not identify what states depend on that began diffuse; NaN there: {some(names)}",
            UserWarning,
            stacklevel=3,
        )
