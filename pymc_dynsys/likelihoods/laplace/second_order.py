r"""The second-order correction of Laplace's approximation.

With third and fourth derivatives :math:`l_3, l_4` of the data's log-densities in the one number
:math:`\eta = h'x` that they see, and covariances V of it between rows,

.. math:: E_2 = \tfrac18 \sum_k l_{4,k} V_{kk}^2
    + \sum_{j,k} l_{3,j} l_{3,k} \left(\tfrac18 V_{jj} V_{jk} V_{kk} + \tfrac1{12} V_{jk}^3\right)

(Shun and McCullagh 1995, eq. 4; Tierney, Kass and Kadane 1989). Since
:math:`V_{jk} = h'A_k \cdots A_{j+1} V_j h` for j < k, both double sums are carried along one pass
forward: the first by a vector, the second by a tensor of three axes.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.laplace.riccati import Factor
from pymc_dynsys.linalg.written import matvec


def second_order(
    factor: Factor,
    V: Float[Array, "row state state"],
    h: Float[Array, "row state"],
    third: Float[Array, " row"],
    fourth: Float[Array, " row"],
) -> Float[Array, ""]:
    """The correction in nats, for an affine path of which the data see ``h'x`` at each row."""

    def step(carry: tuple[Array, Array], k: tuple[Array, ...]) -> tuple[tuple[Array, Array], Array]:
        A, Vh, h, third = k
        r, q = carry
        r, q = matvec(A, r), _along_each_axis(A, q)
        v = (h * Vh).sum()
        weighed = (q * (h[:, None, None] * h[None, :, None] * h[None, None, :])).sum()
        pairs = third * (v * (h * r).sum() / 8 + weighed / 12)
        r = r + third * v * Vh
        q = q + third * Vh[:, None, None] * Vh[None, :, None] * Vh[None, None, :]
        return (r, q), pairs

    d = V.shape[-1]
    start = (jnp.zeros(d), jnp.zeros((d, d, d)))
    Vh = jax.vmap(matvec)(V, h)
    pairs = jax.lax.scan(step, start, (factor.A, Vh, h, third))[1]
    v = (h * Vh).sum(-1)
    alone = fourth * v * v / 8 + third * third * v**3 * (1 / 8 + 1 / 12)
    return (alone + 2 * pairs).sum()


def _along_each_axis(A: Float[Array, "d d"], q: Float[Array, "d d d"]) -> Float[Array, "d d d"]:
    """A tensor with a matrix applied along each of its axes."""
    for _ in range(3):
        q = jnp.moveaxis((A[:, :, None, None] * q[None]).sum(1), 0, -1)
    return q
