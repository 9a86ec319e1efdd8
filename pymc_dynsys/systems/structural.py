r"""Components of time series by name, to be added to each other.

    trend = local_linear_trend(level_sigma, slope_sigma)
    Trajectory("y", trend + seasonal(12, season_sigma) + white_noise(sigma), observed=y, ...)

Each is a block of a linear-Gaussian system (Harvey 1989; Durbin and Koopman 2012, ch. 3).
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pymc_dynsys.systems.initial import Diffuse, Mixed, Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Matrices, first_law, is_definite

Initial = Stationary | Diffuse


def local_level(
    sigma: Any, *, initial: Initial | None = None, name: str = "level", step: float = 1.0
) -> LinearGaussian:
    r"""Random walk, :math:`\mu_{k+1} = \mu_k + \sigma \eta_k`.

    Parameters
    ----------
    sigma : scalar
        Standard deviation of a step: a PyMC variable, which may have batch dims, or a number.
    initial : Stationary or Diffuse, optional
        Default: exactly diffuse.
    name : str
        Name of the state and prefix of the parameter.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        Adds to others with ``+``; without :func:`white_noise` it is observed exactly.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> (pds.local_level(1.0) + pds.white_noise(2.0)).states
    ('level',)
    """

    def matrices(params: Mapping[str, Any]) -> Matrices:
        return _block(jnp.eye(1), _variances(params[f"{name}_sigma"]), jnp.ones(1))

    return _component(name, (name,), {f"{name}_sigma": sigma}, matrices, initial, step)


def local_linear_trend(
    level_sigma: Any,
    slope_sigma: Any,
    *,
    initial: Initial | None = None,
    name: str = "level",
    slope: str = "slope",
    step: float = 1.0,
) -> LinearGaussian:
    r"""Level that moves by a slope which itself is a random walk.

    .. math:: \mu_{k+1} = \mu_k + \nu_k + \sigma_\mu \eta_k, \qquad
              \nu_{k+1} = \nu_k + \sigma_\nu \zeta_k

    A `level_sigma` of zero gives the smooth trend, both zero a straight line.

    Parameters
    ----------
    level_sigma, slope_sigma : scalar
        Standard deviations of the steps.
    initial : Stationary or Diffuse, optional
        Default: exactly diffuse.
    name, slope : str
        Names of the two states and prefixes of their parameters.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        Adds to others with ``+``.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.local_linear_trend(0.0, 0.1).states
    ('level', 'slope')
    """
    params = {f"{name}_sigma": level_sigma, f"{slope}_sigma": slope_sigma}

    def matrices(params: Mapping[str, Any]) -> Matrices:
        variances = [_variances(params[f"{of}_sigma"]) for of in (name, slope)]
        F = jnp.array([[1.0, 1.0], [0.0, 1.0]])
        return _block(F, jnp.concatenate(variances), jnp.array([1.0, 0.0]))

    return _component(name, (name, slope), params, matrices, initial, step)


def seasonal(
    period: int,
    sigma: Any,
    *,
    harmonics: int | None = None,
    initial: Initial | None = None,
    name: str = "seasonal",
    step: float = 1.0,
) -> LinearGaussian:
    r"""Pattern that repeats every `period` steps and changes slowly.

    Without `harmonics` the effects of a period sum to noise,
    :math:`\gamma_{k+1} = -\sum_{j=0}^{s-2} \gamma_{k-j} + \sigma \eta_k`; with them it is a sum of
    waves :math:`\lambda_j = 2 \pi j / s` whose amplitudes drift, each by `sigma` a step.

    Parameters
    ----------
    period : int
        Steps in a period, at least 2.
    sigma : scalar
        Standard deviation of a step; zero for a fixed pattern.
    harmonics : int, optional
        Number of waves, at most half the period; the last of an even period needs one state only.
    initial : Stationary or Diffuse, optional
        Default: exactly diffuse.
    name : str
        Name of the first state, prefix of the others and of the parameter.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        Adds to others with ``+``.

    Raises
    ------
    ValueError
        For a period below 2, or more waves than fit.

    References
    ----------
    Durbin and Koopman (2012), *Time Series Analysis by State Space Methods*, sec. 3.2.2.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.seasonal(4, 0.1).states
    ('seasonal', 'seasonal_1', 'seasonal_2')
    """
    if isinstance(period, bool) or not isinstance(period, int | np.integer) or period < 2:
        raise ValueError(f"seasonal: period must be an integer of at least 2, got {period!r}")
    if harmonics is None:
        F = np.eye(period - 1, k=-1)
        F[0] = -1.0
        H, noisy = np.eye(period - 1)[0], np.eye(period - 1)[0]
    else:
        F, H = _waves(int(period), harmonics)
        noisy = np.ones(len(H))
    states = (name, *(f"{name}_{i}" for i in range(1, len(H))))

    def matrices(params: Mapping[str, Any]) -> Matrices:
        variance = _variances(params[f"{name}_sigma"])
        return _block(jnp.asarray(F), variance * noisy, jnp.asarray(H))

    return _component(name, states, {f"{name}_sigma": sigma}, matrices, initial, step)


def _waves(period: int, harmonics: Any) -> tuple[np.ndarray, np.ndarray]:
    """Rotations of the waves of a period, and where they are seen."""
    is_count = isinstance(harmonics, int | np.integer) and not isinstance(harmonics, bool)
    if not (is_count and 1 <= harmonics <= period // 2):
        raise ValueError(
            f"seasonal: harmonics must be from 1 to {period // 2} for a period of {period}, got "
            f"{harmonics!r}"
        )
    n = 2 * harmonics - (1 if 2 * harmonics == period else 0)
    F, H = np.zeros((2 * harmonics, 2 * harmonics)), np.zeros(2 * harmonics)
    for j in range(harmonics):
        angle = 2 * np.pi * (j + 1) / period
        wave = slice(2 * j, 2 * j + 2)
        F[wave, wave] = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        H[2 * j] = 1.0
    return F[:n, :n], H[:n]


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
        :math:`\phi`; a scalar for p = 1.
    sigma : scalar
        Standard deviation of the innovations.
    order : int, optional
        p, where the shape of `coefficients` does not tell it.
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
        phi = jnp.reshape(jnp.asarray(params[f"{name}_coefficients"], float), (p,))
        F = jnp.concatenate([phi[None, :], jnp.eye(p - 1, p)])
        first = jnp.eye(p)[0]
        return _block(F, _variances(params[f"{name}_sigma"]) * first, first)

    params = {f"{name}_coefficients": coefficients, f"{name}_sigma": sigma}
    states = (name, *(f"{name}_{i}" for i in range(1, p)))
    return _component(name, states, params, matrices, initial or Stationary(), step)


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
        wide = jnp.moveaxis(phi, 0, 1).reshape(m, p * m)
        F = jnp.concatenate([wide, jnp.eye((p - 1) * m, p * m)])
        Q = jnp.zeros((p * m, p * m)).at[:m, :m].set(jnp.asarray(params[f"{name}_cov"], float))
        return Matrices(F, jnp.zeros(p * m), Q, jnp.eye(m, p * m), jnp.zeros(m), None)

    lags = ("", *(f"_lag{j}" for j in range(1, p)))
    states = tuple(f"{name}_{i}{lag}" for lag in lags for i in range(m))
    params = {f"{name}_coefficients": coefficients, f"{name}_cov": cov}
    return _component(name, states, params, matrices, initial or Stationary(), step)


def white_noise(
    sigma: Any, *, components: int | None = None, name: str = "noise", step: float = 1.0
) -> LinearGaussian:
    r"""Noise of measurement, independent at each visit.

    Parameters
    ----------
    sigma : scalar or (component,)
        Standard deviation; one for each component of a vector observation.
    components : int, optional
        Components of a vector observation that share a scalar `sigma`.
    name : str
        Prefix of the parameter.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        A block without a state, to be added to others.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> (pds.autoregression(0.9, 1.0) + pds.white_noise(0.5)).states
    ('ar',)
    """

    def matrices(params: Mapping[str, Any]) -> Matrices:
        s = jnp.asarray(params[f"{name}_sigma"], float)
        if components is not None:
            s = jnp.broadcast_to(s, (components,))
        variances = jnp.where(s >= 0, s * s, jnp.nan)
        nothing = jnp.zeros((0, 0))
        H = jnp.zeros((*s.shape, 0))
        return Matrices(nothing, jnp.zeros(0), nothing, H, jnp.zeros(s.shape), variances)

    def initial(params: Mapping[str, Any]) -> Mixed:
        return Mixed(jnp.zeros(0), jnp.zeros((0, 0)), ())

    params = {f"{name}_sigma": sigma}
    definite = is_definite(sigma)
    return LinearGaussian(name, (), params, matrices, initial, step, definite)


def _component(
    name: str,
    states: tuple[str, ...],
    params: dict[str, Any],
    matrices: Any,
    initial: Any,
    step: float,
) -> LinearGaussian:
    law = Diffuse() if initial is None else initial
    if not isinstance(law, Stationary | Diffuse):
        raise TypeError(f"{name}: initial must be Stationary() or Diffuse(), got {law!r}")
    return LinearGaussian(
        name, states, params, matrices, lambda params: first_law(law, matrices(params)), step
    )


def _block(F: Array, variances: Array, H: Array) -> Matrices:
    """Matrices of a scalar component with independent noises."""
    n = len(F)
    return Matrices(F, jnp.zeros(n), jnp.diag(variances), H, jnp.zeros(()), None)


def _variances(sigma: Any) -> Array:
    """Variance as a vector of one; NaN for a negative standard deviation."""
    s = jnp.reshape(jnp.asarray(sigma, float), (1,))
    return jnp.where(s >= 0, s * s, jnp.nan)


def _order(role: str, value: Any, stated: int | None, ndim: int, axis: int = 0) -> int:
    """Length of an axis of the coefficients, counted from the last `ndim` ones."""
    if stated is not None:
        return int(stated)
    shape = (
        value.type.shape if hasattr(value, "type") else np.shape(getattr(value, "values", value))
    )
    if len(shape) == 0 and ndim == 1:
        return 1
    if len(shape) != ndim or shape[axis] is None:
        raise ValueError(
            f"{role}: coefficients of shape {tuple(shape)} do not tell their number; state "
            "order=... (and components=... of a vector)"
        )
    return int(shape[axis])
