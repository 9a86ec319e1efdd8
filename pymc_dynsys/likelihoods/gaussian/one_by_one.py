r"""Data of the diffuse regression taken in one by one: what each brought, what is known then.

Legend: :math:`\gamma` coefficients in the orthonormal basis V of ``regression.py``, h slope of a
datum in it; m, P mean and covariance of :math:`\gamma`; B orthonormal rows that span the slopes
so far.

This is the exact initial filter (Durbin and Koopman 2012, sec. 5.2, 6.4): with
:math:`w = (I - B'B) h`,

.. math:: K = w / |w|^2, \quad \log p = -\tfrac12 \log(2 \pi F_\infty) \quad\text{if } w \ne 0,

and as usual where w = 0, where a datum says nothing of what is still unknown. :math:`F_\infty` is
:math:`|w|^2` in the coordinates of the diffuse states themselves.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular
from jaxtyping import Array, Float, Int

from pymc_dynsys.likelihoods.gaussian.diffuse import Slopes
from pymc_dynsys.likelihoods.gaussian.regression import RANK_TOL, Told
from pymc_dynsys.linalg import congruence, matvec, outer


class Known(NamedTuple):
    r"""What is known of :math:`\gamma`; ``rank`` rows of B are there, in both coordinates."""

    m: Float[Array, "*time q"]
    P: Float[Array, "*time q q"]
    B: Float[Array, "*time q q"]
    B_of_states: Float[Array, "*time q q"]
    rank: Int[Array, "*time"]


class Brought(NamedTuple):
    """What a row brought: log-density, what is known then, innovations (NaN: not yet known)."""

    log_likelihood: Float[Array, "*time"]
    known: Known
    innovation: Float[Array, "*time component"]


def one_by_one(slopes: Slopes, told: Told) -> Brought:
    """Take in all data, row by row and component by component."""
    q = len(told.free)
    none = jnp.zeros((q, q))
    nothing = Known(jnp.zeros(q), none, none, none, jnp.zeros((), int))
    h = told.V.reshape(slopes.h.shape)
    # Rounding of the terms of a slope, in the basis V.
    terms = slopes.size[..., told.order] * told.scale[None, None, :]
    inverse = jnp.abs(solve_triangular(told.A, jnp.eye(q)))
    rounding = jnp.sqrt(((terms @ inverse) ** 2).sum(-1))

    def component(known: Known, part: tuple[Array, ...]) -> Any:
        return absorb(known, *part)

    def row(known: Known, k: tuple[Array, ...]) -> tuple[Known, Brought]:
        known, (log_density, e) = jax.lax.scan(component, known, k)
        return known, Brought(log_density.sum(), known, e)

    rows = (slopes.z, h, slopes.h, rounding, slopes.constant)
    brought: Brought = jax.lax.scan(row, nothing, rows)[1]
    return brought


def absorb(
    known: Known,
    z: Float[Array, ""],
    h: Float[Array, " q"],
    h_of_states: Float[Array, " q"],
    rounding: Float[Array, ""],
    constant: Float[Array, ""],
) -> tuple[Known, tuple[Float[Array, ""], Float[Array, ""]]]:
    r"""Take in ``z = h gamma + N(0, 1)``; also its log-density and standardised innovation."""
    m, P, B, B_of_states, rank = known
    w, w_of_states = beside(h, B), beside(h_of_states, B_of_states)
    F_inf = (w * w).sum()
    first = F_inf > (RANK_TOL * rounding) ** 2
    here = (jnp.arange(len(m)) == rank) & first

    def joined(B: Array, w: Array) -> Array:
        length = jnp.sqrt(jnp.where(first, (w * w).sum(), 1.0))
        return jnp.where(here[:, None], w[None, :] / length, B)

    Ph = matvec(P, h)
    F = (h * Ph).sum() + 1.0
    v = z - (h * m).sum()
    gain = jnp.where(first, w / jnp.where(first, F_inf, 1.0), Ph / F)
    left = jnp.eye(len(m)) - outer(gain, h)
    P = congruence(left, P) + outer(gain, gain)
    seen_first = jnp.log(jnp.where(first, (w_of_states * w_of_states).sum(), 1.0))
    log_density = constant - 0.5 * jnp.where(first, seen_first, jnp.log(F) + v * v / F)
    e = jnp.where(first, jnp.nan, v / jnp.sqrt(F))
    known = Known(m + gain * v, P, joined(B, w), joined(B_of_states, w_of_states), rank + first)
    return known, (log_density, e)


def beside(h: Float[Array, " q"], B: Float[Array, "q q"]) -> Float[Array, " q"]:
    """What of `h` no row of B holds, taken out twice against rounding."""
    for _ in range(2):
        h = h - matvec(B.T, matvec(B, h))
    return h
