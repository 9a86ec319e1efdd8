"""Euler-Maruyama: strong order 1/2, weak order 1."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float

from pymc_dynsys.discretization.base import (
    Discretization,
    LinearTransition,
    Transition,
    check_step,
)
from pymc_dynsys.linalg import linearize, matmul, matvec
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held


@dataclass(frozen=True)
class EulerMaruyama(Discretization):
    r"""Steps :math:`x' = x + f(x, t)\,h + L(x, t)\sqrt{h}\,\xi`.

    The cheapest scheme and the roughest: the error of a mean or variance is proportional to
    the step. Unstable when the step exceeds twice the shortest time scale.

    Parameters
    ----------
    dt : float, optional
        Longest step, in the user's time unit: each gap is cut into ``ceil(gap / dt)`` equal
        steps. None takes one step a gap, which is right only when gaps are short.

    Raises
    ------
    ValueError
        If `dt` is not positive.

    See Also
    --------
    LocalLinearization : exact for linear systems, and for others one order better in the mean.

    References
    ----------
    Kloeden and Platen (1992), *Numerical Solution of Stochastic Differential Equations*,
    eq. 10.2.4.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc_dynsys as pds
    >>> pds.EulerMaruyama(dt=0.05).substeps(np.array([0.1, 0.12]))
    array([2, 3])
    """

    cuts_gaps = True

    dt: float | None = None

    def __post_init__(self) -> None:
        check_step(self.dt)

    def linear_step(
        self, A: Float[Array, "state state"], S: Float[Array, "state state"], h: Any
    ) -> LinearTransition:
        """Transition of one Euler step of a linear system."""
        identity = jnp.eye(A.shape[0])
        return LinearTransition(F=identity + A * h, G=identity * h, Q=S * h)

    def ramp(
        self, A: Float[Array, "state state"], gap: ArrayLike, steps: ArrayLike, most: int
    ) -> Float[Array, "state state"]:
        """Response to a line of which each step holds the mean."""
        h = gap / steps
        F, nothing = jnp.eye(A.shape[0]) + A * h, jnp.zeros(A.shape)

        def longer(carry: tuple[Array, Array], i: Array) -> tuple[tuple[Array, Array], None]:
            # The middle of i steps lies h / 2 before that of i + 1, their last one i h / 2 after.
            G, K = carry
            more = (matmul(F, G) + jnp.eye(A.shape[0]) * h, matmul(F, K - 0.5 * h * G))
            more = (more[0], more[1] + jnp.eye(A.shape[0]) * (0.5 * i * h * h))
            return jax.tree.map(lambda new, old: jnp.where(i < steps, new, old), more, carry), None

        return jax.lax.scan(longer, (nothing, nothing), jnp.arange(most))[0][1]

    def step(self, system: BoundSystem, x: Any, t: Any, h: Any, held: Held) -> Transition:
        """Euler step of the mean, its Jacobian and its noise."""
        held = held.over_step(t, h)
        f, J = linearize(lambda x: system.continuous.drift(x, t, held), x)
        S = system.continuous.noise_covariance(x, t, held)
        return Transition(mean=x + f * h, F=jnp.eye(x.shape[0]) + J * h, Q=S * h)

    def noise_size(self, system: BoundSystem) -> int:
        """One normal a column of the loading."""
        origin, shapes = jnp.zeros(system.n_states), {**system.param_shapes, **system.input_shapes}
        values = {name: jax.ShapeDtypeStruct(s, origin.dtype) for name, s in shapes.items()}
        loading = jax.eval_shape(
            lambda v: system.continuous.diffusion(origin, jnp.zeros(()), Held(v)), values
        )
        return int(loading.shape[-1])

    def propagate(
        self, system: BoundSystem, x: Any, t: Any, h: Any, held: Held, noise: Any
    ) -> Float[Array, " state"]:
        """One Euler-Maruyama step with the given normals."""
        held = held.over_step(t, h)
        L = system.continuous.diffusion(x, t, held)
        kick = L * noise if L.ndim == 1 else matvec(L, noise)
        return x + system.continuous.drift(x, t, held) * h + kick * safe_sqrt(h)


def safe_sqrt(h: Any) -> Array:
    """Square root of a step length that may be zero, with a finite derivative there."""
    positive = h > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, h, 1.0)), 0.0)
