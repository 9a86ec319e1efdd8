"""Where a bound system begins: the initial distribution of its state."""

from dataclasses import dataclass, field

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro import distributions as dist

from pymc_dynsys.linalg.lyapunov import stationary_moments
from pymc_dynsys.systems import checks
from pymc_dynsys.systems.binding import BoundFunction
from pymc_dynsys.systems.dynamics import Dynamics
from pymc_dynsys.systems.gaussian import (
    Gaussian,
    gaussian_logpdf,
    state_log_density,
    state_moments,
    state_sample,
)
from pymc_dynsys.systems.held import Held, Params


@dataclass(frozen=True, eq=False)
class Start:
    """Initial distribution of the state, at ``t0``.

    Attributes
    ----------
    states : tuple of str
        Names of the states.
    dynamics : Continuous or Discrete
        Dynamics whose stationary distribution it is, if it is stationary.
    stationary : bool
        Whether it is the stationary distribution of the dynamics.
    diffuse : tuple of bool
        Which states are exactly diffuse.
    stationary_states : tuple of bool
        Which states begin with a stationary distribution, of the dynamics or of their block.
    """

    states: tuple[str, ...]
    dynamics: Dynamics = field(repr=False)
    stationary: bool
    diffuse: tuple[bool, ...]
    stationary_states: tuple[bool, ...]
    _initial: BoundFunction = field(repr=False)

    @property
    def n_diffuse(self) -> int:
        """Number of states that are exactly diffuse."""
        return sum(self.diffuse)

    def law(self, values: Params) -> dist.Distribution:
        """Initial distribution; diffuse states are zero in it."""
        if self.stationary:
            continuous = self.dynamics.step is None
            rates = self.dynamics.linear(jnp.zeros(()), Held(values))
            return Gaussian(*stationary_moments(*rates, continuous=continuous))
        return checks.as_initial(self._initial(None, None, values), self.states)

    def moments(
        self, values: Params, diffuse: tuple[Array, Array] | None = None
    ) -> tuple[Float[Array, " state"], Float[Array, "state state"]]:
        """Mean and covariance matrix of a Gaussian initial distribution.

        `diffuse` holds mean and variance, ``(diffuse,)`` each or scalar, of the states that are
        exactly diffuse; without it both are zero.
        """
        mean, cov = state_moments(self.law(values), len(self.states))
        if diffuse is not None:
            which, (delta, spread) = np.flatnonzero(self.diffuse), diffuse
            mean, cov = mean.at[which].add(delta), cov.at[which, which].add(spread)
        return mean, cov

    def sample(self, key: Array, values: Params) -> Float[Array, " state"]:
        """Draw an initial state; diffuse states, which have no distribution, are zero in it."""
        return state_sample(self.law(values), key, len(self.states))

    def log_density(self, x: Float[Array, " state"], values: Params) -> Float[Array, ""]:
        r"""Log-density of an initial state.

        Where `q` states are exactly diffuse it is
        :math:`\lim_{\kappa\to\infty} [\log p_\kappa(x) + \tfrac{q}{2}\log\kappa]`, to which each
        of them adds :math:`-\tfrac12 \log 2\pi` whatever its value.
        """
        if not self.n_diffuse:
            return state_log_density(self.law(values), x)
        diffuse = np.asarray(self.diffuse)
        mean, cov = self.moments(values)
        # A deviation of zero with unit variance adds just that constant.
        deviation = jnp.where(diffuse, 0.0, x - mean)
        return gaussian_logpdf(deviation, cov + jnp.diag(jnp.where(diffuse, 1.0, 0.0)))

    def asks_for(self, name: str) -> bool:
        """Whether the initial distribution takes a parameter."""
        return name in self._initial.parameters
