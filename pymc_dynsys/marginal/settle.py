r"""How effects are integrated out at draws of a posterior: as cheaply as is exact enough.

At a few of the draws a fine integral is compared with cheaper ones, and the cheapest stays whose
members differ from it by few nats, added up without their signs. For one or two effects of a member
these are Laplace's approximation and grids of nodes. For more it is Laplace's approximation where
the weights of normal draws around the modes are equal, as they are where effects enter linearly,
else importance sampling, with other draws for each draw of the posterior, so that errors average
out.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pymc_dynsys.marginal.check import finer
from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.integrate import DEGREES, ByNodes, gauss_hermite, importance
from pymc_dynsys.marginal.laplace import laplace_members
from pymc_dynsys.marginal.modes import Modes
from pymc_dynsys.marginal.pareto import smoothed

type Members = Callable[[Density, np.ndarray, Modes], np.ndarray]
"""The log-likelihood of each outermost member at theta, given the modes."""

ENOUGH = 0.05
"""Nats that all members together may differ from the fine integral at any draw that is tried."""

GRIDS = 5, 9, 15
"""Nodes along each effect, from the cheapest."""

DRAWS_EACH = 200
DRAWS_NESTED = 64, 8
"""Draws of each member for each draw of the posterior; where levels are nested, of an outermost
member, and for each of them of one below."""


@dataclass(frozen=True)
class Settled:
    """An integral that is exact enough.

    Attributes
    ----------
    name : str
        What it is.
    members : callable
        The integral.
    error : float
        Nats by which the sum over members may be wrong: the largest at the draws that were tried.
    pareto_k : array, (top,), or None
        Of the importance weights, the largest at these draws.
    """

    name: str
    members: Members
    error: float
    pareto_k: np.ndarray | None = None


class ByFreshDraws:
    """Importance sampling with new draws at each call."""

    def __init__(self, counts: Sequence[int], degrees: float, seed: int) -> None:
        self.counts, self.degrees = counts, degrees
        self.rng = np.random.default_rng(seed)

    def __call__(self, density: Density, theta: np.ndarray, modes: Modes) -> np.ndarray:
        """The log-likelihood of each outermost member."""
        return self.nodes(modes).members(density, theta, modes)

    def nodes(self, modes: Modes) -> ByNodes:
        """Draws of a t distribution around the modes."""
        seed = int(self.rng.integers(2**31))
        return importance(self.counts, modes.tree, seed, self.degrees)


def settle(density: Density, tried: Sequence[tuple[np.ndarray, Modes]], seed: int) -> Settled:
    """The cheapest integral that is exact enough at some draws, with their modes."""
    name, fine, random = finer(density.tree, seed)
    if random:
        return _by_draws(density, tried, seed)
    exact = [fine.members(density, theta, modes) for theta, modes in tried]

    def error(members: Members) -> float:
        """The largest sum of differences without signs."""
        found = [members(density, theta, modes) for theta, modes in tried]
        return max(float(np.abs(a - b).sum()) for a, b in zip(found, exact, strict=True))

    of_laplace = error(laplace_members)
    if of_laplace <= ENOUGH:
        return Settled("Laplace's approximation", laplace_members, of_laplace)
    of_grid = np.inf
    for n in GRIDS:
        if n ** sum(density.tree.widths) >= np.prod(fine.shape):
            break
        grid = gauss_hermite(n, density.tree.widths)
        of_grid = error(grid.members)
        if of_grid <= ENOUGH:
            return Settled(f"quadrature with {n} nodes along each effect", grid.members, of_grid)
    return Settled(name, fine.members, of_grid)


def _by_draws(density: Density, tried: Sequence[tuple[np.ndarray, Modes]], seed: int) -> Settled:
    """Laplace's approximation where normal draws find it exact, else importance sampling."""
    tree = density.tree
    first, below = (DRAWS_EACH, 0) if tree.n_levels == 1 else DRAWS_NESTED
    counts = [first, *[below] * (tree.n_levels - 1)]
    normal = ByFreshDraws(counts, np.inf, seed)
    errors = []
    for theta, modes in tried:
        found = normal(density, theta, modes)
        errors.append(float(np.abs(found - laplace_members(density, theta, modes)).sum()))
    if max(errors) <= ENOUGH:
        return Settled("Laplace's approximation", laplace_members, max(errors))
    heavy = ByFreshDraws(counts, DEGREES, seed)
    errors, ks = [], []
    for theta, modes in tried:
        logs, totals, _ = heavy.nodes(modes).sums(density, theta, modes)
        shares = np.exp(logs[0] - totals[0])
        variances = (shares**2).sum(0) - 1.0 / len(shares)
        errors.append(float(np.sqrt(variances.clip(0).sum())))
        ks.append(smoothed(logs[0].T)[1])
    name = f"importance sampling with {' x '.join(map(str, counts))} draws"
    return Settled(name, heavy, max(errors), np.max(ks, axis=0))
