r"""The conditional modes of all effects, and their curvature, by a damped Newton method.

.. code-block:: text

    f_i     log-density that belongs to an outermost member i and to all below it
    u       all effects, those of nested levels one after the other
    B       minus the second derivative of the log-density by u
    V       a root, V V' = 1/B; its columns are directions of one conditional sd
    h       step of differences, in these units

A pass evaluates gradients at u and at u + a h v, for each column v of V of *all* members of a level
at once: they are independent. First differences give B. There are three kinds of passes. Most of
the way is made with the V that is known and the gradient at u alone; where that leads no nearer, B
is measured with a = -1, 1 and a small h; and the last pass has a = -2, -1, 1, 2, whose second
differences are the derivatives of the curvature that the gradient of Laplace's approximation needs.
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

SHORT = 1e-3
SHORT_STEPS = np.array([-1.0, 1.0])
SHORT_FIRST = np.array([-0.5, 0.5]) / SHORT
"""The differences of passes before the last; their error is a sixth of SHORT squared."""

LEFT = 1e-14
"""Nats between a mode and where the search ends."""

NEAR = 1e-12
"""Nats from which on V is measured where the modes are, for the last pass."""

FASTER = 1e-3
"""Part of the nats left by a step with the V that is known, above which V is measured anew."""

OTHER = 1e-6
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
    """Gradients around a point, as differences along the columns of V.

    Of the gradient alone the curvature is not known, and of two points nothing is known twice.
    """

    members: np.ndarray
    rest: float
    by_u: np.ndarray
    by_theta: np.ndarray
    curvature: Parts | None  # V'BV
    twice_u: np.ndarray
    twice_theta: np.ndarray


def look_around(
    density: Density, u: np.ndarray, theta: np.ndarray, root: Root, points: int
) -> Pass:
    """Evaluate one pass with 0, 2 or 4 points along each column."""
    steps, first = {
        0: (np.zeros(0), np.zeros(0)),
        2: (SHORT * SHORT_STEPS, SHORT_FIRST),
        4: (H * STEPS, FIRST),
    }[points]
    columns = root.moves() if points else np.zeros((0, len(u)))
    n = len(columns)
    moves = (steps[:, None] * columns[:, None, :]).reshape(points * n, len(u))
    found = density.at(np.concatenate([u[None], u + moves]), theta)
    curvature, twice_u, twice_theta = None, np.zeros(0), np.zeros(0)
    with np.errstate(invalid="ignore", over="ignore"):
        if points:
            by_u = found.by_u[1:].reshape(n, points, len(u))
            curvature = root.curvature(-np.einsum("a,kau->ku", first, by_u))
        if points == 4:
            by_theta = found.by_theta[1:].reshape(n, points, len(theta))
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
    known: bool = True,
) -> Modes:
    """Modes of all members, from a start u with a root V of about the right size.

    An outermost member whose log-density falls takes a quarter of its step, with all below it,
    while the others go on. The search ends with a pass in which nobody moves and V is the root of
    the curvature found, so that its differences are those at the modes, in their units.

    Parameters
    ----------
    density : Density
        The log-density with owners.
    theta : array, (parameter,)
        The parameters.
    u, root : array, Root
        Where the search begins.
    known : bool
        Whether V is that of modes nearby, not only of about the right size.

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
    positive, left = np.full(n, known), np.full(n, np.inf)
    points, before = (0 if known else 2), np.inf
    for _ in range(PASSES):
        found = look_around(density, try_at, theta, root, points)
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
        new = root
        if found.curvature is not None:
            new, pd = root.updated(made_safe(found.curvature, tree, good))
            positive[good] = pd[good]
        with np.errstate(over="ignore", invalid="ignore"):
            along = new.transposed(np.where(here, found.by_u, 0.0))
            step[here] = new.times(along)[here]
            nats = np.bincount(top, along**2, n) / 2
        left[good] = nats[good]
        sound = bool(good.all() and positive.all())
        if (
            sound
            and points == 4
            and left.max() < LEFT
            and distance_from_one(found.curvature or {}) < OTHER
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
        points, before = _next(points, sound, float(left.max()), before), float(left.max())
    raise NoMode(np.flatnonzero(~(positive & (left < LEFT))))


def _next(points: int, sound: bool, left: float, before: float) -> int:
    """How many points along each column the next pass has, after one that left some nats.

    `before` are the nats that the pass before it left.
    """
    if not sound:
        return 2
    if left < NEAR and points:
        return 4
    quick = left < FASTER * before
    return 0 if left > NEAR and quick else 2


def _finite(found: Pass, tree: Tree, whole: np.ndarray) -> np.ndarray:
    """Whether all is finite of an outermost member and those below it."""
    bad = np.zeros(tree.sizes[0], bool)
    bad[tree.top_of_entry[~np.isfinite(found.by_u)]] = True
    for (j, _), part in (found.curvature or {}).items():
        bad[tree.ancestors[j, 0][~np.isfinite(part).all((1, 2))]] = True
    return np.isfinite(whole) & ~bad
