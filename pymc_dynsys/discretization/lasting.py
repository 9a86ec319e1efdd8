"""How long infusions last where parameters say so."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization.doses import parts_of_doses
from pymc_dynsys.discretization.events import Lasting
from pymc_dynsys.discretization.known import Known
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.event_functions import Part


def lengths(
    system: BoundSystem,
    params: Mapping[str, Any],
    rank: int,
    told: Known,
    amounts: Known,
    lasting: Known,
) -> tuple[Float[Array, "*batch event"], Bool[Array, "*batch event"]]:
    """Durations, and where a fraction, rate or duration makes none; arrays are ``(*batch, event)``.

    A fraction F of an amount a lasts F T where the amount would last T, and F a / r at a rate r.
    """
    told, amounts, kind = (jnp.asarray(part) for part in (told, amounts, lasting))
    amounts = jnp.where(jnp.isnan(amounts), 0.0, amounts)

    def said(part: Part) -> Array:
        # What is an input, or is not known yet, is of no infusion among these.
        known = all(name in params for name in system.dosing.names(part))
        return parts_of_doses(system, part, params, rank) if known else jnp.ones((1,) * (rank + 1))

    fraction, rate, duration = said("bioavailability"), said("rate"), said("duration")
    partial, rated = kind == Lasting.BY_FRACTION, kind == Lasting.BY_RATE
    by_rate = amounts / jnp.where(rate > 0, rate, 1.0)
    whole = jnp.where(rated, by_rate, jnp.where(partial, told, 0.0))
    found = jnp.where(partial | rated, fraction * whole, told)
    found = jnp.where(kind == Lasting.BY_DURATION, duration, found)
    wrong = (partial | rated) & ~(fraction >= 0) | rated & ~(rate > 0)
    return found, wrong | (kind == Lasting.BY_DURATION) & ~(duration > 0)


def asked_names(system: BoundSystem, lasting: np.ndarray) -> tuple[str, ...]:
    """Parameters and inputs that say how long infusions of kinds ``(*batch, event)`` last."""
    dosing = system.dosing
    names: tuple[str, ...] = ()
    if ((lasting == Lasting.BY_FRACTION) | (lasting == Lasting.BY_RATE)).any():
        names += dosing.names("bioavailability")
    if (lasting == Lasting.BY_RATE).any():
        names += dosing.names("rate")
    if (lasting == Lasting.BY_DURATION).any():
        names += dosing.names("duration")
    return names
