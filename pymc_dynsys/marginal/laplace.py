r"""Laplace's approximation of the marginal log-likelihood, and its exact gradient.

.. code-block:: text

    l(theta) = rest + sum_i [ f_i - log det B_i / 2 + q_i log(2 pi) / 2 ]    at the modes
    dl/dtheta = F_theta + D_theta / 2 + F_theta,u s,   s = V V' D_u / 2

with D the sum over the columns of V of second derivatives along them: those of the gradient by
theta are what the curvature changes directly, s is what it changes as the modes move (Kristensen
et al. 2016, equation 5, there by automatic differentiation).
"""

from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float

from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.modes import FIRST, STEPS, H, Modes, NoMode, find_modes
from pymc_dynsys.marginal.roots import small_root

LOG_2PI = float(np.log(2 * np.pi))
FIRST_ROOT = 1e-4
"""Size of the roots where nothing is known of the curvature."""


class Answer(NamedTuple):
    """A marginal log-likelihood.

    Attributes
    ----------
    value : float
        All of it.
    gradient : array, (parameter,)
        By theta.
    members : array, (top,)
        What belongs to each outermost member, with all below it.
    modes : Modes
        Where it was computed.
    """

    value: float
    gradient: np.ndarray
    members: np.ndarray
    modes: Modes


class Integral(Protocol):
    """A way to integrate the effects out, given their modes."""

    def __call__(self, density: Density, theta: np.ndarray, modes: Modes) -> Answer:
        """The marginal log-likelihood and its gradient at theta."""


def laplace_members(density: Density, theta: np.ndarray, modes: Modes) -> Float[np.ndarray, " top"]:
    """What of Laplace's approximation belongs to each outermost member."""
    tree = modes.tree
    of_entries = np.repeat(tree.widths, tree.sizes) * LOG_2PI / 2
    return tree.whole(modes.members + modes.log_volume + of_entries)


def laplace(density: Density, theta: Float[np.ndarray, " parameter"], modes: Modes) -> Answer:
    """Laplace's approximation."""
    members = laplace_members(density, theta, modes)
    gradient = modes.by_theta + modes.twice_theta / 2
    along = modes.root.transposed(modes.twice_u) / 2  # s in units of V
    longest = np.abs(along).max()
    if longest > 0 and len(theta):
        scale = 1.0 / longest
        s = scale * modes.root.times(along)
        found = density.at(modes.u + H * STEPS[:, None] * s, theta)
        gradient = gradient + FIRST @ found.by_theta / scale
    return Answer(float(members.sum() + modes.rest), gradient, members, modes)


class Marginal:
    """A marginal log-likelihood as a function of theta, whose modes start where the last ended.

    Parameters
    ----------
    density : Density
        The log-density with owners.
    u : array, (entry,)
        Where the first modes are looked for.
    integral : callable
        How effects are integrated out.
    """

    def __init__(self, density: Density, u: np.ndarray, integral: Integral = laplace) -> None:
        self.density = density
        self.integral = integral
        self._cold = u
        self._warm: Modes | None = None
        self.failed = np.zeros(0, int)

    def modes(self, theta: Float[np.ndarray, " parameter"]) -> Modes:
        """Modes at theta, from the last ones, else from the first start; else :class:`NoMode`."""
        if self._warm is not None:
            try:
                self._warm = find_modes(self.density, theta, self._warm.u, self._warm.root)
                return self._warm
            except NoMode:
                pass
        root = small_root(self.density.tree, FIRST_ROOT)
        self._warm = find_modes(self.density, theta, self._cold, root, known=False)
        return self._warm

    def __call__(self, theta: Float[np.ndarray, " parameter"]) -> Answer | None:
        """The answer at theta; None where there is none."""
        try:
            answer = self.integral(self.density, theta, self.modes(theta))
        except NoMode as error:
            self.failed = error.members
            return None
        finite = np.isfinite(answer.value) and np.isfinite(answer.gradient).all()
        return answer if finite else None

    def restarted(self, u: np.ndarray) -> "Marginal":
        """Another one that starts from other effects."""
        return Marginal(self.density, u, self.integral)
