"""What a model has read: visits, data, doses and inputs, as short tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.bridge.study import Study, find_trajectory
from pymc_dynsys.inference.labels import observed_data
from pymc_dynsys.inference.read_inputs import about, read_inputs, whole
from pymc_dynsys.inference.times import starts
from pymc_dynsys.reading.accumulated import without_restarts
from pymc_dynsys.reading.times import as_dates

Variables = dict[str, Any]


def check_data(model: pm.Model, *, var_name: str | None = None) -> xr.DataTree:
    """What a trajectory of the model has read, before anything is sampled.

    Tables show whether the columns, units, doses and inputs that were meant are those that arrived:
    they are made from the arrays that the likelihood sees, as they are now, after ``pm.set_data``
    too. :func:`plot_data` draws them.

    Parameters
    ----------
    model : pm.Model
        The model, with its data.
    var_name : str, optional
        Name of the trajectory, if the model has several.

    Returns
    -------
    DataTree
        Groups, whose variables over ``(*batch)`` become columns by ``.to_dataframe()``:

        ``subjects``
            Of each trajectory the number of ``visits``, of data ``observed`` and ``missing``, the
            ``lowest`` and ``highest`` datum (with a component dim where a datum is a vector), the
            time of the initial distribution ``start``, of the ``first`` and ``last`` visit,
            ``shortest_gap``, ``median_gap`` and ``longest_gap`` between visits, and how many visits
            are ``at_a_dose``, which are read as before it.
        ``doses``
            By state, of each trajectory: number of ``doses``, ``infusions`` among them, ``amount``
            in all, times of the ``first`` and ``last``. Zero where there are none.
        ``events``
            Each dose, in the order of time: ``event_time``, ``amount``, ``duration`` and the state
            that it goes ``into``. NaN padded; only where there are doses.
        ``inputs``
            Of each input its value at each visit, under its name, and ``<name>_since_last``, the
            mean over the gap before the visit of what the dynamics see in it. Attributes say by
            what it is ``used`` and the ``interpolation``.
        ``observed_data``
            The data, under the name of the trajectory.

        A lone series has a dim ``trajectory`` in the first three, with its name as the label. Times
        are in the unit of the model, dates where the model was given dates.

    Raises
    ------
    ValueError, TypeError
        If there is no such trajectory or it has no data.

    See Also
    --------
    plot_data : the same as a plot.
    check_likelihood : what an approximate likelihood costs.

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
    >>> y = np.array([[0.1, np.nan, 0.3], [0.2, 0.4, 0.1]])
    >>> with pm.Model(coords={"subject": ["ann", "bob"], "time": [0.0, 1.0, 3.0]}) as model:
    ...     params = {"mu": pm.Normal("mu")}
    ...     rv = pds.Trajectory("y", walk, params=params, observed=y, dims=("subject", "time"))
    >>> read = pds.check_data(model)
    >>> read["subjects"]["missing"].to_series().to_dict()
    {'ann': 1, 'bob': 0}
    """
    study = find_trajectory(model, var_name)
    groups = {
        "subjects": _dataset(study, _subjects(study)),
        "doses": _dataset(study, _doses(study)),
        "inputs": read_inputs(study),
        "observed_data": observed_data(study),
    }
    if without_restarts(study.operands.doses) is not None:
        groups["events"] = _dataset(study, _events(study))
    return xr.DataTree.from_dict(groups)


def _dataset(study: Study, variables: Mapping[str, Any]) -> xr.Dataset:
    """Variables ``(dims after the batch, values, attrs)`` with labels; a lone series gets a dim."""
    frame = study.frame
    front: tuple[str, ...] = frame.batch_dims
    coords: dict[str, Any] = {dim: frame.labels[dim] for dim in front}
    if not front:
        front, coords = ("trajectory",), {"trajectory": [study.name]}
    sizes = tuple(len(coords[dim]) for dim in front)
    data = {}
    for name, (own, values, attrs) in variables.items():
        shape = values.shape[values.ndim - len(own) :] if own else ()
        data[name] = ((*front, *own), np.broadcast_to(values, (*sizes, *shape)), attrs)
        for dim in own:
            if dim == frame.component_dim:
                coords[dim] = frame.labels[dim]
            elif dim == "state":
                coords[dim] = _targets(study)
    return xr.Dataset(data, coords, attrs=about(study))


def _subjects(study: Study) -> Variables:
    """Counts and ranges of each trajectory.

    All are ``(*batch)``, but those of the data ``(*batch, component)`` where a datum is a vector.
    """
    frame = study.frame
    times = whole(study, study.operands.times, 1)
    there = ~np.isnan(times)
    own = () if frame.component_dim is None else (frame.component_dim,)
    y = study.y if own else study.y[..., None]
    seen = ~np.isnan(y)
    visits = there.sum(-1)
    observed = seen.sum(-2)
    lowest = np.where(seen, y, np.inf).min(-2, initial=np.inf)
    highest = np.where(seen, y, -np.inf).max(-2, initial=-np.inf)
    first = np.where(there, times, np.inf).min(-1)
    last = np.where(there, times, -np.inf).max(-1)
    gaps = _of_gaps(times)
    unit = {} if frame.unit is None else {"units": frame.unit}

    def of_components(values: np.ndarray, **attrs: str) -> Any:
        return own, values if own else values[..., 0], attrs

    def dated(values: np.ndarray) -> Any:
        finite = np.where(np.isfinite(values), values, np.nan)
        return (), as_dates(finite, frame.unit, frame.origin), {}

    found = {
        "visits": ((), visits, {"long_name": "visits, with or without a datum"}),
        "observed": of_components(observed, long_name="data that are there"),
        "missing": of_components(visits[..., None] - observed, long_name="visits without a datum"),
        "lowest": of_components(_finite(lowest)),
        "highest": of_components(_finite(highest)),
        "start": dated(whole(study, starts(study))),
        "first": dated(first),
        "last": dated(last),
        **{name: ((), values, unit) for name, values in gaps.items()},
    }
    doses = without_restarts(study.operands.doses)
    if doses is not None:
        given = whole(study, doses.times, 1)
        same = (times[..., :, None] == given[..., None, :]).any(-1).sum(-1)
        found["at_a_dose"] = ((), same, {"long_name": "visits at a dose, read as before it"})
    return found


def _of_gaps(times: np.ndarray) -> dict[str, np.ndarray]:
    """Shortest, median and longest gap between the visits of each trajectory, NaN if it has none.

    `times` are ``(*batch, visit)``, in ascending order and NaN padded.
    """
    found = np.full((3, *times.shape[:-1]), np.nan)
    for index in np.ndindex(times.shape[:-1]):
        gaps = np.diff(times[index][~np.isnan(times[index])])
        if len(gaps):
            found[(slice(None), *index)] = gaps.min(), np.median(gaps), gaps.max()
    return dict(zip(("shortest_gap", "median_gap", "longest_gap"), found, strict=True))


def _finite(values: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(values), values, np.nan)


def _targets(study: Study) -> list[str]:
    """What doses enter: the states, or what the system's own function makes of them."""
    return ["events()"] if study.system.dosing.has_own_jump else list(study.system.states)


