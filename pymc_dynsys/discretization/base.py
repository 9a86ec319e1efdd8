"""What every discretization offers to the filters and the simulator."""

from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from pymc_dynsys.linalg import ldl, matvec, psd_factor
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.gaussian import gaussian_logpdf_ldl
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.proof import FedBy


class LinearTransition(NamedTuple):
    """``x' = F x + G c + N(0, Q)`` for ``dx = (A x + c) dt + L dB`` over one gap."""

    F: Float[Array, "*gap state state"]
    G: Float[Array, "*gap state state"]
    Q: Float[Array, "*gap state state"]


class Transition(NamedTuple):
    """Mean, its Jacobian in the state the step leaves, and noise covariance of one step."""

    mean: Float[Array, " state"]
    F: Float[Array, "state state"]
    Q: Float[Array, "state state"]


class Discretization:
    """Base of the schemes: a frozen dataclass with one step of mathematics per method."""

    adaptive: ClassVar[bool] = False
    """Whether it controls its own error, which takes double precision."""

    exact_if_linear: ClassVar[bool] = False
    """Whether a gap of a linear system is crossed exactly in one step."""

    cuts_gaps: ClassVar[bool] = False
    """Whether shorter steps would change the result."""

    differentiates_forwards: ClassVar[bool] = True
    """Whether JAX can take derivatives along with the values, not only on the way back."""

    @property
    def longest_step(self) -> float | None:
        """Longest step a gap may be crossed with; None: any."""
        return getattr(self, "dt", None)

    def check(self, system: BoundSystem) -> None:
        """Raise ValueError if the scheme does not apply to the system."""

    def check_simulates(self, system: BoundSystem) -> None:
        """Raise ValueError or TypeError if paths of an SDE cannot be drawn with the scheme."""
        if self.adaptive:
            raise TypeError(
                "simulator: expected EulerMaruyama(dt=...), LocalLinearization(dt=...) or "
                f"Exact(), got {self!r}"
            )
        self.check(system)

    def substeps(self, gaps: Any) -> Any:
        """Number of equal steps each gap is cut into, shape of `gaps`, at least one."""
        xp = np if isinstance(gaps, np.ndarray) else jnp
        if self.longest_step is None:
            return xp.ones(gaps.shape, int)
        # A gap of 3 dt written as 0.30000000000000004 is three steps, not four.
        return xp.maximum(xp.ceil(gaps / self.longest_step * (1 - 1e-12)), 1).astype(int)

    def linear_step(
        self, A: Float[Array, "state state"], S: Float[Array, "state state"], h: Any
    ) -> LinearTransition:
        """Transition over one step of length `h` for drift ``A x + c`` and noise rate ``S``."""
        raise NotImplementedError

    def noiseless_step(
        self, A: Float[Array, "state state"], h: ArrayLike, fed_by: FedBy | None = None
    ) -> LinearTransition:
        """Transition over one step of length `h` for drift ``A x + c`` without noise.

        ``fed_by`` says of each state which others its rate depends on, where that is known.
        """
        return self.linear_step(A, jnp.zeros_like(A), h)

    def ramp(
        self, A: Float[Array, "state state"], gap: ArrayLike, steps: ArrayLike, most: int
    ) -> Float[Array, "state state"]:
        """Response of linear dynamics to a drift that changes along a line over a gap.

        The ``K`` in ``x' = F x + G c + K b``, for the drift ``A x + c + b s`` with `s` the time
        since the middle of the gap, which is crossed in some steps, at most so many.
        """
        raise NotImplementedError

    def follows_lines(self, system: BoundSystem) -> bool:
        """Whether inputs that are straight lines are followed, or held at their means."""
        return self.exact_if_linear and system.proof.dynamics.linear

    def step(self, system: BoundSystem, x: Any, t: Any, h: Any, held: Held) -> Transition:
        """Transition over one step from state `x` at time `t`."""
        raise NotImplementedError

    def noise_size(self, system: BoundSystem) -> int:
        """Number of standard normals one step of :meth:`propagate` consumes."""
        return system.n_states

    def propagate(
        self, system: BoundSystem, x: Any, t: Any, h: Any, held: Held, noise: Any
    ) -> Float[Array, " state"]:
        """Draw the state after one step, given standard normal `noise`."""
        mean, _, Q = self.step(system, x, t, h, held)
        return mean + matvec(psd_factor(Q), noise)

    def draw(
        self, system: BoundSystem, key: Any, x: Any, t: Any, h: Any, held: Held
    ) -> Float[Array, " state"]:
        """Draw the state after one step from a key."""
        noise = jax.random.normal(key, (self.noise_size(system),))
        return self.propagate(system, x, t, h, held, noise)

    def log_density(
        self, system: BoundSystem, after: Any, x: Any, t: Any, h: Any, held: Held
    ) -> Float[Array, ""]:
        """Log-density of the state `after` one step from `x`; on its support if noise is singular.

        Deviations off the support of a singular step have a log-density of minus infinity.
        """
        mean, _, Q = self.step(system, x, t, h, held)
        return gaussian_logpdf_ldl(after - mean, *ldl(Q))


def check_step(dt: Any) -> None:
    """Refuse a step that is not a positive number."""
    if dt is None:
        return
    is_number = isinstance(dt, int | float | np.number) and not isinstance(dt, bool)
    if not (is_number and np.isfinite(dt) and dt > 0):
        raise ValueError(f"dt: expected a positive number or None (one step a gap), got {dt!r}")


def require_linear_dynamics(scheme: str, system: BoundSystem) -> None:
    """Refuse systems whose drift is not affine and autonomous or whose noise varies."""
    dynamics = system.proof.of("dynamics")
    if dynamics:
        raise ValueError(
            f"{scheme} needs linear dynamics, but {' and '.join(dynamics)}; use "
            "LocalLinearization(), EulerMaruyama(dt=...) or MomentODE()"
        )
