"""How wrong the fit's integral is: by a finer one at the optimum, without a new search."""

from dataclasses import dataclass

import numpy as np

from pymc_dynsys.marginal.integrate import ByNodes, gauss_hermite, importance
from pymc_dynsys.marginal.laplace import Marginal
from pymc_dynsys.marginal.modes import NoMode
from pymc_dynsys.marginal.nesting import Tree
from pymc_dynsys.marginal.optimum import Optimum
from pymc_dynsys.marginal.pareto import smoothed

NODES = {1: 25, 2: 11}
"""Nodes along each of one or two effects."""

NODES_NESTED = {2: 11, 3: 9, 4: 5, 5: 4}
"""Nodes along each effect where levels are nested, by effects of one member of each, in all."""

DRAWS = 1000
"""Draws of each member for more effects."""

DRAWS_NESTED = 32, 8
"""Where levels are nested, draws of an outermost member, and for each of them of one below.

They are normal: where effects are so too, weights are equal, and few draws are enough."""

BACK = np.arange(1.0, 9.0)
"""Steps back from an edge at which a finer integral is looked at."""

NOTICED = 0.25
"""Standard errors by which an estimate may move without a warning."""

HIGHER = 0.1
"""Nats by which the finer integral may be higher away from an edge without a warning."""


@dataclass(frozen=True)
class Check:
    """A finer integral at the optimum.

    Attributes
    ----------
    name : str
        What it was.
    members : array, (top,)
        Finer less used log-likelihood of each member.
    total : float
        Their sum, nats.
    move : array, (parameter,)
        Where the optimum of the finer one is expected, less where it is: one Newton step.
    escapes : dict of int to (float, float)
        For entries at an edge: how many nats the finer one is higher elsewhere, and where.
    pareto_k : array, (top,), or None
        Of the importance weights.
    """

    name: str
    members: np.ndarray
    total: float
    move: np.ndarray
    escapes: dict[int, tuple[float, float]]
    pareto_k: np.ndarray | None


def finer(tree: Tree, seed: int) -> tuple[str, ByNodes, bool]:
    """A finer integral, what to call it, and whether it is one of random draws."""
    q, nested = sum(tree.widths), tree.n_levels > 1
    nodes = (NODES_NESTED if nested else NODES).get(q)
    if nodes is not None:
        grid = f"{nodes} nodes" if q == 1 else f"{' x '.join([str(nodes)] * q)} nodes"
        return f"quadrature with {grid}", gauss_hermite(nodes, tree.widths), False
    if nested:
        first, below = DRAWS_NESTED
        n = (first, *[below] * (tree.n_levels - 1))
        name = f"importance sampling with {' x '.join(map(str, n))} draws"
        return name, importance(n, tree, seed, degrees=np.inf), True
    return f"importance sampling with {DRAWS} draws", importance([DRAWS], tree, seed), True


def check_integral(marginal: Marginal, optimum: Optimum, seed: int) -> Check:
    """Compare the integral of a fit with a finer one."""
    modes, theta = optimum.answer.modes, optimum.theta
    name, nodes, random = finer(modes.tree, seed)
    density = marginal.density
    answer, logs = nodes.with_logs(density, theta, modes)
    keep = optimum.edges.inside
    covariance = optimum.covariance[np.ix_(keep, keep)]
    move = np.zeros(len(theta))
    move[keep] = covariance @ (answer.gradient - optimum.answer.gradient)[keep]
    other = marginal.restarted(modes.u)
    escapes: dict[int, tuple[float, float]] = {}
    for j in map(int, np.flatnonzero(~keep)):
        for back in BACK:
            at = theta.copy()
            at[j] -= optimum.edges.side[j] * back
            try:
                gain = nodes.value(density, at, other.modes(at)) - answer.value
            except NoMode:
                continue
            if gain > max(HIGHER, escapes.get(j, (0.0, 0.0))[0]):
                escapes[j] = (gain, at[j])
    pareto_k = smoothed(logs.T)[1] if random else None
    return Check(
        name,
        answer.members - optimum.answer.members,
        answer.value - optimum.answer.value,
        move,
        escapes,
        pareto_k,
    )
