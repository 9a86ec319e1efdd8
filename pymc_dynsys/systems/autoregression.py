"""Autoregressions, of one series and of several."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from pymc_dynsys.systems.blocks import Initial, block, component, variances
from pymc_dynsys.systems.initial import Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Matrices
from pymc_dynsys.systems.matrices import require_shape
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
    p = _order("autoregression", coefficients, order, 1)

    def matrices(params: Mapping[str, Any]) -> Matrices:
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


def vector_autoregression(
    coefficients: Any,
    cov: Any,
    *,
    order: int | None = None,
    components: int | None = None,
    initial: Initial | None = None,
    name: str = "var",
    step: float = 1.0,
) -> LinearGaussian:
    r"""VAR(p) process, :math:`u_{k+1} = \sum_{j=1}^p \Phi_j u_{k+1-j} + N(0, C)`.

    Parameters
    ----------
    coefficients : (p, component, component)
        :math:`\Phi_1, \ldots, \Phi_p`; ``[j, a, b]`` is the effect of b, j + 1 steps ago, on a.
    cov : (component, component)
        Covariance of the innovations.
    order, components : int, optional
        p and the number of components, where the shape of `coefficients` does not tell them.
    initial : Stationary or Diffuse, optional
        Default: stationary.
    name : str
        Prefix of states and parameters.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        A vector observation of all components; add :func:`white_noise` for noise of measurement.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc_dynsys as pds
    >>> pds.vector_autoregression(0.5 * np.eye(2)[None], np.eye(2)).states
    ('var_0', 'var_1')
    """
    p = _order("vector_autoregression", coefficients, order, 3)
    m = _order("vector_autoregression", coefficients, components, 3, axis=-1)

    def matrices(params: Mapping[str, Any]) -> Matrices:
        phi = jnp.asarray(params[f"{name}_coefficients"], float)
        if phi.shape != (p, m, m):
            raise ValueError(
                f"vector_autoregression: coefficients have shape {phi.shape}, expected {(p, m, m)}"
            )
        cov = require_shape("cov", params[f"{name}_cov"], (m, m), role="vector_autoregression")
        wide = jnp.moveaxis(phi, 0, 1).reshape(m, p * m)
        F = jnp.concatenate([wide, jnp.eye((p - 1) * m, p * m)])
        Q = jnp.zeros((p * m, p * m)).at[:m, :m].set(cov)
        return Matrices(F, jnp.zeros(p * m), Q, jnp.eye(m, p * m), jnp.zeros(m), None)

    lags = ("", *(f"_lag{j}" for j in range(1, p)))
    states = tuple(f"{name}_{i}{lag}" for lag in lags for i in range(m))
    params = {f"{name}_coefficients": coefficients, f"{name}_cov": cov}
    return component(name, states, params, matrices, initial or Stationary(), step)


def _order(role: str, value: Any, stated: int | None, ndim: int, axis: int = 0) -> int:
    """Length of an axis of the coefficients, counted from the last `ndim` ones."""
    if stated is not None:
        whole = isinstance(stated, int | np.integer) and not isinstance(stated, bool)
        if not whole or stated < 1:
            raise ValueError(f"{role}: expected a positive number of coefficients, got {stated!r}")
        return int(stated)
    shape = shape_of(value)
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
