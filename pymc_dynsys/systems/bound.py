"""A system together with the names and shapes of its parameters: ready to compute with.

This is what discretizations, filters and simulators see; ``bind.py`` makes it and checks it. It
is a record of parts, each of which is asked by itself: how the state moves (``dynamics``), what
is seen of it (``observation``), where it begins (``start``), what events do to it (``dosing``)
and what was proved of all of them (``proof``).
"""

from dataclasses import dataclass, field

from pymc_dynsys.systems.discrete import DiscreteTime
from pymc_dynsys.systems.dosing import Dosing
from pymc_dynsys.systems.dynamics import Continuous, Discrete, Dynamics
from pymc_dynsys.systems.held import Params as Params
from pymc_dynsys.systems.observation import Observation
from pymc_dynsys.systems.ode import ODE
from pymc_dynsys.systems.proof import Proof
from pymc_dynsys.systems.sde import SDE
from pymc_dynsys.systems.start import Start

System = SDE | ODE | DiscreteTime


@dataclass(frozen=True, eq=False)
class BoundSystem:
    """Parts of the model of one trajectory, as functions of state, time and what is held.

    Two bound systems are the same only if they are one object: ``bind_system`` returns the same
    one for the same source and shapes, so that compiled programs are found again.

    Attributes
    ----------
    source : SDE, ODE or DiscreteTime
        The system as the user gave it.
    states : tuple of str
        Names of the states; ``x0``, ``x1``, ... if the user gave none.
    param_shapes, input_shapes : dict
        Shape of each parameter and of each input, for one trajectory.
    dynamics, observation, start, dosing
        The parts.
    proof : Proof
        What was proved about the parts.
    lines : tuple of str
        Inputs that are straight lines over a gap; all others are held.
    """

    source: System
    states: tuple[str, ...]
    param_shapes: dict[str, tuple[int, ...]]
    input_shapes: dict[str, tuple[int, ...]]
    dynamics: Dynamics = field(repr=False)
    observation: Observation = field(repr=False)
    start: Start = field(repr=False)
    dosing: Dosing = field(repr=False)
    proof: Proof = field(repr=False)
    lines: tuple[str, ...] = ()

    @property
    def continuous(self) -> Continuous:
        """The dynamics, of a system in continuous time."""
        assert isinstance(self.dynamics, Continuous), "in continuous time only"
        return self.dynamics

    @property
    def discrete(self) -> Discrete:
        """The dynamics, of a system in discrete time."""
        assert isinstance(self.dynamics, Discrete), "in discrete time only"
        return self.dynamics

    @property
    def n_states(self) -> int:
        """Dimension of the state."""
        return len(self.states)

    @property
    def step(self) -> float | None:
        """Time that one transition takes; None in continuous time."""
        return self.dynamics.step

    @property
    def is_deterministic(self) -> bool:
        """Whether the dynamics have no noise term (an ODE)."""
        return self.dynamics.deterministic

    @property
    def n_diffuse(self) -> int:
        """Number of states that are exactly diffuse at ``t0``."""
        return self.start.n_diffuse

    def drives(self, name: str) -> bool:
        """Whether the dynamics ask for an input."""
        return self.dynamics.asks_for(name)

    def is_bound(self, name: str) -> bool:
        """Whether an input is nothing but a bound of censored data, which may be infinite."""
        others = self.drives(name) or self.dosing.asks_for(name)
        return name in self.proof.observation.bounds and not others

    def is_observed_through(self, name: str) -> bool:
        """Whether observation or the effect of events asks for an input."""
        return self.observation.asks_for(name) or self.dosing.asks_for(name)
