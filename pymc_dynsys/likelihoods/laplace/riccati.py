r"""Newton's equations of a path, solved by one pass backward and one forward.

A path is made of standard normals, :math:`x_k = F_k x_{k-1} + c_k + C_k z_k` near where it is, and
its log-density is :math:`\sum_k l_k(x_k) - \tfrac12 |z|^2`. With slopes g and curvatures
W = -l'' of the data, minus the Hessian in z is factored block by block from the last stage to the
first, :math:`\log|H| = \sum_k \log|S_k|`. Noise enters by its factors C and nothing is inverted
but S, so that singular noise, known starts, gaps of zero length and missing data are no special
cases.

Legend: L, v curvature and slope of what is to come, in the state; S, D pivots of H, in blocks and
one by one; K, A gains, :math:`dz_k = \text{kff}_k + K_k\,dx_{k-1}` and :math:`A = F + C K`; V
covariance of the states under the normal approximation.

It is the discrete-time linear-quadratic regulator: Bertsekas (2017), *Dynamic Programming and
Optimal Control* I, sec. 3.1; Dunn and Bertsekas (1989) for Newton's method by it. L is carried in
Joseph's form: the plain one cancels where data are precise.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.linalg import symmetrize
from pymc_dynsys.linalg.pivots import pivot_solve, pivots, unit_upper_solve
from pymc_dynsys.linalg.written import congruence, inner, matmul, matvec, total


class Stages(NamedTuple):
    """Slopes of each stage of a path in the state that it leaves and in its own normals.

    The first stage leaves nothing: F is zero there.
    """

    F: Float[Array, "stage state state"]
    C: Float[Array, "stage state noise"]


class Curving(NamedTuple):
    """Curvature that the stages themselves add, where they are not affine."""

    xx: Float[Array, "stage state state"]
    zx: Float[Array, "stage noise state"]
    zz: Float[Array, "stage noise noise"]


class Factor(NamedTuple):
    """Minus the Hessian of a path's log-density in its normals, factored."""

    L: Float[Array, "*stage state state"]
    K: Float[Array, "*stage noise state"]
    A: Float[Array, "*stage state state"]
    lower: Float[Array, "*stage noise noise"]
    D: Float[Array, "*stage noise"]

    @property
    def half_log_determinant(self) -> Float[Array, ""]:
        """Half of log |H|; not a number unless H is positive definite."""
        return 0.5 * total(jnp.log(jnp.where(self.D > 0, self.D, jnp.nan)))


class Step(NamedTuple):
    """Newton's step in normals and states, and its decrement in nats, twice what it gains."""

    dz: Float[Array, "stage noise"]
    dx: Float[Array, "stage state"]
    decrement: Float[Array, ""]


def factorize(
    stages: Stages, W: Float[Array, "stage state state"], curving: Curving | None = None
) -> Factor:
    """Factor minus the Hessian: the backward pass.

    The loop keeps the curvature of what is to come, and nothing else; the rest follows from it
    for all stages at once.
    """

    def back(L: Array, k: tuple[Array, Stages, Curving | None]) -> tuple[Array, Array]:
        W, stage, curving = k
        L = L + W
        return _left(L, stage, curving), L

    parts = (W, stages, curving)
    L = jax.lax.scan(back, jnp.zeros(W.shape[1:]), parts, reverse=True)[1]
    return Factor(L, *jax.vmap(_gains)(L, stages, curving))


def newton(
    stages: Stages,
    W: Float[Array, "stage state state"],
    g: Float[Array, "stage state"],
    z: Float[Array, "stage noise"],
    curving: Curving | None = None,
) -> tuple[Factor, Step]:
    """Newton's step from a path with the given normals, slopes and curvatures."""
    factor = factorize(stages, W, curving)
    r, kff = feedforward(stages, factor, g, -z)
    dz, dx = respond(stages, factor, kff)
    return factor, Step(dz, dx, inner(r, kff))


def solve(
    stages: Stages,
    factor: Factor,
    g: Float[Array, "stage state"],
    r: Float[Array, "stage noise"] | None = None,
) -> tuple[Float[Array, "stage noise"], Float[Array, "stage state"]]:
    """H^{-1} times the gradient, in the normals, of slopes `g` in the states and `r` in these.

    The second part says how far that direction moves the states.
    """
    return respond(stages, factor, feedforward(stages, factor, g, r)[1])


