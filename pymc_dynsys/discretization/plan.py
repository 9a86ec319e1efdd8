"""Rows of one trajectory: visits, doses and changes of inputs in the order in which they come."""

from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from pymc_dynsys.discretization.known import Known


class Plan(NamedTuple):
    """Rows of one trajectory: times (NaN padded), visit and bolus at each (-1: none), start."""

    times: Any
    visit: Any
    dose: Any
    start: Any


def plan_rows(xp: ModuleType, parts: dict[str, Any], knots: frozenset[str]) -> Plan:
    """Rows of one trajectory from its visits, doses and knots of inputs.

    Candidates are all visits, all boluses and all changes: both ends of each infusion and every
    knot. Those that do not count get an infinite time and sort to the end. Changes come first at
    their instant and are dropped where another row follows at the same time.
    """
    visits, t0 = parts["visits"], parts["t0"]
    none = xp.full(0, xp.inf)
    times = parts.get("doses", none)
    durations = parts.get("durations", xp.zeros(times.shape))
    visits = xp.where(xp.isfinite(visits), visits, xp.inf)
    given = xp.where(xp.isfinite(times), times, xp.inf)
    first = xp.minimum(visits.min(initial=xp.inf), given.min(initial=xp.inf))
    start = xp.where(xp.isfinite(t0), t0, xp.where(xp.isfinite(first), first, 0.0))
    last = xp.where(xp.isfinite(visits), visits, -xp.inf).max(initial=-xp.inf)
    counts = xp.isfinite(given) & (given <= last)
    bolus = xp.where(counts & (durations == 0), given, xp.inf)
    changes = [none]
    if "durations" in parts:
        infused = counts & (durations > 0)
        changes += [xp.where(infused, end, xp.inf) for end in (given, given + durations)]
    changes += [parts[name] for name in sorted(knots)]
    change = xp.concatenate(changes)
    change = xp.where((change > start) & (change < last), change, xp.inf)
    n, m, k = visits.shape[0], bolus.shape[0], change.shape[0]
    at = xp.concatenate([visits, bolus, change])
    visit = xp.concatenate([xp.arange(n), xp.full(m + k, -1)])
    dose = xp.concatenate([xp.full(n, -1), xp.arange(m), xp.full(k, -1)])
    first, after = _ranks(xp, visits, parts.get("order"), m)
    rank = xp.concatenate([first, after, xp.full(k, -1.0)])
    order = xp.lexsort((rank, at))
    at, visit, dose, rank = at[order], visit[order], dose[order], rank[order]
    again = (rank == -1) & (at == xp.concatenate([at[1:], xp.full(1, xp.nan)]))
    at = xp.where(again, xp.inf, at)
    order = xp.argsort(at, stable=True)
    at, visit, dose = at[order], visit[order], dose[order]
    there = xp.isfinite(at)
    return Plan(
        xp.where(there, at, xp.nan), xp.where(there, visit, -1), xp.where(there, dose, -1), start
    )


def _ranks(xp: ModuleType, visits: Known, order: Known | None, n_doses: int) -> tuple[Known, Known]:
    """Ranks of visits and of doses among what has the same time.

    Without an order, visits are at 0 and doses at 1. With one, visits are numbered and doses lie
    between them: one with NaN comes last.
    """
    if order is None:
        return xp.zeros(visits.shape[0]), xp.ones(n_doses)
    same = (visits[:, None] == visits[None, :]) & xp.isfinite(visits)[None, :]
    number = xp.tril(same, -1).sum(-1)
    return number + 0.0, xp.where(xp.isnan(order), xp.inf, order - 0.5)


def require_start(plan: Plan) -> None:
    """Raise where a trajectory begins after one of its rows."""
    first = plan.times[:, 0] if plan.times.shape[1] else plan.start
    late = np.flatnonzero(first < plan.start)
    if len(late):
        i = late[0]
        raise ValueError(
            f"t0 is {plan.start[i]:g}, after a visit or an event at {plan.times[i, 0]:g}"
        )
