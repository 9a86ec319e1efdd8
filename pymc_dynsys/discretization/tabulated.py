"""Transitions of a linear system over its gaps, each distinct gap discretized once.

Legend: A, c, S slope, offset and noise covariance of the dynamics, per unit of time or per step;
F, G, Q transition over a gap (x' = F x + G c + noise of covariance Q).
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.discretization.base import Discretization, LinearTransition
from pymc_dynsys.discretization.grid import TimeGrid, substep_length
from pymc_dynsys.discretization.rows import Rows, over_gap
from pymc_dynsys.linalg import congruence, matmul, matvec
from pymc_dynsys.systems.bound import BoundSystem, Params
from pymc_dynsys.systems.held import Held


class Move(NamedTuple):
    """``x' = F x + shift + N(0, Q)``."""

    F: Float[Array, "*gap state state"]
    shift: Float[Array, "*gap state"]
    Q: Float[Array, "*gap state state"]


class TabulatedCrossing(NamedTuple):
    """Transitions of a linear system over its gaps.

    ``entries`` holds, per row, the arguments of :meth:`transition`: the place in a table of
    transitions that differ, or the transition itself where all do; and where the dynamics are
    driven, the shift or the drift offset `c` that makes it::

        table   driven   entry            own
        Move    no       place in table   -
        Move    yes      place in table   shift (state,)
        None    no       (F, G, Q)        -
        None    yes      (F, G, Q)        offset c (state,), and what lines add to the shift

    Transitions that all differ are not
    looked up: the gradient of a look-up in a loop adds to the whole table at every turn. Nor are
    their shifts stacked, which trajectories may have each their own.
    """

    table: Move | None
    c: Float[Array, " state"]
    entries: tuple[Any, ...]

    @property
    def noise(self) -> Float[Array, "gap state state"]:
        """Noise covariances of all transitions that there are."""
        covariances: Array = self.entries[0].Q if self.table is None else self.table.Q
        return covariances

    def transition(self, entry: Any, own: Any = None, more: Array | None = None) -> Move:
        """The transition of a gap."""
        if self.table is None:
            F, G, Q = entry
            shift = matvec(G, self.c if own is None else own)
            return Move(F, shift if more is None else shift + more, Q)
        F, shift, Q = self.table
        return Move(F[entry], shift[entry] if own is None else own, Q[entry])


def tabulated_crossing(
    system: BoundSystem, discretization: Discretization, params: Params, grid: TimeGrid
) -> TabulatedCrossing:
    """Discretize a linear system once per distinct gap, or per gap where inputs drive it.

    `params` and `grid` are those of one trajectory. Three cases: matrices that depend on time, or
    inputs that are lines (both in discrete time only), one transition a gap; inputs that enter
    slope or noise, the same; else a table over distinct gaps, with offsets of their own where
    inputs or infusions drive the mean. In continuous time lines are in the offset only.
    """
    now = jnp.zeros(())
    lines = grid.rows is not None and bool(grid.rows.rates)
    if not system.proof.dynamics.autonomous or (lines and system.step is not None):
        return changing_crossing(system, params, grid)

    def cross(gap: Any, steps: Any, held: Held) -> LinearTransition:
        A, _, S = system.dynamics.linear(now, held)
        h = substep_length(gap, steps)
        one = (
            discretization.noiseless_step(A, h, system.proof.dynamics.fed_by)
            if system.is_deterministic
            else discretization.linear_step(A, S, h)
        )
        return repeat(one, steps, grid.max_steps, idle=system.step is not None)

    if grid.rows is None:
        constant = Held(params)
        c = system.dynamics.linear(now, constant).c
        offsets: tuple[Any, ...] = ()
        more: tuple[Any, ...] = ()
    else:
        rows = jax.tree.map(jnp.asarray, grid.rows)

        def held(row: Rows) -> Held:
            return row.over_gap(params).mean

        of_gaps = jax.vmap(lambda row: system.dynamics.linear(now, held(row)).c)(rows)
        c, offsets = of_gaps[0], (of_gaps,)
        more = (along_lines(system, discretization, params, grid),) if lines else ()
        if system.proof.dynamics.varying:
            transitions = jax.vmap(lambda gap, steps, row: cross(gap, steps, held(row)))(
                jnp.asarray(grid.gaps), jnp.asarray(grid.steps), rows
            )
            return TabulatedCrossing(None, c, (transitions, *offsets, *more))
        constant = held(jax.tree.map(lambda leaf: leaf[0], rows))
    table = jax.vmap(cross, in_axes=(0, 0, None))(
        jnp.asarray(grid.distinct_gaps), jnp.asarray(grid.distinct_steps), constant
    )
    if grid.index is None:
        return TabulatedCrossing(None, c, (table, *offsets, *more))
    F, G, Q = table
    shifts = tuple(jax.vmap(matvec)(G[grid.index], own) for own in offsets)
    if lines:
        shifts = (shifts[0] + more[0],)
    moves = Move(F, jax.vmap(lambda G: matvec(G, c))(G), Q)
    return TabulatedCrossing(moves, c, (grid.index, *shifts))


