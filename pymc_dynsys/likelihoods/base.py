"""What a likelihood is: options that make a run over one trajectory, and what a run can be asked.

A :class:`Likelihood` is a frozen dataclass of options. Everything that other subpackages need to
know of it they ask it; nobody asks for its class. A :class:`Run` lives inside one trace: it is made
for the data and parameters of one trajectory, and what it is not asked for is not computed.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.discretization import Discretization, TimeGrid, at_row, scheme_of
from pymc_dynsys.likelihoods.answers import Faults, Moments, Present
from pymc_dynsys.likelihoods.observe import standardised_errors
from pymc_dynsys.likelihoods.problem import Data, Problem
from pymc_dynsys.linalg import LARGE
from pymc_dynsys.systems.bound import BoundSystem

Given = Literal["all", "past"]
"""Data on which states are conditioned: all of the trajectory, or those up to their own time."""

PREDICTIVE_DRAWS = 100
"""States whose distributions of a datum are averaged where a run has no better prediction."""


class Variation(NamedTuple):
    """Another evaluation with which ``check_likelihood`` compares a likelihood.

    Attributes
    ----------
    name : str
        What is varied; the result is called ``<name>_change``.
    likelihood : Likelihood
        What evaluates instead.
    finer : bool
        Whether steps are halved too.
    exact : bool
        Whether it is the exact likelihood of the system.
    """

    name: str
    likelihood: "Likelihood"
    finer: bool = False
    exact: bool = False


class Likelihood(ABC):
    """Base of the likelihoods: a frozen dataclass of options.

    A subclass says how a trajectory is run (:meth:`run`). Batching, missing data at the door,
    guards and gradients are the caller's business. What has defaults here need not be said.
    """

    forward_scalars: ClassVar[int] = 0
    """Differentiate forwards when at most this many scalars a trajectory need a gradient."""

    default_discretization: ClassVar[Discretization | None] = None
    """The discretization where the user states none."""

    gradient: ClassVar[bool] = True
    """Whether the likelihood has a gradient; where not, asking for one is an error."""

    instead_of_gradient: ClassVar[str] = (
        "sample with steps that need none, such as pm.DEMetropolisZ() or pm.Slice(), or choose a "
        "likelihood that has one"
    )
    """What to do where there is no gradient, for that error."""

    unbiased: ClassVar[bool] = False
    """Whether its exponential is, over its noise, an unbiased estimate of the likelihood."""

    exact: ClassVar[bool] = False
    """Whether it is the exact likelihood of the systems that it takes, steps aside."""

    cheap: ClassVar[bool] = False
    """Whether it is tried at the initial point when a model is built."""

    begins_anew: ClassVar[bool] = True
    """Whether a state may get a new law with a covariance, by a reset or a steady state."""

    moved_by_means: ClassVar[bool] = False
    """Whether it learns of states by their covariance with the data only: not from a noise."""

    discretization: Discretization | None = None

    def __repr__(self) -> str:
        """Options, without a discretization that is left open."""
        options = {f.name: getattr(self, f.name) for f in fields(self)}  # type: ignore[arg-type]
        if options.get("discretization") is None:
            options.pop("discretization", None)
        inside = ", ".join(f"{name}={value!r}" for name, value in options.items())
        return f"{type(self).__name__}({inside})"

    @classmethod
    def recommended(cls, system: BoundSystem) -> str | None:
        """Why an expert would choose this likelihood for a system; None: not this one."""
        return None

    def check(self, system: BoundSystem) -> None:
        """Raise ValueError, naming the function at fault, if the system does not suit."""
        return

    def resolve_defaults(self, system: BoundSystem, gaps: np.ndarray) -> tuple["Likelihood", str]:
        """Fill in what the user left open; returns the likelihood and what to announce."""
        default = self.default_discretization
        if default is None or self.discretization is not None or system.step is not None:
            return self, ""
        return self._replaced(discretization=default), ""

    def scheme(self, system: BoundSystem) -> Discretization:
        """What carries a system over its gaps: its own steps, or the discretization."""
        return scheme_of(system, self.discretization or self.default_discretization)

    def follows_lines(self, system: BoundSystem) -> bool:
        """Whether inputs that are straight lines are followed, or held at their means."""
        return self.scheme(system).follows_lines(system)

    @property
    def adaptive_solver(self) -> str | None:
        """Name of the solver that controls its own error, which takes double precision."""
        scheme = self.discretization
        return type(scheme).__name__ if scheme is not None and scheme.adaptive else None

    @property
    def random(self) -> bool:
        """Whether a seed stands behind the likelihood."""
        return any(field.name == "seed" for field in fields(self))  # type: ignore[arg-type]

    def reseeded(self, seed: int) -> "Likelihood":
        """The same likelihood with another seed."""
        return self._replaced(seed=seed) if self.random else self

    def draw_noise(self, system: BoundSystem, batch: tuple[int, ...], grid: TimeGrid) -> Any:
        """Arrays ``(time, *batch, ...)`` fixed for all evaluations, such as an ensemble's noise."""
        return None

    def fresh_noise(self, key: Array, batch: tuple[int, ...]) -> Any:
        """Noise drawn anew from a key, in the form of :meth:`draw_noise`; for unbiased ones."""
        raise NotImplementedError

    @abstractmethod
    def run(self, system: BoundSystem, problem: Problem) -> "Run":
        """Run over one trajectory; nothing is computed before it is asked for."""

    def variations(self, system: BoundSystem) -> tuple[Variation, ...]:
        """What ``check_likelihood`` varies: by default the steps, where shorter ones matter."""
        scheme = self.discretization
        if scheme is None or not scheme.cuts_gaps:
            return ()
        return (Variation("step", self, finer=True),)

    def reference(
        self, system: BoundSystem, kinds: Mapping[str, type["Likelihood"]]
    ) -> "Likelihood | None":
        """Another likelihood to compare with, of one of the kinds that there are; None: none."""
        return None

    def enough(self, spread: float, tolerable: float) -> str | None:
        """What would bring the spread over seeds down to what is tolerable, in words."""
        return None

    def largest_reduction(self, system: BoundSystem) -> int:
        """Numbers in the largest array that a step for one trajectory sums over."""
        d, m = system.n_states, system.observation.n_components
        return max(d * d * (d if d < LARGE else 1), m * d)

    def floats_per_row(self, system: BoundSystem) -> float:
        """Numbers that filter and smoother hold for a row of a trajectory: a few matrices."""
        d = system.n_states
        return 12.0 + 6 * d + 8 * d * d

    def _replaced(self, **changes: Any) -> "Likelihood":
        options: Any = self
        changed: Likelihood = replace(options, **changes)
        return changed


