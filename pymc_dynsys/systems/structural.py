r"""Components of time series by name, to be added to each other.

    trend = local_linear_trend(level_sigma, slope_sigma)
    Trajectory("y", trend + seasonal(12, season_sigma) + white_noise(sigma), observed=y, ...)

Each is a block of a linear-Gaussian system (Harvey 1989; Durbin and Koopman 2012, ch. 3).
"""

from typing import Any

import jax.numpy as jnp
import numpy as np

from pymc_dynsys.systems.blocks import Initial, block, component, squares, variances
from pymc_dynsys.systems.initial import Mixed
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Moves, Sensor, Values
from pymc_dynsys.systems.matrices import is_definite


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

    def matrices(params: Values) -> tuple[Moves, Sensor]:
        return block(jnp.eye(1), variances(params[f"{name}_sigma"]), jnp.ones(1))

    return component(name, (name,), {f"{name}_sigma": sigma}, matrices, initial, step)


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

    def matrices(params: Values) -> tuple[Moves, Sensor]:
        each = [variances(params[f"{of}_sigma"]) for of in (name, slope)]
        F = jnp.array([[1.0, 1.0], [0.0, 1.0]])
        return block(F, jnp.concatenate(each), jnp.array([1.0, 0.0]))

    return component(name, (name, slope), params, matrices, initial, step)


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

    def matrices(params: Values) -> tuple[Moves, Sensor]:
        variance = variances(params[f"{name}_sigma"])
        return block(jnp.asarray(F), variance * noisy, jnp.asarray(H))

    return component(name, states, {f"{name}_sigma": sigma}, matrices, initial, step)


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

    def moves(params: Values) -> Moves:
        nothing = jnp.zeros((0, 0))
        return Moves(nothing, jnp.zeros(0), nothing)

    def sensor(params: Values) -> Sensor:
        s = jnp.asarray(params[f"{name}_sigma"], float)
        if components is not None:
            s = jnp.broadcast_to(s, (components,))
        return Sensor(jnp.zeros((*s.shape, 0)), jnp.zeros(s.shape), squares(s))

    def initial(params: Values) -> Mixed:
        return Mixed(jnp.zeros(0), jnp.zeros((0, 0)), (), ())

    params = {f"{name}_sigma": sigma}
    definite = is_definite(sigma)
    return LinearGaussian(name, (), params, moves, sensor, initial, step, definite)
