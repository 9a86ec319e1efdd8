"""Models whose effects cannot be integrated out member by member, by the names of variables."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pymc as pm
from pytensor.graph.traversal import ancestors

from pymc_dynsys.marginal.layout import Layout

MOST_EFFECTS = 40
"""Effects of one member: the curvature takes four gradients for each of them."""


def check_over(model: pm.Model, over: object) -> str:
    """The dim of the members."""
    if isinstance(over, Sequence) and not isinstance(over, str) and len(over) == 1:
        over = over[0]
    if not isinstance(over, str):
        raise TypeError(
            f"over: got {over!r}, expected the name of one dim. Effects of several levels are not "
            "integrated out together; sample such a model with pm.sample"
        )
    with_dims = {
        str(rv.name): tuple(map(str, model.named_vars_to_dims.get(rv.name) or ()))
        for rv in model.free_RVs
    }
    if not any(over in dims for dims in with_dims.values()):
        there = [f"{name} {dims}" for name, dims in with_dims.items() if dims]
        raise ValueError(
            f"over={over!r}: no free variable has this dim; those with dims are "
            f"{', '.join(there) or 'none'}. Give effects their dim, as in "
            f"pm.Normal('z', dims={over!r})"
        )
    return over


def check_model(model: pm.Model, over: str) -> None:
    """Raise for variables that are not for an integral over members."""
    if not model.observed_RVs and not model.potentials:
        raise ValueError("model: nothing in it is observed, so there is no likelihood")
    if model.discrete_value_vars:
        names = ", ".join(str(v.name) for v in model.discrete_value_vars)
        raise ValueError(
            f"model: {names} take whole numbers only, and a likelihood with a gradient is needed; "
            "sum over them in the log-density (pm.Mixture), or use pm.sample"
        )
    for rv in model.free_RVs:
        name = str(rv.name)
        base = name.removesuffix("_unobserved")
        if base != name and f"{base}_observed" in model.named_vars:
            raise ValueError(
                f"model: {name} holds the missing values of {base!r} as parameters, which would be "
                "maximized over; drop these rows from the data (a Trajectory takes NaN as it is)"
            )
    _refuse_other_levels(model, over)


def _refuse_other_levels(model: pm.Model, over: str) -> None:
    """Raise for a parameter whose own prior has parameters: an effect of another level."""
    free = set(model.free_RVs)
    for rv in model.free_RVs:
        if _has(model, rv, over):
            continue
        above = [v for v in ancestors([rv], blockers=[v for v in free if v is not rv]) if v in free]
        above = [v for v in above if v is not rv]
        if above:
            dims = model.named_vars_to_dims.get(rv.name) or ()
            where = f", over {' and '.join(map(repr, dims))}," if dims else ""
            raise ValueError(
                f"over={over!r}: the prior of {rv.name}{where} depends on "
                f"{', '.join(str(v.name) for v in above)}, so it is an effect of another level or "
                "has an unknown prior, and to maximize over it together with its prior is biased: "
                f"only effects of {over!r} are integrated out. Fix its prior, or use pm.sample"
            )


def warn_of_other_levels(layout: Layout) -> None:
    """Warn of vectors that may be effects, and count as parameters."""
    n, over = layout.n_members, layout.over
    for block in layout.parameters:
        if block.size < 2:
            continue
        dims = layout.model.named_vars_to_dims.get(block.name)
        text = ""
        if not dims and n in block.shape:
            text = (
                f"{block.name} has {n} values, as many as there are labels of {over!r}, and no "
                "dims, so it counts as a parameter and is maximized over; if it is an effect, say "
                f"dims={over!r}"
            )
        elif block.name.endswith("_offset"):
            text = (
                f"{block.name}, over {dims}, looks like an effect of another level. It is "
                "maximized over, as fixed effects are, not integrated out, so what scales it is "
                "not to be estimated so; use pm.sample, or make it a fixed effect"
            )
        if text:
            warnings.warn(f"over={over!r}: {text}", UserWarning, stacklevel=4)


def _has(model: pm.Model, rv: object, dim: str) -> bool:
    return dim in (model.named_vars_to_dims.get(rv.name) or ())  # type: ignore[attr-defined]


def check_size(n_effects: int) -> None:
    """Raise where a member has too many effects."""
    if n_effects > MOST_EFFECTS:
        raise ValueError(
            f"over: each member has {n_effects} effects, and {MOST_EFFECTS} are the most whose "
            "curvature is affordable; use pm.sample"
        )


def check_initvals(model: pm.Model, initvals: Mapping[str, object] | None) -> None:
    """Raise for starting values of what the model does not have."""
    names = [str(v.name) for v in model.free_RVs]
    unknown = [repr(name) for name in initvals or {} if str(name) not in names]
    if unknown:
        raise ValueError(
            f"initvals: the model has no free variable {', '.join(unknown)}; it has "
            f"{', '.join(names)}"
        )


def require_count(name: str, value: object, least: int) -> None:
    """Raise for what is not a whole number that is large enough."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:  # type: ignore[operator]
        raise ValueError(f"{name}: got {value!r}, expected a whole number of at least {least}")
