"""How wrong the fit's integral is: by a finer one at the optimum, without a new search."""

from dataclasses import dataclass

import numpy as np

from pymc_dynsys.marginal.integrate import ByNodes, gauss_hermite, importance
from pymc_dynsys.marginal.laplace import Marginal
from pymc_dynsys.marginal.optimum import Optimum
from pymc_dynsys.marginal.pareto import smoothed

NODES = {1: 25, 2: 11}
"""Nodes along each of one or two effects."""

DRAWS = 1000
"""Draws of each member for more effects."""

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
    members : array, (member,)
        Finer less used log-likelihood of each member.
    total : float
        Their sum, nats.
    move : array, (parameter,)
        Where the optimum of the finer one is expected, less where it is: one Newton step.
    escapes : dict of int to (float, float)
        For entries at an edge: how many nats the finer one is higher elsewhere, and where.
    pareto_k : array, (member,), or None
        Of the importance weights.
    """

    name: str
    members: np.ndarray
    total: float
    move: np.ndarray
    escapes: dict[int, tuple[float, float]]
    pareto_k: np.ndarray | None


def finer(q: int, n_members: int, seed: int) -> tuple[str, ByNodes]:
    """A finer integral for q effects, and what to call it."""
    if q in NODES:
        grid = f"{NODES[q]} nodes" if q == 1 else f"{NODES[q]} x {NODES[q]} nodes"
        return f"quadrature with {grid}", gauss_hermite(NODES[q], q)
    return f"importance sampling with {DRAWS} draws", importance(DRAWS, n_members, q, seed)


def check_integral(marginal: Marginal, optimum: Optimum, seed: int) -> Check:
    """Compare the integral of a fit with a finer one."""
    modes, theta = optimum.answer.modes, optimum.theta
    name, nodes = finer(modes.u.shape[1], len(modes.u), seed)
    density = marginal.density
    answer, logs = nodes.with_logs(density, theta, modes)
    keep = optimum.edges.inside
    covariance = optimum.covariance[np.ix_(keep, keep)]
    move = np.zeros(len(theta))
    move[keep] = covariance @ (answer.gradient - optimum.answer.gradient)[keep]
    other = marginal.restarted(modes.u, nodes)
    escapes: dict[int, tuple[float, float]] = {}
    for j in map(int, np.flatnonzero(~keep)):
        for back in BACK:
            at = theta.copy()
            at[j] -= optimum.edges.side[j] * back
            found = other(at)
            gain = -np.inf if found is None else found.value - answer.value
            if gain > max(HIGHER, escapes.get(j, (0.0, 0.0))[0]):
                escapes[j] = (gain, at[j])
    pareto_k = None if modes.u.shape[1] in NODES else smoothed(logs.T)[1]
    return Check(
        name,
        answer.members - optimum.answer.members,
        answer.value - optimum.answer.value,
        move,
        escapes,
        pareto_k,
    )
