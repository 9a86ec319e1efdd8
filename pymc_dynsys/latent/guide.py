r"""Paths whose normals are counted from where pseudo-data lead them.

With a Gaussian guide :math:`\tilde y_k = x_k + N(0, W_k^{-1})` at visits, given as its information
:math:`h_k = W_k \tilde y_k` and W, which may be singular, Newton's equations of the path,
linearized about a reference with normals :math:`\bar z`, give for each stage the normals that it
would take, given the state that it leaves, and how far they are told (``riccati.py``):

.. math:: u_k = \bar z_k + \kappa_k + K_k (x_{k-1} - \bar x_{k-1}) + S_k^{-1/2} z_k, \qquad
          x_k = g_k(x_{k-1}, u_k).

Given the past u is affine in z, so that for any guide, and whatever is linearized, the path has its
own distribution when the log-density is corrected by

.. math:: -\tfrac12 (u'u - z'z) - \tfrac12 \sum_k \log|S_k|.

With Gaussian data of a linear system as the guide this is the Kalman filter: z is standard normal
given the data too.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization.moves import Moves
from pymc_dynsys.latent.paths import MovedPath, scatter
from pymc_dynsys.likelihoods.laplace.path import AffinePath
from pymc_dynsys.likelihoods.laplace.riccati import (
    Stages,
    before,
    factorize,
    feedforward,
    respond,
    spread,
)
from pymc_dynsys.likelihoods.laplace.stepped import Steps
from pymc_dynsys.linalg.written import matvec


class Guide(NamedTuple):
    """Pseudo-data of the states: their precisions times them, and precisions; zero: none."""

    information: Float[Array, "*batch visit state"]
    precision: Float[Array, "*batch visit state state"]


class Guided(NamedTuple):
    """A path, its normals, and the correction of its log-density."""

    x: Float[Array, "*batch stage state"]
    u: Float[Array, "*batch stage noise"]
    correction: Float[Array, "*batch"]


def guided_path(
    path: AffinePath | MovedPath,
    moves: Moves,
    guide: Guide,
    reference: Float[Array, "stage noise"],
    z: Float[Array, "stage noise"],
) -> Guided:
    """The path that normals lead to about the guide; linearized where `reference` leads."""
    mean = path.roll(reference)
    stages = path.stages(mean, reference)
    told = jax.vmap(matvec)(guide.precision, mean[moves.at_visit])
    W, g = scatter(guide.precision, moves), scatter(guide.information - told, moves)
    factor = factorize(stages, W)
    own = feedforward(stages, factor, g, -reference)[1] + spread(factor, z)
    if isinstance(path, AffinePath):
        u, dx = respond(stages, factor, own)
        u, x = reference + u, mean + dx
    else:
        x, u = _forward(path, stages, factor.K, reference + own, mean)
    size = 0.5 * ((u - z) * (u + z)).sum()
    return Guided(x, u, -size - factor.half_log_determinant)


def _forward(
    path: MovedPath, stages: Stages, K: Array, own: Array, mean: Array
) -> tuple[Float[Array, "stage state"], Float[Array, "stage noise"]]:
    """States and normals by the steps themselves, each answering the state that it leaves."""
    first = path.begin(own[0])

    def step(x: Array, k: tuple[Array, Array, Array, Steps]) -> tuple[Array, tuple[Array, Array]]:
        K, own, left, move = k
        u = own + matvec(K, x - left)
        x = path.move(x, u, move)
        return x, (x, u)

    rest = (K[1:], own[1:], before(mean)[1:], path.moves)
    x, u = jax.lax.scan(step, first, rest)[1]
    return jnp.concatenate([first[None], x]), jnp.concatenate([own[:1], u])
