"""Autoregression of one series, and the number of lags that coefficients are of."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from pymc_dynsys.systems.blocks import Initial, block, component, variances
from pymc_dynsys.systems.initial import Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Moves, Sensor, Values
from pymc_dynsys.systems.values import shape_of


def autoregression(
    coefficients: Any,
    sigma: Any,
    *,
    order: int | None = None,
    initial: Initial | None = None,
    name: str = "ar",
    step: float = 1.0,
) -> LinearGaussian:
    r"""AR(p) process, :math:`u_{k+1} = \sum_{j=1}^p \phi_j u_{k+1-j} + \sigma \eta_k`.

    Parameters
    ----------
    coefficients : (p,) or scalar
        :math:`\phi`; a scalar for p = 1. Where they differ by series their dims say so, and
        `order` is to be stated.
    sigma : scalar
        Standard deviation of the innovations.
    order : int, optional
        p, where the shape of `coefficients` does not tell it: 1 for one number a series.
    initial : Stationary or Diffuse, optional
        Default: stationary, which gives log-likelihood minus infinity outside that region.
    name : str
        Name of the first state, prefix of the others and of the parameters.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        Adds to others with ``+``; without :func:`white_noise` it is observed exactly.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.autoregression([0.5, 0.2], 1.0).states
    ('ar', 'ar_1')
    """
    p = order_of("autoregression", shape_of(coefficients), order, 1)

    def matrices(params: Values) -> tuple[Moves, Sensor]:
        phi = jnp.asarray(params[f"{name}_coefficients"], float)
        if phi.ndim == 0 and p > 1 and order is None:
            raise ValueError(
                f"autoregression: coefficients of shape ({p},) were taken for {p} lags, but they "
                "are one number for each series; say so with order=1"
            )
        if phi.shape not in ((p,), ()) or (p > 1 and phi.ndim == 0):
            raise ValueError(
                f"autoregression: a series has coefficients of shape {phi.shape}, but order={p}"
            )
        phi = jnp.reshape(phi, (p,))
        F = jnp.concatenate([phi[None, :], jnp.eye(p - 1, p)])
        first = jnp.eye(p)[0]
        return block(F, variances(params[f"{name}_sigma"]) * first, first)

    params = {f"{name}_coefficients": coefficients, f"{name}_sigma": sigma}
    states = (name, *(f"{name}_{i}" for i in range(1, p)))
    return component(name, states, params, matrices, initial or Stationary(), step)


def order_of(
    role: str, shape: tuple[int, ...], stated: int | None, ndim: int, axis: int = 0
) -> int:
    """Length of an axis of the coefficients, unless it is stated."""
    if stated is not None:
        whole = isinstance(stated, int | np.integer) and not isinstance(stated, bool)
        if not whole or stated < 1:
            raise ValueError(f"{role}: expected a positive number of coefficients, got {stated!r}")
        return int(stated)
    if len(shape) == 0 and ndim == 1:
        return 1
    if len(shape) != ndim:
        hint = f": order={shape[-1]} if the last axis is that of lags" if ndim == 1 else ""
        raise ValueError(
            f"{role}: coefficients of shape {tuple(shape)} do not tell their number; state "
            "order=... (and components=... of a vector), as where they have an axis of series"
            + hint
        )
    return int(shape[axis])
