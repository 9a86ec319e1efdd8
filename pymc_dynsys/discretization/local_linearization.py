"""Local linearization: the exact transition of the system linearized at each step."""

from dataclasses import dataclass
from typing import Any

from jax.typing import ArrayLike
from jaxtyping import Array, Float

from pymc_dynsys.discretization.base import (
    Discretization,
    LinearTransition,
    Transition,
    check_step,
)
from pymc_dynsys.discretization.exact import (
    exact_ramp,
    exact_transition,
    linearized_step,
    noiseless_transition,
)
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.proof import FedBy


@dataclass(frozen=True)
class LocalLinearization(Discretization):
    r"""Steps with the exact transition of :math:`dx = (f(x_0) + J(x_0)(x - x_0))\,dt + L\,dB`.

    Exact for linear systems whatever the step, stable for stiff ones; for nonlinear systems
    the error of the mean is of second order in the step. A drift that depends on time is taken
    at the middle of the step; a diffusion that depends on the state at its beginning.

    Parameters
    ----------
    dt : float, optional
        Longest step, in the user's time unit: each gap is cut into ``ceil(gap / dt)`` equal
        steps. None takes one step a gap.

    Raises
    ------
    ValueError
        If `dt` is not positive.

    See Also
    --------
    MomentODE : adaptive steps, for gaps over which the path curves strongly.

    References
    ----------
    Ozaki (1992), *Statistica Sinica* 2, 113-135, sec. 3.
    Jimenez, Shoji and Ozaki (1999), *J. Stat. Phys.* 94, 587-602.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.EKF(discretization=pds.LocalLinearization(dt=0.1))
    EKF(discretization=LocalLinearization(dt=0.1))
    """

    cuts_gaps = True
    exact_if_linear = True

    dt: float | None = None

    def __post_init__(self) -> None:
        check_step(self.dt)

    def linear_step(
        self, A: Float[Array, "state state"], S: Float[Array, "state state"], h: Any
    ) -> LinearTransition:
        """Exact: a linear system is its own linearization."""
        return exact_transition(A, S, h)

    def noiseless_step(
        self, A: Float[Array, "state state"], h: ArrayLike, fed_by: FedBy | None = None
    ) -> LinearTransition:
        """Exact, as with noise."""
        return noiseless_transition(A, h, fed_by)

    def ramp(
        self, A: Float[Array, "state state"], gap: ArrayLike, steps: ArrayLike, most: int
    ) -> Float[Array, "state state"]:
        """Exact response to a line over a gap."""
        return exact_ramp(A, gap)

    def step(self, system: BoundSystem, x: Any, t: Any, h: Any, held: Held) -> Transition:
        """Transition of the system linearized at `x`, with time at the middle of the step."""
        return linearized_step(system, x, t + 0.5 * h, h, held)
