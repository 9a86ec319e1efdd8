r"""Where particles move to: blindly, or knowing the datum that they are about to meet.

Legend: X particles; w log-weights that sum to one; g log-density of the datum at a particle;
d, H, R offset, slope and noise covariance of an affine datum; mean, Q the last move of a particle;
L, D factors of the covariance H Q H' + R of the datum predicted there, v its error, whitened by L;
gain with respect to v.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pymc_dynsys.discretization import Rows, at_row
from pymc_dynsys.likelihoods.particle.crossing import Crossing, Entry, GaussianMove
from pymc_dynsys.likelihoods.particle.predicted import (
    Quantiles,
    gaussian_errors,
    of_gaussians,
    of_laws,
)
from pymc_dynsys.likelihoods.particle.resample import (
    effective_number,
    normalise,
    systematic,
    uniform,
)
from pymc_dynsys.linalg import (
    congruence,
    ldl,
    linearize,
    matmul,
    matvec,
    psd_factor,
    unit_lower_solve,
)
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.gaussian import normal_logpdf


class RowParticles(NamedTuple):
    """What a particle filter needs to know of a row; leaves of all rows lead with a row axis."""

    y: Float[Array, "*row component"]
    seen: Bool[Array, "*row component"] | None
    t: Float[Array, "*row"]
    row: Rows | None
    entry: Entry
    key: Array


class Moved(NamedTuple):
    """Particles after the datum of a row.

    Attributes
    ----------
    X, w
        Particles, and log-weights that sum to one.
    ancestors
        Places in the row before.
    log_likelihood
        Log-density of the datum given the earlier ones.
    ess
        Particles of equal weight that are worth as much as these are after the datum.
    predicted
        Normal quantiles of the datum among those predicted; None where not asked for.
    """

    X: Float[Array, "particle state"]
    w: Float[Array, " particle"]
    ancestors: Int[Array, " particle"]
    log_likelihood: Float[Array, ""]
    ess: Float[Array, ""]
    predicted: Quantiles | None


class Scene(NamedTuple):
    """What all rows have in common.

    ``predicts`` says whether the places of the data among those predicted are asked for.
    """

    system: BoundSystem
    params: Params
    crossing: Crossing
    predicts: bool


def resampled(
    key: Array, X: Float[Array, "particle state"], w: Float[Array, " particle"]
) -> tuple[Float[Array, "particle state"], Float[Array, " particle"], Int[Array, " particle"]]:
    """Particles, log-weights and ancestors, resampled if fewer than half of them are worth it."""
    n = w.shape[0]

    def again() -> tuple[Array, Array, Array]:
        ancestors = systematic(key, w)
        return X[ancestors], uniform(n), ancestors

    few = effective_number(w) < 0.5 * n
    return jax.lax.cond(few, again, lambda: (X, w, jnp.arange(n, dtype=jnp.int32)))


class Proposal(ABC):
    """Base of the proposals of a particle filter."""

    guides_start: ClassVar[bool] = False
    """Whether a Gaussian initial distribution is part of the first move."""

    @abstractmethod
    def wanting(self, system: BoundSystem) -> str | None:
        """What the proposal needs and the system does not have, in words."""

    @abstractmethod
    def move(
        self,
        scene: Scene,
        X: Float[Array, "particle state"],
        w: Float[Array, " particle"],
        k: RowParticles,
    ) -> Moved:
        """Particles over the gap into a row and weighted by its datum."""


@dataclass(frozen=True)
class Bootstrap(Proposal):
    r"""Particles move by the transition itself and are weighted by the data afterwards.

    .. math:: x_k^i \sim p(x_k \mid x_{k-1}^i), \qquad W_k^i \propto W_{k-1}^i p(y_k \mid x_k^i)

    Suits every system. Data that tell much more than the transition does leave few particles
    with a weight; then many of them are needed, or :class:`Optimal`.

    References
    ----------
    Gordon, Salmond and Smith (1993), *IEE Proceedings F* 140, 107-113.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.ParticleFilter(proposal=pds.Bootstrap())
    ParticleFilter(particles=1000, seed=0, proposal=Bootstrap())
    """

    def wanting(self, system: BoundSystem) -> str | None:
        """Nothing."""
        return None

    def move(
        self,
        scene: Scene,
        X: Float[Array, "particle state"],
        w: Float[Array, " particle"],
        k: RowParticles,
    ) -> Moved:
        """Resample by the data before, move, weigh."""
        system, params, crossing, predicts = scene
        of_resampling, of_move, of_draws = jax.random.split(k.key, 3)
        X, w, ancestors = resampled(of_resampling, X, w)
        X = once(crossing.draw(of_move, X, k.entry))
        held = at_row(k.row, params)
        predicted = None
        if predicts and system.proof.observation.gaussian:
            errors = jax.vmap(
                lambda x: gaussian_errors(system.observation, x, k.y, k.seen, k.t, held)
            )(X)
            predicted = of_gaussians(w, *errors)
        elif predicts:
            predicted = of_laws(of_draws, system.observation, X, w, k.y, k.t, held)
        g = jax.vmap(lambda x: system.observation.log_density(k.y, k.seen, x, k.t, held))(X)
        # A path that is no number has no weight.
        g = jnp.where(jnp.isfinite(X).all(1), g, -jnp.inf)
        w, total = normalise(once(w + g))
        return Moved(X, w, ancestors, total, effective_number(w), predicted)


@dataclass(frozen=True)
class Optimal(Proposal):
    r"""Particles move knowing the next datum: the locally optimal proposal, where it is Gaussian.

    .. math:: W_k^i \propto W_{k-1}^i p(y_k \mid x_{k-1}^i), \qquad
              x_k^i \sim p(x_k \mid x_{k-1}^i, y_k)

    Weights do not depend on where a particle moves to, so particles are resampled before they do.
    Needs a Gaussian transition, whose mean may be anything, and a Gaussian observation whose mean
    is affine in the state and whose noise does not depend on it. A gap of several steps is crossed
    by the transition up to the last of them, unless the dynamics are linear. A Gaussian initial
    distribution is part of the first move, so that it may be as wide as it likes.

    Raises
    ------
    ValueError
        When the model is built, if transition or observation are not as they must be.

    References
    ----------
    Doucet, Godsill and Andrieu (2000), *Statistics and Computing* 10, 197-208. Pitt
    and Shephard (1999), *JASA* 94, 590-599 (resampling before the move).

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> pds.ParticleFilter(200, proposal=pds.Optimal())
    ParticleFilter(particles=200, seed=0, proposal=Optimal())
    """

    guides_start = True

    def wanting(self, system: BoundSystem) -> str | None:
        """A Gaussian transition, and an affine Gaussian observation."""
        proof = system.proof.observation
        if not system.proof.dynamics.gaussian:
            return "a Gaussian transition, and transition() returns another distribution"
        if not proof.gaussian:
            return "a Gaussian observation, and observation() returns another distribution"
        if not proof.affine:
            return (
                "an observation whose mean is affine in the state, and that of observation() is not"
            )
        if not proof.constant_noise:
            return "a noise of the data that is free of the state, and observation() has another"
        return None

    def move(
        self,
        scene: Scene,
        X: Float[Array, "particle state"],
        w: Float[Array, " particle"],
        k: RowParticles,
    ) -> Moved:
        """Weigh by the predicted datum, resample, move."""
        system, params, crossing, predicts = scene
        of_resampling, of_approach, of_move = jax.random.split(k.key, 3)
        X = once(crossing.approach(of_approach, X, k.entry))
        d, H, R = sensor(system, params, k)

        def predict(x: Array) -> tuple[GaussianMove, Array, Array, Array]:
            move = crossing.last(x, k.entry)
            L, D = ldl(congruence(H, move.Q) + R)
            v = k.y - d - matvec(H, move.mean)
            v = v if k.seen is None else jnp.where(k.seen, v, 0.0)
            return move, L, jnp.where(D > 0, D, jnp.nan), unit_lower_solve(L, v)

        def weigh(x: Array) -> tuple[Array, Array]:
            _, _, D, v = predict(x)
            terms = normal_logpdf(v, D)
            terms = terms if k.seen is None else jnp.where(k.seen, terms, 0.0)
            return v / jnp.sqrt(D), terms

        def guided(x: Array, normals: Array) -> Array:
            (mean, Q), L, D, v = predict(x)
            gain = unit_lower_solve(L, matmul(H, Q)).T / D[None, :]
            # Joseph's form of the covariance, which stays semi-definite.
            left = jnp.eye(mean.shape[0]) - matmul(gain, unit_lower_solve(L, H))
            noise = matmul(gain, unit_lower_solve(L, psd_factor(R)))
            factor = psd_factor(congruence(left, Q) + matmul(noise, noise.T))
            return mean + matvec(gain, v) + matvec(factor, normals)

        errors, terms = once(jax.vmap(weigh)(X))
        predicted = of_gaussians(w, errors, terms) if predicts else None
        w, total = normalise(w + jnp.where(jnp.isfinite(X).all(1), terms.sum(1), -jnp.inf))
        ess = effective_number(w)
        X, w, ancestors = resampled(of_resampling, X, w)
        X = once(jax.vmap(guided)(X, once(jax.random.normal(of_move, X.shape))))
        return Moved(X, w, ancestors, total, ess, predicted)


def once[Tree](values: Tree) -> Tree:
    """The same values, computed once: XLA would repeat them in every sum over particles below."""
    return jax.lax.optimization_barrier(values)


def sensor(
    system: BoundSystem, params: Params, k: RowParticles
) -> tuple[
    Float[Array, " component"], Float[Array, "component state"], Float[Array, "component component"]
]:
    """Offset, slope and noise covariance of an affine datum.

    What is not seen has no slope, and noise of its own.
    """
    held, origin = at_row(k.row, params), jnp.zeros(system.n_states)
    d, H = linearize(lambda x: system.observation.moments(x, k.t, held)[0], origin)
    R = system.observation.moments(origin, k.t, held)[1]
    R = R if R.ndim == 2 else jnp.diag(R)
    if k.seen is None:
        return d, H, R
    both = k.seen[:, None] & k.seen[None, :]
    return (
        jnp.where(k.seen, d, 0.0),
        jnp.where(k.seen[:, None], H, 0.0),
        jnp.where(both, R, jnp.eye(R.shape[0])),
    )
