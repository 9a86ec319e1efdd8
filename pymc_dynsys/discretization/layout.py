"""Visits, events and changes of inputs laid out on the rows that a filter crosses.

A row is an instant at which something happens: a visit, an event, the start or end of an
infusion, a change of an input. Between rows every input is constant, so a linear system keeps its
exact transition. At one instant the order is: data first, then events, so a datum taken at the
time of a dose is the trough before it, unless the dose says how many data come before it.

A layout is a pure function of times. Known times are laid out by numpy, and rows that nobody
needs are left out; times that a surrounding program traces are laid out by JAX, with as many rows
as there may be. A visit at 0 and at 5 and a dose at 2 become::

    t        0    2    5
    visit    0   -1    1        row_of_visit  0  2
    dose    -1    0   -1
"""

from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from pymc_dynsys.discretization.known import is_known, numpy_for
from pymc_dynsys.discretization.operands import Design, Interpolation, Operands
from pymc_dynsys.discretization.plan import Plan, plan_rows, require_start


class Weighted(NamedTuple):
    """Where to find a value among knots: ``v[left] + weight (v[right] - v[left])`` where known.

    ``right`` and ``weight`` are None where an input is held: it is ``v[left]``.
    """

    left: Any
    right: Any
    weight: Any
    known: Any


class Lookup(NamedTuple):
    """An input over the gap into each row (a mean over its two ends, or one value), and at it."""

    gap: tuple[Weighted, ...]
    row: Weighted


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "times",
        "start",
        "row_of_visit",
        "visit_of_row",
        "is_visit",
        "dose",
        "running",
        "lookups",
    ),
    meta_fields=(),
)
@dataclass(frozen=True)
class Marks:
    """What happens at each row; leaves are ``(*batch, row, ...)``.

    Attributes
    ----------
    times : array
        Time of each row, NaN where there is none.
    start : array, (*batch,)
        Time of the initial distribution.
    row_of_visit : array of int, (*batch, visit)
        Row of each visit; -1 for a visit without a time.
    visit_of_row, is_visit : array of int, array of bool
        Visit at each row, where there is one.
    dose : array of int, or None
        Bolus given at each row, -1 where there is none.
    running : array of bool, (*batch, row, event), or None
        Infusions that run over the gap into each row.
    lookups : dict of Lookup
        Where the values of each input are found.
    """

    times: Any
    start: Any
    row_of_visit: Any
    visit_of_row: Any
    is_visit: Any
    dose: Any
    running: Any
    lookups: dict[str, Lookup]


def lay_out(design: Design, operands: Operands) -> Marks:
    """Merge visits, events and changes of inputs into one ascending sequence of rows.

    ``t0`` NaN means the first record, visit or event, of each trajectory.
    """
    doses, signals = operands.doses, operands.inputs
    parts: dict[str, Any] = {"visits": operands.times, "t0": operands.t0}
    if doses is not None:
        parts["doses"] = doses.times
        if doses.durations is not None:
            parts["durations"] = doses.durations
        if doses.order is not None:
            parts["order"] = doses.order
    knots = {name: s.times for name, s in signals.items() if s.times is not None}
    known, xp = is_known(parts, knots), numpy_for(parts, knots)
    cores = {name: 0 if name == "t0" else 1 for name in parts}
    arrays = {name: xp.asarray(p, float) for name, p in (*parts.items(), *knots.items())}
    batch = np.broadcast_shapes(
        *(a.shape[: a.ndim - cores.get(name, 1)] for name, a in arrays.items())
    )

    def flat(name: str) -> Any:
        array = arrays[name]
        core = array.shape[array.ndim - cores.get(name, 1) :]
        return xp.broadcast_to(array, (*batch, *core)).reshape(-1, *core)

    plan = _each(xp, plan_rows, {name: flat(name) for name in arrays}, frozenset(knots))
    if known:
        require_start(plan)
    if known and not design.moving:
        most = int(np.isfinite(plan.times).sum(-1).max(initial=1))
        plan = Plan(plan.times[:, :most], plan.visit[:, :most], plan.dose[:, :most], plan.start)
    n_rows, n_visits = plan.times.shape[-1], operands.times.shape[-1]
    at = xp.where(plan.visit >= 0, plan.visit, n_visits)
    row_of_visit = _placed(xp, at, n_visits)
    running = None
    if doses is not None and doses.durations is not None:
        running = _running(xp, plan, flat("doses"), flat("durations"))
        running = running.reshape(*batch, n_rows, -1)
    shape = (*batch, n_rows)
    return Marks(
        times=plan.times.reshape(shape),
        start=plan.start.reshape(batch),
        row_of_visit=row_of_visit.reshape(*batch, n_visits),
        visit_of_row=xp.maximum(plan.visit, 0).reshape(shape),
        is_visit=(plan.visit >= 0).reshape(shape),
        dose=None if doses is None else plan.dose.reshape(shape),
        running=running,
        lookups={
            kind.name: look_for(
                xp,
                signals[kind.name].times if kind.own_times else operands.times,
                plan.times.reshape(shape),
                plan.start.reshape(batch),
                kind.interpolation,
            )
            for kind in design.inputs
        },
    )


