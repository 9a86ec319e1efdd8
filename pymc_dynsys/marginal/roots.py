r"""The root of an inverse curvature of nested effects, in blocks.

.. code-block:: text

    B       minus the second derivative of the log-density by all effects
    V       V V' = 1/B, from the Cholesky factor that eliminates the innermost level first
    V_jl    its block in the rows of a member of level j and the columns of its ancestor at level l

A column of V that belongs to a member moves that member and those below it, as their modes follow.
So the columns of all members of one level have disjoint supports, and one move along all of them at
once serves every member: there are as many moves as effects of one member of each level. With one
level V is block-diagonal.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pymc_dynsys.marginal import blocks
from pymc_dynsys.marginal.nesting import Tree

Parts = dict[tuple[int, int], np.ndarray]


@dataclass(frozen=True, eq=False)
class Root:
    """The root V.

    Attributes
    ----------
    tree : Tree
        Who belongs to whom.
    parts : dict of (int, int) to array
        V_jl for level j and one at or above it l, ``(member of j, effect of j, effect of l)``.
    """

    tree: Tree
    parts: Parts

    def times(self, x: Float[np.ndarray, "*point entry"]) -> Float[np.ndarray, "*point entry"]:
        """V x."""
        tree, split = self.tree, self.tree.split(x)
        out = [np.zeros_like(part) for part in split]
        for (j, level), part in self.parts.items():
            out[j] += np.einsum(
                "nij,...nj->...ni", part, split[level][..., tree.ancestors[j, level], :]
            )
        return tree.join(out)

    def transposed(self, x: Float[np.ndarray, " entry"]) -> Float[np.ndarray, " entry"]:
        """V' x."""
        tree, split = self.tree, self.tree.split(x)
        out = [np.zeros_like(part) for part in split]
        for (j, level), part in self.parts.items():
            out[level] += tree.sum_above(blocks.transposed(part, split[j]), j, level)
        return tree.join(out)

    def moves(self) -> Float[np.ndarray, "column entry"]:
        """Moves along the columns of each level, those of all its members at once."""
        tree = self.tree
        out = []
        for level, q in enumerate(tree.widths):
            columns = [
                np.moveaxis(self.parts[j, level], 2, 0)
                if j >= level
                else np.zeros((q, n, tree.widths[j]))
                for j, n in enumerate(tree.sizes)
            ]
            out.append(tree.join(columns))
        return np.concatenate(out)

    def log_volume(self) -> Float[np.ndarray, " member"]:
        """Logarithms of the absolute determinants of the blocks on the diagonal."""
        return np.concatenate(
            [blocks.log_volume(self.parts[j, j]) for j in range(self.tree.n_levels)]
        )

    def sds(self) -> Float[np.ndarray, " entry"]:
        """Square roots of the diagonal of V V'."""
        variances = [
            np.zeros((n, q)) for n, q in zip(self.tree.sizes, self.tree.widths, strict=True)
        ]
        for (j, _), part in self.parts.items():
            variances[j] += (part**2).sum(2)
        return np.sqrt(self.tree.join(variances))

    def curvature(self, changes: Float[np.ndarray, "column entry"]) -> Parts:
        """The blocks of V'BV from B V, given along :meth:`moves`."""
        tree, out = self.tree, {}
        split = tree.split(changes)
        first = np.cumsum([0, *tree.widths])
        for level in range(tree.n_levels):
            own = slice(first[level], first[level + 1])
            for j in range(level, tree.n_levels):
                total = np.zeros((tree.sizes[j], tree.widths[j], tree.widths[level]))
                for k in range(j, tree.n_levels):
                    product = np.einsum("nij,lni->njl", self.parts[k, j], split[k][own])
                    total += tree.sum_above(product, k, j)
                out[j, level] = (total + total.transpose(0, 2, 1)) / 2 if j == level else total
        return out

    def updated(self, curvature: Parts) -> tuple["Root", Float[np.ndarray, " top"]]:
        """The root W with W W' = 1/B, where V'BV is B in units of V; and where B is positive.

        With the factor R of V'BV = R R', innermost level first, W = V R'^-1. Where a block is not
        positive definite, its eigenvalues are replaced by their sizes.
        """
        tree, left = self.tree, dict(curvature)
        new: Parts = {}
        positive = np.ones(tree.n_members, bool)
        places = tree.by_level(np.arange(tree.n_members))
        links: Parts = {}
        for j in range(tree.n_levels - 1, -1, -1):
            n, q = tree.sizes[j], tree.widths[j]
            inverse, positive[places[j]] = blocks.root_of_inverse(
                left[j, j], np.broadcast_to(np.eye(q), (n, q, q))
            )
            for level in range(j):  # R^-1 of what links it to those above
                links[j, level] = np.einsum("nij,nil->njl", inverse, left[j, level])
            for a in range(j):
                for b in range(a + 1):
                    product = np.einsum("nji,njk->nik", links[j, a], links[j, b])
                    left[a, b] = left[a, b] - tree.sum_above(product, j, a)
            new[j, j] = inverse  # for now R_jj'^-1
        found: Parts = {}
        for level in range(tree.n_levels - 1, -1, -1):
            for j in range(level, tree.n_levels):
                column = self.parts[j, level]
                for k in range(level + 1, j + 1):
                    link = links[k, level][tree.ancestors[j, k]]
                    column = column - found[j, k] @ link
                found[j, level] = column @ new[level, level][tree.ancestors[j, level]]
        return Root(tree, found), ~tree.any_below(~positive)

    def where(self, good: Float[np.ndarray, " top"], other: "Root") -> "Root":
        """The root for outermost members that are good with all below them, for others another."""
        if good.all():
            return self
        tree = self.tree
        parts = {
            (j, level): np.where(
                good[tree.ancestors[j, 0]][:, None, None], part, other.parts[j, level]
            )
            for (j, level), part in self.parts.items()
        }
        return Root(tree, parts)


def small_root(tree: Tree, size: float) -> Root:
    """A multiple of the identity."""
    parts = {}
    for j, (n, q) in enumerate(zip(tree.sizes, tree.widths, strict=True)):
        for level in range(j + 1):
            one = size * np.eye(q) if level == j else np.zeros((q, tree.widths[level]))
            parts[j, level] = np.broadcast_to(one, (n, *one.shape))
    return Root(tree, parts)


def distance_from_one(curvature: Parts) -> float:
    """The largest difference of V'BV from the identity."""
    return max(
        float(np.abs(part - (np.eye(part.shape[1]) if j == level else 0.0)).max(initial=0.0))
        for (j, level), part in curvature.items()
    )


def made_safe(curvature: Parts, tree: Tree, good: np.ndarray) -> Parts:
    """The same, and the identity for outermost members that are not good."""
    if good.all():
        return curvature
    return {
        (j, level): np.where(
            good[tree.ancestors[j, 0]][:, None, None],
            part,
            np.eye(part.shape[1]) if j == level else 0.0,
        )
        for (j, level), part in curvature.items()
    }
