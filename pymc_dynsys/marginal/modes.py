r"""The conditional mode of every member's effects, and its curvature, by a damped Newton method.

.. code-block:: text

    f_i     log-density that belongs to member i, of its effects u_i
    B_i     minus its second derivative
    V_i     a root, V V' = 1/B; its columns are directions of one conditional sd
    h       step of differences, in these units

One pass evaluates gradients at u and at u + a h v_k, a = -2, -1, 1, 2, for column k of *all*
members at once: they are independent. First differences give B, second differences the derivatives
of the curvature that the gradient of Laplace's approximation needs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pymc_dynsys.marginal import blocks
from pymc_dynsys.marginal.density import Density

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
    u : array, (member, effect)
        The modes.
    root : array, (member, effect, effect)
        V.
    log_volume : array, (member,)
        log det V.
    members : array, (member,)
        f at the modes.
    rest : float
        Log-density that belongs to no member.
    by_theta : array, (parameter,)
        Gradient of the log-density by theta, u held.
    twice_u, twice_theta : arrays, (member, effect), (parameter,)
        Sums over k of second derivatives along v_k of the gradient by u and by theta.
    """

    u: np.ndarray
    root: np.ndarray
    log_volume: np.ndarray
    members: np.ndarray
    rest: float
    by_theta: np.ndarray
    twice_u: np.ndarray
    twice_theta: np.ndarray


class NoMode(Exception):
    """No mode was found for some members, whose positions it holds."""

    def __init__(self, members: np.ndarray) -> None:
        super().__init__(members)
        self.members = members


@dataclass(frozen=True)
class Pass:
    """Gradients around a point, as differences along the columns of V."""

    members: np.ndarray  # (member,)
    rest: float
    by_u: np.ndarray  # (member, effect)
    by_theta: np.ndarray
    curvature: np.ndarray  # V'BV, (member, effect, effect)
    twice_u: np.ndarray
    twice_theta: np.ndarray


def look_around(density: Density, u: np.ndarray, theta: np.ndarray, root: np.ndarray) -> Pass:
    """Evaluate one pass."""
    q = u.shape[1]
    moves = H * np.einsum("a,nik->kani", STEPS, root).reshape(4 * q, *u.shape)
    found = density.at(np.concatenate([u[None], u + moves]), theta)
    by_u = found.by_u[1:].reshape(q, 4, *u.shape)
    by_theta = found.by_theta[1:].reshape(q, 4, len(theta))
    with np.errstate(invalid="ignore", over="ignore"):
        hessian_root = np.einsum("a,kani->nik", FIRST, by_u)
        curvature = -np.einsum("nij,nik->njk", root, hessian_root)
        twice_u = np.einsum("a,kani->ni", SECOND, by_u) + q * CENTRE * found.by_u[0]
        twice_theta = np.einsum("a,kap->p", SECOND, by_theta) + q * CENTRE * found.by_theta[0]
    return Pass(
        found.members[0],
        float(found.rest[0]),
        found.by_u[0],
        found.by_theta[0],
        (curvature + curvature.transpose(0, 2, 1)) / 2,
        twice_u,
        twice_theta,
    )


def find_modes(
    density: Density,
    theta: Float[np.ndarray, " parameter"],
    u: Float[np.ndarray, "member effect"],
    root: Float[np.ndarray, "member effect effect"],
) -> Modes:
    """Modes of all members, from a start u with roots V of about the right size.

    A member whose log-density falls takes a quarter of its step, while the others go on. The search
    ends with a pass in which nobody moves and V is the root of the curvature found, so that its
    differences are those at the modes, in their units.

    Raises
    ------
    NoMode
        With the members for whom there is none.
    """
    u, root = u.copy(), root.copy()
    try_at, step = u.copy(), np.zeros_like(u)
    value = np.full(len(u), -np.inf)
    part = np.ones(len(u))
    positive = np.zeros(len(u), bool)
    left = np.full(len(u), np.inf)
    for _ in range(PASSES):
        found = look_around(density, try_at, theta, root)
        finite = np.isfinite(found.members) & np.isfinite(found.curvature).all((1, 2))
        good = finite & np.isfinite(found.by_u).all(1)
        slack = 1e-9 * (1.0 + np.abs(np.where(np.isfinite(value), value, 0.0)))
        good &= found.members >= value - slack
        if not good.all():
            part[~good] /= 4
            if (part < SMALLEST).any() or not np.isfinite(value[~good]).all():
                raise NoMode(np.flatnonzero(~good))
        u[good], value[good], part[good] = try_at[good], found.members[good], 1.0
        new, pd = blocks.root_of_inverse(found.curvature[good], root[good])
        with np.errstate(over="ignore"):
            along = blocks.transposed(new, found.by_u[good])
            step[good] = blocks.times(new, along)
            left[good], positive[good] = (along**2).sum(1) / 2, pd
        other = np.abs(found.curvature - np.eye(u.shape[1])).max()
        if good.all() and positive.all() and left.max() < LEFT and other < OTHER:
            return Modes(
                u=u,
                root=new,
                log_volume=blocks.log_volume(new),
                members=found.members,
                rest=found.rest,
                by_theta=found.by_theta,
                twice_u=found.twice_u,
                twice_theta=found.twice_theta,
            )
        root[good] = new
        try_at = u + part[:, None] * step
    raise NoMode(np.flatnonzero(~(positive & (left < LEFT))))