class Run(ABC):
    """A likelihood on one trajectory: what can be asked of it, inside one trace."""

    def __init__(self, likelihood: Likelihood, system: BoundSystem, problem: Problem) -> None:
        self.likelihood = likelihood
        self.system = system
        self.problem = problem

    terms_by_row: ClassVar[bool] = False
    """Whether there is a term for each row: the log-density of its data given the earlier ones."""

    @abstractmethod
    def terms(self) -> Float[Array, " term"]:
        """Numbers whose sum is the log-likelihood."""

    def log_likelihood(self) -> Float[Array, ""]:
        """Log-density of all data of the trajectory."""
        return self.terms().sum()

    def pointwise(self) -> Float[Array, " row"]:
        """Log-density of the data at each row given the earlier ones; zero where all is missing.

        The terms where there is one for each row; else differences between totals of the data up
        to each row, which takes as many runs as there are rows.
        """
        if self.terms_by_row:
            return self.terms()
        n = self.problem.data.y.shape[0]
        upto = jax.lax.map(lambda k: self._before(k + 1).log_likelihood(), jnp.arange(n))
        return jnp.diff(upto, prepend=0.0)

    def innovations(self) -> Float[Array, "row component"]:
        """Standardised errors of the predictions of each number from all before it.

        NaN where a number is missing. By default from the moments of the states given the data
        before each row, which takes as many runs as there are rows; for Gaussian observations,
        linearized about the mean where they are not affine.
        """
        params, data, grid, _ = self.problem

        def predicted(k: Array) -> tuple[Array, Array]:
            moments = self._before(k).moments("all")
            return moments.mean[k], moments.cov[k]

        means, covs = jax.lax.map(predicted, jnp.arange(data.y.shape[0]))
        return standardised_errors(self.system, params, *data, grid, means, covs)

    def predictive_cdf(self, key: Array) -> tuple[Array, Array]:
        """Probabilities of less than each number, and of up to it, given the rows before it.

        Both are ``(row, component)``, NaN where a number is missing, and the same where it has a
        density. By default averages over draws of the state given the data before each row, which
        takes as many runs as there are rows; ``key`` is for these draws.
        """
        params, data, grid, _ = self.problem

        def at(row: tuple[Any, ...]) -> tuple[Array, Array]:
            k, key, t, y, inputs = row
            run, held = self._before(k), at_row(inputs, params)
            keys = jax.random.split(key, PREDICTIVE_DRAWS)
            x = jax.vmap(lambda key: run.draw("all", key)[k])(keys)
            each = jax.vmap(lambda x: self.system.observation.cdf_bounds(y, x, t, held))(x)
            less, upto = (part.mean(0) for part in each)
            return less, upto

        n = data.y.shape[0]
        rows = jax.tree.map(jnp.asarray, grid.rows)
        keys = jax.random.split(key, n)
        return self._where_seen(
            jax.lax.map(at, (jnp.arange(n), keys, jnp.asarray(grid.times), data.y, rows))
        )

    def _where_seen(self, both: tuple[Array, Array]) -> tuple[Array, Array]:
        """The same, not a number where data ``(row, component)`` are missing."""
        seen = self.problem.data.seen
        if seen is None:
            return both
        return jnp.where(seen, both[0], jnp.nan), jnp.where(seen, both[1], jnp.nan)

    @abstractmethod
    def moments(self, given: Given) -> Moments:
        """Mean and covariance of the state at every row."""

    @abstractmethod
    def draw(self, given: Given, key: Array) -> Float[Array, "row state"]:
        """One path given all the data; or, given the past, states that are each drawn alone."""

    def present(self, key: Array) -> Present:
        """A path given all the data, from which forecasts go on."""
        path = self.draw("all", key)
        return Present(path, jnp.zeros_like(path), jnp.ones_like(path))

    def faults(self) -> Faults:
        """What the data lack; by default nothing is looked for."""
        seen = jnp.zeros(self.problem.data.y.shape, bool)
        return Faults(jnp.zeros(self.system.n_diffuse, bool), seen)

    def diagnostics(self) -> Mapping[str, Float[Array, ""]]:
        """What the run says of itself, by name."""
        return {}

    def _before(self, k: Array) -> "Run":
        """The run on the data of the first `k` rows."""
        data = self.problem.data
        rows = jnp.arange(data.y.shape[0])[:, None] < k
        seen = jnp.broadcast_to(rows, data.y.shape)
        seen = seen if data.seen is None else seen & data.seen
        earlier = self.problem._replace(data=Data(data.y, seen))
        return self.likelihood.run(self.system, earlier)
