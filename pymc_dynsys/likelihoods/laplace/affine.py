r"""Value and derivatives of Laplace's approximation for affine paths, in closed form.

No pass is differentiated. At the most probable path, with :math:`\delta` the states' part of the
direction u (``value.py``), the log-likelihood moves with the parameters as

.. math:: \sum_k \left[l_k(x_k) + g_k(x_k)'\delta_k - \tfrac12 \mathrm{tr}\,V_k W_k(x_k)\right]
    + \sum_k \left[\langle G^F_k, F_k\rangle + \langle G^c_k, c_k\rangle
    + \langle G^C_k, C_k\rangle\right]

does, where all but the data's log-densities and F, c, C is held fixed. With :math:`\alpha, \beta`
the adjoints of x and :math:`\delta`, and E the expectation under the normal approximation,

.. math:: G^F_k &= \alpha_k x_{k-1}' + \beta_k \delta_{k-1}' - L_k E[x_k x_{k-1}'], \\
    G^C_k &= \alpha_k z_k' + \beta_k u_k' - L_k E[x_k z_k'], \qquad G^c_k = \alpha_k,

since :math:`\mathrm{d}\,\tfrac12\log|H| = E[\mathrm{d}\,\tfrac12 z'Hz]` and L x is the
expected slope of what is to come.
The second-order
correction adds its own weights of F, C and the data's derivatives, found by one differentiated
evaluation.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.laplace.mode import Mode
from pymc_dynsys.likelihoods.laplace.path import AffinePath
from pymc_dynsys.likelihoods.laplace.riccati import (
    Factor,
    Stages,
    adjoint,
    before,
    covariances,
    factorize,
    solve,
)
from pymc_dynsys.likelihoods.laplace.second_order import second_order
from pymc_dynsys.likelihoods.laplace.sight import Sight, squared
from pymc_dynsys.linalg import outer
from pymc_dynsys.linalg.pivots import pivot_solve
from pymc_dynsys.linalg.written import inner, matmul, matvec, total


class Normal(NamedTuple):
    """The normal approximation about the most probable path."""

    stages: Stages
    factor: Factor
    V: Float[Array, "row state state"]


class Phi(NamedTuple):
    """What is added to f, and how it moves with what it is made of.

    ``weights`` are those of the data's derivatives: of the curvatures ``(row, state, state)``, or,
    where each datum sees one number, of the second derivative and higher ones, ``(row,)`` each,
    with weights ``of_h`` of what that number is made of.
    ``slopes`` are what follows in the states.
    """

    value: Float[Array, ""]
    weights: tuple[Array, ...]
    slopes: Float[Array, "row state"]
    of_F: Float[Array, "row state state"]
    of_C: Float[Array, "row state noise"]
    of_h: Float[Array, "row state"] | None = None


def log_likelihood(path: AffinePath, sight: Sight, mode: Mode, order: int) -> Float[Array, ""]:
    """Log-likelihood of one trajectory, from the most probable path, which has no slopes."""
    still, seen = path.still(), sight.still()
    z, x, F, C = mode.z, mode.x, still.F, still.C
    stages = Stages(F, C)
    slopes, rungs = seen.all_slopes(x, 3 if order == 1 else 5)
    factor = factorize(stages, slopes.W)
    normal = Normal(stages, factor, covariances(stages, factor))
    phi = _first_order(seen, x, rungs, normal) if order == 1 else _both_orders(seen, rungs, normal)

    u, delta = solve(stages, factor, phi.slopes)
    of_x = slopes.g - jax.vmap(matvec)(slopes.W, delta) + phi.slopes
    alpha, beta = _adjoints(F, of_x, slopes.g)
    of_F = jax.vmap(outer)(alpha, before(x)) + jax.vmap(outer)(beta, before(delta)) + phi.of_F
    of_C = jax.vmap(outer)(alpha, z) + jax.vmap(outer)(beta, u) + phi.of_C

    def moving(path: AffinePath, sight: Sight) -> Array:
        of_data = sight.weighted(x, delta, phi.weights)
        if sight.predicted and phi.of_h is not None:
            of_data = of_data + inner(phi.of_h, sight.h)
        return of_data + inner(of_F, path.F) + inner(alpha, path.c) + inner(of_C, path.C)

    value = total(slopes.density) - 0.5 * inner(z, z) + phi.value
    now = moving(path, sight)
    return jax.lax.stop_gradient(value) + (now - jax.lax.stop_gradient(now))


def _first_order(sight: Sight, x: Array, rungs: tuple[Array, ...], normal: Normal) -> Phi:
    """Minus half of log |H|, from what the data see of the states ``(row, state)``."""
    (F, C), factor, V = normal

    def weights(V: Array, F: Array, C: Array, factor: Factor) -> tuple[Array, Array]:
        xx = matmul(factor.A, V)
        xz = matmul(xx, factor.K.T) + pivot_solve(factor.lower, factor.D, C.T).T
        return -matmul(factor.L, xx), -matmul(factor.L, xz)

    of_F, of_C = jax.vmap(weights)(before(V), F, C, factor)
    value = -factor.half_log_determinant
    if not sight.through_one:
        return Phi(value, (-0.5 * V,), sight.change_of_curvature(x, V), of_F, of_C)
    Vh = sight.covariances(V)
    v = 0.5 * sight.of_states(Vh)
    of_h = rungs[2][:, None] * Vh
    return Phi(value, (v,), sight.wide(v * rungs[3]), of_F, of_C, of_h)


def _both_orders(sight: Sight, rungs: tuple[Array, ...], normal: Normal) -> Phi:
    """The same with the second-order correction."""
    _, _, second, third, fourth, fifth = rungs
    first = _first_order(sight, jnp.zeros(()), rungs, normal)

    def correction(stages: Stages, h: Array, second: Array, third: Array, fourth: Array) -> Array:
        factor = factorize(stages, squared(-second, h))
        return second_order(factor, covariances(stages, factor), h, third, fourth)

    parts = (normal.stages, sight.h, second, third, fourth)
    more, pull = jax.vjp(correction, *parts)
    of_stages, of_h, *weights = pull(jnp.ones(()))
    weights[0] = weights[0] + first.weights[0]
    along = sum(w * rung for w, rung in zip(weights, (third, fourth, fifth), strict=True))
    return Phi(
        first.value + more,
        tuple(weights),
        sight.wide(along),
        first.of_F + of_stages.F,
        first.of_C + of_stages.C,
        first.of_h + of_h,
    )


def _adjoints(F: Array, *slopes: Float[Array, "row state"]) -> Array:
    """Adjoints ``(set, row, state)`` of sets of slopes."""
    both = jnp.stack(slopes, axis=-1)
    return jnp.moveaxis(jax.vmap(adjoint, in_axes=(None, -1), out_axes=-1)(F, both), -1, 0)
