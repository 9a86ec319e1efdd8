"""A run of a particle filter: particles at every row, traced back where asked."""

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pymc_dynsys.discretization.doses import give_doses
from pymc_dynsys.likelihoods.answers import Moments
from pymc_dynsys.likelihoods.base import Given, Likelihood, Problem, Run
from pymc_dynsys.likelihoods.particle.backward import Trellis, all_paths, one_path
from pymc_dynsys.likelihoods.particle.crossing import (
    Crossing,
    is_left_to_the_first_move,
    make_crossing,
)
from pymc_dynsys.likelihoods.particle.proposals import Proposal, RowParticles, Scene
from pymc_dynsys.likelihoods.particle.resample import uniform
from pymc_dynsys.linalg import psd_factor
from pymc_dynsys.systems.bound import BoundSystem

Cloud = tuple[Array, Array]


class Particles(NamedTuple):
    """Particles of all rows before and after a dose there, and what the data said.

    ``w`` are log-weights after the datum, ``ess`` the particles that they are worth.
    """

    arrived: Float[Array, "*row particle state"]
    X: Float[Array, "*row particle state"]
    w: Float[Array, "*row particle"]
    ancestors: Int[Array, "*row particle"]
    log_likelihood: Float[Array, "*row"]
    ess: Float[Array, "*row"]
    predicted: tuple[Array, Array] | None


class ParticleRun(Run):
    """What a particle filter makes of a trajectory; `n` particles move by a proposal."""

    terms_by_row = True

    def __init__(
        self,
        likelihood: Likelihood,
        system: BoundSystem,
        problem: Problem,
        proposal: Proposal,
        n: int,
    ) -> None:
        super().__init__(likelihood, system, problem)
        self._proposal, self._n = proposal, n

    @cached_property
    def crossing(self) -> Crossing:
        """How particles cross the gaps."""
        problem, system = self.problem, self.system
        scheme = self.likelihood.scheme(system)
        start = system.start.moments(problem.params)[1] if self._guides_start else None
        return make_crossing(system, scheme, problem.params, problem.grid, start)

    @cached_property
    def particles(self) -> Particles:
        """Particles behind the log-likelihood."""
        return self.filter(self._key)

    @property
    def _key(self) -> Array:
        key: Array = jnp.asarray(self.problem.noise)[0]
        return key

    @property
    def _guides_start(self) -> bool:
        return self._proposal.guides_start and self.system.proof.start.gaussian

    def filter(self, key: Array, predicts: bool = False) -> Particles:
        """Filter the trajectory; leaves of the result lead with a row axis."""
        system, (params, data, grid, _) = self.system, self.problem
        of_start, of_rows = jax.random.split(key)
        times = jnp.asarray(grid.times)
        rows = RowParticles(
            data.y,
            data.seen,
            times,
            jax.tree.map(jnp.asarray, grid.rows),
            self.crossing.entries,
            jax.random.split(of_rows, times.shape[0]),
        )
        scene = Scene(system, params, self.crossing, predicts)

        def visit(carry: Cloud, k: RowParticles) -> tuple[Cloud, Particles]:
            found = self._proposal.move(scene, carry[0], carry[1], k)
            X = give_doses(system, params, found.X, k.t, k.row)
            return (X, found.w), Particles(
                found.X,
                X,
                found.w,
                found.ancestors,
                found.log_likelihood,
                found.ess,
                found.predicted,
            )

        return jax.lax.scan(visit, (self._start(of_start), uniform(self._n)), rows)[1]

    def _start(self, key: Array) -> Float[Array, "particle state"]:
        """Particles of the initial distribution, or its mean where it is left to the first move."""
        system, params, n = self.system, self.problem.params, self._n
        if not system.proof.start.gaussian:
            keys = jax.random.split(key, n)
            return jax.vmap(lambda k: system.start.sample(k, params))(keys)
        mean, P = system.start.moments(params)
        factor = psd_factor(P)
        if self._guides_start:
            factor = jnp.where(is_left_to_the_first_move(system, self.problem.grid), 0.0, factor)
        return mean[None, :] + jax.random.normal(key, (n, mean.shape[0])) @ factor.T

    def terms(self) -> Float[Array, " term"]:
        """Log-density of the data at each row given the earlier ones."""
        return self.particles.log_likelihood

    def innovations(self) -> Float[Array, "row component"]:
        """Normal quantiles of Gaussian data among those predicted; NaN where missing."""
        return self._where_seen(self._predicted(self._key))[0]

    def predictive_cdf(self, key: Array) -> tuple[Array, Array]:
        """Probabilities of less than each number, and of up to it, by the particles of a key."""
        low, high = self._predicted(key)
        return self._where_seen((jax.scipy.special.ndtr(low), jax.scipy.special.ndtr(high)))

    def _predicted(self, key: Array) -> tuple[Array, Array]:
        """Quantiles ``(row, component)`` of the data among those predicted."""
        found = self.filter(key, predicts=True).predicted
        assert found is not None
        return found

    def moments(self, given: Given) -> Moments:
        """Weighted mean and covariance of particles, or those of paths given all the data."""
        if given == "past":
            X, W = self.particles.X, jnp.exp(self.particles.w)
        else:
            key = jax.random.fold_in(self._key, 1)
            X = all_paths(key, self.crossing.log_density, self._trellis(self.particles))
            W = jnp.full(X.shape[:2], 1.0 / self._n)
        X = jnp.where(W[..., None] > 0, X, 0.0)
        mean = (W[..., None] * X).sum(1)
        off = X - mean[:, None, :]
        return Moments(mean, jnp.einsum("ti,tia,tib->tab", W, off, off))

    def draw(self, given: Given, key: Array) -> Float[Array, "row state"]:
        """One path given all the data; or, given the past, states that are each drawn alone.

        From particles of its own, so that draws differ as draws do and share no error.
        """
        of_filter, of_draw = jax.random.split(key)
        particles = self.filter(of_filter)
        if given == "all":
            return one_path(of_draw, self.crossing.log_density, self._trellis(particles))
        which = jax.random.categorical(of_draw, particles.w)
        return jnp.take_along_axis(particles.X, which[:, None, None], axis=1)[:, 0]

    def diagnostics(self) -> Mapping[str, Float[Array, ""]]:
        """Least share of the particles that were worth something after a datum."""
        return {"ess": self.particles.ess.min() / self._n}

    def _trellis(self, particles: Particles) -> Trellis:
        return Trellis(
            particles.arrived,
            particles.X,
            particles.w,
            particles.ancestors,
            self.crossing.entries,
        )
