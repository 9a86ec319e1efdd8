"""A system bound to the parameters of a model: which dims are batch dims, and which are its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pymc as pm

from pymc_dynsys.bridge.dims import (
    Placed,
    dim_length,
    named_dims,
    place,
)
from pymc_dynsys.bridge.hints import array_hint, input_hint
from pymc_dynsys.bridge.inputs import input_shape
from pymc_dynsys.reading.inputs import lines_of
from pymc_dynsys.reading.labels import keys, shown
from pymc_dynsys.systems.bind import bind_system
from pymc_dynsys.systems.binding import names_of_vector
from pymc_dynsys.systems.blocks import CONSTANT
from pymc_dynsys.systems.bound import BoundSystem

WITHOUT_DIMS = (
    "No dims were given, so this is one trajectory, of which the functions see all of every "
    "parameter; for a panel say dims=('subject', 'time'), with labels in pm.Model(coords=...)"
)
"""What to say where the shapes of a trajectory without dims do not fit."""


@dataclass(frozen=True)
class Observed:
    """The data as the user gave them, their current numbers, and the names of their axes."""

    given: Any = None
    numbers: np.ndarray | None = None
    dims: tuple[str, ...] = ()


def bind_dims(
    source: Any,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    observed: Observed,
    model: Any,
) -> tuple[BoundSystem, dict[str, Placed], int]:
    """Bind the system; also returns how many of the dims are batch dims.

    Whether the last dim is time or component is the observation's to say. What parameters have
    for dims tells before: one with the last dim sees components, one with the last but one is
    of a trajectory. Where neither is there the shapes that functions see are the same.
    """
    dims, numbers = observed.dims, observed.numbers
    if not dims:
        if numbers is not None and numbers.ndim > 2:
            raise ValueError(
                f"dims: data of shape {numbers.shape} need names, such as dims=('subject', 'time')"
            )
        system, placed = _bound(source, params, inputs, (), (), model)
        _check_ndim(system, numbers, dims)
        return system, placed, 0
    n_own = _own_axes(dims, params, inputs, model)
    n_batch = len(dims) - n_own
    system, placed = _bound(
        source, params, inputs, dims[:n_batch], dims[n_batch : n_batch + 1], model
    )
    scalar = system.observation.scalar
    if scalar == (n_own == 1):
        return system, placed, n_batch
    if scalar or len(dims) < 2 or _is_certain(dims, params, model):
        raise _wrong_rank(system, dims)
    n_batch = len(dims) - 2
    system, placed = _bound(
        source, params, inputs, dims[:n_batch], dims[n_batch : n_batch + 1], model
    )
    return system, placed, n_batch


def order_components(
    system: BoundSystem, observed: Observed, model: pm.Model | None
) -> BoundSystem:
    """The system with components that its observation names in the order of the model's labels."""
    names, dims = system.observation.names, observed.dims
    if names is None:
        return system
    known = None if model is None or not dims else model.coords.get(dims[-1])
    if known is None and model is not None and (observed.given is not None or dims):
        raise ValueError(
            f"observation(): it names the components {shown(names)}, and the data do not say "
            "which is which; label them, "
            f"pm.Model(coords={{{dims[-1] if dims else 'component'!r}: [...]}})"
        )
    order = None if known is None else keys(known)
    shapes = system.param_shapes, system.input_shapes
    return bind_system(system.source, *shapes, order, system.lines)


def _is_certain(dims: tuple[str, ...], params: Mapping[str, Any], model: Any) -> bool:
    """Whether the last dim is time: by its name, or as parameters vary along the one before it."""
    return dims[-1] == "time" or any(dims[-2] in _dims_of(n, v, model) for n, v in params.items())


def _own_axes(
    dims: tuple[str, ...], params: Mapping[str, Any], inputs: Mapping[str, Any], model: Any
) -> int:
    """How many of the last dims belong to one trajectory, as far as names tell: 1 or 2."""
    if "time" in dims[-2:] and len(dims) > 1:
        return len(dims) - dims.index("time")
    if len(dims) > 1 and any(dims[-1] in _dims_of(n, v, model) for n, v in params.items()):
        return 2
    return 1


def _dims_of(name: str, value: Any, model: Any) -> tuple[str | None, ...]:
    """Names of the axes of a parameter; none for what `place` refuses."""
    try:
        return named_dims(name, value, model)[1]
    except (TypeError, ValueError):
        return ()


def _wrong_rank(system: BoundSystem, dims: tuple[str, ...]) -> ValueError:
    observation = system.observation
    if observation.scalar:
        return ValueError(
            "dims: observation() gives a scalar distribution, so the last dim must be time; got "
            f"{dims}"
        )
    n = observation.n_components
    first = system.states[0]
    whole = names_of_vector(system.source.states, (*system.param_shapes, *system.input_shapes))[-1]
    scalar = f"{whole}[0]" if system.source.states is None else first
    remedy = (
        f"For a scalar datum let the distribution be scalar: dist.Normal({scalar}, ...) with "
        f"{scalar} instead of {whole}"
    )
    if {"F", "Q", "H", "R"} <= system.param_shapes.keys():
        remedy = f"An H of shape {system.param_shapes['H']} makes a datum of {n}. {CONSTANT}"
    return ValueError(
        f"dims: observation() gives a vector distribution of shape ({n},), so dims must be "
        f"(*batch, time, component); got {dims}. {remedy}"
    )


def _check_ndim(system: BoundSystem, numbers: np.ndarray | None, dims: tuple[str, ...]) -> None:
    if numbers is None:
        return
    expected = 1 if system.observation.scalar else 2
    if numbers.ndim == 1 and expected == 2:
        raise _wrong_rank(system, dims or ("time",))
    if numbers.ndim != expected:
        raise ValueError(
            f"dims: data of shape {numbers.shape} have more axes than one trajectory; name them, "
            "such as dims=('subject', 'time')"
        )


def _bound(
    source: Any,
    params: Mapping[str, Any],
    inputs: Mapping[str, Any],
    batch: Sequence[str],
    time: Sequence[str],
    model: Any,
) -> tuple[BoundSystem, dict[str, Placed]]:
    """The system bound to parameters whose batch dims are `batch`; an error suggests dims."""
    placed = {name: place(name, value, batch, time, model) for name, value in params.items()}
    time_dim = time[0] if time else "time"
    of_inputs = {
        name: input_shape(name, value, batch, time_dim, model) for name, value in inputs.items()
    }
    try:
        shapes = {name: value.core_shape for name, value in placed.items()}
        system = bind_system(source, shapes, of_inputs, lines=lines_of(inputs))
    except ValueError as error:
        lengths = {dim: dim_length(model, dim) for dim in batch} if model is not None else {}
        hint = array_hint(params, placed, lengths) + input_hint(inputs, (*batch, time_dim), model)
        if not time and any(value.core_shape for value in placed.values()):
            hint += f". {WITHOUT_DIMS}"
        raise ValueError(f"{error}{hint}") from error.__cause__
    return system, placed


def require_component_first(params: Mapping[str, Any], dims: tuple[str, ...], model: Any) -> None:
    """Raise for an observation matrix whose dims say that it is transposed."""
    if "H" not in params or len(dims) < 2:
        return
    own = [dim for dim in named_dims("H", params["H"], model)[1] if dim not in dims[:-1]]
    if dims[-1] in own[1:]:
        raise ValueError(
            f"linear_gaussian: H has dims {tuple(own)}; those of the data come first, "
            f"({dims[-1]!r}, ...), so transpose it"
        )
