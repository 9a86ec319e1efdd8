"""Parameters at the edge of what they can be, and directions of which the data say nothing.

An sd whose best value is zero sends its logarithm to minus infinity, where the log-likelihood is
flat. That is an answer, not a failure: the estimate is zero, and has no standard error.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pymc_dynsys.marginal.laplace import Answer, Marginal

FLAT = 1e-3
"""Curvature of a logarithm below which it may be on its way to an edge."""

COST = 1e-3
"""Nats that a step towards an edge may cost."""

STEP = 2.0
FAR = (4.0, 7.0, 10.0, 14.0, 20.0)
"""Steps back from an edge, of which one must cost TELLING nats, or the data say nothing.

A search may end far out, since nothing changes there.
"""
TELLING = 0.1

SINGULAR = 1e-7
"""Least eigenvalue of the curvature, scaled to a diagonal of one."""


@dataclass(frozen=True)
class Edges:
    """Which entries of theta are at an edge.

    Attributes
    ----------
    side : array, (parameter,)
        -1 or 1 towards which infinity an entry goes, 0 inside.
    """

    side: np.ndarray

    @property
    def inside(self) -> np.ndarray:
        """Entries that are not at an edge, ``(parameter,)``."""
        return self.side == 0


def find_edges(
    marginal: Marginal,
    theta: np.ndarray,
    answer: Answer,
    hessian: np.ndarray,
    edge_of: Callable[[int], bool],
    names: list[str],
) -> Edges:
    """Entries along which the log-likelihood is flat towards an edge and falls away from it.

    Raises
    ------
    ValueError
        If it is flat both ways.
    """
    side = np.zeros(len(theta), int)
    for j in map(int, np.flatnonzero(np.abs(np.diag(hessian)) < FLAT)):
        unit = np.eye(len(theta))[j]
        if not edge_of(j):
            continue

        def cost(step: float, unit: np.ndarray = unit) -> float:
            found = marginal(theta + step * unit)
            return np.inf if found is None else answer.value - found.value

        costs = [cost(sign * STEP) for sign in (-1, 1)]
        if min(costs) > COST:
            continue
        sign = -1 if costs[0] <= costs[1] else 1
        if not any(TELLING < cost(-sign * far) < np.inf for far in FAR):
            raise ValueError(
                f"model: the data say nothing of {names[j]}: moving it by {FAR[-1]:g} changes the "
                "log-likelihood by less than 0.1; fix it, or fit with priors=True"
            )
        side[j] = sign
    return Edges(side)


def require_identified(hessian: np.ndarray, edges: Edges, names: list[str]) -> None:
    """Raise for a direction in which the log-likelihood is flat, or still rises."""
    keep = np.flatnonzero(edges.inside)
    if not len(keep):
        return
    inner = hessian[np.ix_(keep, keep)]
    diagonal = np.sqrt(np.maximum(np.abs(np.diag(inner)), 1e-300))
    size, vectors = np.linalg.eigh(inner / np.outer(diagonal, diagonal))
    if size[0] < SINGULAR:
        at = np.abs(vectors[:, 0]) > 0.2
        found = ", ".join(names[keep[i]] for i in np.flatnonzero(at))
        raise ValueError(
            f"model: the log-likelihood has no curvature along {found} where it is largest, so the "
            "data do not tell them apart, or some are infinite there; fix one of them, drop a "
            "covariate, or fit with priors=True. With priors it may be one of these that has no "
            "maximum, as LKJCholeskyCov has none where correlations reach 1: take priors=False"
        )
