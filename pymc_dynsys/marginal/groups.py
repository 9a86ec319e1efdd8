"""The groups of a fit."""

import numpy as np
import xarray as xr

from pymc_dynsys.marginal.check import Check
from pymc_dynsys.marginal.layout import Layout, entries
from pymc_dynsys.marginal.optimum import Optimum
from pymc_dynsys.marginal.report import (
    Scales,
    conditional,
    dataset,
    estimates,
    shifts,
    summary,
)


def groups(
    scales: Scales, optimum: Optimum, checked: Check | None
) -> tuple[dict[str, xr.Dataset], dict[str, np.ndarray] | None]:
    """Groups by name, and how far the check would move estimates."""
    layout = scales.layout
    known = estimates(scales, optimum)
    shift = None if checked is None else shifts(scales, optimum, checked.move, known)
    modes = optimum.answer.modes
    mode, sd = conditional(scales, modes, optimum.theta)
    likelihood = {"log_likelihood": (layout.over, optimum.answer.members)}
    if checked is not None:
        likelihood["error"] = (layout.over, checked.members)
        if checked.pareto_k is not None:
            likelihood["pareto_k"] = (layout.over, checked.pareto_k)
    return (
        {
            "summary": summary(layout, known, shift),
            "estimate": dataset(layout, known.value),
            "standard_error": dataset(layout, known.error),
            "mode": dataset(layout, mode),
            "conditional_sd": dataset(layout, sd),
            "covariance": _unconstrained(layout, optimum),
            "log_likelihood": xr.Dataset(likelihood, coords={layout.over: layout.members}),
        },
        shift,
    )


def _unconstrained(layout: Layout, optimum: Optimum) -> xr.Dataset:
    """Estimates and modes as a sampler sees them."""
    names = np.asarray(layout.coordinates(), str)
    columns = [
        entry
        for block in layout.effects
        for entry in entries(
            layout.model, "", block.value, tuple(np.delete(block.shape, block.axis))
        )
    ]
    modes, over = optimum.answer.modes, layout.over
    return xr.Dataset(
        {
            "covariance": (("coordinate", "coordinate_2"), optimum.covariance),
            "estimate": ("coordinate", optimum.theta),
            "mode": ((over, "effect"), modes.u),
            "root": ((over, "effect", "effect_2"), modes.root),
        },
        coords={
            "coordinate": names,
            "coordinate_2": names,
            "effect": columns,
            "effect_2": columns,
            over: layout.members,
        },
    )
