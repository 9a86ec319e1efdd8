r"""Effects and what depends on them: values at the modes, and sds given the parameters.

.. code-block:: text

    J       derivative of an element by all effects
    V       V V' is the covariance of the effects given the parameters
    sd^2    J V V' J', the delta method

Most elements belong to one member of each level. Then one move along a column of V, of all members
at once, serves all elements. An element that several members share, such as a mean over members,
needs its own J: the moves of its members would add up before they are squared.
"""

import numpy as np
from jaxtyping import Float

from pymc_dynsys.marginal.modes import Modes
from pymc_dynsys.marginal.nesting import Tree
from pymc_dynsys.marginal.report import Scales

H = 1e-3
"""Step of the differences, in conditional sds."""

TOLERANCE = 1e-7
"""Of a value's change: how near it must be to all of it or to nothing."""


def conditional(
    of: Scales, modes: Modes, theta: Float[np.ndarray, " parameter"]
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Values at the modes, and sds given the parameters, of all that depends on effects."""
    value = of.effects(modes.u, theta)
    variance = {n: np.zeros(v.shape) for n, v in value.items()}
    for column in modes.root.moves():
        above, below = (of.effects(modes.u + side * H * column, theta) for side in (1, -1))
        for n in variance:
            variance[n] += ((above[n] - below[n]) / (2 * H)) ** 2
    for n, elements in shared(of, modes, theta, value).items():
        for element in elements:
            along = modes.root.transposed(of.slope(n, int(element), modes.u, theta))
            variance[n].flat[element] = (along**2).sum()
    return value, {n: np.sqrt(v) for n, v in variance.items()}


def shared(
    of: Scales, modes: Modes, theta: np.ndarray, value: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Elements that depend on several members of a level, by their places in flat arrays.

    With the move of those members whose number has a binary digit, an element of one member moves
    whole or not at all. Any two members differ in some digit.
    """
    tree, move = modes.tree, modes.root.sds()
    found = {n: np.zeros(v.size, bool) for n, v in value.items()}
    for level, size in enumerate(tree.sizes):
        member = members_at(tree, level)
        all_moved = of.effects(modes.u + move * (member >= 0), theta)
        for bit in range(int(size - 1).bit_length()):
            has = (member >= 0) & ((member >> bit) & 1 == 1)
            moved = of.effects(modes.u + move * has, theta)
            for n, before in value.items():
                if before.dtype.kind == "f":
                    change = np.ravel(all_moved[n] - before)
                    slack = TOLERANCE * np.abs(change) + 1e-12 * (1.0 + np.abs(np.ravel(before)))
                    part = np.ravel(moved[n] - before)
                    found[n] |= (np.abs(part) > slack) & (np.abs(part - change) > slack)
    return {n: np.flatnonzero(mixed) for n, mixed in found.items()}


def members_at(tree: Tree, level: int) -> np.ndarray:
    """The member of a level to which each entry of u belongs, -1 for entries of levels above."""
    own = [
        tree.ancestors[j, level] if j >= level else np.full(n, -1) for j, n in enumerate(tree.sizes)
    ]
    return np.concatenate([np.repeat(m, q) for m, q in zip(own, tree.widths, strict=True)])
