"""Values of doses and inputs at the rows of a layout, looked up once, outside any loop."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization.events import Doses
from pymc_dynsys.discretization.known import numpy_for
from pymc_dynsys.discretization.layout import Marks, Weighted
from pymc_dynsys.discretization.operands import Operands
from pymc_dynsys.systems.held import Held, Lines


@partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "infusion",
        "amount",
        "target",
        "gap_inputs",
        "row_inputs",
        "rates",
        "middle",
        "fresh",
    ),
    meta_fields=(),
)
@dataclass(frozen=True)
class Rows:
    """What happens in the gap into each row and at it; leaves are ``(*batch, row, ...)``.

    Attributes
    ----------
    infusion : array, (*batch, row, state), or None
        Rate of infusion of each state over the gap.
    amount : array, (*batch, row), or None
        Amount given at the row, NaN where there is no bolus.
    target : array of int, (*batch, row), or None
        State that it enters.
    gap_inputs, row_inputs : dict of arrays, (*batch, row, *own)
        Inputs held over the gap into the row (means of those that are lines), and at it.
    rates : dict of arrays, (*batch, row, *own)
        Rates of change over the gap of those inputs that are lines.
    middle : array, (*batch, row), or None
        Time of the middle of the gap, where there are lines.
    fresh : Fresh, optional
        What resets and steady states make of the state at each row, before its bolus; None until
        parameters are there, and where there are none.
    """

    infusion: Any
    amount: Any
    target: Any
    gap_inputs: dict[str, Any]
    row_inputs: dict[str, Any]
    rates: dict[str, Any] = field(default_factory=dict)
    middle: Any = None
    fresh: "Fresh | None" = None

    def over_gap(self, params: Mapping[str, Any]) -> Held:
        """Parameters, inputs and infusions that hold over the gap, and inputs that are lines."""
        lines = Lines(self.rates, self.middle) if self.rates else None
        return Held({**params, **self.gap_inputs}, self.infusion, lines)

    def at_row(self, params: Mapping[str, Any]) -> Held:
        """Parameters and inputs that hold at the row."""
        return Held({**params, **self.row_inputs})


class Fresh(NamedTuple):
    """What becomes of a state before the bolus of a row: a new law, or something added to it.

    Where ``forgets`` the state has the given mean and covariance (None: it is known), else the mean
    is added, and the covariance is zero.
    """

    forgets: Bool[Array, "*row"]
    mean: Float[Array, "*row state"]
    cov: Float[Array, "*row state state"] | None

    def moved(self, x: Float[Array, "*member state"]) -> Float[Array, "*member state"]:
        """The state, or each of several, where the new law is known without error."""
        mean = jnp.broadcast_to(self.mean, x.shape)
        return jnp.where(self.forgets, mean, x + mean)

    @property
    def slope(self) -> Float[Array, "state state"]:
        """Slope of the state in that before."""
        return jnp.where(self.forgets, 0.0, jnp.eye(self.mean.shape[-1]))

    @property
    def noise(self) -> Float[Array, "state state"]:
        """Covariance of what does not depend on the state before."""
        if self.cov is None:
            return jnp.zeros((self.mean.shape[-1],) * 2)
        return self.cov


def over_gap(row: Rows | None, params: Mapping[str, Any]) -> Held:
    """What holds over the gap into a row; parameters alone where there is nothing else."""
    return Held(params) if row is None else row.over_gap(params)


def at_row(row: Rows | None, params: Mapping[str, Any]) -> Held:
    """What holds at a row; parameters alone where there is nothing else."""
    return Held(params) if row is None else row.at_row(params)


def look_up(marks: Marks, operands: Operands, n_states: int) -> Rows:
    """Doses and inputs at the rows; by numpy where all that enters is known."""
    xp = numpy_for(marks, operands.doses, operands.inputs)
    gaps, rows, rates, middle = {}, {}, {}, None
    for name, lookup in marks.lookups.items():
        values = operands.inputs[name].values
        at_ends = [_value(xp, part, values) for part in lookup.gap]
        held = at_ends[0] if len(at_ends) == 1 else 0.5 * (at_ends[0] + at_ends[1])
        there = _value(xp, lookup.row, values)
        # Nothing is crossed in a gap of zero, and padding is nowhere: an unknown input is no
        # matter there.
        begins = xp.concatenate([marks.start[..., None], marks.times[..., :-1]], axis=-1)
        crossed = marks.times > begins
        idle = _expand(~crossed, held)
        gaps[name] = xp.where(idle & xp.isnan(held), 0.0, held)
        rows[name] = xp.where(_expand(xp.isnan(marks.times), there), 0.0, there)
        if len(at_ends) == 2:
            length = xp.where(crossed, marks.times - begins, 1.0)
            change = (at_ends[1] - at_ends[0]) / _expand(length, held)
            rates[name] = xp.where(idle, 0.0, change)
            middle = xp.where(crossed, 0.5 * (marks.times + begins), 0.0)
    infusion = amount = target = None
    if operands.doses is not None:
        amount, target = _given(xp, marks, operands.doses)
        infusion = _infused(xp, marks, operands.doses, n_states)
    return Rows(infusion, amount, target, gaps, rows, rates, middle)


def _value(xp: ModuleType, where: Weighted, values: Any) -> Any:
    """Values ``(*batch, row, *own)`` at the places found for them; NaN where they are unknown."""
    rank = where.left.ndim - 1
    values = xp.asarray(values, float)
    n_own = values.ndim - rank - 1
    batch = np.broadcast_shapes(where.left.shape[:-1], values.shape[:rank])
    values = xp.broadcast_to(values, (*batch, *values.shape[rank:]))

    def take(index: Any) -> Any:
        index = index.reshape(*index.shape, *(1,) * n_own)
        shape = (*batch, index.shape[rank], *values.shape[rank + 1 :])
        return xp.take_along_axis(values, xp.broadcast_to(index, shape), axis=rank)

    left = take(where.left)
    known = _expand(where.known, left)
    if where.right is None:
        return xp.where(known, left, xp.nan)
    right, weight = take(where.right), _expand(where.weight, left)
    # At a knot its value is that of the input, also where the knot beside it is not known.
    between = xp.where(weight >= 1, right, left + weight * (right - left))
    return xp.where(known, xp.where(weight <= 0, left, between), xp.nan)


def _given(xp: ModuleType, marks: Marks, doses: Doses) -> tuple[Any, Any]:
    """Amount of the bolus at each row (NaN where there is none) and the state that it enters."""
    index, there = xp.maximum(marks.dose, 0), marks.dose >= 0

    def pick(array: Any) -> Any:
        array = xp.asarray(array)
        batch = np.broadcast_shapes(index.shape[:-1], array.shape[:-1])
        array = xp.broadcast_to(array, (*batch, array.shape[-1]))
        return xp.take_along_axis(array, xp.broadcast_to(index, (*batch, index.shape[-1])), axis=-1)

    amount = xp.where(there, pick(xp.asarray(doses.amounts, float)), xp.nan)
    return amount, xp.where(there, pick(doses.targets), 0)


def _infused(xp: ModuleType, marks: Marks, doses: Doses, n_states: int) -> Any:
    """Rate of infusion of every state over the gap into each row."""
    if marks.running is None:
        return None
    durations = xp.asarray(doses.durations, float)
    lasts = durations > 0
    rate = xp.where(lasts, xp.asarray(doses.amounts, float) / xp.where(lasts, durations, 1.0), 0.0)
    rates = xp.where(marks.running, rate[..., None, :], 0.0)
    targets = xp.asarray(doses.targets)[..., None]
    states = xp.arange(n_states).reshape((1,) * (targets.ndim - 1) + (-1,))
    into = (targets == states).astype(float)
    return xp.einsum("...re,...es->...rs", rates, into)


def _expand(flags: Any, like: Any) -> Any:
    """Flags with trailing axes of length one."""
    return flags.reshape(*flags.shape, *(1,) * (like.ndim - flags.ndim))