def _doses(study: Study) -> Variables:
    """Counts, amounts and times of the doses by state, ``(*batch, state)``.

    Doses of a system that explains them by a function of its own have one label for all.
    """
    labels = _targets(study)
    doses = without_restarts(study.operands.doses)
    shape = (*study.frame.batch, len(labels))
    if doses is None:
        none = np.zeros(shape, int)
        never = as_dates(np.full(shape, np.nan), study.frame.unit, study.frame.origin)
        return {
            "doses": (("state",), none, {}),
            "infusions": (("state",), none, {}),
            "amount": (("state",), np.zeros(shape), {}),
            "first": (("state",), never, {}),
            "last": (("state",), never, {}),
        }
    times, amounts = (whole(study, a, 1)[..., None] for a in (doses.times, doses.amounts))
    into = whole(study, doses.targets, 1)[..., None] == np.arange(len(labels))
    if study.system.dosing.has_own_jump:
        into = np.ones_like(into)
    into = into & ~np.isnan(times)
    durations = np.zeros(1) if doses.durations is None else doses.durations
    lasting = whole(study, durations, 1)[..., None] > 0
    ends = {
        "first": np.where(into, times, np.inf).min(-2, initial=np.inf),
        "last": np.where(into, times, -np.inf).max(-2, initial=-np.inf),
    }
    return {
        "doses": (("state",), into.sum(-2), {}),
        "infusions": (("state",), (into & lasting).sum(-2), {}),
        "amount": (("state",), np.where(into, amounts, 0.0).sum(-2), {}),
        **{
            name: (("state",), as_dates(_finite(at), study.frame.unit, study.frame.origin), {})
            for name, at in ends.items()
        },
    }


def _events(study: Study) -> Variables:
    """Each dose, ``(*batch, event)``: when, how much, over what time, and into which state."""
    doses = without_restarts(study.operands.doses)
    assert doses is not None
    times = whole(study, doses.times, 1)
    there = ~np.isnan(times)
    durations = np.zeros(1) if doses.durations is None else doses.durations
    labels = np.array(_targets(study), object)
    targets = np.zeros(1, int) if study.system.dosing.has_own_jump else doses.targets
    names = np.where(there, labels[whole(study, targets, 1)], "")
    dated = as_dates(times, study.frame.unit, study.frame.origin)
    return {
        "event_time": (("event",), dated, {}),
        "amount": (("event",), np.where(there, whole(study, doses.amounts, 1), np.nan), {}),
        "duration": (("event",), np.where(there, whole(study, durations, 1), np.nan), {}),
        "into": (("event",), names.astype(str), {}),
    }
