"""Estimates on the scales of the model, with standard errors by the delta method, labelled."""

from dataclasses import dataclass

import jax
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Float
from pymc.util import get_default_varnames
from pytensor.graph.traversal import ancestors

from pymc_dynsys.bridge.labels import labels_of
from pymc_dynsys.marginal.boundary import Edges
from pymc_dynsys.marginal.layout import Layout, compiled_values, entries
from pymc_dynsys.marginal.optimum import Optimum

H = 1e-3
"""Step of the differences of the delta method, in standard errors."""

NORMAL_95 = 1.959963984540054
INFINITE = 40.0
"""What stands for infinity where a function of it is not defined."""

MOST_ENTRIES = 100
"""Deterministic variables with more elements are not in the table."""


class Scales:
    """Values of variables on their own scales, as functions of u and theta.

    Attributes
    ----------
    layout : Layout
        Effects and parameters.
    of_parameters, of_effects : list of str
        Variables that do not depend on effects, and those that do.
    """

    def __init__(self, layout: Layout) -> None:
        model = layout.model
        effects = {model[block.name] for block in layout.effects}
        names = [str(v.name) for v in get_default_varnames(model.unobserved_value_vars, False)]
        of_effects = [
            n for n in names if model[n] in effects or effects & set(ancestors([model[n]]))
        ]
        self.layout = layout
        self.of_effects = of_effects
        self.of_parameters = [n for n in names if n not in of_effects]
        # One program, which is compiled in less time than one for each.
        self._names = [*self.of_parameters, *self.of_effects]
        self._values = values = compiled_values(layout, self._names)
        self._pull = jax.jit(
            lambda u, theta, weights: jax.vjp(lambda v: tuple(values(v, theta)), u)[1](weights)[0]
        )

    def all(self, u: np.ndarray, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Values of all variables."""
        return dict(zip(self._names, map(np.asarray, self._values(u, theta)), strict=True))

    def slope(
        self, name: str, element: int, u: np.ndarray, theta: np.ndarray
    ) -> Float[np.ndarray, " entry"]:
        """The gradient by u of one element of a variable, counted in its flat array."""
        weights = tuple(np.zeros_like(v) for v in self.all(u, theta).values())
        weights[self._names.index(name)].flat[element] = 1.0
        return np.asarray(self._pull(u, theta, weights))

    def parameters(self, u: np.ndarray, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Values of what does not depend on effects."""
        found = self.all(u, theta)
        return {n: found[n] for n in self.of_parameters}

    def effects(self, u: np.ndarray, theta: np.ndarray) -> dict[str, np.ndarray]:
        """Values of what depends on effects."""
        found = self.all(u, theta)
        return {n: found[n] for n in self.of_effects}


def at_edges(theta: np.ndarray, edges: Edges, far: float = np.inf) -> np.ndarray:
    """The parameters with those at edges where these are."""
    return np.where(edges.inside, theta, np.where(edges.side > 0, far, -far))


@dataclass(frozen=True)
class Estimates:
    """What is known of the parameters and their functions, by name.

    Attributes
    ----------
    value, error : dict of str to array
        Estimates, standard errors.
    lower, upper : dict of str to array
        Ends of 95% intervals.
    edge : dict of str to array of bool
        Whether it is at an edge, or a function of what is there alone.
    """

    value: dict[str, np.ndarray]
    error: dict[str, np.ndarray]
    lower: dict[str, np.ndarray]
    upper: dict[str, np.ndarray]
    edge: dict[str, np.ndarray]


def estimates(of: Scales, optimum: Optimum) -> Estimates:
    """Estimates with standard errors and intervals.

    Intervals are symmetric where a free variable is unconstrained, one element by itself, and
    symmetric on its own scale otherwise. All are those with what is at an edge held there.
    """
    theta, edges, u = optimum.theta, optimum.edges, optimum.answer.modes.u
    covariance = optimum.covariance
    keep = edges.inside

    def at(place: np.ndarray) -> dict[str, np.ndarray]:
        return of.parameters(u, place)

    limit = at_edges(theta, edges)
    value = at(limit)
    if any(np.isnan(v).any() for v in value.values()):
        limit = at_edges(theta, edges, INFINITE)
        value = at(limit)
    back = at(theta - 2.0 * edges.side)
    variance = {n: np.zeros(v.shape) for n, v in value.items()}
    roots = np.zeros((len(theta), keep.sum()))
    roots[keep] = np.linalg.cholesky(covariance[np.ix_(keep, keep)]) if keep.any() else 0.0
    for column in roots.T:
        above, below = at(limit + H * column), at(limit - H * column)
        for n in variance:
            variance[n] += ((above[n] - below[n]) / (2 * H)) ** 2
    # What does not vary has differences of rounding only.
    still = {n: np.sqrt(v) < 1e-10 * (1.0 + np.abs(value[n])) for n, v in variance.items()}
    # At an edge is what goes there, and is not moved by what is inside.
    edge = {n: still[n] & ~np.isclose(back[n], v, rtol=1e-12, atol=0.0) for n, v in value.items()}
    error = {
        n: np.where(edge[n], np.nan, np.where(still[n], 0.0, np.sqrt(v)))
        for n, v in variance.items()
    }
    sds = np.where(keep, np.sqrt(np.where(keep, np.diag(covariance), 0.0)), 0.0)
    ends = at(limit - NORMAL_95 * sds), at(limit + NORMAL_95 * sds)
    lower, upper = {}, {}
    single = _elementwise(of.layout)
    for n, v in value.items():
        pair = (
            [e[n] for e in ends]
            if n in single
            else [v - NORMAL_95 * error[n], v + NORMAL_95 * error[n]]
        )
        lower[n] = np.where(edge[n], np.nan, np.minimum(*pair))
        upper[n] = np.where(edge[n], np.nan, np.maximum(*pair))
    return Estimates(value, error, lower, upper, edge)


def names_at_edge(layout: Layout, edges: Edges, flagged: set[str]) -> list[str]:
    """Names of variables at an edge, among those that the table flags.

    Of a Cholesky factor these are the correlations or sds that PyMC makes of it.
    """
    found: list[str] = []
    for j in map(int, np.flatnonzero(~edges.inside)):
        name = layout.owner(j).name
        parts = [f"{name}_{part}" for part in ("corr", "stds") if f"{name}_{part}" in flagged]
        found += parts or [name]
    return list(dict.fromkeys(found))


def _elementwise(layout: Layout) -> set[str]:
    """Free variables whose elements are unconstrained one by one."""
    return {b.name for b in layout.parameters if is_elementwise(layout.model, b.name)}


def is_elementwise(model: pm.Model, name: str) -> bool:
    """Whether a free variable has no transform, or one of each element by itself."""
    transform = model.rvs_to_transforms[model[name]]
    return transform is None or getattr(transform, "ndim_supp", 1) == 0


def shifts(of: Scales, optimum: Optimum, move: np.ndarray, known: Estimates) -> dict:
    """How far a move of theta takes each estimate, in standard errors."""
    u, theta = optimum.answer.modes.u, optimum.theta
    size = max(np.abs(move).max(), 1e-300)
    part = min(1.0, 1e-2 / size)  # a derivative along the move, which may be too long to be made
    there, back = of.parameters(u, theta + part * move), of.parameters(u, theta - part * move)
    with np.errstate(invalid="ignore", divide="ignore"):
        return {
            n: np.where(
                known.error[n] > 0, (there[n] - back[n]) / (2 * part) / known.error[n], np.nan
            )
            for n in there
        }


def dataset(layout: Layout, arrays: dict[str, np.ndarray]) -> xr.Dataset:
    """Arrays with the dims and labels of the model."""
    model = layout.model
    out: dict[str, tuple] = {}
    coords: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        dims = model.named_vars_to_dims.get(name) or ()
        known = [d or f"{name}_dim_{i}" for i, d in enumerate(dims)]
        dims = known if len(known) == array.ndim else [f"{name}_dim_{i}" for i in range(array.ndim)]
        out[name] = (dims, array)
        for dim in dims:
            if dim in model.dim_lengths:
                coords[dim] = np.asarray(list(labels_of(model, [dim])[0]))
    return xr.Dataset(out, coords=coords)


def summary(layout: Layout, known: Estimates, shift: dict[str, np.ndarray] | None) -> xr.Dataset:
    """One row for each number that is estimated, and for functions of a few."""
    model = layout.model
    free = {b.name for b in layout.parameters}
    names = [b.name for b in layout.parameters if b.name in known.value]
    names += [n for n, v in known.value.items() if n not in free and v.size <= MOST_ENTRIES]
    rows = [e for n in names for e in entries(model, n, n, known.value[n].shape)]

    def column(arrays: dict[str, np.ndarray]) -> tuple[str, np.ndarray]:
        parts = [np.ravel(arrays[n]) for n in names]
        return "parameter", np.concatenate(parts) if parts else np.zeros(0)

    columns = {
        "estimate": column(known.value),
        "standard_error": column(known.error),
        "lower": column(known.lower),
        "upper": column(known.upper),
    }
    if shift is not None:
        columns["shift"] = column(shift)
    columns["boundary"] = column(known.edge)
    return xr.Dataset(columns, coords={"parameter": np.asarray(rows, str)})
