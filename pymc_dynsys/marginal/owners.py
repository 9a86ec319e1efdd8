"""To which member each row of the log-density belongs, found and proved by its values.

Rows are evaluated at a random point u, at u + v with a random move v of one level, and for every
binary digit at u with the move of those members only whose number has that digit. A row belongs to
a member if each of these values is that of u + v where the member has the digit and that of u where
it has not. A row that does not move belongs to nobody, and one that is neither depends on several
members.

With nested levels a row may belong to one member of each. Rows with two owners tell to whom a
member belongs, and all of them have to tell the same.

The proof holds at the points where it was made; it is made again at the optimum.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Int

from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.nesting import Tree

TOLERANCE = 1e-9
"""Of a row's move: how near a value must be to one of the two that it may have."""

ROUNDING = 1e-12
"""Of a row's size."""

SUBSETS = 3
"""Random subsets of members that confirm what was found."""

SCALES = (0.3, 0.03, 0.0)
"""Jitter of the point, the first where all rows are finite."""


class Owners(NamedTuple):
    """Who owns rows, and who belongs to whom.

    Attributes
    ----------
    rows : array, (row,)
        The innermost member of each row among those of all levels, their number for none.
    tree : Tree
        With parents.
    """

    rows: np.ndarray
    tree: Tree


def find_owners(density: Density, u: np.ndarray, theta: np.ndarray, seed: int) -> Owners:
    """The owner of each row, and the tree of nested levels.

    Raises
    ------
    ValueError
        If a row depends on several members of a level, with its variable; if a member belongs to
        several of the level above; or if nothing is finite.
    """
    rng = np.random.default_rng(seed)
    tree = density.tree
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
    owners = []
    for level, n in enumerate(tree.sizes):
        first = sum(tree.sizes[:level])

        def moved(members: np.ndarray, first: int = first, n: int = n) -> np.ndarray:
            """Rows with the move of these members of the level."""
            part = np.zeros(tree.n_members)
            part[first : first + n] = members
            of_entry = np.repeat(part, np.repeat(tree.widths, tree.sizes))
            return density.rows(at + move * of_entry, theta)

        whole = after if tree.n_levels == 1 else moved(np.ones(n))
        owners.append(_of_level(density, level, before, whole, moved, rng))
    found = _nested(density, owners)
    rows = np.full(len(before), tree.n_members)
    for level, owner in enumerate(owners):
        own = owner < tree.sizes[level]
        rows[own] = owner[own] + sum(tree.sizes[:level])
    return Owners(rows, found)


def _of_level(
    density: Density,
    level: int,
    before: np.ndarray,
    after: np.ndarray,
    moved: Callable[[np.ndarray], np.ndarray],
    rng: np.random.Generator,
) -> Int[np.ndarray, " row"]:
    """The member of one level on which each row depends, their number for none.

    `before` and `after` are all rows, ``(row,)``, without the move and with that of all members of
    the level; `moved` gives them with that of some, ``(member,)``. First the digits of members tell
    who it is, then random subsets confirm it, and a row that moves otherwise is an error.
    """
    n = density.tree.sizes[level]
    change = np.abs(after - before)
    slack = TOLERANCE * change + ROUNDING * (np.abs(before) + np.abs(after) + 1.0)
    moves = change > 10 * slack

    def side(members: np.ndarray) -> np.ndarray:
        """For each row 1 where it moved whole, 0 where not at all, -1 where neither."""
        value = moved(members)
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
        layout = density.layout
        raise ValueError(
            f"{layout.told}: {density.of_row(row)} depends on several members of "
            f"{layout.over[level]!r}, so they are not independent given the parameters, and not to "
            "be integrated out one by one. A sum within a pm.Potential: give it element by "
            "element; else use pm.sample"
        )
    return np.where(moves, owner, n)


def _nested(density: Density, owners: list[np.ndarray]) -> Tree:
    """The tree, from the owners of each row at every level, ``(row,)`` each.

    Parents are read off rows with owners at two levels, the last one if rows differ. Then each such
    row is compared with what was read, which finds those that differ.
    """
    tree, layout = density.tree, density.layout
    parents = []
    for level in range(1, tree.n_levels):
        n, above = tree.sizes[level], tree.sizes[level - 1]
        inner, outer = owners[level], owners[level - 1]
        both = (inner < n) & (outer < above)
        # Who shares no row with the level above has nothing to do with it, and may belong anywhere.
        parent = np.zeros(n, int)
        parent[inner[both]] = outer[both]
        parents.append(parent)
    found = Tree(tree.sizes, tree.widths, tuple(parents))
    for level in range(1, tree.n_levels):
        for above in range(level):
            inner, outer = owners[level], owners[above]
            both = (inner < tree.sizes[level]) & (outer < tree.sizes[above])
            told = found.ancestors[level, above][np.where(both, inner, 0)]
            wrong = np.flatnonzero(both & (told != outer))
            if len(wrong):
                row = int(wrong[0])
                raise ValueError(
                    f"{layout.told}: {density.of_row(row)} depends on the member "
                    f"{layout.over[level]}[{inner[row]}] together with "
                    f"{layout.over[above]}[{outer[row]}], and other terms with "
                    f"{layout.over[above]}[{told[row]}], so the levels are crossed, not nested; "
                    "integrate one of them out and treat the other as fixed, or use pm.sample"
                )
    return found
