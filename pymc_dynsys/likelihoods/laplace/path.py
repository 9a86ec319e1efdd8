"""The path of one trajectory as a function of the standard normals that it is made of.

Stages are what Newton's equations see (``riccati.py``): one a row where the path is affine in its
normals, else one a step and one for the start.
"""

from abc import ABC, abstractmethod
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import Discretization, Rows, TimeGrid
from pymc_dynsys.discretization.grid import substep_length
from pymc_dynsys.discretization.tabulated import tabulated_crossing
from pymc_dynsys.likelihoods.base import Problem
from pymc_dynsys.likelihoods.laplace.riccati import Curving, Stages
from pymc_dynsys.likelihoods.laplace.stepped import Stepped, Steps, after_event
from pymc_dynsys.linalg import congruence, linearize, psd_factor
from pymc_dynsys.linalg.written import matmul, matvec
from pymc_dynsys.systems.bound import BoundSystem, Params

AffineParts = tuple[Array, Array, Array]
"""Slopes, shifts and noise factors of gaps."""


class Path(ABC):
    """States of one trajectory from standard normals ``(stage, noise)``."""

    affine: bool

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of stages, and of normals at each."""

    @abstractmethod
    def still(self) -> "Path":
        """The same path without slopes in parameters."""

    @abstractmethod
    def roll(self, z: Float[Array, "stage noise"]) -> Float[Array, "stage state"]:
        """States that the stages reach."""

    @abstractmethod
    def stages(self, x: Float[Array, "stage state"], z: Float[Array, "stage noise"]) -> Stages:
        """Slopes of each stage where the path is."""

    @abstractmethod
    def curving(
        self, x: Float[Array, "stage state"], z: Array, to_come: Float[Array, "stage state"]
    ) -> Curving | None:
        """Curvature of the stages, weighted with the slopes of what is to come; None: none."""

    @abstractmethod
    def rows(self, x: Float[Array, "stage *own"]) -> Float[Array, "row *own"]:
        """What belongs to rows of what belongs to stages."""

    @abstractmethod
    def at_stages(self, values: Float[Array, "row *own"]) -> Float[Array, "stage *own"]:
        """Values of rows where their stages are, zero elsewhere."""


class AffinePath(Path):
    """``x_k = F_k x_{k-1} + c_k + C_k z_k``, one stage a row; F is zero at the first."""

    affine = True

    def __init__(self, F: Array, c: Array, C: Array) -> None:
        self.F, self.c, self.C = F, c, C

    @property
    def shape(self) -> tuple[int, int]:
        """Number of rows, and of normals at each."""
        n, _, w = self.C.shape
        return n, w

    def still(self) -> "AffinePath":
        """The same path without slopes in parameters."""
        return AffinePath(*jax.lax.stop_gradient((self.F, self.c, self.C)))

    def roll(self, z: Float[Array, "stage noise"]) -> Float[Array, "stage state"]:
        """States at the rows."""

        def step(x: Array, k: tuple[Array, ...]) -> tuple[Array, Array]:
            F, shift = k
            x = matvec(F, x) + shift
            return x, x

        shifts = self.c + jax.vmap(matvec)(self.C, z)
        return jax.lax.scan(step, jnp.zeros(self.F.shape[-1]), (self.F, shifts))[1]

    def stages(self, x: Array, z: Array) -> Stages:
        """Slopes, the same everywhere."""
        return Stages(self.F, self.C)

    def curving(self, x: Array, z: Array, to_come: Array) -> None:
        """There is none."""
        return

    def rows(self, x: Array) -> Array:
        """Stages are rows."""
        return x

    def at_stages(self, values: Array) -> Array:
        """Rows are stages."""
        return values


class SteppedPath(Stepped, Path):
    """Steps of a scheme, so many for each row."""

    def __init__(self, system: BoundSystem, scheme: Discretization, problem: Problem) -> None:
        super().__init__(system, scheme, problem.params, _steps_of(problem.grid))
        self._problem = problem
        self._n_rows = problem.grid.times.shape[-1]
        self._most = problem.grid.max_steps

    def still(self) -> "SteppedPath":
        """The same path without slopes in parameters."""
        return SteppedPath(self.system, self.scheme, jax.lax.stop_gradient(self._problem))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps and one, and of normals at each."""
        return path_shape(self.system, self.scheme, self._n_rows, self._most)

    def curving(self, x: Array, z: Array, to_come: Array) -> Curving:
        """Minus the second derivatives of the steps along the slopes of what is to come."""
        d = self.system.n_states

        def curvature(x: Array, z: Array, slope: Array, k: Steps) -> Array:
            def along(both: Array) -> Array:
                return -(slope * self.move(both[:d], both[d:], k)).sum()

            hessian: Array = jax.hessian(along)(jnp.concatenate([x, z]))
            return hessian

        M = jax.vmap(curvature)(x[:-1], z[1:], to_come[1:], self.moves)
        M = jnp.concatenate([jnp.zeros((1, *M.shape[1:])), M])
        return Curving(M[:, :d, :d], M[:, d:, :d], M[:, d:, d:])

    def rows(self, x: Array) -> Array:
        """Last steps of the gaps."""
        return x[1:].reshape(self._n_rows, self._most, *x.shape[1:])[:, -1]

    def at_stages(self, values: Array) -> Array:
        """Values at the last steps of the gaps, zero at all others."""
        zeros = jnp.zeros((self._n_rows, self._most - 1, *values.shape[1:]))
        steps = jnp.concatenate([zeros, values[:, None]], axis=1)
        flat = steps.reshape(-1, *values.shape[1:])
        return jnp.concatenate([jnp.zeros_like(flat[:1]), flat])