def _each(xp: ModuleType, function: Any, arrays: Any, *fixed: Any) -> Any:
    """Results of a function of one trajectory for each of them: a loop, or a mapped program."""
    call = partial(function, xp)
    if xp is jnp:
        return jax.vmap(lambda part: call(part, *fixed))(arrays)
    n = len(next(iter(arrays.values())))
    found = [call({name: a[i] for name, a in arrays.items()}, *fixed) for i in range(n)]
    return jax.tree.map(lambda *leaves: np.stack(leaves), *found)


def _placed(xp: ModuleType, at: Any, n: int) -> Any:
    """Row of each of `n` visits, from the visit of each row (`n`: none); -1 where it has none."""
    out = xp.full((at.shape[0], n + 1), -1)
    rows = xp.broadcast_to(xp.arange(at.shape[1]), at.shape)
    if xp is np:
        np.put_along_axis(out, at, rows, axis=1)
    else:
        out = jnp.put_along_axis(out, at, rows, axis=1, inplace=False)
    return out[:, :n]


def _running(xp: ModuleType, plan: Plan, times: Any, durations: Any) -> Any:
    """Which infusions run over the gap into each row, ``(trajectory, row, event)``."""
    leaves = xp.concatenate([plan.start[:, None], plan.times[:, :-1]], axis=1)
    middle = 0.5 * (leaves + plan.times)[:, :, None]
    begun = (durations > 0)[:, None] & (times[:, None] < middle)
    return begun & (middle < (times + durations)[:, None])


def look_for(
    xp: ModuleType, knots: Any, rows: Any, start: Any, interpolation: Interpolation
) -> Lookup:
    """Where an input with the given knots is found over the gap into each row, and at it."""
    knots, rows, start = (xp.asarray(a, float) for a in (knots, rows, start))
    batch = np.broadcast_shapes(knots.shape[:-1], rows.shape[:-1])
    arrays = {
        "knots": xp.broadcast_to(knots, (*batch, knots.shape[-1])).reshape(-1, knots.shape[-1]),
        "ends": xp.broadcast_to(rows, (*batch, rows.shape[-1])).reshape(-1, rows.shape[-1]),
        "start": xp.broadcast_to(start, batch).reshape(-1),
    }
    found: Lookup = _each(xp, _look, arrays, interpolation)
    return jax.tree.map(lambda leaf: leaf.reshape(*batch, leaf.shape[-1]), found)


def _look(xp: ModuleType, parts: dict[str, Any], interpolation: Interpolation) -> Lookup:
    """Where the input of one trajectory is found; knots without a time are no knots."""
    order = xp.argsort(xp.where(xp.isnan(parts["knots"]), xp.inf, parts["knots"]), stable=True)
    knots = xp.where(xp.isnan(parts["knots"]), xp.inf, parts["knots"])[order]
    ends = parts["ends"]
    leaves = xp.concatenate([parts["start"][None], ends[:-1]])
    at_end = _locate(xp, knots, order, ends, interpolation)
    if interpolation == "linear":
        return Lookup((_locate(xp, knots, order, leaves, interpolation, "right"), at_end), at_end)
    if interpolation == "next":
        return Lookup((at_end,), at_end)
    return Lookup((_locate(xp, knots, order, leaves, interpolation),), at_end)


def _locate(
    xp: ModuleType,
    knots: Any,
    order: Any,
    at: Any,
    kind: Interpolation,
    side: Literal["left", "right"] = "left",
) -> Weighted:
    """Knots between which given times lie; before the first one its value holds (``previous``).

    A line that jumps, by two knots at one time, begins at the last of them: ``side="right"``.
    """
    count = xp.isfinite(knots).sum()
    top = xp.maximum(count - 1, 0)
    known = xp.isfinite(at) & (count > 0)
    if kind == "previous":
        held = xp.clip(xp.searchsorted(knots, at, side="right") - 1, 0, top)
        return Weighted(order[held], None, None, known)
    if kind == "next":
        found = xp.searchsorted(knots, at, side="left")
        return Weighted(order[xp.minimum(found, top)], None, None, known & (found < count))
    right = xp.clip(xp.searchsorted(knots, at, side=side), 0, top)
    left = xp.maximum(right - 1, 0)
    span = knots[right] - knots[left]
    known = known & (at >= knots[0]) & (at <= knots[top])
    positive = known & (span > 0)
    weight = xp.where(positive, at - knots[left], 1.0) / xp.where(positive, span, 1.0)
    return Weighted(order[left], order[right], weight, known)
