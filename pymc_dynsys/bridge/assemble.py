"""From what the user wrote to what is computed: system, batch axes, times, likelihood."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.data import check_times, current_value
from pymc_dynsys.bridge.dims import Placed, array_hint, dim_length, labels_of, named_dims, place
from pymc_dynsys.bridge.execution import make_execution, require_single_suits
from pymc_dynsys.bridge.schedule import Frame, check_schedule, input_core_shape, make_schedule
from pymc_dynsys.bridge.times import as_times, check_time_dim, find_times, require_whole_steps
from pymc_dynsys.discretization import Exact, Schedule
from pymc_dynsys.discretization.grid import build_grid
from pymc_dynsys.filters.base import Likelihood, choose_likelihood
from pymc_dynsys.filters.execution import DEFAULT, Execution
from pymc_dynsys.simulation.paths import Simulator, check_simulator, default_simulator
from pymc_dynsys.systems.bind import bind_system
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, as_system


@dataclass(frozen=True)
class Assembled:
    """A trajectory ready to become a random variable."""

    system: BoundSystem
    params: dict[str, Placed]
    likelihood: Likelihood
    simulator: Simulator
    batch_dims: tuple[str, ...]
    dims: tuple[str, ...]
    lengths: dict[str, int]
    labels: list[Any]
    times: Variable
    t0: Variable
    times_now: np.ndarray
    t0_now: np.ndarray
    schedule: Schedule | None = None
    execution: Execution = DEFAULT
    unit: str | None = None
    origin: Any = None
    announcements: tuple[str, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the data: batch, time and perhaps component."""
        batch = tuple(self.lengths[dim] for dim in self.batch_dims)
        n = self.system.n_observed
        return (*batch, self.times_now.shape[-1], *(() if n is None else (n,)))


def assemble(
    source: Any,
    params: Mapping[str, Any],
    *,
    times: Any,
    unit: str | None,
    t0: Any,
    inputs: Mapping[str, Any],
    events: Any,
    observed: Any,
    numbers: np.ndarray | None,
    dims: tuple[str, ...],
    likelihood: Likelihood | None,
    simulator: Simulator | None,
    devices: Any,
    dtype: Any,
    model: Any,
) -> Assembled:
    """Resolve names, dims, times and defaults; everything wrong is an error here."""
    if not isinstance(params, Mapping):
        raise TypeError(f"params: expected a mapping of names, got {type(params).__name__}")
    if likelihood is not None and not isinstance(likelihood, Likelihood):
        raise TypeError(
            f"likelihood: expected Kalman(), EKF(), UKF(), EnKF() or ODESolve(), got {likelihood!r}"
        )
    if isinstance(source, LinearGaussian):
        _require_component_first(source.params, dims, model)
    source, params = as_system(source, params)
    if not isinstance(inputs, Mapping):
        raise TypeError(f"inputs: expected a mapping of names, got {type(inputs).__name__}")
    system, placed, n_batch = _bind(source, params, inputs, dims, numbers, model)
    batch_dims = dims[:n_batch]
    time_dim = dims[n_batch] if dims else "time"
    lengths = {dim: _length(model, dim, params, times) for dim in batch_dims}
    found = find_times(times, observed, batch_dims, time_dim if dims else None, model)
    counts = [lengths[dim] for dim in batch_dims]
    tensor, origin = as_times("times", found, batch_dims, counts, time_dim, model, unit)
    start = np.nan if t0 is None else t0
    t0_tensor, _ = (
        as_times("t0", start, batch_dims, counts, None, model, unit, origin)
        if (t0 is not None)
        else as_times("t0", np.nan, batch_dims, counts, None, model, unit)
    )
    times_now, t0_now = current_value(tensor), current_value(t0_tensor)
    assert times_now is not None and t0_now is not None
    if 0 in times_now.shape or 0 in counts:
        raise ValueError(f"times: there is nothing to observe; times has shape {times_now.shape}")
    labels = (
        labels_of(model, dims) if model is not None and dims else [np.arange(n) for n in counts]
    )
    check_time_dim(model, dims, n_batch, times_now)
    check_times(times_now, t0_now, labels, batch_dims)
    frame = Frame(
        batch_dims=batch_dims,
        lengths=lengths,
        time_dim=time_dim,
        times=times_now,
        coords=dict(zip(dims, labels, strict=False)) if dims else {},
        unit=unit,
        origin=origin,
    )
    if system.step is not None:
        if events is not None:
            raise ValueError(
                "events: a DiscreteTime system has none; let an input enter its transition"
            )
        require_whole_steps(system.step, times_now, t0_now, labels, batch_dims)
    schedule = make_schedule(inputs, events, frame, system)
    if schedule is None:
        gaps = build_grid(times_now, t0_now, Exact()).gaps
    else:
        gaps = check_schedule(schedule, times_now, t0_now, frame, system)

    announcements, why = [], ""
    if likelihood is None:
        likelihood, why = choose_likelihood(system)
    likelihood.check(system)
    likelihood, message = likelihood.settle(system, gaps)
    if why:
        announcements.append(f"likelihood {likelihood!r}: {why}")
    if message:
        announcements.append(message)
    if simulator is None:
        simulator, _ = default_simulator(system, gaps)
    check_simulator(simulator, system)
    execution = make_execution(devices, dtype, lengths)
    if execution.dtype == "float32":
        require_single_suits(system, likelihood, times_now, gaps)
    return Assembled(
        system=system,
        params=placed,
        likelihood=likelihood,
        simulator=simulator,
        batch_dims=batch_dims,
        dims=dims,
        lengths=lengths,
        labels=labels,
        times=tensor,
        t0=t0_tensor,
        times_now=times_now,
        t0_now=t0_now,
        schedule=schedule,
        execution=execution,
        unit=unit,
        origin=origin,
        announcements=tuple(announcements),
    )


