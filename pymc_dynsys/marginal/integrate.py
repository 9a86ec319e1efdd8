r"""The effects integrated out by sums over nodes around the modes.

With modes u and a root V, ``int exp f(u) du = det V int exp f(u + V x) dx``: adaptive Gauss-Hermite
quadrature for few effects (Pinheiro and Bates 1995), importance sampling from a t distribution for
more. The gradient is Fisher's identity, the mean of the gradient of the log-density over the nodes,
weighted by their shares of the sum.

With nested levels the sum over the nodes of a member is taken for each node of those above it,
around where its mode goes as these move, which is what the columns of V say to first order.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.laplace import Answer
from pymc_dynsys.marginal.modes import Modes
from pymc_dynsys.marginal.nesting import Tree

DEGREES = 7.0
"""Degrees of freedom of the t distribution: tails that are heavier than normal."""


@dataclass(frozen=True, eq=False)
class ByNodes:
    """Integrals as weighted sums.

    Attributes
    ----------
    nodes : tuple of array, (node, member or 1, effect)
        For each level, where, in units of the roots.
    log_weights : tuple of array, (node, member or 1)
        For each level, logarithms of the weights.
    """

    nodes: tuple[np.ndarray, ...]
    log_weights: tuple[np.ndarray, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Nodes of a member of each level."""
        return tuple(len(nodes) for nodes in self.nodes)

    def places(self, modes: Modes) -> Float[np.ndarray, "combination entry"]:
        """Effects at all combinations of a node of each level, the innermost running fastest."""
        tree, n = modes.tree, int(np.prod(self.shape))
        chosen = np.unravel_index(np.arange(n), self.shape)
        x = tree.join(
            [
                np.broadcast_to(nodes[k], (n, size, nodes.shape[2]))
                for nodes, k, size in zip(self.nodes, chosen, tree.sizes, strict=True)
            ]
        )
        return modes.u + modes.root.times(x)

    def sums(
        self, density: Density, theta: np.ndarray, modes: Modes
    ) -> tuple[list[np.ndarray], list[np.ndarray], Float[np.ndarray, "combination entry"]]:
        """Logarithms of summands and of their sums for the members of each level, and places.

        Those of level l have an axis of nodes for each level up to it, ``(*node, member)``; the
        last of these axes is summed over.
        """
        tree = modes.tree
        at = self.places(modes)
        found = density.at(at, theta).members
        nowhere = ~np.isfinite(found)
        entries = np.repeat(np.arange(tree.n_members), np.repeat(tree.widths, tree.sizes))
        at = np.where(nowhere[:, entries], modes.u, at)
        values = np.where(nowhere, -np.inf, found).reshape(*self.shape, -1)
        logs: list[np.ndarray] = []
        totals: list[np.ndarray] = []
        below: np.ndarray | float = 0.0
        for level in range(tree.n_levels - 1, -1, -1):
            # What belongs to a member depends on no node of those below it.
            first = (slice(None),) * (level + 1) + (0,) * (tree.n_levels - 1 - level)
            own = tree.by_level(values)[level][first]
            logs.insert(0, own + self.log_weights[level] + below)
            totals.insert(0, logsumexp(logs[0], axis=level))
            if level:
                below = _summed(totals[0], tree, level)
        return logs, totals, at

    def __call__(
        self, density: Density, theta: Float[np.ndarray, " parameter"], modes: Modes
    ) -> Answer:
        """The marginal log-likelihood and its gradient at theta."""
        return self.with_logs(density, theta, modes)[0]

    def value(self, density: Density, theta: np.ndarray, modes: Modes) -> float:
        """The marginal log-likelihood alone, for half of the work."""
        return float(self.members(density, theta, modes).sum() + modes.rest)

    def members(
        self, density: Density, theta: np.ndarray, modes: Modes
    ) -> Float[np.ndarray, " top"]:
        """What of it belongs to each outermost member."""
        _, totals, _ = self.sums(density, theta, modes)
        return totals[0] + modes.tree.whole(modes.log_volume)

    def with_logs(
        self, density: Density, theta: Float[np.ndarray, " parameter"], modes: Modes
    ) -> tuple[Answer, Float[np.ndarray, "node top"]]:
        """The same, with the logarithms of the summands of the outermost members."""
        tree = modes.tree
        logs, totals, at = self.sums(density, theta, modes)
        weights = np.zeros((*self.shape, tree.n_members + 1))
        weights[(0,) * tree.n_levels + (-1,)] = 1.0
        above = np.ones(())
        for level, places in enumerate(tree.by_level(np.arange(tree.n_members))):
            share = np.exp(logs[level] - np.expand_dims(totals[level], level))
            if level:
                share = share * above[..., None, tree.parents[level - 1]]
            first = (slice(None),) * (level + 1) + (0,) * (tree.n_levels - 1 - level)
            weights[(*first, places)] = share
            above = share
        gradient = density.at(at, theta, weights.reshape(len(at), -1)).by_theta.sum(0)
        members = totals[0] + tree.whole(modes.log_volume)
        return Answer(float(members.sum() + modes.rest), gradient, members, modes), logs[0]


def _summed(totals: np.ndarray, tree: Tree, level: int) -> np.ndarray:
    """Sums of what belongs to members over those of one parent."""
    return np.moveaxis(tree.sum_above(np.moveaxis(totals, -1, 0), level, level - 1), 0, -1)


def gauss_hermite(n: int, widths: Sequence[int]) -> ByNodes:
    """A grid of n nodes along each effect of each level."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    nodes, logs = [], []
    for q in widths:
        grid = np.stack(np.meshgrid(*[x] * q, indexing="ij"), -1)
        nodes.append(grid.reshape(-1, 1, q))
        of_axes = np.meshgrid(*[np.log(w) + x**2 / 2] * q, indexing="ij")
        logs.append(np.sum(of_axes, axis=0).reshape(-1, 1))
    return ByNodes(tuple(nodes), tuple(logs))


def importance(counts: Sequence[int], tree: Tree, seed: int, degrees: float = DEGREES) -> ByNodes:
    """Even numbers of draws of a t distribution for each level, others for each member.

    Draws come in pairs x and -x, so that what is linear in the effects, most of the gradient by
    the parameters, has no Monte Carlo error; errors of members are independent and average out.
    """
    from scipy.stats import multivariate_t  # slow to import

    nodes, weights = [], []
    for level, (n, size, q) in enumerate(zip(counts, tree.sizes, tree.widths, strict=True)):
        law = multivariate_t(np.zeros(q), np.eye(q), degrees, seed=seed + level)
        half = np.reshape(law.rvs(n // 2 * size), (n // 2, size, q))
        both = np.concatenate([half, -half])
        logs = np.reshape(law.logpdf(both.reshape(-1, q)), both.shape[:2])
        nodes.append(both)
        weights.append(-logs - np.log(n))
    return ByNodes(tuple(nodes), tuple(weights))
