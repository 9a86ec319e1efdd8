r"""Members of nested levels: who belongs to whom, and sums up the tree.

Levels are numbered from the outermost, 0. Every member of a deeper level has one parent in the
level before it. Members of all levels are numbered one level after the other, and so are the
entries of the flat array u of all effects: level by level, member by member, effect by effect.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int


@dataclass(frozen=True, eq=False)
class Tree:
    """Members of nested levels.

    Attributes
    ----------
    sizes, widths : tuple of int
        Members of each level, and effects of one of them.
    parents : tuple of arrays
        For each level but the outermost the parent of each member, ``(member,)``.
    """

    sizes: tuple[int, ...]
    widths: tuple[int, ...]
    parents: tuple[Int[np.ndarray, " member"], ...]

    @property
    def n_levels(self) -> int:
        """Levels."""
        return len(self.sizes)

    @property
    def n_members(self) -> int:
        """Members of all levels."""
        return sum(self.sizes)

    @property
    def n_entries(self) -> int:
        """Effects of all members."""
        return sum(n * q for n, q in zip(self.sizes, self.widths, strict=True))

    @cached_property
    def ancestors(self) -> dict[tuple[int, int], np.ndarray]:
        """By a level and one at or above it, the member there to which each member belongs."""
        found = {}
        for level, size in enumerate(self.sizes):
            of = np.arange(size)
            found[level, level] = of
            for above in range(level - 1, -1, -1):
                of = self.parents[above][of]
                found[level, above] = of
        return found

    @cached_property
    def tops(self) -> Int[np.ndarray, " member"]:
        """The outermost member to which each member of any level belongs."""
        return np.concatenate([self.ancestors[level, 0] for level in range(self.n_levels)])

    @cached_property
    def top_of_entry(self) -> Int[np.ndarray, " entry"]:
        """The outermost member to which each entry of u belongs."""
        return np.repeat(self.tops, np.repeat(self.widths, self.sizes))

    def split(self, u: Float[np.ndarray, "*point entry"]) -> list[np.ndarray]:
        """The effects of each level, ``(..., member, effect)``."""
        out, first = [], 0
        for n, q in zip(self.sizes, self.widths, strict=True):
            out.append(u[..., first : first + n * q].reshape(*u.shape[:-1], n, q))
            first += n * q
        return out

    def join(self, parts: Sequence[np.ndarray]) -> Float[np.ndarray, "*point entry"]:
        """The flat array of effects of each level."""
        return np.concatenate([part.reshape(*part.shape[:-2], -1) for part in parts], axis=-1)

    def by_level(self, values: Float[np.ndarray, "*point member"]) -> list[np.ndarray]:
        """Values of members, level by level."""
        return np.split(values, np.cumsum(self.sizes)[:-1], axis=-1)

    def sum_above(self, values: np.ndarray, level: int, above: int) -> np.ndarray:
        """Sums over the members of a level that belong to each member of one at or above it."""
        if level == above:
            return values
        out = np.zeros((self.sizes[above], *values.shape[1:]))
        np.add.at(out, self.ancestors[level, above], values)
        return out

    def whole(self, values: Float[np.ndarray, " member"]) -> Float[np.ndarray, " top"]:
        """Sums of what belongs to an outermost member and to all below it."""
        if self.n_levels == 1:
            return values
        return np.bincount(self.tops, values, self.sizes[0])

    def any_below(self, flags: np.ndarray) -> np.ndarray:
        """Whether a flag is set for an outermost member or any below it."""
        out = np.zeros(self.sizes[0], bool)
        out[self.tops[flags]] = True
        return out


def flat_tree(sizes: Sequence[int], widths: Sequence[int]) -> Tree:
    """A tree whose parents are not known yet; the first member stands for them."""
    parents = tuple(np.zeros(n, int) for n in sizes[1:])
    return Tree(tuple(sizes), tuple(widths), parents)
