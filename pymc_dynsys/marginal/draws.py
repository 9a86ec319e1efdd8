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

CANDIDATES = 16
"""Effects among which one is drawn."""

RELIABLE = 0.7
"""Pareto k up to which importance sampling is reliable."""


@dataclass(frozen=True)
class Draws:
    """Draws of equal weight.

    Attributes
    ----------
    theta : array, (draw, parameter)
    u : array, (draw, member, effect)
    pareto_k : float
        Of the weights of the parameters; above 0.7 the normal distribution is no stand-in.
    ess : float
        Independent draws that the weights are worth.
    """

    theta: Float[np.ndarray, "draw parameter"]
    u: Float[np.ndarray, "draw member effect"]
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
) -> Float[np.ndarray, "member effect"]:
    """Effects of all members given the parameters."""
    assert modes is not None  # what has no modes has no weight
    n, q = modes.u.shape
    nodes = importance(CANDIDATES, n, q, int(rng.integers(2**31)))
    logs, at = nodes.logs(marginal.density, theta, modes)
    shares = np.cumsum(np.exp(logs - logsumexp(logs, axis=0)), axis=0)
    which = np.minimum((shares < rng.random(n)).sum(0), CANDIDATES - 1)
    return at[which, np.arange(n)]
