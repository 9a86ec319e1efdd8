"""Advice on how a hierarchy is written, from what is known when a model is built."""

import numpy as np
import pymc as pm
from pytensor.graph.basic import Constant
from pytensor.graph.traversal import ancestors
from pytensor.tensor.elemwise import DimShuffle
from pytensor.tensor.random.basic import NormalRV
from pytensor.tensor.variable import TensorVariable

from pymc_dynsys.bridge.data import is_variable
from pymc_dynsys.bridge.study import Study

MANY = 30
"""Data a trajectory, beyond which they mostly say more of it than its population does."""


def advise_centring(study: Study, model: pm.Model, y: np.ndarray) -> str | None:
    """Words on members that are non-centred although there are many data of each; None if none are.

    Non-centred is what a parameter is made of: a standard normal variable over the batch dims, and
    other free variables. `y` are the data, NaN where missing.
    """
    batch = study.frame.batch_dims
    per_trajectory = (~np.isnan(y)).reshape(*y.shape[: len(batch)], -1).sum(-1)
    typical = int(np.median(per_trajectory))
    if not batch or typical < MANY:
        return None
    free = model.root.free_RVs
    found: list[str] = []
    for variable in study.variables:
        if not is_variable(variable):
            continue
        above = set(ancestors([variable], blockers=free)) & set(free)
        found += [
            rv.name
            for rv in free
            if rv in above and len(above) > 1 and _is_standard(rv)
            if set(model.root.named_vars_to_dims.get(rv.name, ())) & set(batch)
        ]
    if not found:
        return None
    names = ", ".join(dict.fromkeys(found))
    return (
        f"{names}: non-centred, with {typical} data of each trajectory (median). Where they "
        "determine a member well, NUTS takes several times fewer steps in the centred form, "
        "effects.varying(..., centered=True); pds.reparametrize(model) finds the form of each "
        "member of a centred one"
    )


def _is_standard(rv: TensorVariable) -> bool:
    """Whether a variable is normal with mean 0 and sd 1."""
    if rv.owner is None or not isinstance(rv.owner.op, NormalRV):
        return False
    for part, value in zip(rv.owner.op.dist_params(rv.owner), (0.0, 1.0), strict=True):
        while part.owner is not None and isinstance(part.owner.op, DimShuffle):
            part = part.owner.inputs[0]
        if not (isinstance(part, Constant) and np.all(part.data == value)):
            return False
    return True