def covariances(stages: Stages, factor: Factor) -> Float[Array, "stage state state"]:
    """Covariances of the states under the normal approximation."""

    def forward(V: Array, k: tuple[Array, Array]) -> tuple[Array, Array]:
        A, fresh = k
        V = congruence(A, V) + fresh
        return V, V

    fresh = jax.vmap(lambda C, L, D: symmetrize(matmul(C, pivot_solve(L, D, C.T))))(
        stages.C, factor.lower, factor.D
    )
    return jax.lax.scan(forward, jnp.zeros(fresh.shape[1:]), (factor.A, fresh))[1]


def deviations(
    stages: Stages, factor: Factor, eps: Float[Array, "stage noise"]
) -> Float[Array, "stage noise"]:
    """A draw of the normals about the mode of the normal approximation, from standard normals."""
    return respond(stages, factor, spread(factor, eps))[0]


def spread(factor: Factor, eps: Float[Array, "stage noise"]) -> Float[Array, "stage noise"]:
    """Normals of each stage about their mode given those before: S^{-1/2} times normals."""

    def root(L: Array, D: Array, e: Array) -> Array:
        return unit_upper_solve(L, e / jnp.sqrt(jnp.where(D > 0, D, jnp.nan)))

    found: Array = jax.vmap(root)(factor.lower, factor.D, eps)
    return found


def feedforward(
    stages: Stages, factor: Factor, g: Array, own: Array | None
) -> tuple[Float[Array, "stage noise"], Float[Array, "stage noise"]]:
    """Slopes in the normals of each stage when later ones answer it, and S^{-1} times these."""
    extra = (
        jnp.zeros_like(g) if own is None else jax.vmap(lambda K, r: matvec(K.T, r))(factor.K, own)
    )

    def back(v: Array, k: tuple[Array, ...]) -> tuple[Array, Array]:
        A, g, extra = k
        v = v + g
        return matvec(A.T, v) + extra, v

    v = jax.lax.scan(back, jnp.zeros(g.shape[1:]), (factor.A, g, extra), reverse=True)[1]
    r = jax.vmap(lambda C, v: matvec(C.T, v))(stages.C, v)
    r = r if own is None else r + own
    return r, jax.vmap(pivot_solve)(factor.lower, factor.D, r)


def respond(
    stages: Stages, factor: Factor, kff: Float[Array, "stage noise"]
) -> tuple[Float[Array, "stage noise"], Float[Array, "stage state"]]:
    """Changes of normals and states from those of the normals that each stage has by itself."""

    def step(dx: Array, k: tuple[Array, Array]) -> tuple[Array, Array]:
        A, shift = k
        dx = matvec(A, dx) + shift
        return dx, dx

    shifts = jax.vmap(matvec)(stages.C, kff)
    dx = jax.lax.scan(step, jnp.zeros(shifts.shape[1:]), (factor.A, shifts))[1]
    return kff + jax.vmap(matvec)(factor.K, before(dx)), dx


def adjoint(
    F: Float[Array, "stage state state"], g: Float[Array, "stage state"]
) -> Float[Array, "stage state"]:
    """Slopes in the state that each stage reaches: its own, and of all that comes after."""

    def back(v: Array, k: tuple[Array, Array]) -> tuple[Array, Array]:
        F, g = k
        v = v + g
        return matvec(F.T, v), v

    return jax.lax.scan(back, jnp.zeros(g.shape[1:]), (F, g), reverse=True)[1]


def before(x: Float[Array, "stage *own"]) -> Float[Array, "stage *own"]:
    """What each stage leaves: the value of the one before, zero for the first."""
    return jnp.concatenate([jnp.zeros_like(x[:1]), x[:-1]])


def _gains(
    L: Float[Array, "state state"], stage: Stages, curving: Curving | None
) -> tuple[Array, Array, Array, Array]:
    """Gains K ``(noise, state)`` and A ``(state, state)`` of a stage; its block of H, factored."""
    F, C = stage
    LC = matmul(L, C)
    S, Szx = jnp.eye(C.shape[1]) + matmul(C.T, LC), matmul(LC.T, F)
    if curving is not None:
        S, Szx = S + curving.zz, Szx + curving.zx
    lower, D = pivots(symmetrize(S))
    K = -pivot_solve(lower, D, Szx)
    return K, F + matmul(C, K), lower, D


def _left(
    L: Float[Array, "state state"], stage: Stages, curving: Curving | None
) -> Float[Array, "state state"]:
    """Curvature in the state that a stage leaves, from that in the state that it reaches."""
    K, A, _, _ = _gains(L, stage, curving)
    left = matmul(K.T, K) + congruence(A.T, L)
    if curving is not None:
        cross = matmul(K.T, curving.zx)
        left = left + curving.xx + cross + cross.T + congruence(K.T, curving.zz)
    return symmetrize(left)
