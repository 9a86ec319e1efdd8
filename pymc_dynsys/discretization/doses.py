"""What a dose does to states: to one, or to each member of an ensemble; how much arrives."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.discretization.rows import Rows
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.event_functions import Part


def dose_at(row: Rows) -> tuple[Array, Array]:
    """Whether a bolus is given at a row, and its amount: zero where there is none."""
    given = ~jnp.isnan(row.amount)
    return given, jnp.where(given, row.amount, 0.0)


def parts_of_doses(system: BoundSystem, part: Part, params: Mapping[str, Any], rank: int) -> Array:
    """Fraction, lag, rate or duration of the doses of each trajectory, ``(*batch, event)``."""
    names = system.dosing.names(part)
    found: Array = map_batch(
        lambda values: system.dosing.value(part, values),
        ({name: params[name] for name in names},),
        ({name: len(system.param_shapes[name]) for name in names},),
        rank,
    )
    return found[..., None]


def give_dose(
    system: BoundSystem, params: Params, x: Float[Array, " state"], t: Any, row: Rows | None
) -> Float[Array, " state"]:
    """State after the event at a row, if there is one; a new law is known without error."""
    return give_doses(system, params, x[None], t, row)[0]


def give_doses(
    system: BoundSystem, params: Params, X: Float[Array, "member state"], t: Any, row: Rows | None
) -> Float[Array, "member state"]:
    """Ensemble after the event at a row, if there is one."""
    if row is None or row.amount is None:
        return X
    if row.fresh is not None:
        X = row.fresh.moved(X)
    given, amount = dose_at(row)
    held = row.at_row(params)
    after = jax.vmap(lambda x: system.dosing.jump(x, t, held, amount, row.target))(X)
    return jnp.where(given, after, X)
