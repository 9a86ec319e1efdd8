"""What of a model has another form: centred normal effects, and paths whose guide is learnt."""

from collections.abc import Mapping
from typing import Any

import pymc as pm
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.basic import NormalRV

from pymc_dynsys.bridge.learnt_guide import paths_to_learn
from pymc_dynsys.bridge.study import find_paths


def eligible(model: pm.Model) -> list[str]:
    """Free normal variables whose mean or sd is random, offsets of an earlier call left out."""
    names = [rv.name for rv in model.free_RVs if not _objection(model, rv.name)]
    return [n for n in names if f"{n.removesuffix('_offset')}_centeredness" not in model.named_vars]


def refuse_initvals(model: pm.Model) -> None:
    """Raise for initial values, which a copy of a model does not keep."""
    for variable, value in model.rvs_to_initial_values.items():
        if value is not None:
            raise ValueError(
                f"reparametrize: {variable.name!r} has an initval, which a new model cannot keep; "
                "leave it out, and give pm.sample(initvals=...) if the start matters"
            )


def refuse_unused(model: pm.Model, names: list[str], centeredness: Any) -> None:
    """Raise for values of variables that are not reparametrized."""
    for name in centeredness if isinstance(centeredness, Mapping) else ():
        if name not in names:
            objection = _objection(model, name) or "it is not among var_names"
            raise ValueError(f"reparametrize: centeredness has {name!r}: {objection}")


def _objection(model: pm.Model, name: str) -> str | None:
    """Why a variable has no other form, if so.

    In order: whether the model has it, whether it is a path or another deterministic variable or
    observed, and whether it is a normal one with a hierarchy.
    """
    variable = model.named_vars.get(name)
    if variable is None:
        return f"the model has no such variable; it has {', '.join(map(repr, model.named_vars))}"
    if name in find_paths(model):
        if name in paths_to_learn(model):
            return "it is a path, whose guide is learnt, and has no centeredness"
        return (
            "it is a path whose parametrization was chosen; build it with "
            "parametrization=pds.Guided() to have its guide learnt"
        )
    if variable in model.deterministics:
        return (
            "it is a deterministic, and a non-centred effect already is what it can be; build it "
            "with centered=True to have its centeredness learnt"
        )
    if variable not in model.free_RVs:
        return "it is observed or data, not a free variable"
    if not isinstance(variable.owner.op, NormalRV):
        return (
            f"its distribution is {variable.owner.op.name or type(variable.owner.op).__name__}, "
            "and only pm.Normal has the other form"
        )
    if model.rvs_to_transforms.get(variable) is not None:
        return "it has a transform, such as an ordering"
    free = set(model.free_RVs)
    if not free & set(ancestors(variable.owner.op.dist_params(variable.owner))):
        return "its mean and sd are fixed, so it has no hierarchy to be free of"
    return None


def checked(model: pm.Model, name: Any) -> str:
    """Name of a variable that has another form, given by itself or by name."""
    name = getattr(name, "name", name)
    objection = None if name in paths_to_learn(model) else _objection(model, name)
    if objection:
        raise ValueError(f"reparametrize: {name!r}: {objection}")
    return name
