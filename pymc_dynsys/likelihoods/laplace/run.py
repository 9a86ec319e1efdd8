"""A run of Laplace's approximation: likelihood and states of one trajectory."""

from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.answers import Moments
from pymc_dynsys.likelihoods.base import Given, Likelihood, Problem, Run
from pymc_dynsys.likelihoods.laplace import affine, importance
from pymc_dynsys.likelihoods.laplace.mode import Mode, find_mode
from pymc_dynsys.likelihoods.laplace.path import AffinePath, Path, path_of
from pymc_dynsys.likelihoods.laplace.proofs import has_second_order
from pymc_dynsys.likelihoods.laplace.riccati import deviations
from pymc_dynsys.likelihoods.laplace.second_order import second_order
from pymc_dynsys.likelihoods.laplace.sight import Sight
from pymc_dynsys.likelihoods.laplace.value import (
    Approximation,
    Correction,
    approximate,
    log_likelihood,
)
from pymc_dynsys.systems.bound import BoundSystem

WEIGHED = 100
"""Pairs of draws whose weights say how good an approximation is, where none were asked for."""


class Options(NamedTuple):
    """What a run is told: its order, and what it draws and searches."""

    order: int
    draws: int
    seed: int
    max_iterations: int


class LaplaceRun(Run):
    """The most probable path of a trajectory and the normal approximation about it."""

    def __init__(
        self, likelihood: Likelihood, system: BoundSystem, problem: Problem, options: Options
    ) -> None:
        super().__init__(likelihood, system, problem)
        self._options = options

    @cached_property
    def path(self) -> Path:
        """The path as a function of standard normals."""
        return path_of(self.system, self.likelihood.scheme(self.system), self.problem)

    @cached_property
    def sight(self) -> Sight:
        """What the data say of the states."""
        return Sight(self.system, self.problem)

    @cached_property
    def mode(self) -> Mode:
        """The most probable path, which has no slopes in parameters."""
        still, seen = self.path.still(), self.sight.still()
        return jax.lax.stop_gradient(find_mode(still, seen, self._options.max_iterations))

    @cached_property
    def about(self) -> Approximation:
        """The normal approximation about the most probable path; not a number where none is."""
        z = jnp.where(self.mode.found, self.mode.z, jnp.nan)
        return approximate(self.path, self.sight, z)

    def terms(self) -> Float[Array, " term"]:
        """The log-likelihood, in one term."""
        path, sight, mode, options = self.path, self.sight, self.mode, self._options
        if isinstance(path, AffinePath) and not options.draws:
            value = affine.log_likelihood(path, sight, mode, options.order)
        else:
            value = log_likelihood(path, sight, mode, self._correction())
        return jnp.where(mode.found, value, jnp.nan)[None]

    def moments(self, given: Given) -> Moments:
        """The most probable path, and the covariances of the normal approximation."""
        if given == "past":
            n = self.problem.data.y.shape[0]

            def at(k: Array) -> tuple[Array, Array]:
                moments = self._before(k + 1).moments("all")
                return moments.mean[k], moments.cov[k]

            return Moments(*jax.lax.map(at, jnp.arange(n)))
        path = self.path
        return Moments(path.rows(self.about.x), path.rows(self.about.covariances))

    def draw(self, given: Given, key: Array) -> Float[Array, "row state"]:
        """A path of the normal approximation, one of several by their weights where draws are made.

        Given the past, the end of such a path up to each row.
        """
        if given == "past":
            n = self.problem.data.y.shape[0]
            keys = jax.random.split(key, n)
            rows = jnp.arange(n)
            return jax.lax.map(
                lambda k: self._before(k[0] + 1).draw("all", k[1])[k[0]], (rows, keys)
            )
        about = self.about
        normals, choice = jax.random.split(key)
        n, w = self.path.shape
        pairs = max(self._options.draws // 2, 1)
        eps = jax.random.normal(normals, (n, pairs, w))
        if not self._options.draws:
            off = deviations(about.stages, about.factor, eps[:, 0])
            return self.path.rows(self.path.roll(about.z + off))
        which = jax.random.categorical(choice, importance.log_weights(about, eps))
        off = deviations(about.stages, about.factor, eps[:, which % pairs])
        side = jnp.where(which < pairs, 1.0, -1.0)
        return self.path.rows(self.path.roll(about.z + side * off))

    def diagnostics(self) -> Mapping[str, Float[Array, ""]]:
        """Turns of the search, effective share of importance draws, second-order correction."""
        n, w = self.path.shape
        eps = jax.random.normal(jax.random.PRNGKey(self._options.seed), (n, WEIGHED, w))
        weights = importance.log_weights(self.about, eps)
        found = {
            "iterations": self.mode.turns.astype(float),
            "ess": importance.effective_sample_size(weights) / weights.shape[0],
        }
        if has_second_order(self.system):
            found["second_order"] = self._second_order()
        return found

    def _correction(self) -> Correction | None:
        """What draws add to the first order."""
        if not self._options.draws:
            return None
        eps = jnp.asarray(self.problem.noise)
        return lambda about: importance.correction(about, eps)

    def _second_order(self) -> Float[Array, ""]:
        """The second-order correction."""
        about = self.about
        *_, third, fourth = self.sight.ladder(about.x, 4)
        return second_order(about.factor, about.covariances, self.sight.h, third, fourth)
