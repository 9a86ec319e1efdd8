r"""Transition of linear dynamics of two states that feed each other.

With :math:`B = A h`, mean slope m, half the difference of slopes :math:`\delta` and N = B - m I,

.. math:: N^2 = q I, \qquad q = \delta^2 + B_{12} B_{21}, \qquad
          e^B = e^m \left(\cosh\sqrt q \; I + \frac{\sinh\sqrt q}{\sqrt q} N\right)

(Bernstein and So 1993, *Some explicit formulas for the matrix exponential*), in which cosines and
sines stand where q < 0, and :math:`G = h\, \varphi(B)` with :math:`\varphi(z) = (e^z - 1) / z`.
These are smooth in m and q, but not in the eigenvalues where they coincide, and lose digits where
the eigenvalues are orders apart. One of three forms is therefore taken:

- real eigenvalues :math:`\lambda_1 > \lambda_2` that are apart: divided differences,
  :math:`e^B = e^{\lambda_2} I + \exp[\lambda_1, \lambda_2] (B - \lambda_2 I)`, of which no term
  is negative in a compartment model;
- others: the formula above, and :math:`\varphi(B) = B^{-1} (e^B - I)`;
- a short gap: :math:`\varphi(B)` by its series.
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization.base import LinearTransition
from pymc_dynsys.linalg.divided_differences import divided_exps
from pymc_dynsys.systems.proof import FedBy

APART = 0.25
"""Value of q from which on eigenvalues, at least one apart, are taken one by one."""

SHORT = 1.5
"""Mean slope, and root of q, up to which the series is taken: half the largest eigenvalue there."""

TERMS = 30
"""Terms of that series, which leave less than 1e-17."""

NEAR_TERMS = 9
"""Terms of hyperbolic sines and cosines up to ``APART``, which leave less than 1e-17."""

Scalar = Float[Array, ""]
Entries = tuple[Scalar, Scalar, Scalar, Scalar]


def is_two_way(fed_by: FedBy | None) -> bool:
    """Whether two states feed each other."""
    return fed_by == ((1,), (0,))


def two_way_transition(A: Float[Array, "2 2"], h: Float[Array, ""]) -> LinearTransition:
    """``(F, G, 0)`` over a gap `h`."""
    B = (A[0, 0] * h, A[0, 1] * h, A[1, 0] * h, A[1, 1] * h)
    m, q = 0.5 * (B[0] + B[3]), _discriminant(B)
    short = (jnp.abs(m) < SHORT) & (jnp.abs(q) < SHORT**2)
    apart = q > APART
    F, integral = _select(
        apart, _apart(_where(apart, B, (-2.0, 0.0, 0.0, 0.0))), _joint(B, apart, short)
    )
    integral = _select(short, _by_series(_where(short, B, (0.0, 0.0, 0.0, 0.0))), integral)
    return LinearTransition(_matrix(F), _matrix(integral) * h, jnp.zeros_like(A))


def _discriminant(B: Entries) -> Scalar:
    half = 0.5 * (B[0] - B[3])
    return half * half + B[1] * B[2]


def _apart(B: Entries) -> tuple[Entries, Entries]:
    """``exp(B)`` and ``phi(B)`` from eigenvalues that are real and apart."""
    a, b, c, d = B
    m, half, root = 0.5 * (a + d), 0.5 * (a - d), jnp.sqrt(_discriminant(B))
    # The eigenvalue that is a difference comes from the determinant instead, and so do others.
    larger = m + jnp.where(m < 0, -root, root)
    other = (a * d - b * c) / larger
    low, high = jnp.where(m < 0, larger, other), jnp.where(m < 0, other, larger)
    sum_ = root + jnp.abs(half)
    rest = b * c / sum_
    over, under = jnp.where(half < 0, rest, sum_), jnp.where(half < 0, sum_, rest)
    exps = divided_exps([high, low, jnp.zeros_like(m)])

    def newton(at_low: Scalar, slope: Scalar) -> Entries:
        return at_low + slope * over, slope * b, slope * c, at_low + slope * under

    return newton(exps[(1,)], exps[0, 1]), newton(exps[1, 2], exps[0, 1, 2])


def _joint(B: Entries, apart: Bool[Array, ""], short: Bool[Array, ""]) -> tuple[Entries, Entries]:
    """``exp(B)`` where eigenvalues are near or complex, and ``phi(B)`` if the gap is not short."""
    B = _where(~apart, B, (-2.0, 0.0, 0.0, -2.0))
    m, q = 0.5 * (B[0] + B[3]), _discriminant(B)
    near = q > -APART
    close, angle = jnp.where(near, q, 0.0), jnp.sqrt(jnp.where(near, 1.0, -q))
    even, odd = jnp.zeros_like(q), jnp.zeros_like(q)
    for k in reversed(range(NEAR_TERMS)):
        even = 1.0 / math.factorial(2 * k) + close * even
        odd = 1.0 / math.factorial(2 * k + 1) + close * odd
    level = jnp.exp(m)
    C = level * jnp.where(near, even, jnp.cos(angle))
    S = level * jnp.where(near, odd, jnp.sin(angle) / angle)
    determinant = jnp.where(short, 1.0, m * m - q)
    P, R = (m * (C - 1) - q * S) / determinant, (m * S - (C - 1)) / determinant
    return _in_powers(B, C, S), _in_powers(B, P, R)


def _by_series(B: Entries) -> Entries:
    """``phi(B)``, the sum of ``B^k / (k + 1)!``, by Horner's scheme in ``P I + R N``."""
    m, q = 0.5 * (B[0] + B[3]), _discriminant(B)
    P, R = jnp.zeros_like(m), jnp.zeros_like(m)
    for k in reversed(range(TERMS)):
        P, R = 1.0 / math.factorial(k + 1) + m * P + q * R, P + m * R
    return _in_powers(B, P, R)


def _in_powers(B: Entries, level: Scalar, slope: Scalar) -> Entries:
    """Entries of ``level I + slope N``."""
    half = 0.5 * (B[0] - B[3])
    return level + slope * half, slope * B[1], slope * B[2], level - slope * half


def _where(
    wanted: Bool[Array, ""], B: Entries, otherwise: tuple[float, float, float, float]
) -> Entries:
    """Entries where a form is wanted; elsewhere others, of which all its steps are finite."""
    a, b, c, d = (jnp.where(wanted, x, y) for x, y in zip(B, otherwise, strict=True))
    return a, b, c, d


def _select[T](wanted: Bool[Array, ""], here: T, there: T) -> T:
    return jax.tree.map(lambda x, y: jnp.where(wanted, x, y), here, there)


def _matrix(entries: Entries) -> Float[Array, "2 2"]:
    return jnp.stack([jnp.stack(entries[:2]), jnp.stack(entries[2:])])
