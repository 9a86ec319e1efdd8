"""State-space models in discrete time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pymc_dynsys.systems.binding import check_states, require_initial
from pymc_dynsys.systems.dose import check_accumulated
from pymc_dynsys.systems.facts import Described


@dataclass(frozen=True, eq=False)
class DiscreteTime(Described):
    r"""State-space model of one trajectory that moves in steps.

    .. math:: x_{k+1} \sim p(x_{k+1} \mid x_k, t_k), \qquad y_k \sim p(y_k \mid x_k, t_k).

    Arguments are bound by name as in :class:`~pymc_dynsys.SDE`: states, parameters and inputs by
    their names, the whole state vector as ``x`` (as ``states`` where something else is called
    ``x``). Linear-Gaussian structure is proved from the functions, time-varying ones included, and
    gets the exact :class:`~pymc_dynsys.Kalman` filter.

    Timing: ``t`` in `transition` is the time the step leaves, and an input at visit k-1 drives the
    step from k-1 to k (that of the whole gap, where it is an :class:`~pymc_dynsys.Input` with
    another interpolation); the observation at k sees ``t`` and inputs of k. `initial` is the
    distribution of the first observed state, unless ``Trajectory(t0=...)`` puts it some steps
    earlier. Econometrics means something else: in a VARX the exogenous value of a row acts on the
    data of that row, which is ``pds.Input(u, "next")`` here.

    Parameters
    ----------
    transition : callable
        The distribution of the next state: one of numpyro of shape ``(state,)`` (a scalar one for
        one state), :class:`~pymc_dynsys.Gaussian` where the noise is singular, or a tuple with a
        scalar distribution or a number for each state, independent of each other.
    observation : callable, optional
        The distribution of the observation: one of numpyro or :class:`~pymc_dynsys.Gaussian`. A
        scalar one has data dims ``(..., time)``, a vector one ``(..., time, component)`` with the
        components in the order of the data. Or scalar distributions of any families, one a
        component and independent given the state: a tuple in the order of the data, or a mapping
        from labels of the components, whose order does not matter.
        :class:`~pymc_dynsys.Path` needs none.
    initial : distribution, callable, array, tuple, Stationary or Diffuse
        The initial distribution: one of numpyro, a function of parameters that returns
        one, a known state, or a tuple of these with one entry a state.
    states : sequence of str, optional
        Names of the states. Without them functions use ``x`` and the number of states is that of
        `initial`.
    step : float
        Time between successive states, in the user's unit. Visits lie whole steps apart; over a
        gap of several steps the state moves several times.
    accumulate : sequence of str, optional
        States that count what happened since the last visit, such as reported cases: zero at `t0`
        by `initial`, and set to zero after every visit, once its datum saw them. The transition
        adds to them, ``cases + new``, over as many steps as there are between two visits.

    Raises
    ------
    TypeError, ValueError
        For names that cannot be bound and a step that is not positive, here; for shapes, and for
        times that are not whole steps apart, when the trajectory is built.

    See Also
    --------
    linear_gaussian : from matrices.
    local_level, local_linear_trend, seasonal, autoregression, vector_autoregression
        By name, and added with ``+``.

    References
    ----------
    Durbin and Koopman (2012), *Time Series Analysis by State Space Methods*, ch. 3 and 4.

    Examples
    --------
    A population counted each year:

    >>> import jax.numpy as jnp
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> ricker = pds.DiscreteTime(
    ...     states=("log_n",),
    ...     transition=lambda log_n, r, q: dist.Normal(log_n + r * (1 - jnp.exp(log_n)), q),
    ...     observation=lambda log_n: dist.Normal(log_n, 0.2),
    ...     initial=dist.Normal(0.0, 1.0),
    ... )
    >>> ricker
    DiscreteTime(log_n)
    """

    transition: Callable[..., Any] | Any
    observation: Callable[..., Any] | None = None
    initial: Callable[..., Any] | Any = None
    states: Sequence[str] | None = None
    step: float = 1.0
    accumulate: Sequence[str] = ()

    events = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", check_states(self.states))
        accumulate = check_accumulated(self.accumulate, self.states)
        object.__setattr__(self, "accumulate", accumulate)
        require_initial(self.initial)
        step = self.step
        is_number = isinstance(step, int | float | np.number) and not isinstance(step, bool)
        if not (is_number and np.isfinite(step) and step > 0):
            raise ValueError(f"step: expected a positive number, got {step!r}")

    def __repr__(self) -> str:
        """Short form for model printing."""
        return f"DiscreteTime({', '.join(self.states)})" if self.states else "DiscreteTime"
