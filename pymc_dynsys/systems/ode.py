"""Ordinary differential equations with noisy observations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pymc_dynsys.systems.binding import check_states, require_initial
from pymc_dynsys.systems.dose import Dose, check_accumulated, check_events
from pymc_dynsys.systems.facts import Described


@dataclass(frozen=True, eq=False)
class ODE(Described):
    r"""Deterministic dynamics of one trajectory, observed with noise at discrete times.

    .. math:: dx/dt = f(x, t), \qquad y_k \sim p(y \mid x(t_k)).

    Arguments are bound by name as in :class:`~pymc_dynsys.SDE`: states, parameters and inputs by
    their names, the whole state vector as ``x`` (as ``states`` where something else is called
    ``x``). Any numpyro distribution serves as observation. The likelihood is direct
    (:class:`~pymc_dynsys.ODESolve`) when `initial` is a known state; with an uncertain initial
    state of a linear system use :class:`~pymc_dynsys.Kalman`, else :class:`~pymc_dynsys.EKF`.

    Parameters
    ----------
    drift : callable or array
        ``f``; returns shape ``(state,)`` or a tuple with one scalar a state.
    observation : callable, optional
        The distribution of the observation given the state: any of numpyro, or scalar ones of any
        families, one a component and independent: a tuple in the order of the data, or a mapping
        from labels of components, whose order does not matter.
        :class:`~pymc_dynsys.Path` needs none.
    initial : distribution, callable or array
        The state at ``t0``: an array or tuple, ``dist.Delta``, a function of parameters that
        returns one of these, or a distribution.
    states : sequence of str, optional
        Names of the states. Without them functions use ``x``.
    events : str, Dose or callable, optional
        What an event does, as in :class:`~pymc_dynsys.SDE`.
    accumulate : sequence of str, optional
        States that count since the last visit: they are set to zero after every visit, whether or
        not y is missing there, and the datum sees them before that (cases since the last report).
        `initial` has them at zero, and ``t0`` is where the first interval begins. Times that are
        only asked for do not set them to zero; a forecast counts between its times. Doses at the
        time of a visit come after that, and count towards the next datum.

    Raises
    ------
    TypeError, ValueError
        As :class:`~pymc_dynsys.SDE`.

    Examples
    --------
    Exponential decay from a known dose:

    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> decay = pds.ODE(
    ...     states=("amount",),
    ...     drift=lambda amount, rate: -rate * amount,
    ...     initial=lambda dose: dose,
    ...     observation=lambda amount: dist.LogNormal(amount, 0.1),
    ... )
    """

    drift: Callable[..., Any] | Any
    observation: Callable[..., Any] | None = None
    initial: Callable[..., Any] | Any = None
    states: Sequence[str] | None = None
    events: Callable[..., Any] | Dose | str | None = None
    accumulate: Sequence[str] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "states", check_states(self.states))
        require_initial(self.initial)
        check_events(self.events, self.states)
        accumulate = check_accumulated(self.accumulate, self.states)
        object.__setattr__(self, "accumulate", accumulate)

    def __repr__(self) -> str:
        """Short form for model printing."""
        return f"ODE({', '.join(self.states)})" if self.states else "ODE"
