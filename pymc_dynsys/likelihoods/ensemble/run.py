"""A run of an ensemble filter: members at every row, smoothed where asked."""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import Rows
from pymc_dynsys.likelihoods.answers import Moments
from pymc_dynsys.likelihoods.base import Given, Likelihood, Problem, Run
from pymc_dynsys.likelihoods.ensemble.backward import smooth
from pymc_dynsys.systems.bound import BoundSystem


class Ensembles(NamedTuple):
    """Ensembles before and after each datum, its standardised innovation and log-density."""

    predicted: Float[Array, "*row member state"]
    filtered: Float[Array, "*row member state"]
    innovation: Float[Array, "*row component"]
    log_likelihood: Float[Array, "*row"]


class RowEnsemble(NamedTuple):
    """What an ensemble filter needs to know of a row; leaves of all rows lead with a row axis.

    ``process`` are the normals of the steps ``(step, member, noise)``, or a tuple with one array a
    step; ``perturbation`` those of the data ``(member, component)``, if any.
    """

    y: Float[Array, "*row component"]
    seen: Bool[Array, "*row component"] | None
    t: Float[Array, "*row"]
    gap: Float[Array, "*row"]
    steps: Array
    process: Any
    perturbation: Array | None
    row: Rows | None


class EnsembleRun(Run):
    """What an ensemble filter makes of a trajectory; the filter runs once."""

    terms_by_row = True

    def __init__(
        self,
        likelihood: Likelihood,
        system: BoundSystem,
        problem: Problem,
        run_filter: Callable[[BoundSystem, Problem], Ensembles],
    ) -> None:
        super().__init__(likelihood, system, problem)
        self._run_filter = run_filter

    @cached_property
    def ensembles(self) -> Ensembles:
        """Members before and after each datum."""
        return self._run_filter(self.system, self.problem)

    def members(self, given: Given) -> Float[Array, "row member state"]:
        """Members at every row, given the data up to it or all of them."""
        filtered = self.ensembles.filtered
        return filtered if given == "past" else smooth(self.ensembles.predicted, filtered)

    def terms(self) -> Float[Array, " term"]:
        """Log-density of the data at each row given the earlier ones."""
        return self.ensembles.log_likelihood

    def innovations(self) -> Float[Array, "row component"]:
        """Standardised errors of predictions, from the filter itself."""
        z, seen = self.ensembles.innovation, self.problem.data.seen
        return z if seen is None else jnp.where(seen, z, jnp.nan)

    def moments(self, given: Given) -> Moments:
        """Sample mean and covariance of the members."""
        members = self.members(given)
        mean = members.mean(1)
        off = members - mean[:, None, :]
        return Moments(mean, jnp.einsum("tmi,tmj->tij", off, off) / (members.shape[1] - 1))

    def draw(self, given: Given, key: Array) -> Float[Array, "row state"]:
        """The path of one member; or, given the past, a member of its own at every row."""
        members = self.members(given)
        shape = () if given == "all" else members.shape[:1]
        which = jax.random.randint(key, shape, 0, members.shape[1])
        rows = jnp.arange(members.shape[0])
        return members[rows, jnp.broadcast_to(which, rows.shape)]
