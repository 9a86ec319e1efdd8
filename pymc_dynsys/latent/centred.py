r"""Paths whose variables are the states that the steps reach.

The centred form: the density of a path is that of its start times those of its transitions,

.. math:: p(x) = p(x_0) \prod_k p(x_k \mid x_{k-1}),

where x_k is the state after step k and before the event that may follow it. Each factor asks for
two states that are at hand, so that nothing is computed in turn but the events.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.batching.execution import require_double
from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.discretization import Discretization, Operands, TimeGrid, over_gap
from pymc_dynsys.discretization.grid import grid_cores, with_rows
from pymc_dynsys.discretization.moves import Moves
from pymc_dynsys.discretization.tabulated import Move, tabulated_crossing
from pymc_dynsys.latent.law import Layout, PathLaw
from pymc_dynsys.latent.paths import Course, as_steps
from pymc_dynsys.likelihoods.laplace.stepped import Steps, after_event
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.linalg import ldl, matvec, psd_factor
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.gaussian import gaussian_logpdf_ldl

State = Float[Array, " state"]


def n_states_of(program: Program, layout: Layout) -> int:
    """States that are variables of one trajectory: one a step, and the first unless it is known."""
    return layout.moves.n_steps + (not program.system.proof.start.known)


def centred_paths(
    program: Program, operands: Operands, layout: Layout, states: Float[Array, "*batch step state"]
) -> tuple[Array, Array]:
    """States at visits ``(*batch, visit, state)`` and log-densities ``(*batch,)`` of a path."""
    found: tuple[Array, Array] = _mapped(_weigh, program, operands, layout, states, 2)
    return found


def drawn_steps(program: Program, operands: Operands, layout: Layout, keys: Array) -> Array:
    """Draws ``(*batch, step, state)`` of what :func:`centred_paths` takes; keys set the batch."""
    drawn: Array = _mapped(_draw, program, operands, layout, keys, 1)
    return drawn


def pivots_of_noise(
    program: Program, operands: Operands, layout: Layout, states: Float[Array, "*batch step state"]
) -> Array:
    """Smallest pivot of the noise of any step, start included, as a share of its largest."""
    pivots: Array = _mapped(_least_pivot, program, operands, layout, states, 2)
    return pivots


def _mapped(
    function: Callable[..., Any],
    program: Program,
    operands: Operands,
    layout: Layout,
    given: Array,
    core: int,
) -> Any:
    """A function of the crossing of each trajectory and of what is given for it."""
    require_double()
    system, law = program.system, program.likelihood
    assert isinstance(law, PathLaw)
    grid = with_rows(layout.grid, operands, program.design)
    moves: Moves = jax.tree.map(lambda _: 1, layout.moves)
    params = {name: len(shape) for name, shape in system.param_shapes.items()}
    cores = (params, grid_cores(grid, program.design), moves, core)
    parts = (dict(operands.params), grid, layout.moves, jnp.asarray(given))

    def of_one(params: Params, grid: TimeGrid, moves: Moves, given: Array) -> Any:
        return function(_crossing(system, law.scheme(system), params, Course(grid, moves)), given)

    return map_batch(of_one, parts, cores, jnp.ndim(given) - core)


class Crossing(NamedTuple):
    """Steps of one trajectory; those that are none have an entry that is a step of some kind."""

    system: BoundSystem
    params: Params
    steps: Steps
    moves: Moves
    entries: Any
    log_density: Callable[[State, State, Any], Array]
    draw: Callable[[Array, State, Any], State]
    noise: Callable[[State, Any], Array] | None


def _crossing(
    system: BoundSystem, scheme: Discretization, params: Params, course: Course
) -> Crossing:
    """What carries states over the steps of one trajectory.

    Where the path is affine these are moves ``x' = F x + shift + N(0, Q)`` of whole gaps, looked up
    by row, with a unit covariance where a move is no step; else the steps of the scheme, with a
    length of one where they are none.
    """
    steps, moves = as_steps(course), course.moves
    if system.proof.affine_path and system.proof.dynamics.gaussian:
        table = tabulated_crossing(system, scheme, params, course.grid)
        rows: Move = jax.vmap(table.transition)(*table.entries)
        of_moves = jax.tree.map(lambda leaf: leaf[moves.row], rows)
        identity = jnp.eye(system.n_states)[None]
        Q = jnp.where(moves.active[:, None, None], of_moves.Q, identity)
        return Crossing(
            system, params, steps, moves, of_moves._replace(Q=Q), _density, _next, _noise
        )
    steps = steps._replace(h=jnp.where(steps.active, steps.h, 1.0))
    held = partial(over_gap, params=params)

    def log_density(after: State, x: State, k: Steps) -> Array:
        return scheme.log_density(system, after, x, k.t, k.h, held(k.row))

    def draw(key: Array, x: State, k: Steps) -> State:
        return scheme.draw(system, key, x, k.t, k.h, held(k.row))

    def noise(x: State, k: Steps) -> Array:
        return scheme.step(system, x, k.t, k.h, held(k.row)).Q

    gaussian = system.proof.dynamics.gaussian
    return Crossing(
        system, params, steps, moves, steps, log_density, draw, noise if gaussian else None
    )


def _density(after: State, x: State, move: Move) -> Array:
    return gaussian_logpdf_ldl(after - matvec(move.F, x) - move.shift, *ldl(move.Q))


def _next(key: Array, x: State, move: Move) -> State:
    normals = jax.random.normal(key, x.shape)
    return matvec(move.F, x) + move.shift + matvec(psd_factor(move.Q), normals)


def _noise(x: State, move: Move) -> Array:
    return move.Q


def _parts(crossing: Crossing, states: Float[Array, "step state"]) -> tuple[State, Array]:
    """First state, and the states after the steps."""
    system = crossing.system
    if system.proof.start.known:
        return system.start.moments(crossing.params)[0], states
    return states[0], states[1:]


def _walk(crossing: Crossing, first: State, own: Array) -> tuple[Array, Array]:
    """States after each move, events included, and those after its step."""
    moves, steps = crossing.moves, crossing.steps
    if not moves.n_steps:
        own = jnp.zeros((1, first.shape[0]))
    reached = own[moves.noise]

    def happen(x: State, k: tuple[State, Steps]) -> tuple[State, tuple[State, State]]:
        before = jnp.where(k[1].active, k[0], x)
        after = before
        if k[1].row is not None and k[1].row.amount is not None:
            changed = after_event(crossing.system, crossing.params, before, k[1].end, k[1].row)
            after = jnp.where(k[1].last, changed, before)
        return after, (after, before)

    if steps.row is None or steps.row.amount is None:
        # What is no step then comes after the last one.
        return reached, reached
    found: tuple[Array, Array] = jax.lax.scan(happen, first, (reached, steps))[1]
    return found


def _weigh(crossing: Crossing, states: Float[Array, "step state"]) -> tuple[Array, Array]:
    """States at the visits, and the log-density of the path; padding is standard normal."""
    system, moves = crossing.system, crossing.moves
    first, own = _parts(crossing, states)
    after, reached = _walk(crossing, first, own)
    left = jnp.concatenate([first[None], after])
    terms = jax.vmap(crossing.log_density)(reached, left[:-1], crossing.entries)
    total = jnp.where(moves.active, terms, 0.0).sum()
    if not system.proof.start.known:
        total = total + system.start.log_density(first, crossing.params)
    spare = jnp.arange(own.shape[0]) >= moves.active.sum()
    padding = -0.5 * (own**2 + jnp.log(2 * jnp.pi))
    return left[moves.at_visit], total + jnp.where(spare[:, None], padding, 0.0).sum()


def _draw(crossing: Crossing, key: Array) -> Float[Array, "step state"]:
    """A path from the start on."""
    system, moves = crossing.system, crossing.moves
    of_start, of_steps, of_padding = jax.random.split(key, 3)
    known = system.proof.start.known
    if known:
        first = system.start.moments(crossing.params)[0]
    else:
        first = system.start.sample(of_start, crossing.params)
    keys = jax.random.split(of_steps, moves.t.shape[0])

    def step(x: State, k: tuple[Array, Any, Steps]) -> tuple[State, State]:
        key, entry, move = k
        reached = jnp.where(move.active, crossing.draw(key, x, entry), x)
        after = reached
        if move.row is not None and move.row.amount is not None:
            changed = after_event(system, crossing.params, reached, move.end, move.row)
            after = jnp.where(move.last, changed, reached)
        return after, reached

    reached = jax.lax.scan(step, first, (keys, crossing.entries, crossing.steps))[1]
    own = jax.random.normal(of_padding, (moves.n_steps, system.n_states))
    place = jnp.where(moves.active, moves.noise, moves.n_steps)
    own = own.at[place].set(reached, mode="drop")
    return own if known else jnp.concatenate([first[None], own])


def _least_pivot(crossing: Crossing, states: Float[Array, "step state"]) -> Array:
    """Smallest pivot of the noise of start and steps, as a share of the largest."""

    def share(Q: Array) -> Array:
        D = ldl(Q)[1]
        return jnp.where(D.max() > 0, D.min() / jnp.where(D.max() > 0, D.max(), 1.0), 0.0)

    system = crossing.system
    first, own = _parts(crossing, states)
    least = jnp.ones(())
    if not system.proof.start.known:
        least = share(system.start.moments(crossing.params)[1])
    noise = crossing.noise
    if noise is None or not crossing.moves.n_steps:
        return least
    left = jnp.concatenate([first[None], _walk(crossing, first, own)[0]])[:-1]
    shares = jax.vmap(lambda x, k: share(noise(x, k)))(left, crossing.entries)
    return jnp.minimum(least, jnp.where(crossing.moves.active, shares, 1.0).min())
