r"""Stationary mean and covariance of linear dynamics.

In discrete time :math:`P = F P F' + Q`, solved by doubling (Smith 1968): with
:math:`P_0 = Q, A_0 = F`, :math:`P_{i+1} = P_i + A_i P_i A_i'` and :math:`A_{i+1} = A_i^2` sum
twice as many terms of :math:`\sum_k F^k Q F'^k` at every turn, all of them positive semi-definite.
In continuous time :math:`A P + P A' + S = 0` becomes the same equation by Cayley's transform.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.linalg.products import congruence, matmul, matvec, symmetrize

DOUBLINGS = 50
"""Most turns: what decays by less than one part in 2^45 a step counts as not decaying."""

DECAYED = 1e-10
"""Size of the power of F below which a further term is below rounding."""


def stationary_covariance(
    F: Float[Array, "state state"], Q: Float[Array, "state state"]
) -> Float[Array, "state state"]:
    """Covariance ``P = F P F' + Q``; NaN unless every mode decays. Differentiable both ways."""
    if F.shape == (1, 1):
        slope = F[0, 0]
        decays = jnp.abs(slope) < 1
        safe = jnp.where(decays, slope, 0.0)
        return jnp.where(decays, Q / (1 - safe * safe), jnp.nan)

    def equation(P: Array) -> Array:
        return P - matmul(matmul(F, P), F.T)

    P: Array = jax.lax.custom_linear_solve(
        equation,
        Q,
        solve=lambda _, Q: _sum_of_powers(F, Q),
        transpose_solve=lambda _, Q: _sum_of_powers(F.T, Q),
    )
    return symmetrize(P)


def stationary_mean(
    F: Float[Array, "state state"], c: Float[Array, " state"]
) -> Float[Array, " state"]:
    """Mean ``m = F m + c``."""
    return solved(jnp.eye(F.shape[0]) - F, c)


def solved(M: Float[Array, "state state"], b: Float[Array, " state"]) -> Float[Array, " state"]:
    """Solution of ``M x = b``; of one state without a factorization."""
    if M.shape == (1, 1):
        return b / M[0, 0]
    solution: Array = jnp.linalg.solve(M, b)
    return solution


def decays(F: Float[Array, "state state"]) -> Bool[Array, ""]:
    """Whether powers of F vanish, as far as can be told from a great one."""
    F = jax.lax.stop_gradient(F)

    def lasting(carry: tuple[Array, Array]) -> Array:
        i, power = carry
        return (i < DOUBLINGS) & (jnp.max(jnp.abs(power)) > DECAYED)

    def double(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        return carry[0] + 1, matmul(carry[1], carry[1])

    _, power = jax.lax.while_loop(lasting, double, (jnp.asarray(0), F))
    return jnp.max(jnp.abs(power)) <= DECAYED


def stationary_moments(
    A: Float[Array, "state state"],
    c: Float[Array, " state"],
    S: Float[Array, "state state"],
    *,
    continuous: bool,
) -> tuple[Float[Array, " state"], Float[Array, "state state"]]:
    """Mean and covariance of ``x' = A x + c + noise``, or of ``dx = (A x + c) dt + noise``."""
    if not continuous:
        return stationary_mean(A, c), stationary_covariance(A, S)
    if A.shape == (1, 1):
        decays = A < 0
        safe = jnp.where(decays, A, -1.0)
        return -c / A[0, 0], jnp.where(decays, -0.5 * S / safe, jnp.nan)
    identity = jnp.eye(A.shape[0])
    # Any positive step solves the same equation; this one is that of the fastest mode.
    step = jax.lax.stop_gradient(1.0 / jnp.max(jnp.abs(A).sum(1)))
    inverse = jnp.linalg.inv(identity - step * A)
    F = matmul(inverse, identity + step * A)
    Q = 2 * step * congruence(inverse, S)
    return -matvec(jnp.linalg.inv(A), c), stationary_covariance(F, Q)


def _sum_of_powers(F: Array, Q: Array) -> Array:
    """``sum F^k Q F'^k``, NaN where it does not converge; `Q` need not be symmetric."""

    def undecayed(carry: Any) -> Array:
        i, A, _ = carry
        return (i < DOUBLINGS) & (jnp.max(jnp.abs(A)) > DECAYED)

    def double(carry: Any) -> Any:
        i, A, P = carry
        return i + 1, matmul(A, A), P + matmul(matmul(A, P), A.T)

    _, A, P = jax.lax.while_loop(undecayed, double, (0, F, Q))
    # Written so that an A that is not a number fails too.
    return jnp.where(jnp.max(jnp.abs(A)) <= DECAYED, P, jnp.nan)
