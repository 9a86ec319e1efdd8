r"""A regression on coefficients of which the data need not tell all.

Legend: X slopes ``(n, q)`` of data of unit noise; S scales of its columns; r rank; V orthonormal
columns; N columns that span what the data do not tell, :math:`X N = 0`.

The data are :math:`z = X \delta + N(0, I)`. With :math:`\delta \sim N(0, \kappa I)`,

.. math:: \lim_{\kappa \to \infty} \left[\log p(z) + \tfrac r2 \log \kappa\right] = -\tfrac12 \left[
          n \log 2\pi + \log \det\nolimits^+ X'X + |z - X \hat\delta|^2\right],

:math:`\det^+` being the product of the positive eigenvalues. Columns are made comparable, and so
independent of units, by S; independent ones are found, :math:`X S = V [A\; B]` in their order;
then N is :math:`S [-A^{-1} B; I] S^{-1}` and

.. math:: \log \det\nolimits^+ X'X = 2 \log |\det A S^{-1}| + \log \det N'N.

Derivatives are those along changes that keep the rank,
:math:`d \log\det^+ X'X = 2\,\mathrm{tr}(X^+ dX)`, with :math:`X^+` the pseudo-inverse, and
:math:`d |e|^2 = 2 e' (dz - dX \hat\delta)` with e the residual (Golub and Pereyra 1973).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Bool, Float, Int

from pymc_dynsys.linalg.columns import independent_columns

RANK_TOL = 1e-12
"""What is left of a column, in units of the terms that it sums, which is no more than rounding."""


class Told(NamedTuple):
    """What data tell of the coefficients: in the order `order`, those where `free` is True.

    ``A`` is upper triangular with ones for what is not free; ``shadow`` holds, by column that is
    not free, how much of it the free ones stand for, so that ``N`` in units of the scales has
    ``-shadow`` and ones.
    """

    V: Float[Array, "n q"]
    A: Float[Array, "q q"]
    shadow: Float[Array, "q q"]
    order: Int[Array, " q"]
    free: Bool[Array, " q"]
    scale: Float[Array, " q"]


def told_by(X: Float[Array, "n q"], size: Float[Array, "n q"]) -> Told:
    """What data with these slopes tell; `size` are sums of absolute terms of the slopes."""
    largest = size.max(0, initial=0.0)
    scale = jnp.where(largest > 0, 1.0 / jnp.where(largest > 0, largest, 1.0), 1.0)
    found = independent_columns(X * scale[None, :], RANK_TOL)
    free, R = found.free, found.R
    A = jnp.where(free[:, None] & free[None, :], R, jnp.eye(len(free)))
    B = jnp.where(free[:, None] & ~free[None, :], R, 0.0)
    shadow = solve_triangular(A, B)
    return Told(found.V, A, shadow, found.order, free, scale[found.order])


def null_space(told: Told) -> Float[Array, "q q"]:
    """N in units of the scales, in the order of what was found."""
    return jnp.where(told.free[None, :], 0.0, jnp.eye(len(told.free)) - told.shadow)


@jax.custom_jvp
def fit(
    X: Float[Array, "n q"], z: Float[Array, " n"], size: Float[Array, "n q"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Logarithm of the pseudo-determinant of ``X'X``, and the sum of squared residuals."""
    log_pdet, _, e, _ = _solved(X, z, size)
    return log_pdet, (e * e).sum()


@fit.defjvp
def _fit_tangents(primals: tuple[Array, ...], tangents: tuple[Array, ...]) -> Any:
    """Derivatives along changes that keep the rank; `size` has no part in them."""
    (X, z, size), (dX, dz, _) = primals, tangents
    log_pdet, inverse, e, delta = _solved(X, z, size)
    of_det = 2 * (inverse.T * dX).sum()
    of_rest = 2 * (e * dz).sum() - 2 * (e * (dX * delta[None, :]).sum(1)).sum()
    return (log_pdet, (e * e).sum()), (of_det, of_rest)


def _solved(X: Array, z: Array, size: Array) -> tuple[Array, Array, Array, Array]:
    """Log pseudo-determinant, pseudo-inverse ``(q, n)``, residuals and coefficients."""
    told = told_by(X, size)
    V, A, _, order, free, scale = told
    # Of N without units, which its columns do not need.
    basis = independent_columns(scale[:, None] * null_space(told) / scale[None, :], 0.0)
    lengths = jnp.where(basis.free, jnp.abs(jnp.diagonal(basis.R)), 1.0)
    diagonal = jnp.where(free, jnp.abs(jnp.diagonal(A)) / scale, 1.0)
    log_pdet = 2 * jnp.log(diagonal).sum() + 2 * jnp.log(lengths).sum()
    some = scale[:, None] * solve_triangular(A, V.T)
    inverse = some - basis.V @ (basis.V.T @ some)
    back = jnp.argsort(order)
    return log_pdet, inverse[back], z - V @ (V.T @ z), (some @ z)[back]
