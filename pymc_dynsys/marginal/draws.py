r"""Draws of the posterior: of parameters by importance sampling, of effects given these.

Parameters are proposed from the normal distribution at the mode of their marginal posterior,
weighted by that posterior over the proposal, and resampled by their Pareto-smoothed weights
(Vehtari et al. 2024). Effects of each member are resampled from a few draws of a t distribution
around their mode given the parameters.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from pymc_dynsys.marginal.integrate import importance
from pymc_dynsys.marginal.laplace import Marginal
from pymc_dynsys.marginal.modes import Modes, NoMode, find_modes
from pymc_dynsys.marginal.optimum import Optimum
from pymc_dynsys.marginal.pareto import smoothed

CANDIDATES, CANDIDATES_OF_MANY = 16, 8
"""Effects of a member among which those of a draw are chosen; with three levels or more."""

RELIABLE = 0.7
"""Pareto k up to which importance sampling is reliable."""


@dataclass(frozen=True)
class Draws:
    """Draws of equal weight.

    Attributes
    ----------
    theta : array, (draw, parameter)
    u : array, (draw, entry)
    pareto_k : float
        Of the weights of the parameters; above 0.7 the normal distribution is no stand-in.
    ess : float
        Independent draws that the weights are worth.
    """

    theta: Float[np.ndarray, "draw parameter"]
    u: Float[np.ndarray, "draw entry"]
    pareto_k: float
    ess: float


def draw(marginal: Marginal, optimum: Optimum, n: int, seed: int) -> Draws:
    """As many draws as proposals; a parameter may be drawn several times, with other effects."""
    rng = np.random.default_rng(seed)
    p = len(optimum.theta)
    root = np.linalg.cholesky(optimum.covariance)
    z = rng.normal(size=(n, p))
    proposed = optimum.theta + z @ root.T
    logs = np.full(n, -np.inf)
    modes: list[Modes | None] = [None] * n
    density, start = marginal.density, optimum.answer.modes
    for i, theta in enumerate(proposed):
        try:
            modes[i] = found = find_modes(density, theta, start.u, start.root)
        except NoMode:
            continue
        value = marginal.integral(density, theta, found).value
        if np.isfinite(value):
            logs[i] = value + (z[i] ** 2).sum() / 2
    if not np.isfinite(logs).any():
        raise ValueError("draws: the posterior is not finite at any proposal; use pm.sample")
    smooth, k = smoothed(logs)
    weights = np.where(np.isfinite(logs), np.exp(smooth - logsumexp(smooth)), 0.0)
    weights /= weights.sum()
    # Systematic resampling: numbers of copies vary least.
    places = (np.arange(n) + rng.random()) / n
    chosen = np.minimum(np.searchsorted(np.cumsum(weights), places), n - 1)
    rng.shuffle(chosen)
    u = np.stack([_effects(marginal, proposed[i], modes[i], rng) for i in chosen])
    return Draws(proposed[chosen], u, float(k), float(1.0 / (weights**2).sum()))


def _effects(
    marginal: Marginal, theta: np.ndarray, modes: Modes | None, rng: np.random.Generator
) -> Float[np.ndarray, " entry"]:
    """Effects of all members given the parameters, the outermost first."""
    assert modes is not None  # what has no modes has no weight
    tree = modes.tree
    most = CANDIDATES if tree.n_levels < 3 else CANDIDATES_OF_MANY
    nodes = importance([most] * tree.n_levels, tree, int(rng.integers(2**31)))
    logs, totals, _ = nodes.sums(marginal.density, theta, modes)
    chosen: list[np.ndarray] = []
    x = []
    for level, n in enumerate(tree.sizes):
        who = np.arange(n)
        path = tuple(chosen[above][tree.ancestors[level, above]] for above in range(level))
        own = logs[level][(*path, slice(None), who)] if level else logs[level].T
        total = totals[level][(*path, who)]
        shares = np.cumsum(np.exp(own - total[:, None]), axis=1)
        which = np.minimum((shares < rng.random(n)[:, None]).sum(1), most - 1)
        chosen.append(which)
        x.append(nodes.nodes[level][which, who])
    return modes.u + modes.root.times(tree.join(x))
