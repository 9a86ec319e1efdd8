r"""The maximum of a marginal log-likelihood: L-BFGS-B from SciPy, then Newton's steps.

How far an optimum is from where a search ended is told by the nats that are left, g'g/2 in units in
which the curvature is one: a number without units, whatever the parameters are.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from pymc_dynsys.marginal.boundary import Edges, find_edges, require_identified
from pymc_dynsys.marginal.laplace import Answer, Marginal

Tick = Callable[[Answer], None]

STEP = 1e-2
"""Step of the differences of gradients, in standard errors; within LEAST and MOST."""
LEAST, MOST = 1e-6, 3e-2

LEFT = 1e-8
"""Nats left at which the search ends."""

MOVED = 1e-3
"""Standard errors from where the curvature was measured, beyond which it is measured again."""

MISSIZED = 4.0
"""Times STEP: a step of differences that was longer, in standard errors, is made again."""

NEWTON = 40
HALVINGS = 12
PENALTY = 100.0
"""Nats that a point without an answer is worse than the start, to which the search turns back."""


class NotFinite(Exception):
    """There is no finite marginal log-likelihood where a search begins."""


@dataclass(frozen=True)
class Optimum:
    """Where a marginal log-likelihood is largest.

    Attributes
    ----------
    theta : array, (parameter,)
        The place.
    answer : Answer
        The log-likelihood there.
    hessian : array, (parameter, parameter)
        Minus its second derivative.
    edges : Edges
        Entries of theta that went to infinity.
    nats_left : float
        By which a parabola with this curvature is higher at its top.
    """

    theta: np.ndarray
    answer: Answer
    hessian: np.ndarray
    edges: Edges
    nats_left: float

    @property
    def covariance(self) -> Float[np.ndarray, "parameter parameter"]:
        """Inverse of the curvature, without what is at an edge, whose rows are NaN."""
        keep = self.edges.inside
        full = np.full(self.hessian.shape, np.nan)
        full[np.ix_(keep, keep)] = np.linalg.inv(self.hessian[np.ix_(keep, keep)])
        return full


def climb(
    marginal: Marginal, theta: np.ndarray, max_steps: int, tick: Tick
) -> tuple[np.ndarray, Answer, np.ndarray]:
    """The highest point that L-BFGS-B visits, its answer, and rough sds of the parameters.

    The first step is at most one long in all, since nothing is known of scales yet.
    """
    first = marginal(theta)
    if first is None:
        raise NotFinite
    best = (theta, first)
    if not len(theta):
        return theta, first, np.zeros(0)
    scale = 1.0 / max(1.0, float(np.linalg.norm(first.gradient)))

    def objective(x: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal best
        answer = marginal(x)
        if answer is None:
            return (PENALTY - first.value) * scale, np.zeros_like(x)
        if answer.value > best[1].value:
            best = (x.copy(), answer)
        tick(answer)
        return -answer.value * scale, -answer.gradient * scale

    # The tolerances are those of the first part of the search; Newton's steps end it.
    options = {"maxiter": max_steps, "ftol": 1e-10, "gtol": 1e-4 * scale}
    found = minimize(objective, theta, jac=True, method="L-BFGS-B", options=options)
    inverse = np.asarray(found.hess_inv.todense()) * scale
    return *best, np.sqrt(np.clip(np.diag(inverse), 0.0, None))


def curvature(
    marginal: Marginal, theta: np.ndarray, sds: np.ndarray
) -> tuple[Float[np.ndarray, "parameter parameter"], Float[np.ndarray, " parameter"]]:
    """Minus the second derivative, by central differences of gradients, and their steps."""
    p = len(theta)
    rows, steps = np.zeros((p, p)), np.clip(STEP * sds, LEAST, MOST)
    for j in range(p):
        for _ in range(HALVINGS):
            move = steps[j] * np.eye(p)[j]
            above, below = marginal(theta + move), marginal(theta - move)
            if above is not None and below is not None:
                break
            steps[j] /= 4
        else:
            raise NotFinite
        rows[j] = (below.gradient - above.gradient) / (2 * steps[j])
    return (rows + rows.T) / 2, steps


def finish(
    marginal: Marginal,
    theta: np.ndarray,
    answer: Answer,
    sds: np.ndarray,
    edge_of: Callable[[int], bool],
    names: list[str],
    left: float,
    tick: Tick,
) -> Optimum:
    """Newton's steps to the top, from where :func:`climb` ended.

    The curvature is measured anew where it led nowhere, and at the end where the way since then was
    long or the steps of its differences were.

    Parameters
    ----------
    marginal : Marginal
        The log-likelihood.
    theta, answer, sds : array, Answer, array
        What `climb` gave.
    edge_of : callable
        Whether an entry of theta may go to infinity, as the log of an sd does.
    names : list of str
        Of the entries of theta.
    left : float
        Nats left that are few enough.
    tick : callable
        Told of each step.
    """

    def measure(sds: np.ndarray) -> tuple[np.ndarray, np.ndarray, Edges]:
        found, steps = curvature(marginal, theta, sds)
        return found, steps, find_edges(marginal, theta, answer, found, edge_of, names)

    hessian, steps, edges = measure(sds)
    way = 0.0
    for _ in range(NEWTON):
        nats, step = _newton(hessian, answer.gradient, edges)
        if nats < left:
            break
        moved = _step(marginal, theta, answer, step, nats, hessian, edges)
        if moved is None and not way:
            break
        if moved is not None:
            theta, answer, now = moved
            way += float(np.sqrt(2 * nats))
            tick(answer)
            if now < nats / 4:
                continue
        sds = _sds(hessian, edges, sds)
        hessian, steps, edges = measure(sds)
        way = 0.0
    if way > MOVED or _missized(hessian, edges, steps):
        hessian, steps, edges = measure(_sds(hessian, edges, sds))
    require_identified(hessian, edges, names)
    nats, _ = _newton(hessian, answer.gradient, edges)
    return Optimum(theta, answer, hessian, edges, nats)


def _missized(hessian: np.ndarray, edges: Edges, steps: np.ndarray) -> bool:
    """Whether a step of the differences was far longer than it should have been."""
    lengths = steps[edges.inside] * np.sqrt(np.abs(np.diag(hessian)[edges.inside]))
    return bool((lengths > MISSIZED * STEP).any())


def _sds(hessian: np.ndarray, edges: Edges, before: np.ndarray) -> np.ndarray:
    """Standard errors given the other parameters, of which steps are parts."""
    diagonal = np.diag(hessian)
    fine = edges.inside & (diagonal > 0)
    return np.where(fine, 1.0 / np.sqrt(np.where(fine, diagonal, 1.0)), before)


def _newton(hessian: np.ndarray, gradient: np.ndarray, edges: Edges) -> tuple[float, np.ndarray]:
    """Nats left and the step; directions that curve upwards are followed as if downwards."""
    keep = edges.inside
    step = np.zeros(len(gradient))
    if not keep.any():
        return 0.0, step
    size, vectors = np.linalg.eigh(hessian[np.ix_(keep, keep)])
    size = np.maximum(np.abs(size), 1e-8 * np.abs(size).max() + 1e-300)
    along = vectors.T @ gradient[keep]
    step[keep] = vectors @ (along / size)
    return float((along**2 / size).sum() / 2), step


def _step(
    marginal: Marginal,
    theta: np.ndarray,
    answer: Answer,
    step: np.ndarray,
    nats: float,
    hessian: np.ndarray,
    edges: Edges,
) -> tuple[np.ndarray, Answer, float] | None:
    """A step that leads higher or nearer, a quarter where it does not; None if there is none."""
    part = min(1.0, 2.0 / max(np.abs(step).max(), 1e-300))
    for _ in range(HALVINGS):
        at = theta + part * step
        found = marginal(at)
        if found is not None:
            now, _ = _newton(hessian, found.gradient, edges)
            higher = found.value > answer.value + 1e-10 * abs(answer.value)
            if higher or now < nats:
                return at, found, now
        part /= 4
    return None
