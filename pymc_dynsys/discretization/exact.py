r"""Exact transition of a linear SDE over a gap.

For :math:`dx = (A x + c)\,dt + L\,dB` and a gap :math:`h`

.. math:: F = e^{A h}, \quad G = \int_0^h e^{A s} ds, \quad
          Q = \int_0^h e^{A s} S e^{A' s} ds, \qquad S = L L'

(Särkkä and Solin 2019, eq. 6.20-6.21). One state has a closed form. Otherwise a Taylor
series on a short step followed by doublings, F <- F F, G <- G + F G, Q <- Q + F Q F': every
term of Q is positive semi-definite, and no inverse and no exp(-A h) appears, so gaps may be
as long as they like. The number of doublings is the same for all gaps (those not needed are
masked), which keeps the program small and reverse-differentiable.
"""

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from pymc_dynsys.discretization.base import (
    Discretization,
    LinearTransition,
    Transition,
    require_linear_dynamics,
)
from pymc_dynsys.discretization.triangular import is_triangular, triangular_transition
from pymc_dynsys.discretization.two_way import is_two_way, two_way_transition
from pymc_dynsys.linalg import congruence, linearize, matmul, matvec, symmetrize
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.proof import FedBy

TAYLOR_TERMS = 18
"""Terms that leave an error below 1e-17 for a short step with |A| h <= 1/2."""

DOUBLINGS = 24
"""Most doublings: gaps up to |A| h = 2^23, some eight million time constants."""


@dataclass(frozen=True)
class Exact(Discretization):
    """The exact Gaussian transition of a linear SDE; no step size, no error.

    Needs an affine drift that does not depend on time and a diffusion that depends on
    neither state nor time, as proved when the model is built.

    Raises
    ------
    ValueError
        When the model is built, if the dynamics are not linear; it says which function.

    See Also
    --------
    LocalLinearization : the same formula along a nonlinear path.

    References
    ----------
    Särkkä and Solin (2019), *Applied Stochastic Differential Equations*, sec. 6.2.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.Kalman(discretization=pds.Exact())
    Kalman(discretization=Exact())
    """

    exact_if_linear = True

    def check(self, system: BoundSystem) -> None:
        """Refuse systems without a closed-form transition."""
        require_linear_dynamics("Exact()", system)

    def linear_step(
        self, A: Float[Array, "state state"], S: Float[Array, "state state"], h: Any
    ) -> LinearTransition:
        """Exact transition over a gap `h`."""
        return exact_transition(A, S, h)

    def step(self, system: BoundSystem, x: Any, t: Any, h: Any, held: Held) -> Transition:
        """Exact transition, linearized where the drift already is linear."""
        return linearized_step(system, x, t + 0.5 * h, h, held)

    def noiseless_step(
        self, A: Float[Array, "state state"], h: ArrayLike, fed_by: FedBy | None = None
    ) -> LinearTransition:
        """Exact transition over a gap `h`, of which no noise is computed."""
        return noiseless_transition(A, h, fed_by)

    def ramp(
        self, A: Float[Array, "state state"], gap: ArrayLike, steps: ArrayLike, most: int
    ) -> Float[Array, "state state"]:
        """Exact response to a line over a gap."""
        return exact_ramp(A, gap)


def linearized_step(system: BoundSystem, x: Any, t: Any, h: Any, held: Held) -> Transition:
    """Transition of the SDE linearized at `x`: mean ``x + G f(x)``, noise at `x`.

    `t` is the middle of the step, where inputs that are lines have their means. Linear dynamics
    follow the lines, others hold the means.
    """
    f, J = linearize(lambda x: system.continuous.drift(x, t, held), x)
    if system.is_deterministic:
        F, G, Q = noiseless_transition(J, h, system.proof.dynamics.fed_by)
    else:
        F, G, Q = exact_transition(J, system.continuous.noise_covariance(x, t, held), h)
    mean = x + matvec(G, f)
    if held.lines is not None and system.proof.dynamics.linear:
        mean = mean + matvec(exact_ramp(J, h), system.continuous.drift_along_lines(x, t, held))
    return Transition(mean=mean, F=F, Q=Q)


