"""How particles cross the gap into a row, and the density with which one moves to another place.

A gap of linear dynamics is one Gaussian move; of all others the last step is one, where the
transition is Gaussian at all, and the steps before it are drawn.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import Discretization, Rows, TimeGrid, over_gap
from pymc_dynsys.discretization.grid import substep_length
from pymc_dynsys.discretization.tabulated import Move, tabulated_crossing
from pymc_dynsys.linalg import congruence, ldl, matvec, psd_factor
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.gaussian import gaussian_logpdf_ldl

Cloud = Float[Array, "particle state"]
State = Float[Array, " state"]


class GaussianMove(NamedTuple):
    """Mean and covariance of the next place of one particle."""

    mean: Float[Array, " state"]
    Q: Float[Array, "state state"]


class Gap(NamedTuple):
    """A gap that is crossed in steps; leaves of all rows lead with a row axis."""

    start: Float[Array, "*row"]
    length: Float[Array, "*row"]
    steps: Array
    row: Rows | None
    first: Bool[Array, "*row"]


Entry = Move | Gap


class Crossing[E](ABC):
    """What particles do in the gaps of one trajectory; an entry is what belongs to a row."""

    entries: E
    """Those of all rows, with a row axis first."""

    @abstractmethod
    def draw(self, key: Array, X: Cloud, entry: E) -> Cloud:
        """Particles after the gap."""

    @abstractmethod
    def approach(self, key: Array, X: Cloud, entry: E) -> Cloud:
        """Particles before the last move."""

    @abstractmethod
    def last(self, x: State, entry: E) -> GaussianMove:
        """The last move of one particle, of a Gaussian transition."""

    @abstractmethod
    def log_density(self, after: State, x: State, entry: E) -> Float[Array, ""]:
        """Log-density of a particle's place after the whole gap; NaN without a closed form."""


def make_crossing(
    system: BoundSystem,
    scheme: Discretization,
    params: Params,
    grid: TimeGrid,
    start: Float[Array, "state state"] | None = None,
) -> Crossing:
    """Crossing of the gaps of one trajectory.

    `start` is the covariance of a Gaussian initial distribution that is left to the first move:
    particles begin at its mean.
    """
    if not system.proof.dynamics.linear:
        return Stepwise(system, scheme, params, grid, start)
    table = tabulated_crossing(system, scheme, params, grid)
    entries = jax.tree.map(jnp.asarray, table.entries)
    moves = jax.vmap(lambda *entry: table.transition(*entry))(*entries)
    if start is not None:
        moves = moves._replace(Q=moves.Q.at[0].add(congruence(moves.F[0], start)))
    return Linear(moves)


def is_left_to_the_first_move(system: BoundSystem, grid: TimeGrid) -> Bool[Array, ""]:
    """Whether a Gaussian initial distribution and the first gap are together one Gaussian move."""
    if system.proof.dynamics.linear:
        return jnp.asarray(True)
    return jnp.asarray(grid.gaps)[0] == 0


@dataclass(frozen=True, eq=False)
class Linear(Crossing[Move]):
    """Every gap is ``x' = F x + shift + N(0, Q)``."""

    entries: Move

    def draw(self, key: Array, X: Cloud, entry: Move) -> Cloud:
        """One Gaussian move."""
        factor, normals = psd_factor(entry.Q), jax.random.normal(key, X.shape)
        after: Array = jax.vmap(lambda x, z: self.last(x, entry).mean + matvec(factor, z))(
            X, normals
        )
        return after

    def approach(self, key: Array, X: Cloud, entry: Move) -> Cloud:
        """Nothing comes before it."""
        return X

    def last(self, x: State, entry: Move) -> GaussianMove:
        """The move of the whole gap."""
        return GaussianMove(matvec(entry.F, x) + entry.shift, entry.Q)

    def log_density(self, after: State, x: State, entry: Move) -> Float[Array, ""]:
        """Gaussian; on its support where the noise is singular."""
        return gaussian_logpdf_ldl(after - self.last(x, entry).mean, *ldl(entry.Q))


@dataclass(frozen=True, eq=False)
class Stepwise(Crossing[Gap]):
    """Gaps are crossed in the steps of a scheme."""

    system: BoundSystem
    scheme: Discretization
    params: Params
    grid: TimeGrid
    start: Float[Array, "state state"] | None

    @property
    def entries(self) -> Gap:  # type: ignore[override]
        """Start, length and steps of each gap, and what is held over it."""
        grid = self.grid
        first = jnp.arange(grid.times.shape[0]) == 0
        gaps: Gap = jax.tree.map(
            jnp.asarray, Gap(grid.starts, grid.gaps, grid.steps, grid.rows, first)
        )
        return gaps

    def draw(self, key: Array, X: Cloud, entry: Gap) -> Cloud:
        """All steps."""
        return self._walk(key, X, entry, 0)

    def approach(self, key: Array, X: Cloud, entry: Gap) -> Cloud:
        """All steps but the last one."""
        return self._walk(key, X, entry, 1)

    def last(self, x: State, entry: Gap) -> GaussianMove:
        """The last step; the initial distribution where there is no gap before the first row."""
        h = substep_length(entry.length, entry.steps)
        t = entry.start + (entry.steps - 1) * h
        mean, _, Q = self.scheme.step(self.system, x, t, h, over_gap(entry.row, self.params))
        moves = entry.steps > 0
        mean, Q = jnp.where(moves, mean, x), jnp.where(moves, Q, 0.0)
        if self.start is not None:
            Q = jnp.where(entry.first & (entry.length == 0), self.start, Q)
        return GaussianMove(mean, Q)

    def log_density(self, after: State, x: State, entry: Gap) -> Float[Array, ""]:
        """That of the step, where there is one only."""
        start, length, steps, row, _ = entry
        held = over_gap(row, self.params)
        value = self.scheme.log_density(self.system, after, x, start, length, held)
        return jnp.where(steps == 1, value, jnp.nan)

    def _walk(self, key: Array, X: Cloud, entry: Gap, left_out: int) -> Cloud:
        """Particles after all steps of a gap but those that are left out at its end."""
        if self.grid.max_steps == 1 and not self.grid.uneven:
            return X if left_out else self._step(key, X, entry, jnp.zeros((), int))

        def step(i: Array, X: Array) -> Array:
            return self._step(jax.random.fold_in(key, i), X, entry, i)

        walked: Array = jax.lax.fori_loop(0, entry.steps - left_out, step, X)
        return walked

    def _step(self, key: Array, X: Cloud, entry: Gap, i: Array) -> Cloud:
        """Particles after one step."""
        system, scheme, n = self.system, self.scheme, X.shape[0]
        h, held = substep_length(entry.length, entry.steps), over_gap(entry.row, self.params)
        t = entry.start + i * h
        if not system.proof.dynamics.gaussian:
            keys = jax.random.split(key, n)
            drawn: Array = jax.vmap(lambda x, k: scheme.draw(system, k, x, t, h, held))(X, keys)
            return drawn
        shape = (n, scheme.noise_size(system))
        still = system.is_deterministic
        normals = jnp.zeros(shape) if still else jax.random.normal(key, shape)
        moved: Array = jax.vmap(lambda x, z: scheme.propagate(system, x, t, h, held, z))(X, normals)
        return moved
