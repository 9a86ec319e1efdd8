r"""Smoothed ensembles behind the ensemble Kalman filter.

Backwards from the last ensemble, members are moved by what later data taught of their forecasts:

.. math:: X_k \leftarrow X_k + (X_{k+1} - X^f_{k+1}) J_k', \qquad
          J_k = C_{k,k+1} (C^f_{k+1})^+

with sample covariances of analysed and forecast members (Raanes 2016, the ensemble
Rauch-Tung-Striebel smoother, which equals the ensemble Kalman smoother where dynamics are linear).
The pseudo-inverse is that of the forecast covariance, singular where states are known.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

CUTOFF = 1e-12
"""Directions whose variance is below this share of the largest are taken as known."""


def smooth(
    predicted: Float[Array, "row member state"], filtered: Float[Array, "row member state"]
) -> Float[Array, "row member state"]:
    """Members at every row given all the data."""

    def back(later: Array, k: Any) -> tuple[Array, Array]:
        X, forecast = k
        J = regression(X, forecast)
        X = X + (later - forecast) @ J.T
        return X, X

    last = filtered[-1]
    earlier = (filtered[:-1], predicted[1:])
    _, smoothed = jax.lax.scan(back, last, earlier, reverse=True)
    return jnp.concatenate([smoothed, last[None]])


def regression(
    X: Float[Array, "member state"], of: Float[Array, "member state"]
) -> Float[Array, "state state"]:
    """Coefficients of the regression of members on their forecasts."""
    A, B = X - X.mean(0)[None, :], of - of.mean(0)[None, :]
    scale = jnp.sqrt((B * B).mean(0))
    scale = jnp.where(scale > 0, scale, 1.0)
    B = B / scale[None, :]
    lengths, axes = jnp.linalg.eigh(B.T @ B)
    known = lengths <= CUTOFF * lengths[-1]
    inverse = jnp.where(known, 0.0, 1.0 / jnp.where(known, 1.0, lengths))
    return (A.T @ B @ axes * inverse[None, :]) @ axes.T / scale[None, :]
