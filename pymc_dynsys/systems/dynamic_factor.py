r"""Several series that few unseen factors move.

Legend: :math:`\Lambda` loadings, f factors with unit innovations, u what each series has of its
own.
"""

import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.systems.blocks import Initial, require_shape, squares, with_sensor
from pymc_dynsys.systems.entries import Entries
from pymc_dynsys.systems.initial import Stationary
from pymc_dynsys.systems.linear_gaussian import (
    LinearGaussian,
    Moves,
    Sensor,
    Values,
    block_diagonal,
)

ROLE = "dynamic_factor"


def dynamic_factor(
    loadings: object,
    coefficients: object,
    sigma: object,
    *,
    idiosyncratic: object = None,
    order: int = 1,
    initial: Initial | None = None,
    name: str = "factor",
    step: float = 1.0,
) -> LinearGaussian:
    r"""Dynamic factor model.

    .. math:: y_k = \Lambda f_k + u_k, \quad
              f_k = \sum_{j=1}^p \Phi_j f_{k-j} + N(0, I), \quad
              u_{k,i} = \rho_i u_{k-1,i} + N(0, \sigma_i^2)

    The unit innovations of the factors fix the scale of the loadings, not their sign: turning a
    factor and its loadings round changes nothing, so posteriors have mirror modes unless a loading
    of each factor has a sign of its own (``pm.HalfNormal`` for the first one). Two or more factors
    may also be rotated into each other: fix a zero in the loadings for each pair of them,
    ``[[a, 0.0], [b, c], ...]``.

    Parameters
    ----------
    loadings : (component, factor)
        :math:`\Lambda`; an array, a variable, or a nested list of numbers and scalar variables.
    coefficients : (p, factor, factor) or (factor, factor)
        :math:`\Phi`; ``[j, a, b]`` is the effect of factor b, j + 1 steps ago, on factor a. Without
        the first axis p is 1.
    sigma : (component,) or scalar
        Standard deviations of the innovations of u.
    idiosyncratic : (component,), optional
        :math:`\rho`. Without it u is noise, independent in time.
    order : int
        p.
    initial : Stationary or Diffuse, optional
        Of factors and u; default stationary.
    name : str
        Prefix of states and parameters.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        A vector observation. States are the factors, their lags, and u where it is autoregressive.

    Raises
    ------
    ValueError
        For shapes that do not fit; for those of variables when the trajectory is built.

    References
    ----------
    Stock and Watson (2016), *Handbook of Macroeconomics* 2A, ch. 8, sec. 2.1.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc_dynsys as pds
    >>> pds.dynamic_factor(np.ones((3, 1)), [[0.7]], 0.5, idiosyncratic=np.full(3, 0.2)).states
    ('factor_0', 'factor_own_0', 'factor_own_1', 'factor_own_2')
    """
    L = Entries(ROLE, "loadings", loadings, f"{name}_loadings")
    Phi = Entries(ROLE, "coefficients", coefficients, f"{name}_coefficients")
    s = Entries(ROLE, "sigma", sigma, f"{name}_sigma")
    rho = Entries(ROLE, "idiosyncratic", idiosyncratic, f"{name}_idiosyncratic")
    if len(L.shape) < 2:
        raise ValueError(f"{ROLE}: loadings have shape {L.shape}, expected (component, factor)")
    if not isinstance(order, int) or isinstance(order, bool) or order < 1:
        raise ValueError(f"{ROLE}: order must be a positive integer, got {order!r}")
    m, q, p = L.shape[-2], L.shape[-1], order
    own = m if idiosyncratic is not None else 0

    def variances(values: Values) -> Array:
        return jnp.broadcast_to(squares(require_shape("sigma", s(values), (m,), (), role=ROLE)), m)

    def moves(values: Values) -> Moves:
        shapes = ((p, q, q), (q, q)) if p == 1 else ((p, q, q),)
        phi = require_shape("coefficients", Phi(values), *shapes, role=ROLE).reshape(p, q, q)
        wide = jnp.moveaxis(phi, 0, 1).reshape(q, p * q)
        F = jnp.concatenate([wide, jnp.eye((p - 1) * q, p * q)])
        Q = jnp.diag(jnp.concatenate([jnp.ones(q), jnp.zeros((p - 1) * q)]))
        if own:
            ar = require_shape("idiosyncratic", rho(values), (m,), role=ROLE)
            F, Q = block_diagonal(F, jnp.diag(ar)), block_diagonal(Q, jnp.diag(variances(values)))
        return Moves(F, jnp.zeros(p * q + own), Q)

    def sensor(values: Values) -> Sensor:
        H = require_shape("loadings", L(values), (m, q), role=ROLE)
        H = jnp.concatenate([H, jnp.zeros((m, (p - 1) * q)), jnp.eye(m, own)], axis=1)
        return Sensor(H, jnp.zeros(m), None if own else variances(values))

    lags = ("", *(f"_lag{j}" for j in range(1, p)))
    states = (
        *(f"{name}_{i}{lag}" for lag in lags for i in range(q)),
        *(f"{name}_own_{i}" for i in range(own)),
    )
    parts = (L, Phi, s, rho) if own else (L, Phi, s)
    params = {key: value for part in parts for key, value in part.params.items()}
    return with_sensor(name, states, params, moves, sensor, initial or Stationary(), step)