def exact_transition(
    A: Float[Array, "state state"], S: Float[Array, "state state"], h: Any
) -> LinearTransition:
    """``(F, G, Q)`` over a gap `h`; NaN for undecayed dynamics beyond the longest gap."""
    if A.shape == (1, 1):
        # On scalars: XLA does not vectorize over a batch whose last axes have length one.
        a, s = A[0, 0], S[0, 0]
        scalars = (jnp.exp(a * h), h * relative_expm1(a * h), s * h * relative_expm1(2 * a * h))
        return LinearTransition(*(jnp.reshape(M, (1, 1)) for M in scalars))
    return _doubled(A, S, jnp.asarray(h))


def noiseless_transition(
    A: Float[Array, "state state"], h: ArrayLike, fed_by: FedBy | None = None
) -> LinearTransition:
    """``(F, G, 0)`` over a gap `h`: :func:`exact_transition` without the doublings of Q.

    Where it is known which states feed which, few states in one direction have a closed form, and
    so have two that feed each other.
    """
    h, nothing = jnp.asarray(h, float), jnp.zeros_like(A)
    if A.shape == (1, 1):
        return exact_transition(A, nothing, h)
    if fed_by is not None and is_triangular(fed_by):
        return triangular_transition(A, h, fed_by)
    if is_two_way(fed_by):
        return two_way_transition(A, h)
    wanted, doublings, short = _halvings(A, h)

    def double(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
        F, G = carry
        doubled = (matmul(F, F), G + matmul(F, G))
        return jax.tree.map(
            lambda new, old: jnp.where(i < doublings, new, old), doubled, carry
        ), None

    (F, G), _ = jax.lax.scan(double, _taylor_flow(A, short), jnp.arange(DOUBLINGS))
    undecayed = (wanted > DOUBLINGS) & (jnp.max(jnp.abs(F)) > 1e-17)
    F, G = (jnp.where(undecayed, jnp.nan, M) for M in (F, G))
    return LinearTransition(F, G, nothing)


def _taylor_flow(A: Array, h: Array) -> tuple[Array, Array]:
    """Series of F and G on a step with ``|A| h <= 1/2``, as in :func:`_taylor`."""
    identity, Ah = jnp.eye(A.shape[0]), A * h

    def term(
        carry: tuple[Array, Array, Array], k: Array
    ) -> tuple[tuple[Array, Array, Array], None]:
        power, F, G = carry
        power = matmul(Ah, power) / k
        return (power, F + power, G + power / (k + 1)), None

    orders = jnp.arange(1.0, TAYLOR_TERMS + 1)
    (_, F, G), _ = jax.lax.scan(term, (identity, identity, identity), orders)
    return F, G * h


def relative_expm1(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``(exp(z) - 1) / z``, with accurate derivatives at and around zero."""
    small = jnp.abs(z) < 1e-2
    far = jnp.where(small, 1.0, z)
    near = jnp.where(small, z, 0.0)
    series = 1 + near / 2 * (1 + near / 3 * (1 + near / 4 * (1 + near / 5 * (1 + near / 6))))
    return jnp.where(small, series, jnp.expm1(far) / far)


def exact_ramp(A: Float[Array, "state state"], h: ArrayLike) -> Float[Array, "state state"]:
    r"""Response ``K`` over a gap `h` to a drift that changes along a line through zero midway.

    One more column of the matrix exponential, doubled like the others:

    .. math:: K = \int_0^h e^{A (h - s)} (s - h / 2)\, ds, \qquad
              K \leftarrow F K + K + \tfrac{h}{2} (G - F G)
    """
    h = jnp.asarray(h)
    if A.shape == (1, 1):
        return jnp.reshape(h * h * relative_ramp(A[0, 0] * h), (1, 1))
    _, doublings, short = _halvings(A, h)

    def double(carry: tuple[Array, ...], i: Array) -> Any:
        F, G, K, length = carry
        FG = matmul(F, G)
        doubled = (matmul(F, F), G + FG, K + matmul(F, K) + 0.5 * length * (G - FG), 2 * length)
        return tuple(
            jnp.where(i < doublings, new, old) for new, old in zip(doubled, carry, strict=True)
        ), None

    start = (*_taylor_ramp(A, short), short)
    (_, G, K, length), _ = jax.lax.scan(double, start, jnp.arange(DOUBLINGS))
    # Beyond the longest gap all has decayed but the line, which goes on.
    return K + 0.5 * (h - length) * G


def relative_ramp(z: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """``K / h**2`` for one state with ``z = a h``, accurate at and around zero."""
    small = jnp.abs(z) < 0.5
    far = jnp.where(small, 1.0, z)
    near = jnp.where(small, z, 0.0)
    series = jnp.zeros_like(near)
    for k in range(15, 0, -1):
        series = near * (series - 0.5 * k / ((k + 1) * (k + 2) * math.factorial(k)))
    E = jnp.expm1(far) / far
    return jnp.where(small, series, 0.5 * E - (jnp.exp(far) - E) / far)


def _taylor_ramp(A: Array, h: Array) -> tuple[Array, Array, Array]:
    """Series of F, G and K on a step with ``|A| h <= 1/2``.

    With Phi_k = (A h)^k / k!: F = sum Phi_k, G = h sum Phi_k / (k + 1),
    K = -h^2 sum Phi_k k / (2 (k + 1) (k + 2)).
    """
    identity, Ah = jnp.eye(A.shape[0]), A * h

    def term(carry: Any, k: Any) -> Any:
        power, F, G, K = carry
        power = matmul(Ah, power) / k
        return (power, F + power, G + power / (k + 1), K + power * (k / ((k + 1) * (k + 2)))), None

    start = (identity, identity, identity, jnp.zeros_like(A))
    orders = np.arange(1.0, TAYLOR_TERMS + 1)
    (_, F, G, K), _ = jax.lax.scan(term, start, orders)
    return F, G * h, K * (-0.5 * h * h)


def _doubled(A: Array, S: Array, h: Array) -> LinearTransition:
    wanted, doublings, short = _halvings(A, h)
    F, G, Q = _taylor(A, S, short)

    def double(carry: Any, i: Any) -> Any:
        F, G, Q = carry
        needed = i < doublings
        doubled = (matmul(F, F), G + matmul(F, G), Q + congruence(F, Q))
        return tuple(
            jnp.where(needed, new, old) for new, old in zip(doubled, carry, strict=True)
        ), None

    (F, G, Q), _ = jax.lax.scan(double, (F, G, Q), jnp.arange(DOUBLINGS))
    undecayed = (wanted > DOUBLINGS) & (jnp.max(jnp.abs(F)) > 1e-17)
    F, G, Q = (jnp.where(undecayed, jnp.nan, M) for M in (F, G, Q))
    return LinearTransition(F, G, symmetrize(Q))


def _halvings(A: Array, h: Array) -> tuple[Array, Array, Array]:
    """Doublings that a gap asks for, those made of them, and the short step they begin with."""
    rate = jnp.max(jnp.abs(A).sum(axis=1))
    wanted = jnp.ceil(jnp.log2(jnp.maximum(2 * rate * h, 1.0)))
    doublings = jax.lax.stop_gradient(jnp.minimum(wanted, DOUBLINGS))
    # Beyond the longest gap the transition no longer changes if everything has decayed.
    longest = jax.lax.stop_gradient(jnp.where(wanted > DOUBLINGS, 2.0**DOUBLINGS / 2 / rate, h))
    return wanted, doublings, jnp.where(wanted > DOUBLINGS, longest, h) * 0.5**doublings


def _taylor(A: Array, S: Array, h: Array) -> tuple[Array, Array, Array]:
    """Series of F, G and Q on a step with ``|A| h <= 1/2``.

    With Phi_k = (A h)^k / k! and T_{k+1} = h (A T_k + T_k A') / (k + 2), T_0 = S h:
    F = sum Phi_k, G = h sum Phi_k / (k + 1), Q = sum T_k.
    """
    identity = jnp.eye(A.shape[0])
    Ah = A * h

    def term(carry: Any, k: Any) -> Any:
        power, T, F, G, Q = carry
        power = matmul(Ah, power) / k
        AT = matmul(Ah, T)
        T = (AT + AT.T) / (k + 1)
        return (power, T, F + power, G + power / (k + 1), Q + T), None

    start = (identity, S * h, identity, identity, S * h)
    orders = np.arange(1.0, TAYLOR_TERMS + 1)
    (_, _, F, G, Q), _ = jax.lax.scan(term, start, orders)
    return F, G * h, Q
