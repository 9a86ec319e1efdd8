"""The groups of a fit."""

import numpy as np
import xarray as xr

from pymc_dynsys.marginal.check import Check
from pymc_dynsys.marginal.conditional import conditional
from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.draws import Draws
from pymc_dynsys.marginal.layout import Layout
from pymc_dynsys.marginal.optimum import Optimum
from pymc_dynsys.marginal.report import (
    Scales,
    dataset,
    estimates,
    shifts,
    summary,
)
from pymc_dynsys.marginal.response import moves_of_modes


def groups(
    scales: Scales, density: Density, optimum: Optimum, checked: Check | None
) -> tuple[dict[str, xr.Dataset], dict[str, np.ndarray] | None]:
    """Groups by name, and how far the check would move estimates."""
    layout = scales.layout
    over = layout.over[0]
    known = estimates(scales, optimum)
    shift = None if checked is None else shifts(scales, optimum, checked.move, known)
    modes = optimum.answer.modes
    mode, sd = conditional(scales, modes, optimum.theta)
    likelihood = {"log_likelihood": (over, optimum.answer.members)}
    if checked is not None:
        likelihood["error"] = (over, checked.members)
        if checked.pareto_k is not None:
            likelihood["pareto_k"] = (over, checked.pareto_k)
    return (
        {
            "summary": summary(layout, known, shift),
            "estimate": dataset(layout, known.value),
            "standard_error": dataset(layout, known.error),
            "mode": dataset(layout, mode),
            "conditional_sd": dataset(layout, sd),
            "covariance": _covariance(layout, optimum),
            "unconstrained": _unconstrained(density, optimum),
            "log_likelihood": xr.Dataset(likelihood, coords={over: layout.members}),
        },
        shift,
    )


def _covariance(layout: Layout, optimum: Optimum) -> xr.Dataset:
    """Unconstrained parameters and their covariance."""
    names = np.asarray(layout.coordinates(), str)
    return xr.Dataset(
        {
            "covariance": (("coordinate", "coordinate_2"), optimum.covariance),
            "estimate": ("coordinate", optimum.theta),
        },
        coords={"coordinate": names, "coordinate_2": names},
    )


def _unconstrained(density: Density, optimum: Optimum) -> xr.Dataset:
    """All values as a sampler sees them, and the normal distribution around them.

    ``<value>_root`` are moves along the columns of a root of the parameters' covariance, and
    ``<value>_own`` are the sds of effects given the parameters.
    """
    layout, modes = density.layout, optimum.answer.modes
    moves, columns = moves_of_modes(density, optimum)
    own = modes.root.sds()
    out: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for block in (*layout.parameters, *layout.effects):
        dims = tuple(f"{block.value}_dim_{i}" for i in range(len(block.shape)))
        if block.level < 0:
            value = optimum.theta[block.places].reshape(block.shape)
            root = columns[block.places].reshape(*block.shape, -1)
        else:
            value = layout.shaped(block, modes.u)
            shifts_of_mode = [layout.shaped(block, move) for move in moves]
            root = np.stack(shifts_of_mode, -1) if shifts_of_mode else np.zeros((*block.shape, 0))
            out[f"{block.value}_own"] = (dims, layout.shaped(block, own))
        out[block.value] = (dims, value)
        out[f"{block.value}_root"] = ((*dims, "column"), root)
    return xr.Dataset(out, attrs={"values": list(layout.order)})


def posterior(scales: Scales, draws: Draws) -> xr.Dataset:
    """Draws of all variables on their own scales, dims (chain, draw, ...)."""
    each = [scales.all(u, theta) for u, theta in zip(draws.u, draws.theta, strict=True)]
    arrays = {name: np.stack([one[name] for one in each]) for name in each[0]}
    found = {
        name: dataset(scales.layout, {name: array[0]})[name].dims for name, array in arrays.items()
    }
    coords = dataset(scales.layout, each[0]).coords
    return xr.Dataset(
        {n: (("chain", "draw", *found[n]), a[None]) for n, a in arrays.items()},
        coords={**coords, "chain": [0], "draw": np.arange(len(each))},
        attrs={"pareto_k": draws.pareto_k, "ess": draws.ess},
    )
