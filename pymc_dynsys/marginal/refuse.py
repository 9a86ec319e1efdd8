"""Models whose effects cannot be integrated out member by member, by the names of variables."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pymc as pm
from pytensor.graph.traversal import ancestors

from pymc_dynsys.marginal.layout import Layout

MOST_EFFECTS = 40
"""Effects of one member: the curvature takes four gradients for each of them."""


MOST_NODES = 1000
"""Nodes of a member."""


def check_over(
    model: pm.Model, over: object, mend: str = "Give effects their dim, as in"
) -> tuple[str, ...]:
    """The dims of the members, from the outermost level to the innermost.

    `mend` is the advice where nothing has the dim, followed by an example.
    """
    found: Sequence[object] = ()
    if isinstance(over, str):
        found = (over,)
    elif isinstance(over, Sequence):
        found = over
    dims = tuple(dim for dim in found if isinstance(dim, str))
    if not dims or len(dims) < len(found) or len(set(dims)) < len(dims):
        raise TypeError(
            f"over: got {over!r}, expected the name of a dim, or names of the dims of nested "
            "levels from the outer to the inner, as in ('clinic', 'patient')"
        )
    with_dims = {
        str(rv.name): tuple(map(str, model.named_vars_to_dims.get(rv.name) or ()))
        for rv in model.free_RVs
    }
    for i, dim in enumerate(dims):
        if not any(dim in own and not set(dims[i + 1 :]) & {*own} for own in with_dims.values()):
            there = [f"{name} {own}" for name, own in with_dims.items() if own]
            inner = f" and none of {', '.join(map(repr, dims[i + 1 :]))}" if dims[i + 1 :] else ""
            raise ValueError(
                f"over={dim!r}: no free variable has this dim{inner}; those with dims are "
                f"{', '.join(there) or 'none'}. {mend} pm.Normal('z', dims={dim!r})"
            )
    return dims


def check_model(model: pm.Model) -> None:
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


def refuse_other_levels(model: pm.Model, over: tuple[str, ...]) -> None:
    """Raise for a parameter whose own prior has parameters: an effect of another level."""
    free = set(model.free_RVs)
    for rv in model.free_RVs:
        if set(over) & set(model.named_vars_to_dims.get(rv.name) or ()):
            continue
        above = [v for v in ancestors([rv], blockers=[v for v in free if v is not rv]) if v in free]
        above = [v for v in above if v is not rv]
        if above:
            dims = model.named_vars_to_dims.get(rv.name) or ()
            where = f", over {' and '.join(map(repr, dims))}," if dims else ""
            told = over[0] if len(over) == 1 else over
            both = f"over={(dims[0], *over)!r}" if dims else ""
            mend = f"if levels are nested take {both}, the outer first; else fix" if both else "fix"
            raise ValueError(
                f"over={told!r}: the prior of {rv.name}{where} depends on "
                f"{', '.join(str(v.name) for v in above)}, so it is an effect of another level or "
                "has an unknown prior, and to maximize over it together with its prior is biased: "
                f"only effects of {' and '.join(map(repr, over))} are integrated out; {mend} its "
                "prior, or use pm.sample"
            )


def warn_of_other_levels(layout: Layout) -> None:
    """Warn of vectors that may be effects, and count as parameters."""
    sizes = dict(zip(layout.sizes, layout.over, strict=True))
    for block in layout.parameters:
        if block.size < 2:
            continue
        dims = layout.model.named_vars_to_dims.get(block.name)
        text = ""
        same = [n for n in block.shape if n in sizes]
        if not dims and same:
            dim = sizes[same[0]]
            text = (
                f"{block.name} has {same[0]} values, as many as there are labels of {dim!r}, and "
                "no dims, so it counts as a parameter and is maximized over; if it is an effect, "
                f"say dims={dim!r}"
            )
        elif block.name.endswith("_offset"):
            text = (
                f"{block.name}, over {dims}, looks like an effect of another level. It is "
                "maximized over, as fixed effects are, not integrated out, so what scales it is "
                "not to be estimated so; name its dim in over where levels are nested, use "
                "pm.sample, or make it a fixed effect"
            )
        if text:
            warnings.warn(f"{layout.told}: {text}", UserWarning, stacklevel=4)


def check_size(n_effects: int) -> None:
    """Raise where a member has too many effects."""
    if n_effects > MOST_EFFECTS:
        raise ValueError(
            f"over: each member has {n_effects} effects, and {MOST_EFFECTS} are the most whose "
            "curvature is affordable; use pm.sample"
        )


def check_quadrature(quadrature: object, n_effects: int) -> None:
    """Raise for what is no number of nodes, and for more nodes than can be afforded."""
    if isinstance(quadrature, bool) or not isinstance(quadrature, int) or quadrature < 1:
        raise ValueError(f"quadrature: got {quadrature!r}, expected a whole number, 1 for Laplace")
    if quadrature > 1 and quadrature**n_effects > MOST_NODES:
        most = int(MOST_NODES ** (1 / n_effects) + 1e-9)
        remedy = f"at most {most}" if most > 1 else "1, Laplace's approximation"
        raise ValueError(
            f"quadrature: {quadrature} nodes along each of {n_effects} effects are "
            f"{quadrature**n_effects} for each member, and {MOST_NODES} are the most; take {remedy}"
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
