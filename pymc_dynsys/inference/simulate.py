"""Simulation outside a PyMC model, with labelled states and observations."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from pymc_dynsys.bridge.data import as_float, check_times
from pymc_dynsys.bridge.schedule import Frame, check_schedule, input_core_shape, make_schedule
from pymc_dynsys.discretization import Exact
from pymc_dynsys.discretization.grid import build_grid
from pymc_dynsys.simulation.paths import (
    Simulator,
    check_simulator,
    default_simulator,
    path_grid,
    simulate_paths,
)
from pymc_dynsys.systems import bind_system
from pymc_dynsys.systems.bound import System
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, as_system


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
        otherwise; plain arrays are seen whole by every trajectory.
    times : array or DataArray
        Times at which to report, ascending: ``(time,)`` for all trajectories, or a DataArray
        whose last dim is time and whose others are batch dims (NaN: no visit). Same unit as
        the rates in the system.
    inputs : mapping of str to DataArray or Input, optional
        Time-varying inputs, as for :class:`~pymc_dynsys.Trajectory`.
    events : Dataset, optional
        Doses, as for :class:`~pymc_dynsys.Trajectory`.
    n : int
        Independent paths of each trajectory.
    simulator : Discretization or ODESolve, optional
        How gaps are crossed; default the exact law of a linear system, else Euler-Maruyama
        with a twentieth of the median gap. The simulator used is in the result's attributes.
    t0 : float or DataArray, optional
        Time of the initial law; default the first time of each trajectory.
    dims : sequence of str, optional
        The batch dims, in order; other dims of DataArrays belong to one trajectory.
    random_seed : int, Generator or None
        Seed. The same seed gives the same paths.

    Returns
    -------
    xarray.Dataset
        ``states`` with dims ``(sample, *batch, time, state)`` and ``observations`` with
        ``(sample, *batch, time[, component])``.

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
    source, params = as_system(system, params)
    time_values, time_batch, time_dim = _split_times(times)
    labelled = {name: value for name, value in params.items() if isinstance(value, xr.DataArray)}
    if isinstance(t0, xr.DataArray):
        labelled["t0"] = t0
    if events is not None and "event_time" in events:
        at = events["event_time"]
        labelled["event_time"] = at.isel({"event" if "event" in at.dims else at.dims[-1]: 0})
    batch_dims = _batch_dims(labelled, time_batch, dims)
    sizes, coords = _sizes_and_coords(labelled, times, batch_dims)

    arrays, shapes = {}, {}
    for name, value in params.items():
        arrays[name], shapes[name] = _pad(name, value, batch_dims)
    inputs = inputs or {}
    of_inputs = {k: input_core_shape(v, batch_dims, time_dim) for k, v in inputs.items()}
    bound = bind_system(source, shapes, of_inputs)
    time_array = _pad_times(time_values, time_batch, batch_dims)
    start, own = _pad("t0", np.nan if t0 is None else t0, batch_dims)
    if own:
        raise ValueError(f"t0: expected a number or a DataArray over batch dims, got shape {own}")
    check_times(time_array, start, [coords.get(d) for d in batch_dims], batch_dims)
    frame = Frame(batch_dims, sizes, time_dim, time_array, coords, None, None)
    schedule = make_schedule(inputs, events, frame, bound)
    if schedule is None:
        gaps = build_grid(time_array, start, Exact()).gaps
    else:
        gaps = check_schedule(schedule, time_array, start, frame, bound)
    if simulator is None:
        simulator, _ = default_simulator(bound, gaps)
    check_simulator(simulator, bound)

    batch = (int(n), *(sizes[dim] for dim in batch_dims))
    rng = np.random.default_rng(random_seed)
    seed = jnp.asarray(rng.integers(2**32, size=2, dtype=np.uint32))
    keys = jax.random.split(seed, int(np.prod(batch))).reshape(*batch, 2)
    grid = path_grid(time_array, start, simulator, schedule, bound.n_states)
    states, y = simulate_paths(bound, simulator, keys, time_array, grid, arrays)
    dims_y = (
        "sample",
        *batch_dims,
        time_dim,
        *(() if bound.n_observed is None else ("component",)),
    )
    out = xr.Dataset(
        {
            "states": (("sample", *batch_dims, time_dim, "state"), np.array(states)),
            "observations": (dims_y, np.array(y)),
        },
        coords={**coords, "state": list(bound.states)},
        attrs={"system": repr(system), "simulator": repr(simulator)},
    )
    if time_batch:
        return out.assign_coords(time=((*time_batch, time_dim), time_values))
    return out.assign_coords({time_dim: time_values})


def _split_times(times: Any) -> tuple[np.ndarray, tuple[str, ...], str]:
    """Values, batch dims and name of the time dim of the times."""
    if isinstance(times, xr.DataArray):
        *batch, time_dim = map(str, times.dims)
        return as_float("times", times.values), tuple(batch), time_dim
    values = as_float("times", times)
    if values.ndim != 1:
        raise ValueError(
            f"times: expected one axis, got shape {values.shape}; times that differ by trajectory "
            "are an xr.DataArray with named dims, time last"
        )
    return values, (), "time"


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


def _sizes_and_coords(
    labelled: Mapping[str, xr.DataArray], times: Any, batch_dims: tuple[str, ...]
) -> tuple[dict[str, int], dict[str, Any]]:
    """Length and labels of each batch dim; arrays that disagree are an error."""
    sizes: dict[str, int] = {}
    coords: dict[str, Any] = {}
    arrays = dict(labelled)
    if isinstance(times, xr.DataArray):
        arrays["times"] = times
    for name, array in arrays.items():
        for dim in batch_dims:
            if dim not in array.dims:
                continue
            if sizes.setdefault(dim, array.sizes[dim]) != array.sizes[dim]:
                raise ValueError(
                    f"{name}: length {array.sizes[dim]} along {dim!r}, others have {sizes[dim]}"
                )
            if dim in array.indexes:
                labels = array.indexes[dim].values
                if dim in coords and not np.array_equal(coords[dim], labels):
                    raise ValueError(f"{name}: its labels along {dim!r} differ from the others'")
                coords[dim] = labels
    for dim in batch_dims:
        if dim not in sizes:
            raise ValueError(f"dims: no parameter or time has {dim!r}")
    return sizes, coords


def _pad(name: str, value: Any, batch_dims: tuple[str, ...]) -> tuple[np.ndarray, tuple[int, ...]]:
    """Array with one axis a batch dim, then its own; and the shape of the latter."""
    if not isinstance(value, xr.DataArray):
        array = as_float(name, value)
        return array.reshape((1,) * len(batch_dims) + array.shape), array.shape
    own = [dim for dim in value.dims if dim not in batch_dims]
    there = [dim for dim in batch_dims if dim in value.dims]
    array = as_float(name, value.transpose(*there, *own).values)
    lengths = [value.sizes[dim] if dim in value.dims else 1 for dim in batch_dims]
    shape = tuple(value.sizes[dim] for dim in own)
    return array.reshape(*lengths, *shape), shape


def _pad_times(
    values: np.ndarray, time_batch: tuple[str, ...], batch_dims: tuple[str, ...]
) -> np.ndarray:
    array = xr.DataArray(values, dims=(*time_batch, "\0time"))
    return _pad("times", array, batch_dims)[0]
