"""How the modes of effects move with the parameters, and the spread of both together."""

import numpy as np
from jaxtyping import Float

from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.modes import Modes
from pymc_dynsys.marginal.optimum import Optimum

H = 1e-3
"""Step of the differences, in standard errors."""


def moves_of_modes(
    density: Density, optimum: Optimum
) -> tuple[Float[np.ndarray, "column entry"], Float[np.ndarray, "parameter column"]]:
    """Moves of the modes along each column of a root of the covariance, and these columns.

    By the implicit function theorem the mode moves by V V' times the change of the gradient by u.
    What is at an edge does not move.
    """
    modes: Modes = optimum.answer.modes
    theta, keep = optimum.theta, optimum.edges.inside
    columns = np.zeros((len(theta), keep.sum()))
    if keep.any():
        columns[keep] = np.linalg.cholesky(optimum.covariance[np.ix_(keep, keep)])
    moves = np.zeros((columns.shape[1], *modes.u.shape))
    for k, column in enumerate(columns.T):
        above = density.at(modes.u[None], theta + H * column).by_u[0]
        below = density.at(modes.u[None], theta - H * column).by_u[0]
        change = (above - below) / (2 * H)
        moves[k] = modes.root.times(modes.root.transposed(change))
    return moves, columns
