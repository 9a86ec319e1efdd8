"""A batch of trajectories shared out among devices, a part each.

Trajectories are independent given their parameters, so that nothing passes between devices but
the parameters that all share, and the sums of their gradients. Data and an ensemble's normals are
on every device; what is computed from them, by far the larger, is not.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array

from pymc_dynsys.batching.mapping import Part

AXIS = "trajectory"
"""Name of the mesh's axis."""


def map_shards(
    function: Callable[..., Array],
    operands: tuple[Any, ...],
    axis: int,
    length: int,
    devices: Sequence[jax.Device],
) -> Array:
    """Results of ``function(part, *operands)`` side by side, each device computing one part.

    Parts are of one length, so that the last ones overlap where they do not come out even.
    """
    if jax.sharding.get_abstract_mesh().manual_axes:
        raise ValueError(
            "devices: chains that run in parallel have a device each already; let all devices work "
            'on each chain, pm.sample(..., nuts={"chain_method": "vectorized"}), or run one chain'
        )
    each = -(-length // len(devices))
    starts = np.minimum(np.arange(len(devices)) * each, length - each)

    def local(*operands: Any) -> Array:
        start = jnp.asarray(starts)[jax.lax.axis_index(AXIS)]
        return function(Part(axis, start, each), *operands)

    shared = jax.shard_map(
        local,
        mesh=Mesh(np.array(devices), (AXIS,)),
        in_specs=PartitionSpec(),
        out_specs=PartitionSpec(*(None,) * axis, AXIS),
        check_vma=False,
    )(*operands)
    if each * len(devices) == length:
        return shared
    entry = np.arange(length)
    device = entry // each
    return jnp.take(shared, device * each + entry - starts[device], axis=axis)
