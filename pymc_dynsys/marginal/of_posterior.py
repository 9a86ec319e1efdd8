"""Draws of a posterior as the flat arrays of unconstrained parameters and effects."""

import jax
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Float
from pymc.sampling.jax import get_jaxified_graph
from pytensor.graph.replace import clone_replace

from pymc_dynsys.bridge.draws import aligned_draws
from pymc_dynsys.marginal.layout import Layout


def unconstrained(
    layout: Layout, model: pm.Model, draws: xr.Dataset
) -> tuple[Float[np.ndarray, "draw parameter"], Float[np.ndarray, "draw entry"] | None]:
    """Parameters and effects of each draw as a sampler sees them, chains one after the other.

    Effects are None where the draws lack some of them; parameters have to be there.
    """
    missing = [block.name for block in layout.parameters if block.name not in draws]
    if missing:
        raise ValueError(
            f"idata: no draws of {', '.join(missing)}, which the model has as parameters; the "
            f"posterior holds {', '.join(map(str, draws.data_vars))}"
        )
    size = draws.sizes["chain"] * draws.sizes["draw"]
    if not size:
        raise ValueError(f"idata: there are no draws, {dict(draws.sizes)}")
    blocks = [b for b in (*layout.effects, *layout.parameters) if b.name in draws]
    frozen = layout.model
    places = {frozen[b.name]: frozen[b.name].type() for b in blocks}
    outputs = []
    for rv, place in places.items():
        transform = frozen.rvs_to_transforms[rv]
        outputs.append(place if transform is None else transform.forward(rv, *rv.owner.inputs))
    outputs = clone_replace(outputs, replace=places, rebuild_strict=False)
    graph = jax.jit(jax.vmap(get_jaxified_graph([*places.values()], outputs)))
    arrays = []
    for rv in places:
        array = aligned_draws(str(rv.name), draws, model).values.astype(rv.type.dtype)
        arrays.append(array.reshape(size, *array.shape[2:]))
    found = dict(zip((b.value for b in blocks), map(np.asarray, graph(*arrays)), strict=True))
    theta = [found[b.value].reshape(size, -1) for b in layout.parameters]
    own = np.concatenate([*theta, np.zeros((size, 0))], axis=1)
    if any(block.name not in draws for block in layout.effects):
        return own, None
    u = [layout.flat({name: value[i] for name, value in found.items()})[0] for i in range(size)]
    return own, np.stack(u)
