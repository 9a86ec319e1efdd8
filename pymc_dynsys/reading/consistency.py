"""Whether the arrays of a panel fit each other: one check, when a model is built and ever after."""

from dataclasses import replace

import numpy as np

from pymc_dynsys.discretization import Design, Operands
from pymc_dynsys.reading.frame import Frame
from pymc_dynsys.reading.schedule import check_schedule
from pymc_dynsys.reading.times import check_times, require_whole_steps
from pymc_dynsys.reading.values import place, refuse_infinite
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.support import Support, holds, in_words


def check_arrays(
    design: Design, operands: Operands, frame: Frame, drawn: bool = False
) -> np.ndarray:
    """Raise for data, times, doses and inputs that do not fit each other; returns the gaps.

    What is None is not known, since random variables enter, and is left out. Data that are to be
    `drawn` are missing where an input that they see is.
    """
    times, t0 = np.asarray(operands.times), np.asarray(operands.t0)
    check_times(times, t0, frame.batch_labels, frame.batch_dims)
    if design.system.step is not None:
        require_whole_steps(design.system.step, times, t0, frame)
    for name, values in operands.params.items():
        if values is not None:
            _require_finite(name, np.asarray(values), frame)
    known = []
    for kind in design.inputs:
        values = operands.inputs[kind.name].values
        if values is not None:
            refuse_infinite_input(design.system, kind.name, np.asarray(values), frame)
            known.append(kind._replace(variable=False))
    if operands.y is not None:
        check_observed(design, np.asarray(operands.y), times, frame)
    return check_schedule(replace(design, inputs=tuple(known)), operands, frame, drawn=drawn)


def check_observed(design: Design, y: np.ndarray, times: np.ndarray, frame: Frame) -> None:
    """Raise for data that do not fit the dims or the times, or are infinite."""
    observation = design.system.observation
    own = () if observation.scalar else (observation.n_components,)
    expected = (*frame.batch, times.shape[-1], *own)
    dims = frame.known_dims
    if y.shape != expected:
        words = ", ".join(f"{d}={n}" for d, n in zip(dims or (), expected, strict=False))
        raise ValueError(
            f"observed: shape {y.shape}, expected {expected}"
            + (f" ({words})" if words else "")
            + ("; is it transposed?" if y.shape == expected[::-1] and y.ndim > 1 else "")
        )
    check_values(design, y, times, frame)


def check_values(design: Design, y: np.ndarray, times: np.ndarray, frame: Frame) -> None:
    """Raise for data that are infinite, or where a NaN time says that there is no visit."""
    dims, n_own = frame.known_dims, 0 if design.system.observation.scalar else 1
    labels = [frame.labels.get(dim) for dim in frame.dims]
    refuse_infinite("observed", y, labels, dims)
    for i, support in enumerate(design.system.proof.observation.supports):
        each = len(design.system.proof.observation.supports) > 1
        possible = holds(support, y[..., i] if each else y)
        if not possible.all():
            here = tuple(np.argwhere(~possible)[0])
            raise ValueError(impossible(support, y, (*here, i) if each else here, times, frame))
    if not np.isnan(times).any():
        return
    no_visit = np.isnan(np.broadcast_to(times, y.shape[: y.ndim - n_own]))
    astray = np.argwhere(no_visit.reshape(*no_visit.shape, *(1,) * n_own) & ~np.isnan(y))
    if len(astray):
        raise ValueError(
            f"observed: {place(astray[0], labels, dims)} has an observation, "
            f"{y[tuple(astray[0])]:g}, but its time is NaN, which means no visit"
        )


def impossible(
    support: Support, y: np.ndarray, here: tuple[int, ...], times: np.ndarray, frame: Frame
) -> str:
    """Words for a datum that its distribution cannot give.

    `here` is its place in the data ``(*batch, time[, component])``, without the component where
    these are joint; times are ``(*batch, time)``, with axes of length one where shared.
    """
    rank = frame.rank
    labels = [frame.labels.get(dim) for dim in frame.dims]
    who = place(here[:rank], labels, frame.dims)
    when = np.broadcast_to(times, y.shape[: rank + 1])[here[: rank + 1]]
    which = ""
    if frame.component_dim is not None and len(here) > rank + 1:
        which = f", {place(here[rank + 1 :], labels[rank + 1 :], frame.dims[rank + 1 :])}"
    of = f"{who}, " if rank else ""
    value = np.array2string(y[here], threshold=5) if support.joint else f"{y[here]:.10g}"
    return (
        f"observed: the value {value} ({of}time={when:.10g}{which}) is none that {support.law} "
        f"in observation() can give: its support is {in_words(support.constraint)}. Correct the "
        "value, make it missing (NaN), or choose a distribution that admits it"
    )


def _require_finite(name: str, values: np.ndarray, frame: Frame) -> None:
    """Raise for a parameter ``(*batch, *own)`` that is known and missing or infinite."""
    where = np.argwhere(~np.isfinite(values))
    if len(where):
        at = f" for {frame.who(where[0][: frame.rank])}" if frame.rank else ""
        raise ValueError(
            f"params: {name!r} is {values[tuple(where[0])]}{at}; parameters must be finite"
        )


def refuse_infinite_input(system: BoundSystem, name: str, values: np.ndarray, frame: Frame) -> None:
    """Raise for an infinite value of an input, ``(*batch, knot, *own)``, unless it is a bound."""
    if system.is_bound(name):
        return
    where = np.argwhere(np.isinf(values))
    if len(where):
        at = f" for {frame.who(where[0][: frame.rank])}" if frame.rank else ""
        raise ValueError(
            f"inputs: {name!r} has an infinite value{at}, at its position "
            f"{where[0][frame.rank]} in time; a missing value is NaN"
        )
