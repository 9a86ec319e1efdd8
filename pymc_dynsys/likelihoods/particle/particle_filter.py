"""The options of the particle filter."""

from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pymc_dynsys.discretization import (
    Discretization,
    LocalLinearization,
    TimeGrid,
    default_scheme,
    refuse_discretization,
    require_steps,
)
from pymc_dynsys.likelihoods.base import Likelihood, Problem
from pymc_dynsys.likelihoods.particle.proposals import Bootstrap, Optimal, Proposal
from pymc_dynsys.likelihoods.particle.run import ParticleRun
from pymc_dynsys.systems.bound import BoundSystem

STEPS_PER_GAP = 4
"""Steps in the median gap of nonlinear dynamics when the user states none."""


@dataclass(frozen=True, repr=False)
class ParticleFilter(Likelihood):
    r"""Unbiased estimate of the likelihood by particles, for any transition and any observation.

    .. math:: \hat p(y_{1:K}) = \prod_k \sum_i W_{k-1}^i\, p(y_k \mid x_k^i), \qquad
              E[\hat p(y_{1:K})] = p(y_{1:K})

    Weights are kept as logarithms, and particles are resampled systematically where fewer than half
    of them are worth it. Given a seed the estimate is a function of the parameters, and one that
    jumps: it has no gradient. Sample with :func:`~pymc_dynsys.sample_pmmh`, or compare another
    likelihood with it.

    The variance of the log-likelihood falls as one over the number of particles and grows with the
    number of data; those of trajectories add up. Its mean is lower than the true value by half
    that variance.

    Parameters
    ----------
    particles : int
        Number of particles, at least 2.
    discretization : Discretization, optional
        How particles cross a gap. None chooses ``Exact()`` for linear dynamics, else
        ``EulerMaruyama`` (for an ODE ``LocalLinearization``) with a quarter of the median gap, and
        says so. Systems in discrete time move in their own steps.
    seed : int
        Seed, from which each trajectory has random numbers of its own.
    proposal : Bootstrap or Optimal, optional
        Where particles move to. None takes :class:`~pymc_dynsys.Optimal` where the system allows
        it, else :class:`~pymc_dynsys.Bootstrap`, and says so.

    Raises
    ------
    ValueError, TypeError
        For options that make no sense, when the likelihood is made; when the model is built, for
        exactly diffuse states and a proposal that does not suit the system; TypeError where a
        gradient is asked for, as NUTS does.

    See Also
    --------
    sample_pmmh : the sampler that it is made for.
    EnKF : for many states and Gaussian data, with a gradient.

    Notes
    -----
    States given all the data are drawn by backward simulation (Godsill, Doucet and West 2004), each
    draw from particles of its own; where a gap is crossed in several steps or the noise is
    singular, so that the transition has no density, along the lineage of a particle.

    A particle that is not a number, as where a square root meets a negative state, has no weight:
    what is estimated is the likelihood of paths that stay numbers.

    References
    ----------
    Chopin and Papaspiliopoulos (2020), *An Introduction to Sequential Monte Carlo*, ch. 9 and 10.
    Doucet, Godsill and Andrieu (2000), *Statistics and Computing* 10, 197-208.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.ParticleFilter(500, seed=1)
    ParticleFilter(particles=500, seed=1, proposal=None)
    """

    particles: int = 1000
    discretization: Discretization | None = None
    seed: int = 0
    proposal: Proposal | None = None

    gradient = False
    begins_anew = False
    instead_of_gradient = (
        "it jumps as the parameters change, so no gradient is that of it and NUTS cannot use one. "
        "Sample with pds.sample_pmmh(), or choose a likelihood that has a gradient: Laplace() for "
        "any data behind a Gaussian transition, EKF() for Gaussian data"
    )
    unbiased = True

    def __post_init__(self) -> None:
        n = self.particles
        if isinstance(n, bool) or not isinstance(n, int | np.integer):
            raise TypeError(f"ParticleFilter: particles must be an integer, got {n!r}")
        if n < 2:
            raise ValueError(f"ParticleFilter: particles must be at least 2, got {n}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int | np.integer):
            raise TypeError(
                f"ParticleFilter: seed must be a non-negative integer, got {self.seed!r}"
            )
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"ParticleFilter: seed must be from 0 to 2**32 - 1, got {self.seed}")
        if self.proposal is not None and not isinstance(self.proposal, Proposal):
            raise TypeError(
                "ParticleFilter: proposal must be Bootstrap(), Optimal() or None, got "
                f"{self.proposal!r}"
            )
        require_steps("ParticleFilter", self.discretization)

    def check(self, system: BoundSystem) -> None:
        """Refuse exactly diffuse states, and a proposal or discretization that does not suit."""
        refuse_discretization("ParticleFilter", system, self.discretization)
        if self.discretization is not None:
            self.discretization.check(system)
        if system.n_diffuse:
            names = [s for s, f in zip(system.states, system.start.diffuse, strict=True) if f]
            raise ValueError(
                f"ParticleFilter cannot begin with exactly diffuse states ({', '.join(names)}), "
                "since there is no distribution to draw particles from; give "
                "initial=Diffuse(kappa=...) a variance far above that of the data, or a law"
            )
        wanting = None if self.proposal is None else self.proposal.wanting(system)
        if wanting is not None:
            raise ValueError(
                f"ParticleFilter: proposal={self.proposal!r} needs {wanting}; use Bootstrap(), "
                "which suits every system"
            )

    def resolve_defaults(self, system: BoundSystem, gaps: np.ndarray) -> tuple[Likelihood, str]:
        """Choose discretization and proposal where the user stated none."""
        said, scheme, proposal = [], self.discretization, self.proposal
        if scheme is None and system.step is None:
            scheme, why = default_scheme(system, gaps, STEPS_PER_GAP)
            if system.is_deterministic and not system.proof.dynamics.linear:
                scheme = LocalLinearization(dt=scheme.longest_step)
            said.append(f"crosses gaps with {scheme!r} ({why})")
        if proposal is None:
            wanting, proposal = Optimal().wanting(system), self.move_by(system)
            why = "since it can" if wanting is None else f"since Optimal() needs {wanting}"
            said.append(f"moves particles by {proposal!r}, {why}")
        found = self._replaced(discretization=scheme, proposal=proposal)
        return found, f"ParticleFilter {' and '.join(said)}" if said else ""

    def move_by(self, system: BoundSystem) -> Proposal:
        """The proposal; where the user stated none the optimal one, if the system allows it."""
        if self.proposal is not None:
            return self.proposal
        return Optimal() if Optimal().wanting(system) is None else Bootstrap()

    def draw_noise(self, system: BoundSystem, batch: tuple[int, ...], grid: TimeGrid) -> Array:
        """One key a trajectory."""
        return self.fresh_noise(jax.random.PRNGKey(self.seed), batch)

    def fresh_noise(self, key: Array, batch: tuple[int, ...]) -> Array:
        """Keys ``(1, *batch, 2)``, none of which depends on how many there are."""
        n = int(np.prod(batch, dtype=int))
        keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(n))
        return keys.reshape(1, *batch, 2)

    def run(self, system: BoundSystem, problem: Problem) -> ParticleRun:
        """Particle filter of one trajectory."""
        return ParticleRun(self, system, problem, self.move_by(system), int(self.particles))

    def reference(
        self, system: BoundSystem, kinds: Mapping[str, type[Likelihood]]
    ) -> Likelihood | None:
        """The exact likelihood, where there is one."""
        return kinds["Kalman"]() if system.proof.linear_gaussian else None

    def enough(self, spread: float, tolerable: float) -> str | None:
        """Particles that bring the spread down, which falls with the root of their number."""
        n = int(np.ceil(self.particles * (spread / tolerable) ** 2 / 100) * 100)
        return f"{n} particles"

    def floats_per_row(self, system: BoundSystem) -> float:
        """Particles before and after a dose, their weights, ancestors and random numbers."""
        return super().floats_per_row(system) + self.particles * (4.0 + 4 * system.n_states)

    def largest_reduction(self, system: BoundSystem) -> int:
        """Sums over particles."""
        return int(self.particles)
