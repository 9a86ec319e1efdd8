r"""States of one trajectory as a function of the standard normals that it is made of.

Stages, of which each has normals of its own, are the start and then every move
(``discretization/moves.py``): :math:`x_0 = m + C_0 z_0,\ x_k = g_k(x_{k-1}, z_k)`. Where the path
is affine, :math:`g_k = F_k x + c_k + C_k z`, a gap is one move, whatever steps it is cut into.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization import Discretization, Rows, TimeGrid
from pymc_dynsys.discretization.moves import Moves
from pymc_dynsys.discretization.tabulated import tabulated_crossing
from pymc_dynsys.likelihoods.laplace.path import AffineParts, AffinePath, followed_by_event
from pymc_dynsys.likelihoods.laplace.stepped import Stepped, Steps
from pymc_dynsys.linalg import psd_factor
from pymc_dynsys.systems.bound import BoundSystem, Params


class Normals(NamedTuple):
    """Standard normals of one trajectory; those of a known start are none."""

    start: Float[Array, " start"]
    noise: Float[Array, "step source"]


class Course(NamedTuple):
    """What is known of one trajectory besides its parameters and normals."""

    grid: TimeGrid
    moves: Moves


def noise_size(system: BoundSystem, scheme: Discretization) -> int:
    """Normals of a step: one a state where the path is affine, else as many as the scheme takes."""
    return system.n_states if system.proof.affine_path else scheme.noise_size(system)


def path_of(
    system: BoundSystem, scheme: Discretization, params: Params, course: Course
) -> "AffinePath | MovedPath":
    """The path of a trajectory, stage by stage."""
    if system.proof.affine_path:
        return _affine_path(system, scheme, params, course)
    return MovedPath(system, scheme, params, course)


def stage_normals(normals: Normals, moves: Moves, width: int) -> Float[Array, "stage noise"]:
    """Normals of all stages, zero where a stage has none."""

    def wide(z: Array) -> Array:
        return jnp.pad(z, ((0, 0), (0, width - z.shape[1])))

    first = wide(normals.start[None, :])
    if not moves.n_steps:
        return jnp.concatenate([first, jnp.zeros((moves.t.shape[0], width))])
    taken = wide(normals.noise)[moves.noise]
    return jnp.concatenate([first, jnp.where(moves.active[:, None], taken, 0.0)])


class MovedPath(Stepped):
    """Steps of a scheme and events, packed: a move is one of them or both."""

    def __init__(
        self, system: BoundSystem, scheme: Discretization, params: Params, course: Course
    ) -> None:
        super().__init__(system, scheme, params, as_steps(course))

    @property
    def shape(self) -> tuple[int, int]:
        """Number of moves and one, and of normals at each."""
        return 1 + self.moves.t.shape[0], max(self._noise, self.system.n_states)


def scatter(values: Float[Array, "visit *own"], moves: Moves) -> Float[Array, "stage *own"]:
    """Sums of what belongs to visits, at their stages."""
    zeros = jnp.zeros((1 + moves.t.shape[0], *values.shape[1:]))
    return zeros.at[moves.at_visit].add(values)


def as_steps(course: Course) -> Steps:
    """Moves of a trajectory with what its rows hold."""
    grid, moves = course
    rows = jax.tree.map(lambda leaf: jnp.asarray(leaf)[moves.row], grid.rows)
    end = jnp.asarray(grid.times)[moves.row]
    return Steps(moves.t, moves.h, end, moves.active, moves.event, rows)


def _affine_path(
    system: BoundSystem, scheme: Discretization, params: Params, course: Course
) -> AffinePath:
    """Slopes, shifts and noise factors of the start and of every move.

    Transitions are tabulated by gap and looked up by move; then come those events that are there.
    """
    grid, moves = course
    table = tabulated_crossing(system, scheme, params, grid)
    rows = jax.vmap(table.transition)(*table.entries)
    C = jax.vmap(psd_factor)(table.noise)
    if table.table is not None:
        C = C[table.entries[0]]
    steps, d = moves.active, system.n_states
    F = jnp.where(steps[:, None, None], rows.F[moves.row], jnp.eye(d)[None])
    c = jnp.where(steps[:, None], rows.shift[moves.row], 0.0)
    C = jnp.where(steps[:, None, None], C[moves.row], 0.0)
    if grid.rows is not None and grid.rows.amount is not None:
        F, c, C = _with_events(system, params, as_steps(course), (F, c, C))
    m, P = system.start.moments(params)
    first = (jnp.zeros((1, d, d)), m[None], psd_factor(P)[None])
    return AffinePath(*(jnp.concatenate(both) for both in zip(first, (F, c, C), strict=True)))


def _with_events(
    system: BoundSystem, params: Params, steps: Steps, parts: AffineParts
) -> AffineParts:
    """Slopes, shifts and noise factors of moves with the affine events at their ends."""
    row = steps.row
    assert row is not None

    def at(t: Array, here: Array, row: Rows, *parts: Array) -> tuple[Array, ...]:
        changed = followed_by_event(system, params, t, row, *parts)
        return tuple(jnp.where(here, new, old) for new, old in zip(changed, parts, strict=True))

    F, c, C = jax.vmap(at)(steps.end, steps.last, row, *parts)
    return F, c, C
