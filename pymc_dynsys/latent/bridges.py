r"""States of a path between those that are known, drawn exactly where its moves are affine.

With moves :math:`x_r = F_r x_{r-1} + c_r + N(0, Q_r)`, the next known state v is seen from each
stage as :math:`v = \Phi_r x_r + \delta_r + N(0, S_r)`, by a pass backwards. Then, forwards, each
state is drawn given the one before it and v, with the gain
:math:`K_r = Q_r \Phi_r' (\Phi_r Q_r \Phi_r' + S_r)^{+}`. Before the first known state that is the
initial distribution given it, after the last one nothing is told, and the path goes on freely.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.batching.execution import require_double
from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.discretization import Operands, TimeGrid
from pymc_dynsys.discretization.grid import grid_cores, with_rows
from pymc_dynsys.discretization.moves import Moves
from pymc_dynsys.latent.law import Layout, PathLaw
from pymc_dynsys.latent.paths import Course, path_of
from pymc_dynsys.likelihoods.laplace.path import AffinePath
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.linalg import congruence, matmul, matvec, psd_factor
from pymc_dynsys.systems.bound import BoundSystem, Params

NEGLIGIBLE = 1e-12
"""Eigenvalue of a covariance, as a share of its largest, that is zero but for rounding."""


class Seen(NamedTuple):
    """The next known state as seen from a stage; ``told`` is 0 where there is none."""

    Phi: Float[Array, "*stage state state"]
    delta: Float[Array, "*stage state"]
    S: Float[Array, "*stage state state"]
    v: Float[Array, "*stage state"]
    told: Bool[Array, "*stage"]


def bridged_paths(
    program: Program,
    operands: Operands,
    layout: Layout,
    x: Float[Array, "*batch visit state"],
    known: Bool[Array, "*batch visit"],
    keys: Array,
) -> Float[Array, "*batch visit state"]:
    """States at all visits, drawn where they are not known; keys ``(*batch, 2)`` set the batch."""
    require_double()
    system, law = program.system, program.likelihood
    assert isinstance(law, PathLaw)
    grid = with_rows(layout.grid, operands, program.design)
    moves: Moves = jax.tree.map(lambda _: 1, layout.moves)
    params = {name: len(shape) for name, shape in system.param_shapes.items()}
    parts = (dict(operands.params), grid, layout.moves, x, known, keys)
    cores = (params, grid_cores(grid, program.design), moves, 2, 1, 1)
    found: Array = map_batch(partial(_one, system, law), parts, cores, jnp.ndim(keys) - 1)
    return found


def _one(
    system: BoundSystem,
    law: PathLaw,
    params: Params,
    grid: TimeGrid,
    moves: Moves,
    x: Array,
    known: Array,
    key: Array,
) -> Float[Array, "visit state"]:
    path = path_of(system, law.scheme(system), params, Course(grid, moves))
    assert isinstance(path, AffinePath)
    n = path.shape[0]
    place = jnp.where(known, moves.at_visit, n)
    values = jnp.zeros((n, system.n_states)).at[place].set(x, mode="drop")
    fixed = jnp.zeros(n, bool).at[place].set(True, mode="drop")
    return bridged(path, values, fixed, key)[moves.at_visit]


def bridged(
    path: AffinePath,
    values: Float[Array, "stage state"],
    known: Bool[Array, " stage"],
    key: Array,
) -> Float[Array, "stage state"]:
    """States of all stages of one path, drawn given those that are known."""
    F, c, Q = path.F, path.c, jax.vmap(lambda C: matmul(C, C.T))(path.C)
    ahead = _look_ahead(F, c, Q, values, known)
    normals = jax.random.normal(key, values.shape)

    def step(
        x: Array, k: tuple[Array, Array, Array, Array, Array, Seen, Array]
    ) -> tuple[Array, Array]:
        F, c, Q, value, known, seen, z = k
        mean = matvec(F, x) + c
        V = congruence(seen.Phi, Q) + seen.S
        K = matmul(matmul(Q, seen.Phi.T), _pseudo_inverse(V))
        K = jnp.where(seen.told, K, 0.0)
        rest = jnp.eye(x.shape[0]) - matmul(K, seen.Phi)
        cov = congruence(rest, Q) + congruence(K, seen.S)
        mean = mean + matvec(K, seen.v - seen.delta - matvec(seen.Phi, mean))
        x = jnp.where(known, value, mean + matvec(psd_factor(cov), z))
        return x, x

    parts = (F, c, Q, values, known, ahead, normals)
    drawn: Array = jax.lax.scan(step, jnp.zeros(values.shape[1]), parts)[1]
    return drawn


def _look_ahead(F: Array, c: Array, Q: Array, values: Array, known: Array) -> Seen:
    """For each stage the next known state after it."""

    def back(seen: Seen, k: tuple[Array, ...]) -> tuple[Seen, Seen]:
        F, c, Q, value, known = k
        own = Seen(F, c, Q, value, jnp.ones((), bool))
        further = Seen(
            matmul(seen.Phi, F),
            matvec(seen.Phi, c) + seen.delta,
            congruence(seen.Phi, Q) + seen.S,
            seen.v,
            seen.told,
        )
        before = jax.tree.map(lambda a, b: jnp.where(known, a, b), own, further)
        return before, seen

    d = values.shape[1]
    zero, square = jnp.zeros(d), jnp.zeros((d, d))
    last = Seen(square, zero, square, zero, jnp.zeros((), bool))
    found: Seen = jax.lax.scan(back, last, (F, c, Q, values, known), reverse=True)[1]
    return found


def _pseudo_inverse(V: Float[Array, "state state"]) -> Float[Array, "state state"]:
    """Of a covariance that may be singular."""
    size, axes = jnp.linalg.eigh(V)
    there = size > NEGLIGIBLE * size[-1]
    weight = jnp.where(there, 1.0 / jnp.where(there, size, 1.0), 0.0)
    return matmul(axes * weight[None, :], axes.T)
