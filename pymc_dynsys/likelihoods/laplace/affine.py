r"""Value and derivatives of Laplace's approximation for affine paths, in closed form.

No pass is differentiated. At the most probable path, with :math:`\delta` the states' part of the
direction u (``value.py``), the log-likelihood moves with the parameters as

.. math:: \sum_k \left[l_k(x_k) + g_k(x_k)'\delta_k - \tfrac12 \mathrm{tr}\,V_k W_k(x_k)\right]
    + \langle G^F_k, F_k\rangle + \langle G^c_k, c_k\rangle + \langle G^C_k, C_k\rangle

does, where all but the data's log-densities and F, c, C is held fixed. With :math:`\alpha, \beta`
the adjoints of x and :math:`\delta`, and E the expectation under the normal approximation,

.. math:: G^F_k &= \alpha_k x_{k-1}' + \beta_k \delta_{k-1}' - L_k E[x_k x_{k-1}'], \\
    G^C_k &= \alpha_k z_k' + \beta_k u_k' - L_k E[x_k z_k'], \qquad G^c_k = \alpha_k,

since :math:`\mathrm{d}\,\tfrac12\log|H| = E[\mathrm{d}\,\tfrac12 z'Hz]` and L x is the
expected slope of what is to come.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.laplace.mode import Mode
from pymc_dynsys.likelihoods.laplace.path import AffinePath
from pymc_dynsys.likelihoods.laplace.riccati import (
    Stages,
    adjoint,
    before,
    covariances,
    factorize,
    solve,
)
from pymc_dynsys.likelihoods.laplace.sight import Sight
from pymc_dynsys.linalg import matmul, matvec, outer
from pymc_dynsys.linalg.pivots import pivot_solve


def log_likelihood(path: AffinePath, sight: Sight, mode: Mode) -> Float[Array, ""]:
    """Log-likelihood of one trajectory, from the most probable path, which has no slopes."""
    still, seen = path.still(), sight.still()
    z, x, F, C = mode.z, mode.x, still.F, still.C
    stages = Stages(F, C)
    slopes = seen.slopes(x)
    factor = factorize(stages, slopes.W)
    V = covariances(stages, factor)
    q = seen.change_of_curvature(x, V)
    u = solve(stages, factor, q)
    delta = AffinePath(F, jnp.zeros_like(x), C).roll(u)

    both = jnp.stack([slopes.g - jax.vmap(matvec)(slopes.W, delta) + q, slopes.g], axis=-1)
    alpha, beta = jnp.moveaxis(_adjoints(F, both), -1, 0)

    def weights(*k: Array) -> tuple[Array, Array]:
        a, b, x, d, z, u, A, L, K, V, C, lower, D = k
        xx = matmul(A, V)
        xz = matmul(xx, K.T) + pivot_solve(lower, D, C.T).T
        return outer(a, x) + outer(b, d) - matmul(L, xx), outer(a, z) + outer(b, u) - matmul(L, xz)

    of_F, of_C = jax.vmap(weights)(
        alpha, beta, before(x), before(delta), z, u, factor.A, factor.L, factor.K, before(V), C,
        factor.lower, factor.D,
    )  # fmt: skip

    def moving(path: AffinePath, sight: Sight) -> Array:
        of_data = sight.expected(x, delta, V)
        return of_data + (of_F * path.F).sum() + (alpha * path.c).sum() + (of_C * path.C).sum()

    value = slopes.density.sum() - 0.5 * (z * z).sum() - factor.half_log_determinant
    fixed = jax.lax.stop_gradient((value, moving(still, seen)))
    return fixed[0] + (moving(path, sight) - fixed[1])


def _adjoints(
    F: Float[Array, "stage state state"], g: Float[Array, "stage state two"]
) -> Float[Array, "stage state two"]:
    """Adjoints of two sets of slopes at once."""
    return jax.vmap(adjoint, in_axes=(None, -1), out_axes=-1)(F, g)
