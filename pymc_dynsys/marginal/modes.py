r"""The conditional modes of all effects, and their curvature, by a damped Newton method.

.. code-block:: text

    f_i     log-density that belongs to an outermost member i and to all below it
    u       all effects, those of nested levels one after the other
    B       minus the second derivative of the log-density by u
    V       a root, V V' = 1/B; its columns are directions of one conditional sd
    h       step of differences, in these units

One pass evaluates gradients at u and at u + a h v, a = -2, -1, 1, 2, for each column of V of *all*
members of a level at once: they are independent. First differences give B, second differences the
derivatives of the curvature that the gradient of Laplace's approximation needs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.nesting import Tree
from pymc_dynsys.marginal.roots import Parts, Root, distance_from_one, made_safe

H = 1e-2
STEPS = np.array([-2.0, -1.0, 1.0, 2.0])
FIRST = np.array([1.0, -8.0, 8.0, -1.0]) / (12 * H)
SECOND = np.array([-1.0, 16.0, 16.0, -1.0]) / (12 * H**2)
CENTRE = -30.0 / (12 * H**2)

LEFT = 1e-14
"""Nats between a mode and where the search ends."""

OTHER = 1e-7
"""Largest difference of the curvature from that in whose units the differences were."""

PASSES = 100
SMALLEST = 1e-9
"""Shortest part of a Newton step that is tried."""


@dataclass(frozen=True)
class Modes:
    """Modes of all members at one theta, and what differences say there.

    Attributes
    ----------
    u : array, (entry,)
        The modes.
    root : Root
        V.
    log_volume : array, (member,)
        Logarithm of the determinant of V, by members.
    members : array, (member,)
        The log-density that belongs to each member of any level, at the modes.
    rest : float
        Log-density that belongs to no member.
    by_theta : array, (parameter,)
        Gradient of the log-density by theta, u held.
    twice_u, twice_theta : arrays, (entry,), (parameter,)
        Sums over the columns v of V of second derivatives along v of the gradients.
    """

    u: np.ndarray
    root: Root
    log_volume: np.ndarray
    members: np.ndarray
    rest: float
    by_theta: np.ndarray
    twice_u: np.ndarray
    twice_theta: np.ndarray

    @property
    def tree(self) -> Tree:
        """Who belongs to whom."""
        return self.root.tree

    @property
    def wholes(self) -> Float[np.ndarray, " top"]:
        """The log-density of each outermost member with all below it."""
        return self.tree.whole(self.members)


class NoMode(Exception):
    """No mode was found for some outermost members, whose positions it holds."""

    def __init__(self, members: np.ndarray) -> None:
        super().__init__(members)
        self.members = members


@dataclass(frozen=True)
class Pass:
    """Gradients around a point, as differences along the columns of V."""

    members: np.ndarray
    rest: float
    by_u: np.ndarray
    by_theta: np.ndarray
    curvature: Parts  # V'BV
    twice_u: np.ndarray
    twice_theta: np.ndarray


def look_around(density: Density, u: np.ndarray, theta: np.ndarray, root: Root) -> Pass:
    """Evaluate one pass."""
    columns = root.moves()
    n = len(columns)
    moves = H * (STEPS[:, None] * columns[:, None, :]).reshape(4 * n, len(u))
    found = density.at(np.concatenate([u[None], u + moves]), theta)
    by_u = found.by_u[1:].reshape(n, 4, len(u))
    by_theta = found.by_theta[1:].reshape(n, 4, len(theta))
    with np.errstate(invalid="ignore", over="ignore"):
        curvature = root.curvature(-np.einsum("a,kau->ku", FIRST, by_u))
        twice_u = np.einsum("a,kau->u", SECOND, by_u) + n * CENTRE * found.by_u[0]
        twice_theta = np.einsum("a,kap->p", SECOND, by_theta) + n * CENTRE * found.by_theta[0]
    return Pass(
        found.members[0],
        float(found.rest[0]),
        found.by_u[0],
        found.by_theta[0],
        curvature,
        twice_u,
        twice_theta,
    )


def find_modes(
    density: Density,
    theta: Float[np.ndarray, " parameter"],
    u: Float[np.ndarray, " entry"],
    root: Root,
) -> Modes:
    """Modes of all members, from a start u with a root V of about the right size.

    An outermost member whose log-density falls takes a quarter of its step, with all below it,
    while the others go on. The search ends with a pass in which nobody moves and V is the root of
    the curvature found, so that its differences are those at the modes, in their units.

    Raises
    ------
    NoMode
        With the outermost members for whom there is none.
    """
    tree, top = root.tree, root.tree.top_of_entry
    n = tree.sizes[0]
    u = u.copy()
    try_at, step = u.copy(), np.zeros_like(u)
    value, part = np.full(n, -np.inf), np.ones(n)
    positive, left = np.zeros(n, bool), np.full(n, np.inf)
    for _ in range(PASSES):
        found = look_around(density, try_at, theta, root)
        whole = tree.whole(found.members)
        good = _finite(found, tree, whole)
        slack = 1e-9 * (1.0 + np.abs(np.where(np.isfinite(value), value, 0.0)))
        good &= whole >= value - slack
        if not good.all():
            part[~good] /= 4
            if (part < SMALLEST).any() or not np.isfinite(value[~good]).all():
                raise NoMode(np.flatnonzero(~good))
        here = good[top]
        u[here], value[good], part[good] = try_at[here], whole[good], 1.0
        new, pd = root.updated(made_safe(found.curvature, tree, good))
        with np.errstate(over="ignore", invalid="ignore"):
            along = new.transposed(np.where(here, found.by_u, 0.0))
            step[here] = new.times(along)[here]
            nats = np.bincount(top, along**2, n) / 2
        left[good], positive[good] = nats[good], pd[good]
        if (
            good.all()
            and positive.all()
            and left.max() < LEFT
            and distance_from_one(found.curvature) < OTHER
        ):
            return Modes(
                u=u,
                root=new,
                log_volume=new.log_volume(),
                members=found.members,
                rest=found.rest,
                by_theta=found.by_theta,
                twice_u=found.twice_u,
                twice_theta=found.twice_theta,
            )
        root = new.where(good, root)
        try_at = u + part[top] * step
    raise NoMode(np.flatnonzero(~(positive & (left < LEFT))))


def _finite(found: Pass, tree: Tree, whole: np.ndarray) -> np.ndarray:
    """Whether all is finite of an outermost member and those below it."""
    bad = np.zeros(tree.sizes[0], bool)
    bad[tree.top_of_entry[~np.isfinite(found.by_u)]] = True
    for (j, _), part in found.curvature.items():
        bad[tree.ancestors[j, 0][~np.isfinite(part).all((1, 2))]] = True
    return np.isfinite(whole) & ~bad