def _bind(
    source: Any,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    dims: tuple[str, ...],
    numbers: np.ndarray | None,
    model: Any,
) -> tuple[BoundSystem, dict[str, Placed], int]:
    """Bind the system; whether the last dim is time or component is the observation's to say."""
    if not dims:
        if numbers is not None and numbers.ndim > 2:
            raise ValueError(
                f"dims: data of shape {numbers.shape} need names, such as dims=('subject', 'time')"
            )
        system, placed = _try_bind(source, params, inputs, (), (), model)
        _check_ndim(system, numbers, dims)
        return system, placed, 0
    attempts = []
    for n_own in (1, 2):
        if len(dims) < n_own:
            continue
        batch, own = dims[: len(dims) - n_own], dims[len(dims) - n_own :]
        try:
            system, placed = _try_bind(source, params, inputs, batch, own[:1], model)
        except (ValueError, TypeError) as error:
            attempts.append(error)
            continue
        if (system.n_observed is None) == (n_own == 1) and not _time_is_elsewhere(dims, own[0]):
            return system, placed, len(batch)
        attempts.append(_wrong_rank(system, dims))
    raise attempts[0]


def _time_is_elsewhere(dims: tuple[str, ...], time_dim: str) -> bool:
    return "time" in dims and time_dim != "time"


def _wrong_rank(system: BoundSystem, dims: tuple[str, ...]) -> ValueError:
    if system.n_observed is None:
        return ValueError(
            f"dims: observation() gives a scalar law, so the last dim must be time; got {dims}"
        )
    n = system.n_observed
    first = system.states[0]
    scalar = "x[0]" if system.source.states is None else first
    return ValueError(
        f"dims: observation() gives a vector law of shape ({n},), so dims must be (*batch, time, "
        f"component); got {dims}. For a scalar datum let the law be scalar: dist.Normal({scalar}, "
        f"...) with {scalar} instead of x"
    )


def _check_ndim(system: BoundSystem, numbers: np.ndarray | None, dims: tuple[str, ...]) -> None:
    if numbers is None:
        return
    expected = 1 if system.n_observed is None else 2
    if numbers.ndim == 1 and expected == 2:
        raise _wrong_rank(system, dims or ("time",))
    if numbers.ndim != expected:
        raise ValueError(
            f"dims: data of shape {numbers.shape} have more axes than one trajectory; name them, "
            "such as dims=('subject', 'time')"
        )


def _try_bind(
    source: Any,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    batch: Sequence[str],
    time: Sequence[str],
    model: Any,
) -> tuple[BoundSystem, dict[str, Placed]]:
    placed = {name: place(name, value, batch, time, model) for name, value in params.items()}
    try:
        time_dim = time[0] if time else "time"
        of_inputs = {
            name: input_core_shape(value, batch, time_dim) for name, value in inputs.items()
        }
        system = bind_system(source, {name: p.core_shape for name, p in placed.items()}, of_inputs)
    except ValueError as error:
        lengths = {dim: dim_length(model, dim) for dim in batch} if model is not None else {}
        hint = array_hint(params, placed, lengths)
        raise ValueError(f"{error}{hint}") from error.__cause__
    return system, placed


def _require_component_first(params: Mapping[str, Any], dims: tuple[str, ...], model: Any) -> None:
    """Raise for an observation matrix whose dims say that it is transposed."""
    if "H" not in params or len(dims) < 2:
        return
    own = [dim for dim in named_dims("H", params["H"], model)[1] if dim not in dims[:-1]]
    if dims[-1] in own[1:]:
        raise ValueError(
            f"linear_gaussian: H has dims {tuple(own)}; those of the data come first, "
            f"({dims[-1]!r}, ...), so transpose it"
        )


def _length(model: Any, dim: str, params: Mapping[str, Any], times: Any) -> int:
    """Length of a batch dim, from the model or else from a labelled value."""
    if model is not None and dim in model.dim_lengths:
        return dim_length(model, dim)
    for value in (*params.values(), times):
        if isinstance(value, xr.DataArray) and dim in value.dims:
            return int(value.sizes[dim])
    raise ValueError(f"dims: nothing says how long {dim!r} is; no parameter or time has it")
