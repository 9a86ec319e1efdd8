r"""The effects integrated out by sums over nodes around each member's mode.

With modes u_i and roots V_i, ``exp l_i = int exp f_i(u) du = det V_i int exp f_i(u_i + V_i x) dx``:
adaptive Gauss-Hermite quadrature for one or two effects (Pinheiro and Bates 1995), importance
sampling from a t distribution for more. The gradient is Fisher's identity, the mean of the gradient
of the log-density over the nodes, weighted by their shares of the sum.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp

from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.laplace import Answer
from pymc_dynsys.marginal.modes import Modes

DEGREES = 7.0
"""Degrees of freedom of the t distribution: tails that are heavier than normal."""


@dataclass(frozen=True, eq=False)
class ByNodes:
    """Integrals as weighted sums.

    Attributes
    ----------
    nodes : array, (node, member or 1, effect)
        Where, in units of the roots.
    log_weights : array, (node, member or 1)
        Logarithms of the weights.
    """

    nodes: np.ndarray
    log_weights: np.ndarray

    def logs(
        self, density: Density, theta: np.ndarray, modes: Modes
    ) -> tuple[Float[np.ndarray, "node member"], Float[np.ndarray, "node member effect"]]:
        """Logarithms of the summands, and where they are."""
        moved = np.einsum(
            "nij,knj->kni",
            modes.root,
            np.broadcast_to(self.nodes, (len(self.nodes), *modes.u.shape)),
        )
        at = modes.u + moved
        found = density.at(at, theta)
        logs = self.log_weights + found.members
        nowhere = ~np.isfinite(logs)
        at[nowhere] = np.broadcast_to(modes.u, at.shape)[nowhere]
        return np.where(nowhere, -np.inf, logs), at

    def __call__(
        self, density: Density, theta: Float[np.ndarray, " parameter"], modes: Modes
    ) -> Answer:
        """The marginal log-likelihood and its gradient at theta."""
        return self.with_logs(density, theta, modes)[0]

    def with_logs(
        self, density: Density, theta: Float[np.ndarray, " parameter"], modes: Modes
    ) -> tuple[Answer, Float[np.ndarray, "node member"]]:
        """The same, with the logarithms of the summands."""
        logs, at = self.logs(density, theta, modes)
        total = logsumexp(logs, axis=0)
        shares = np.concatenate([np.exp(logs - total), np.zeros((len(logs), 1))], axis=1)
        shares[0, -1] = 1.0
        gradient = density.at(at, theta, shares).by_theta.sum(0)
        members = total + modes.log_volume
        return Answer(float(members.sum() + modes.rest), gradient, members, modes), logs


def gauss_hermite(n: int, q: int) -> ByNodes:
    """A grid of n nodes along each of q effects."""
    x, w = np.polynomial.hermite_e.hermegauss(n)
    nodes = np.stack(np.meshgrid(*[x] * q, indexing="ij"), -1).reshape(-1, 1, q)
    grids = np.meshgrid(*[np.log(w) + x**2 / 2] * q, indexing="ij")
    return ByNodes(nodes, np.sum(grids, axis=0).reshape(-1, 1))


def importance(n: int, n_members: int, q: int, seed: int) -> ByNodes:
    """An even number n of draws of a t distribution, others for each member.

    Draws come in pairs x and -x, so that what is linear in the effects, most of the gradient by
    the parameters, has no Monte Carlo error; errors of members are independent and average out.
    """
    from scipy.stats import multivariate_t  # slow to import

    law = multivariate_t(np.zeros(q), np.eye(q), DEGREES, seed=seed)
    half = np.reshape(law.rvs(n // 2 * n_members), (n // 2, n_members, q))
    nodes = np.concatenate([half, -half])
    logs = np.reshape(law.logpdf(nodes.reshape(-1, q)), nodes.shape[:2])
    return ByNodes(nodes, -logs - np.log(len(nodes)))
