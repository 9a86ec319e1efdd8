"""Whether the data are such as the observation can give, where that takes more than a look at them.

A support that depends on inputs or on known parameters (trials of a binomial, bounds of what is
censored) is looked at once, when the model is built.
"""

from collections.abc import Mapping
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jaxtyping import Array
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.data import current_value, is_variable
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.reading.consistency import impossible
from pymc_dynsys.reading.values import is_boolean
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.structure import depends_on
from pymc_dynsys.systems.support import in_support, supports_of


def refuse_booleans(observed: object, study: Study) -> None:
    """Raise for truth values as data of a Gaussian observation."""
    value = current_value(observed) if isinstance(observed, Variable) else observed
    if study.system.proof.observation.gaussian and is_boolean(value):
        raise TypeError(
            "observed: got booleans, and observation() is Gaussian; if zeros and ones are meant as "
            "numbers give .astype(float). An ODE with a known start takes dist.Bernoulli"
        )


def require_censored(observed: object, study: Study) -> None:
    """Raise for data of which some are limits, which would be read as values."""
    attrs = observed.attrs if isinstance(observed, xr.DataArray) else {}
    if attrs.get("censored") and not study.system.proof.observation.censored:
        raise ValueError(
            f"observed: some of these data are limits ({attrs['censored']}), and observation() "
            "would read them as values; let it return pds.censored(distribution, lower=..., "
            "upper=...) with the bounds of the panel as inputs, or make those data missing (NaN) "
            "and delete attrs['censored']"
        )


def require_possible(
    study: Study, params: Mapping[str, np.ndarray], grid: TimeGrid | None, y: np.ndarray
) -> None:
    """Raise for a datum outside a support that is known and depends on inputs or parameters.

    Parameters are ``(*batch, *own)`` with axes of length one where shared, data ``(*batch, time[,
    component])``. What depends on the state or on random variables is left to the likelihood.
    """
    system, rank = study.system, study.frame.rank
    supports = system.proof.observation.supports
    if all(support.constraint is not None for support in supports):
        return
    random = {
        slot.name
        for slot, variable in zip(study.design.slots[1:], study.variables, strict=True)
        if is_variable(variable)
    }
    values = {**params, **_at_visits(study, grid)}
    if _depends(system, values, rank, random):
        return
    shape, own = study.shape[: rank + 1], y.reshape(*study.shape[: rank + 1], -1)
    n = int(np.prod(shape))
    flat = {}
    for name, value in values.items():
        lead = value.shape[:rank] if name in params else value.shape[: rank + 1]
        part = value.reshape(*lead, *(1,) * (rank + 1 - len(lead)), *value.shape[len(lead) :])
        flat[name] = np.broadcast_to(part, (*shape, *part.shape[rank + 1 :])).reshape(
            n, *part.shape[rank + 1 :]
        )
    times = np.broadcast_to(study.operands.times, shape)
    possible = np.asarray(
        _possible(system, jnp.nan_to_num(own.reshape(n, -1)), jnp.nan_to_num(times.ravel()), flat)
    ).reshape(*shape, -1)
    there = ~np.isnan(own)
    joint = possible.shape[-1] < own.shape[-1]
    bad = np.argwhere(~possible & (there.all(-1, keepdims=True) if joint else there))
    if not len(bad):
        return
    here = tuple(int(i) for i in bad[0])
    row = int(np.ravel_multi_index(here[:-1], shape))
    law = system.observation.law(
        jnp.zeros(system.n_states),
        times[here[:-1]],
        Held({k: jnp.asarray(v[row]) for k, v in flat.items()}),
    )
    found = supports_of(law)
    support = found[here[-1] if len(found) > 1 else 0]
    place = here[:-1] if system.observation.scalar or joint else here
    raise ValueError(impossible(support, y, place, study.operands.times, study.frame))


def _at_visits(study: Study, grid: TimeGrid | None) -> dict[str, np.ndarray]:
    """Inputs at the visits, ``(*batch, visit, *own)``."""
    if grid is None or grid.rows is None:
        return {}
    rank, found = study.frame.rank, {}
    for name, value in grid.rows.row_inputs.items():
        value = np.asarray(value)
        if grid.marks is not None:
            index = np.maximum(np.asarray(grid.marks.row_of_visit), 0)
            lead = np.broadcast_shapes(index.shape[:rank], value.shape[:rank])
            index = np.broadcast_to(index, (*lead, index.shape[-1]))
            value = np.broadcast_to(value, (*lead, *value.shape[rank:]))
            own = index.reshape(*index.shape, *(1,) * (value.ndim - rank - 1))
            value = np.take_along_axis(value, own, axis=rank)
        found[name] = value
    return found


def _depends(
    system: BoundSystem, values: Mapping[str, np.ndarray], rank: int, random: set[str]
) -> bool:
    """Whether the support depends on the state or on a random variable."""
    kind = partial(jax.ShapeDtypeStruct, dtype=float)
    shapes = {**system.param_shapes, **system.input_shapes}
    loose = {name: kind(shapes[name]) for name in values if name in random}
    fixed = {name: kind(shapes[name]) for name in values if name not in random}
    y = kind((system.observation.n_components,))

    def support(x: Array, loose: Params, fixed: Params, t: Array, y: Array) -> Array:
        return in_support(system.observation.law(x, t, Held({**fixed, **loose})), y)

    args = (kind((system.n_states,)), loose, fixed, kind(()), y)
    return any(depends_on(support, args, which) for which in (0, 1))


@partial(jax.jit, static_argnums=0)
def _possible(system: BoundSystem, y: Array, times: Array, values: Params) -> Array:
    """Whether data ``(datum, component)`` are possible; all at once if their law is joint."""

    def one(y: Array, t: Array, values: Params) -> Array:
        x = jnp.zeros(system.n_states)
        return in_support(system.observation.law(x, t, Held(values)), y)

    found: Array = jax.vmap(one)(y, times, values)
    return found
