r"""Stochastic cycle of any period, damped or not (Harvey 1989, sec. 2.3.3).

Legend: :math:`\psi` the cycle, :math:`\psi^*` its conjugate, :math:`\rho` the damping,
:math:`\lambda = 2 \pi / s` the frequency of a period s.
"""

import jax.numpy as jnp
import numpy as np

from pymc_dynsys.systems.blocks import Initial, block, component, squares
from pymc_dynsys.systems.initial import Diffuse, Mixed, Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Moves, Sensor, Values
from pymc_dynsys.systems.values import known_value

ROLE = "cycle"


def cycle(
    period: object,
    damping: object = 1.0,
    sigma: object = 0.0,
    *,
    initial: Initial | None = None,
    name: str = "cycle",
    step: float = 1.0,
) -> LinearGaussian:
    r"""Wave whose amplitude and phase drift.

    .. math:: \begin{pmatrix} \psi \\ \psi^* \end{pmatrix}_{k+1} = \rho
              \begin{pmatrix} \cos\lambda & \sin\lambda \\ -\sin\lambda & \cos\lambda \end{pmatrix}
              \begin{pmatrix} \psi \\ \psi^* \end{pmatrix}_k + N(0, \sigma^2 I), \quad
              \lambda = 2\pi / s

    Both noises have one variance. Damped, it returns to zero and has autocovariances
    :math:`\sigma^2 \rho^h \cos(\lambda h) / (1 - \rho^2)` at lag h.

    Parameters
    ----------
    period : scalar
        s, in steps, at least 2; it need not be an integer.
    damping : scalar
        :math:`\rho` in (0, 1]; 1, the default, is a cycle that is not damped.
    sigma : scalar
        Standard deviation of a step; zero, the default, is a fixed wave.
    initial : Stationary or Diffuse, optional
        Default: stationary if damped, else exactly diffuse. (statsmodels begins with a diffuse one
        always, which is another likelihood.)
    name : str
        Name of the cycle, and prefix of its conjugate and of the parameters.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        Adds to others with ``+``.

    Raises
    ------
    ValueError
        For a known period below 2 or a known damping outside (0, 1], and for a stationary cycle
        that is not damped.

    Notes
    -----
    A damping that is a parameter is taken for one below 1: at 1 and above there is no stationary
    distribution and the log-likelihood is minus infinity.

    References
    ----------
    Harvey (1989), *Forecasting, Structural Time Series Models and the Kalman Filter*, eq. 2.3.38.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.cycle(period=40.0, damping=0.9, sigma=0.5).states
    ('cycle', 'cycle_conjugate')
    """
    _require("period", period, "at least 2 steps", lambda s: s >= 2)
    _require("damping", damping, "in (0, 1]", lambda rho: (rho > 0) & (rho <= 1))
    known = known_value(damping)
    undamped = known is not None and bool((known == 1).any())
    if undamped and isinstance(initial, Stationary):
        raise ValueError(
            f"{ROLE}: a cycle that is not damped has no stationary distribution; say "
            "initial=Diffuse() or a damping below 1"
        )
    params = {f"{name}_period": period, f"{name}_damping": damping, f"{name}_sigma": sigma}

    def matrices(values: Values) -> tuple[Moves, Sensor]:
        s, rho, sd = (jnp.asarray(values[key], float) for key in params)
        angle = 2 * jnp.pi / s
        c, w = rho * jnp.cos(angle), rho * jnp.sin(angle)
        F = jnp.stack([c, w, -w, c]).reshape(2, 2)
        return block(F, jnp.broadcast_to(squares(sd), (2,)), jnp.array([1.0, 0.0]))

    states = (name, f"{name}_conjugate")
    if undamped or isinstance(initial, Diffuse):
        return component(name, states, params, matrices, initial, step)
    system = component(name, states, params, matrices, Stationary(), step)
    if initial is not None and not isinstance(initial, Stationary):
        raise TypeError(f"{name}: initial must be Stationary() or Diffuse(), got {initial!r}")

    def first(values: Values) -> Mixed:
        _, rho, sd = (jnp.asarray(values[key], float) for key in params)
        damped = jnp.abs(rho) < 1
        safe = jnp.where(damped, rho, 0.0)
        variance = jnp.where(damped, squares(sd) / (1 - safe * safe), jnp.nan)
        return Mixed(jnp.zeros(2), variance * jnp.eye(2), (False, False), (True, True))

    return LinearGaussian(name, states, system.params, system.moves, system.sensor, first, step)


def _require(label: str, value: object, expected: str, holds: object) -> None:
    """Raise for a known value that makes no cycle."""
    known = known_value(value)
    if known is not None and not np.all(holds(known)):  # type: ignore[operator]
        raise ValueError(f"{ROLE}: {label} must be {expected}, got {value!r}")