def path_shape(
    system: BoundSystem, scheme: Discretization, rows: int, most: int
) -> tuple[int, int]:
    """Number of stages of a path, and of normals at each; gaps take at most so many steps."""
    if system.proof.affine_path:
        return rows, system.n_states
    return 1 + rows * most, max(scheme.noise_size(system), system.n_states)


def path_of(system: BoundSystem, scheme: Discretization, problem: Problem) -> Path:
    """The path of a trajectory: exact where everything is affine, else by the scheme's steps."""
    if not system.proof.affine_path:
        return SteppedPath(system, scheme, problem)
    params, grid = problem.params, problem.grid
    table = tabulated_crossing(system, scheme, params, grid)
    moves = jax.vmap(table.transition)(*table.entries)
    m, P = system.start.moments(params)
    F, c = moves.F, moves.shift
    noises = moves.Q if table.table is None else table.table.Q
    first = congruence(F[0], P) + moves.Q[0]
    # In one pass, so that there is one program of them.
    factors = jax.vmap(psd_factor)(jnp.concatenate([first[None], noises]))
    first, C = factors[0], factors[1:]
    if table.table is not None:
        C = C[table.entries[0]]
    c = c.at[0].add(matvec(F[0], m))
    F, C = F.at[0].set(0.0), C.at[0].set(first)
    if grid.rows is not None and grid.rows.amount is not None:
        F, c, C = _with_events(system, params, grid, (F, c, C))
    return AffinePath(F, c, C)


def _with_events(
    system: BoundSystem, params: Params, grid: TimeGrid, parts: AffineParts
) -> AffineParts:
    """Slopes, shifts and noise factors of gaps with the affine events at their ends."""
    rows = grid.rows
    if rows is not None and rows.fresh is not None:
        fresh, (F, c, C) = rows.fresh, parts
        anew = fresh.forgets[:, None, None]
        moved = jax.vmap(lambda fresh, c: fresh.moved(c))(fresh, c)
        own = jax.vmap(lambda fresh: psd_factor(fresh.noise))(fresh)
        parts = jnp.where(anew, 0.0, F), moved, jnp.where(anew, own, C)

    times, rows = jax.tree.map(jnp.asarray, (grid.times, grid.rows))
    changed: AffineParts = jax.vmap(partial(followed_by_event, system, params))(times, rows, *parts)
    return changed


def followed_by_event(
    system: BoundSystem, params: Params, t: Array, row: Rows, F: Array, c: Array, C: Array
) -> AffineParts:
    """Slope, shift and noise factor of a gap and of the affine event at its end."""
    origin = jnp.zeros(system.n_states)
    j, J = linearize(lambda x: after_event(system, params, x, t, row), origin)
    return matmul(J, F), matvec(J, c) + j, matmul(J, C)


def _steps_of(grid: TimeGrid) -> Steps:
    """All steps of a trajectory one after the other, so many for each gap."""
    most = grid.max_steps
    gaps, steps, ends = (jnp.asarray(a)[:, None] for a in (grid.gaps, grid.steps, grid.times))
    i = jnp.arange(most)[None, :]
    h = substep_length(gaps, steps)
    spread = partial(jnp.broadcast_to, shape=(gaps.shape[0], most))
    # What a gap lacks of steps comes first, so that the last step is the one into its row.
    order = i - (most - steps)
    rows = jax.tree.map(lambda leaf: jnp.repeat(jnp.asarray(leaf), most, axis=0), grid.rows)

    def flat(part: Array) -> Array:
        return spread(part).reshape(-1)

    return Steps(
        t=flat(ends - gaps + order * h),
        h=flat(h),
        end=flat(ends),
        active=flat(order >= 0),
        last=flat(i == most - 1),
        row=rows,
    )
