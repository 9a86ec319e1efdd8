r"""The profile of a marginal log-likelihood along one parameter, and where it has a given depth.

.. code-block:: text

    l(x)    the log-likelihood with one entry of theta at x and the others at their best
    r(x)    sign(x - top) sqrt(2 (l(top) - l(x)))
    r'      -l'(x) / r, l' being the gradient by that entry alone: the others are at their best

r is nearly a straight line, so Newton's method finds where it has a value in a few steps.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from pymc_dynsys.marginal.laplace import Answer, Marginal

CLOSE = 1e-5
"""Of a root: how near the one that is looked for."""

GRADIENT = 1e-4
"""Of the others, in units of their sds: 5e-9 nats are left."""

LONGEST = 3.0
"""Standard errors of a step."""

FLAT = 1e-3
"""Nats by which five more standard errors or units may change what is nearly flat."""

FAR = 25.0
"""Units of an unconstrained value, or as many standard errors, after which an end is infinite."""

STEPS = 60


@dataclass(frozen=True)
class Point:
    """The best theta with one entry at x, its log-likelihood and signed root."""

    x: float
    theta: np.ndarray
    value: float
    root: float
    slope: float


class Profile:
    """The profile along one entry of theta, from the top.

    Parameters
    ----------
    marginal : Marginal
        The log-likelihood.
    theta : array, (parameter,)
        Where it is largest.
    top : Answer
        What it is there.
    covariance : array, (parameter, parameter)
        Of theta; rows of entries at an edge are NaN, and these are held.
    place : int
        The entry.
    """

    def __init__(
        self,
        marginal: Marginal,
        theta: np.ndarray,
        top: Answer,
        covariance: np.ndarray,
        place: int,
    ) -> None:
        self.marginal, self.theta, self.top, self.place = marginal, theta, top, place
        known = np.isfinite(np.diag(covariance))
        self.others = known & (np.arange(len(theta)) != place)
        inner = covariance[np.ix_(self.others, self.others)]
        self.sd, along = 1.0, np.zeros(len(inner))
        if known[place]:
            self.sd = float(np.sqrt(covariance[place, place]))
            along = covariance[self.others, place] / self.sd**2
            inner = inner - np.outer(along, along) * self.sd**2
        self.along = along
        self.root = np.linalg.cholesky(inner) if len(inner) else np.zeros((0, 0))
        start = Point(float(theta[place]), theta, top.value, 0.0, 0.0)
        self.points = [start]

    def at(self, x: float) -> Point | None:
        """The best of the others with the entry at x, from the nearest point that is known."""
        near = min(self.points, key=lambda point: abs(point.x - x))
        start = near.theta.copy()
        start[self.place] = x
        start[self.others] += self.along * (x - near.x)
        best: tuple[np.ndarray, Answer] | None = None

        def objective(z: np.ndarray) -> tuple[float, np.ndarray]:
            nonlocal best
            theta = start.copy()
            theta[self.others] += self.root @ z
            answer = self.marginal(theta)
            if answer is None:
                return np.inf, np.zeros_like(z)
            if best is None or answer.value > best[1].value:
                best = theta, answer
            return self.top.value - answer.value, -self.root.T @ answer.gradient[self.others]

        z = np.zeros(len(self.root))
        if len(z):
            minimize(objective, z, jac=True, method="BFGS", options={"gtol": GRADIENT})
        else:
            objective(z)
        if best is None:
            return None
        theta, answer = best
        depth = max(0.0, 2 * (self.top.value - answer.value))
        root = float(np.sign(x - self.theta[self.place]) * np.sqrt(depth))
        found = Point(x, theta, answer.value, root, float(answer.gradient[self.place]))
        self.points.append(found)
        return found

    def end(self, root: float) -> float:
        """Where the signed root has a value; infinite where it never has."""
        side, top = np.sign(root), float(self.theta[self.place])
        inside, outside = top, side * np.inf
        x = top + root * self.sd
        for _ in range(STEPS):
            point = self.at(x)
            if point is not None and abs(point.root - root) < CLOSE:
                return x
            beyond = point is None or side * point.root > abs(root)
            inside, outside = (inside, x) if beyond else (x, outside)
            if not beyond and point is not None and self._level(point):
                return float(side * np.inf)
            step = side * LONGEST * self.sd
            if point is not None and point.root * point.slope < 0:
                step = (root - point.root) / (-point.slope / point.root)
            longest = LONGEST * max(self.sd, 0.3)
            following = x + float(np.clip(step, -longest, longest))
            between = side * inside < side * following < side * outside
            within = (inside + outside) / 2 if np.isfinite(outside) else x + side * longest
            x = following if between else within
        return x

    def _level(self, point: Point) -> bool:
        """Whether the log-likelihood falls no further, or is looked at too far out."""
        unit = max(1.0, self.sd)
        fell = self.top.value - point.value > FLAT
        far = abs(point.x - float(self.theta[self.place])) > FAR * unit
        return far or (fell and abs(point.slope) * 5 * unit < FLAT)

    def reached(self, which: int) -> float:
        """The outermost point on one side, 0 below and 1 above."""
        places = [point.x for point in self.points]
        return (min, max)[which](places)
