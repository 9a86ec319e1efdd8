"""What was proved of a bound system, and why it is not linear and Gaussian where it is not."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from pymc_dynsys.systems.support import Support

Part = Literal["dynamics", "observation", "events", "initial"]

FedBy = tuple[tuple[int, ...], ...]
"""For each state, the other states on which its rate depends."""


class Reason(NamedTuple):
    """Why a part of the system is not linear and Gaussian."""

    part: Part
    text: str


@dataclass(frozen=True)
class DynamicsProof:
    """What was proved of the dynamics; a flag is False where nothing could be proved.

    Attributes
    ----------
    gaussian : bool
        Whether the state moves by a Gaussian distribution: always so in continuous time.
    linear : bool
        Mean affine in the state, noise free of it; in continuous time free of time too.
    autonomous : bool
        Whether mean and noise do not depend on time.
    varying : bool
        Whether inputs enter the slope or the noise of the dynamics, and not only their offset.
    driven : bool
        Whether inputs enter the dynamics at all; True where nothing could be proved.
    constant_noise : bool
        Whether the noise depends on parameters only.
    fed_by : tuple of tuple of int, optional
        For each state, the other states on which its rate depends, as far as can be proved; in
        continuous time.
    """

    gaussian: bool
    linear: bool
    autonomous: bool
    varying: bool
    driven: bool
    constant_noise: bool
    fed_by: FedBy | None = None


@dataclass(frozen=True)
class ObservationProof:
    """What was proved of the observation; a flag is False where nothing could be proved.

    Attributes
    ----------
    gaussian : bool
        Whether its distribution is Gaussian.
    affine : bool
        Whether its mean is affine in the state.
    constant_noise : bool
        Whether its covariance does not depend on the state.
    timeless : bool
        Whether mean and covariance depend neither on time nor on inputs.
    definite : bool
        Whether its distribution is of a kind that admits no singular covariance.
    sees : tuple of int
        States that its log-density depends on, as far as can be proved.
    supports : tuple of Support
        Values that the data can have, of one that is not Gaussian: one for all, or one each.
    censored : bool
        Whether any component is censored.
    bounds : tuple of str
        Inputs that enter as bounds of what is censored and in no other way.
    """

    gaussian: bool
    affine: bool
    constant_noise: bool
    timeless: bool
    definite: bool
    sees: tuple[int, ...]
    supports: tuple[Support, ...] = ()
    censored: bool = False
    bounds: tuple[str, ...] = ()


@dataclass(frozen=True)
class StartProof:
    """What was proved of the initial distribution.

    Attributes
    ----------
    gaussian : bool
        Whether it is Gaussian; a known state is.
    known : bool
        Whether the initial state is known, no state of it being diffuse.
    """

    gaussian: bool
    known: bool


@dataclass(frozen=True)
class Proof:
    """What was proved of a bound system.

    Attributes
    ----------
    dynamics, observation, start
        What was proved of these parts.
    affine_jump : bool
        Whether the state after an event is affine in the state before it.
    reasons : tuple of Reason
        Why the system is not linear and Gaussian; empty if it is.
    unseen : tuple of str
        States that a noise depends on and that, as far as can be proved, no mean of the data
        depends on, neither directly nor through other states.
    """

    dynamics: DynamicsProof
    observation: ObservationProof
    start: StartProof
    affine_jump: bool
    reasons: tuple[Reason, ...]
    unseen: tuple[str, ...] = ()

    @property
    def linear_gaussian(self) -> bool:
        """Whether the exact Kalman filter applies."""
        return not self.reasons

    @property
    def affine_path(self) -> bool:
        """Whether states are affine in the noises that move them, events included."""
        return self.dynamics.linear and self.affine_jump

    @property
    def because(self) -> tuple[str, ...]:
        """Why the system is not linear and Gaussian, in words."""
        return tuple(reason.text for reason in self.reasons)

    def of(self, part: Part) -> tuple[str, ...]:
        """Why one part of the system is not linear and Gaussian, in words."""
        return tuple(reason.text for reason in self.reasons if reason.part == part)
