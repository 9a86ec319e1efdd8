"""Simulation outside a PyMC model, with labelled states and observations."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from pymc_dynsys.bridge.labels import by_label
from pymc_dynsys.discretization import Design, Operands
from pymc_dynsys.discretization.operands import kinds_of_doses
from pymc_dynsys.reading.accumulated import require_fixed, restarts, with_restarts
from pymc_dynsys.reading.calendar import inferred, refuse_in_continuous_time, refuse_months
from pymc_dynsys.reading.consistency import check_arrays
from pymc_dynsys.reading.doses import read_doses
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.inputs import input_core_shape, lines_of, own_part, read_input
from pymc_dynsys.reading.labels import Labels, gathered
from pymc_dynsys.reading.lasting import settled
from pymc_dynsys.reading.own_rows import on_own_rows
from pymc_dynsys.reading.times import as_dates, as_times, time_labels
from pymc_dynsys.reading.units import Units, unit_of
from pymc_dynsys.reading.values import as_float
from pymc_dynsys.simulation.lost import warn_lost
from pymc_dynsys.simulation.paths import (
    Simulator,
    check_simulator,
    default_simulator,
    path_grid,
    simulate_paths,
)
from pymc_dynsys.systems.bind import bind_system
from pymc_dynsys.systems.bound import System
from pymc_dynsys.systems.brought import as_system
from pymc_dynsys.systems.discrete import DiscreteTime
from pymc_dynsys.systems.linear_gaussian import LinearGaussian


def simulate(
    system: System | LinearGaussian,
    params: Mapping[str, Any],
    times: Any,
    *,
    inputs: Mapping[str, Any] | None = None,
    events: xr.Dataset | None = None,
    n: int = 1,
    simulator: Simulator | None = None,
    t0: Any = None,
    unit: str | None = None,
    dims: Sequence[str] | None = None,
    random_seed: Any = None,
) -> xr.Dataset:
    """Draw paths of states and observations of one or many trajectories.

    Parameters
    ----------
    system : SDE, ODE, DiscreteTime or LinearGaussian
        Dynamics of one trajectory.
    params : mapping of str to number, array or DataArray
        Values of the parameters. Every dim of a DataArray is a batch dim, unless `dims` says
        otherwise; plain arrays are seen whole by every trajectory. Labels are matched, here and in
        all other arguments, in the order of the first value that has them.
    times : array or DataArray
        Times at which to report, ascending: ``(time,)`` for all trajectories, or a DataArray
        whose last dim is time and whose others are batch dims (NaN: no visit). Same unit as
        the rates in the system. Dates with `unit` and, in discrete time, periods are read as by
        :class:`~pymc_dynsys.Trajectory`.
    inputs : mapping of str to DataArray or Input, optional
        Time-varying inputs, as for :class:`~pymc_dynsys.Trajectory`.
    events : Dataset, optional
        Doses, as for :class:`~pymc_dynsys.Trajectory`.
    n : int
        Independent paths of each trajectory.
    simulator : Discretization or ODESolve, optional
        How gaps are crossed; default the exact distribution of a linear system, else Euler-Maruyama
        with a twentieth of the median gap. The simulator used is in the result's attributes.
    t0 : float, date, period or DataArray, optional
        Time of the initial distribution; default the first time of each trajectory.
    unit : str, optional
        Unit of times that are dates: ``"W"``, ``"D"``, ``"h"``, ``"m"``, ``"s"`` or ``"ms"``; in
        discrete time also ``"M"``, ``"Q"``, ``"Q-MAR"``, ``"Y"`` or ``"B"``, a period a step.
    dims : sequence of str, optional
        The batch dims, in order; other dims of DataArrays belong to one trajectory.
    random_seed : int, Generator or None
        Seed. The same seed gives the same paths.

    Returns
    -------
    xarray.Dataset
        ``states`` with dims ``(sample, *batch, time, state)`` and ``observations`` with
        ``(sample, *batch, time[, component])``. Times that were dates or periods are dates, of
        a period its first day.

    Raises
    ------
    ValueError, TypeError
        For names, shapes, times and schemes that do not fit.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> walk = pds.SDE(
    ...     states=("level",),
    ...     drift=lambda level, mu: mu - level,
    ...     diffusion=1.0,
    ...     initial=dist.Delta(0.0),
    ...     observation=lambda level: dist.Normal(level, 0.1),
    ... )
    >>> mu = xr.DataArray([0.0, 5.0], dims="subject", coords={"subject": ["a", "b"]})
    >>> paths = pds.simulate(walk, {"mu": mu}, np.arange(4.0), n=3, random_seed=1)
    >>> dict(paths.states.sizes)
    {'sample': 3, 'subject': 2, 'time': 4, 'state': 1}
    """
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"n: expected a positive integer, got {n!r}")
    inputs = on_own_rows(system, inputs or {})
    source, params = as_system(system, params, inputs)
    params, labels = by_label(source, params, {})
    frame, own_times = _frame(params, labels, times, t0, events, dims)
    time_array, start, frame = _clocks(source, times, t0, unit, frame)
    time_dim = frame.time_dim
    frame = _with_inputs(frame, inputs)
    arrays = {name: _batch_first(name, value, frame) for name, value in params.items()}
    of_inputs = {k: input_core_shape(v, frame.batch_dims, time_dim) for k, v in inputs.items()}
    shapes = {name: array.shape[frame.rank :] for name, array in arrays.items()}
    bound = bind_system(source, shapes, of_inputs, lines=lines_of(inputs))
    of_times = time_labels(times, time_array, time_dim, frame.unit, frame.origin)
    along = {**frame.labels, time_dim: of_times}
    of_visits = replace(frame, labels=along)
    read = {name: read_input(name, value, of_visits, time_array) for name, value in inputs.items()}
    given = read_doses(events, frame, bound)
    require_fixed(bound, given, False, False)
    doses = settled(given, bound, arrays, frame)
    if bound.dosing.accumulated:
        doses = with_restarts(restarts(time_array), doses)
    kinds = tuple(kind for kind, _ in read.values())
    design = Design(bound, kinds, **kinds_of_doses(doses, bound))
    signals = {name: signal for name, (_, signal) in read.items()}
    operands = Operands(None, time_array, start, doses, signals, arrays)
    gaps = check_arrays(design, operands, frame)
    if simulator is None:
        simulator, _ = default_simulator(bound, gaps)
    check_simulator(simulator, bound)

    rng = np.random.default_rng(random_seed)
    seed = jnp.asarray(rng.integers(2**32, size=2, dtype=np.uint32))
    batch = (int(n), *frame.batch)
    keys = jax.random.split(seed, int(np.prod(batch))).reshape(*batch, 2)
    grid = path_grid(design, operands, simulator)
    states, y = simulate_paths(design, simulator, keys, operands, grid)
    warn_lost("simulate", np.asarray(states), time_array, 1, frame.who)
    front = ("sample", *frame.batch_dims, time_dim)
    component = () if bound.observation.scalar else ("component",)
    names = {} if bound.observation.names is None else {"component": list(bound.observation.names)}
    out = xr.Dataset(
        {
            "states": ((*front, "state"), np.array(states)),
            "observations": ((*front, *component), np.array(y)),
        },
        coords={**frame.batch_coords(), "state": list(bound.states), **names},
        attrs={"system": repr(system), "simulator": repr(simulator)},
    )
    about = {} if frame.origin is not None else Units(time=unit_of(times)).of_time()
    shown = as_dates(time_array, frame.unit, frame.origin)
    if own_times:
        own = [dim for dim in frame.batch_dims if dim in own_times]
        values = shown.reshape(*(frame.lengths[dim] for dim in own), -1)
        return out.assign_coords(time=((*own, time_dim), values, about))
    return out.assign_coords({time_dim: (time_dim, shown.reshape(-1), about)})


def _clocks(
    source: System, times: Any, t0: Any, unit: str | None, frame: Frame
) -> tuple[np.ndarray, np.ndarray, Frame]:
    """Times of visits and ``t0`` as numbers; the frame with dim, unit and origin of times."""
    in_steps = isinstance(source, DiscreteTime)
    if not in_steps:
        refuse_in_continuous_time(times, unit)
    elif unit is None:
        unit = inferred(times)

    def read(role: str, value: Any, dim: str | None, origin: Any) -> tuple[np.ndarray, str, Any]:
        dims, labels, lengths = frame.batch_dims, frame.labels, frame.lengths
        return as_times(
            role, value, dims, dim, coords=labels, lengths=lengths, unit=unit, origin=origin
        )

    visits, time_dim, origin = read("times", times, "time", None)
    if in_steps:
        refuse_months(times, visits, unit, origin)
    start, _, _ = read("t0", np.nan, None, None) if t0 is None else read("t0", t0, None, origin)
    return visits, start, replace(frame, time_dim=time_dim, unit=unit, origin=origin)


def _frame(
    params: Mapping[str, Any], labels: Labels, times: Any, t0: Any, events: Any, dims: Any
) -> tuple[Frame, tuple[str, ...]]:
    """Batch dims of labelled values with lengths and labels, and those that the times have.

    `labels` are those of the parameters; other values are put in their order. Values that disagree
    on lengths are an error.
    """
    labelled = {name: value for name, value in params.items() if isinstance(value, xr.DataArray)}
    if isinstance(t0, xr.DataArray):
        labelled["t0"] = t0
    if events is not None and "event_time" in events:
        at = events["event_time"]
        labelled["event_time"] = at.isel({"event" if "event" in at.dims else at.dims[-1]: 0})
    own_times = tuple(map(str, times.dims[:-1])) if isinstance(times, xr.DataArray) else ()
    batch_dims = _batch_dims(labelled, own_times, dims)
    if isinstance(times, xr.DataArray):
        labelled["times"] = times
    for dim in batch_dims:
        if dim in ("sample", "state", "component"):
            raise ValueError(
                f"dims: {dim!r} is a dim that results have of their own; call yours otherwise"
            )
    lengths = _lengths(labelled, batch_dims)
    found = gathered(labelled.values(), labels, batch_dims)
    return Frame(batch_dims, "time", None, lengths, found), own_times


def _with_inputs(frame: Frame, inputs: Mapping[str, Any]) -> Frame:
    """The frame with labels of dims that only inputs have."""
    parts = [own_part(value, frame.batch_dims, frame.time_dim) for value in inputs.values()]
    return replace(frame, labels=gathered(parts, frame.labels))


def _batch_dims(
    labelled: Mapping[str, xr.DataArray], time_batch: tuple[str, ...], dims: Any
) -> tuple[str, ...]:
    if dims is not None:
        return (dims,) if isinstance(dims, str) else tuple(dims)
    found = dict.fromkeys(str(dim) for value in labelled.values() for dim in value.dims)
    found.update(dict.fromkeys(time_batch))
    # The longest chain of dims gives the order: (chain, draw, subject) before (subject,).
    chains = sorted((tuple(map(str, v.dims)) for v in labelled.values()), key=len, reverse=True)
    order = [dim for chain in (*chains, time_batch) for dim in chain]
    return tuple(dict.fromkeys(dim for dim in order if dim in found))


def _lengths(labelled: Mapping[str, xr.DataArray], batch_dims: tuple[str, ...]) -> dict[str, int]:
    """Length of each batch dim; arrays that disagree are an error."""
    sizes: dict[str, int] = {}
    for name, array in labelled.items():
        for dim in batch_dims:
            if dim not in array.dims:
                continue
            if sizes.setdefault(dim, array.sizes[dim]) != array.sizes[dim]:
                raise ValueError(
                    f"{name}: length {array.sizes[dim]} along {dim!r}, others have {sizes[dim]}"
                )
    for dim in batch_dims:
        if dim not in sizes:
            raise ValueError(f"dims: no parameter or time has {dim!r}")
    return sizes


def _batch_first(name: str, value: Any, frame: Frame) -> np.ndarray:
    """A parameter with one axis a batch dim, then its own."""
    if isinstance(value, xr.DataArray):
        own = [str(dim) for dim in value.dims if dim not in frame.batch_dims]
        return as_float(name, frame.batch_first(value, own))
    array = as_float(name, value)
    return array.reshape((1,) * frame.rank + array.shape)
