"""To which member each row of the log-density belongs, found and proved by its values.

Rows are evaluated at a random point u, at u + v with a random move v, and for every binary digit at
u with the move of those members only whose number has that digit. A row belongs to a member if each
of these values is that of u + v where the member has the digit and that of u where it has not. A
row that does not move belongs to nobody, and one that is neither depends on several members.

The proof holds at the points where it was made; it is made again at the optimum.
"""

import numpy as np

from pymc_dynsys.marginal.density import Density

TOLERANCE = 1e-9
"""Of a row's move: how near a value must be to one of the two that it may have."""

ROUNDING = 1e-12
"""Of a row's size."""

SUBSETS = 3
"""Random subsets of members that confirm what was found."""

SCALES = (0.3, 0.03, 0.0)
"""Jitter of the point, the first where all rows are finite."""


def find_owners(density: Density, u: np.ndarray, theta: np.ndarray, seed: int) -> np.ndarray:
    """The owner of each row, the number of members for none.

    Raises
    ------
    ValueError
        If a row depends on several members, with its variable; or if nothing is finite.
    """
    rng = np.random.default_rng(seed)
    n = len(u)
    for scale in SCALES:
        at = u + scale * rng.normal(size=u.shape)
        move = max(scale, 0.01) * rng.uniform(0.5, 1.0, u.shape) * rng.choice([-1, 1], u.shape)
        before, after = density.rows(at, theta), density.rows(at + move, theta)
        if np.isfinite(before).all() and np.isfinite(after).all():
            break
    else:
        bad = int(np.flatnonzero(~np.isfinite(before) | ~np.isfinite(after))[0])
        raise ValueError(
            f"initvals: the log-density is not finite at the start, {density.of_row(bad)}; "
            f"model.point_logps() gives {density.layout.model.point_logps()}"
        )
    change = np.abs(after - before)
    slack = TOLERANCE * change + ROUNDING * (np.abs(before) + np.abs(after) + 1.0)
    moves = change > 10 * slack

    def side(members: np.ndarray) -> np.ndarray:
        """For each row 1 where it moved whole, 0 where not at all, -1 where neither."""
        value = density.rows(at + move * members[:, None], theta)
        return np.where(
            np.abs(value - after) <= slack, 1, np.where(np.abs(value - before) <= slack, 0, -1)
        )

    numbers = np.arange(n)
    owner = np.zeros(len(before), int)
    mixed = np.zeros(len(before), bool)
    for bit in range(max(1, int(n - 1).bit_length())):
        found = side((numbers >> bit) & 1 == 1)
        mixed |= found < 0
        owner += (found == 1) << bit
    mixed |= owner >= n
    owner = np.where(mixed, 0, owner)
    for _ in range(SUBSETS):
        chosen = rng.random(n) < 0.5
        mixed |= side(chosen) != chosen[owner]
    if (mixed & moves).any():
        row = int(np.flatnonzero(mixed & moves)[0])
        over = density.layout.over
        raise ValueError(
            f"over={over!r}: {density.of_row(row)} depends on several members of {over!r}, so they "
            "are not independent given the parameters, and not to be integrated out one by one. A "
            "sum within a pm.Potential: give it element by element; else use pm.sample"
        )
    return np.where(moves, owner, n)