def along_lines(
    system: BoundSystem, discretization: Discretization, params: Params, grid: TimeGrid
) -> Float[Array, "gap state"]:
    """What inputs that are lines add to the shift of each gap beyond their means."""
    now, origin = jnp.zeros(()), jnp.zeros(system.n_states)
    gaps, steps, rows = jax.tree.map(jnp.asarray, (grid.gaps, grid.steps, grid.rows))

    def ramp(gap: Array, steps: Array, row: Rows) -> Array:
        A = system.dynamics.linear(now, row.over_gap(params).mean).A
        return discretization.ramp(A, gap, steps, grid.max_steps)

    def change(row: Rows) -> Array:
        return system.continuous.drift_along_lines(origin, row.middle, row.over_gap(params))

    if system.proof.dynamics.varying or grid.index is None:
        K = jax.vmap(ramp)(gaps, steps, rows)
    else:
        table = jnp.asarray(grid.distinct_gaps), jnp.asarray(grid.distinct_steps)
        any_row = jax.tree.map(lambda leaf: leaf[0], rows)
        K = jax.vmap(ramp, in_axes=(0, 0, None))(*table, any_row)[grid.index]
    return jax.vmap(matvec)(K, jax.vmap(change)(rows))


def changing_crossing(system: BoundSystem, params: Params, grid: TimeGrid) -> TabulatedCrossing:
    """Transitions of a system in discrete time that depend on time or lines, one for each gap."""
    d = system.n_states
    nothing = (jnp.eye(d), jnp.zeros(d), jnp.zeros((d, d)))

    def cross(t: Any, gap: Any, steps: Any, row: Any) -> tuple[LinearTransition, Array]:
        held = over_gap(row, params)
        h = substep_length(gap, steps)

        def compose(total: Any, i: Any) -> tuple[Any, None]:
            F, c, Q = total
            start = t + i * h
            A, b, S = system.dynamics.linear(start, held.over_step(start, h))
            more = (matmul(A, F), matvec(A, c) + b, congruence(A, Q) + S)
            return jax.tree.map(lambda new, old: jnp.where(i < steps, new, old), more, total), None

        (F, c, Q), _ = jax.lax.scan(compose, nothing, jnp.arange(grid.max_steps))
        return LinearTransition(F, jnp.eye(d), Q), c

    gaps = jax.tree.map(jnp.asarray, (grid.starts, grid.gaps, grid.steps, grid.rows))
    transitions, offsets = jax.vmap(cross)(*gaps)
    return TabulatedCrossing(None, offsets[0], (transitions, offsets))


def repeat(one: LinearTransition, steps: Any, most: int, idle: bool) -> LinearTransition:
    """Compose a transition with itself `steps` times, at most `most`; perhaps not even once."""

    def compose(total: LinearTransition, i: Any) -> tuple[LinearTransition, None]:
        more = LinearTransition(
            F=matmul(one.F, total.F),
            G=matmul(one.F, total.G) + one.G,
            Q=congruence(one.F, total.Q) + one.Q,
        )
        keep = i < steps
        return jax.tree.map(lambda new, old: jnp.where(keep, new, old), more, total), None

    total = one if most == 1 else jax.lax.scan(compose, one, jnp.arange(1, most))[0]
    if not idle:
        return total
    nothing = LinearTransition(jnp.eye(one.F.shape[0]), *(jnp.zeros_like(M) for M in one[1:]))
    return jax.tree.map(lambda new, old: jnp.where(steps > 0, new, old), total, nothing)
