"""Initial distributions that the user need not write down: stationary and diffuse."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Stationary:
    r"""The stationary distribution of linear dynamics.

    Mean and covariance solve :math:`m = F m + b,\ P = F P F' + Q` in discrete time,
    :math:`A m + c = 0,\ A P + P A' + L L' = 0` in continuous time, and are differentiated with the
    parameters. Parameters under which the dynamics are not stable have log-likelihood minus
    infinity: give them priors that keep away from there.

    Raises
    ------
    ValueError
        When the model is built, if the dynamics are not linear or change in time, inputs included.

    References
    ----------
    Smith (1968), *SIAM J. Appl. Math.* 16, 198-201 (the solver). Durbin and Koopman (2012), *Time
    Series Analysis by State Space Methods*, sec. 5.6.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> ar1 = pds.DiscreteTime(
    ...     states=("level",),
    ...     transition=lambda level, phi: dist.Normal(phi * level, 1.0),
    ...     observation=lambda level: dist.Normal(level, 0.5),
    ...     initial=pds.Stationary(),
    ... )
    """


@dataclass(frozen=True)
class Diffuse:
    r"""No prior information about the initial state (diffuse initialization).

    With ``kappa=None`` the likelihood is the exact diffuse one,

    .. math:: \lim_{\kappa\to\infty} \left[\log p_\kappa(y) + \tfrac{r}{2}\log\kappa\right]

    with `r` the number of diffuse states, or of combinations of them if the data do not tell all,
    which is warned of. States and forecasts are NaN where they depend on what is not told. The
    limit has the :math:`2\pi` terms of all data (the convention of statsmodels;
    that of Durbin and Koopman's book leaves out :math:`\tfrac12\log 2\pi` for each diffuse state).
    It needs the exact :class:`~pymc_dynsys.Kalman` filter, and such states cannot be drawn from
    their prior. With a number the state is ``N(0, kappa)``, which any filter takes and which
    differs from the limit by terms of order ``y**2 / kappa``.

    Give it as ``initial`` for all states, or for some of them in a tuple with one entry a state.

    Parameters
    ----------
    kappa : float, optional
        Variance, in squared units of the state, many orders of magnitude above that of the data.
        None: the limit.

    Raises
    ------
    ValueError
        If `kappa` is not positive.

    References
    ----------
    de Jong (1991), *Annals of Statistics* 19, 1073-1083 (the augmentation used here). Durbin and
    Koopman (2012), *Time Series Analysis by State Space Methods*, ch. 5.

    Examples
    --------
    A level without prior information, a slope that is probably small:

    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> trend = pds.DiscreteTime(
    ...     states=("level", "slope"),
    ...     transition=lambda level, slope, q: (dist.Normal(level + slope, q), slope),
    ...     observation=lambda level: dist.Normal(level, 1.0),
    ...     initial=(pds.Diffuse(), dist.Normal(0.0, 0.1)),
    ... )
    """

    kappa: float | None = None

    def __post_init__(self) -> None:
        value = self.kappa
        if value is None:
            return
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not (is_number and np.isfinite(value) and value > 0):
            raise ValueError(f"Diffuse: kappa must be a positive number or None, got {value!r}")


@dataclass(frozen=True)
class Mixed:
    """Mean and covariance of states some of which are exactly diffuse; those have zero in both.

    ``stationary`` says which states begin with the stationary distribution of their block.
    """

    mean: Any
    cov: Any
    diffuse: tuple[bool, ...]
    stationary: tuple[bool, ...]
