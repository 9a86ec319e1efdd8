"""Stochastic differential equations with noisy observations."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pymc_dynsys.systems.binding import check_states, require_initial
from pymc_dynsys.systems.dose import Dose, check_accumulated, check_events
from pymc_dynsys.systems.facts import Described


@dataclass(frozen=True, eq=False)
class SDE(Described):
    r"""Itô diffusion of one trajectory, observed at discrete times.

    .. math:: dx = f(x, t)\,dt + L(x, t)\,dB, \qquad y_k \sim p(y \mid x(t_k)).

    Every function describes one trajectory at one instant. Arguments are bound by name:
    ``x`` is the state vector of shape ``(state,)``, ``t`` the time, a name in `states` that
    component as a scalar, any other name an entry of the ``params`` or ``inputs`` of the
    :class:`~pymc_dynsys.Trajectory`. The state vector is also called ``states``, and only so where
    a state, a parameter or an input is called ``x``: with ``states=("x", "y")`` the argument ``x``
    is the first component. Any function may be replaced by a constant.

    Parameters
    ----------
    drift : callable or array
        ``f``; returns shape ``(state,)`` or a tuple with one scalar a state (one scalar when
        there is one state). Units of the state per unit of time.
    diffusion : callable or array
        ``L``; a scalar (the same for every state, independent noises), ``(state,)``
        (independent noises) or ``(state, noise)``. A standard deviation per square root of
        time, never a variance. May be singular.
    observation : callable, optional
        The distribution of the observation: one of numpyro or :class:`~pymc_dynsys.Gaussian`. A
        scalar one has data dims ``(..., time)``, a vector one ``(..., time, component)`` with the
        components in the order of the data. Or scalar distributions of any families, one a
        component and independent given the state: a tuple in the order of the data, or a mapping
        from labels of the components, whose order does not matter.
        :class:`~pymc_dynsys.Path` needs none.
    initial : distribution, callable or array
        The initial distribution, at ``t0``: one of numpyro, a function of parameters that
        returns one, or an exactly known state (``dist.Delta``, an array or a tuple).
    states : sequence of str, optional
        Names of the states; ``"t"`` and ``"states"`` are taken. Without them functions use ``x``
        and the number of states is that of `initial`.
    events : str, Dose or callable, optional
        What an event of the event table does: the name of the state that the amount is added
        to, a :class:`~pymc_dynsys.Dose`, or a function that returns the state after the event
        and may ask for ``amount`` besides states, ``t`` and parameters. Default: the state
        the table names, or the only state. Infusions add their rate to that state's drift.
    accumulate : sequence of str, optional
        States that count since the last visit: they are set to zero after every visit, whether or
        not y is missing there, and the datum sees them before that (cases since the last report).
        `initial` has them at zero, and ``t0`` is where the first interval begins. Times that are
        only asked for do not set them to zero; a forecast counts between its times. Doses at the
        time of a visit come after that, and count towards the next datum.

    Raises
    ------
    TypeError, ValueError
        For names that cannot be bound and functions of the wrong kind, here; for shapes,
        when the trajectory is built and the parameters are known.

    See Also
    --------
    ODE : the same without noise in the dynamics.

    References
    ----------
    Särkkä and Solin (2019), *Applied Stochastic Differential Equations*, ch. 3 and 10.

    Examples
    --------
    An Ornstein-Uhlenbeck process seen through noise:

    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> ou = pds.SDE(
    ...     states=("level",),
    ...     drift=lambda level, mu: -0.5 * (level - mu),
    ...     diffusion=0.1,
    ...     initial=dist.Normal(0.0, 1.0),
    ...     observation=lambda level: dist.Normal(level, 0.1),
    ... )
    >>> ou.states
    ('level',)
    """

    drift: Callable[..., Any] | Any
    diffusion: Callable[..., Any] | Any
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
        return f"SDE({', '.join(self.states)})" if self.states else "SDE"
