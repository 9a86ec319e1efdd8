r"""The likeliest path given data of any kind, of which slopes and curvatures are known.

With normals u, :math:`x = g(u)`, the log-density :math:`J(u) = \ell(g(u)) - \tfrac12 |u|^2` is
climbed by Newton's method: slopes g and curvatures W of :math:`\ell` at x are the information
:math:`h = g + W x` of a guide, and the guided path without normals of its own is the next one
(``guide.py``). A step that gains nothing is halved. Curvatures of the moves themselves are left
out, as Gauss and Newton do.

At the top :math:`\ell(x) + \text{correction}` is Laplace's approximation of the log-likelihood
without the path, which is exact where data are Gaussian and moves affine.
"""

from functools import partial
from typing import NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.discretization import Operands, TimeGrid
from pymc_dynsys.discretization.moves import Moves
from pymc_dynsys.latent.guide import Guide, Guided, guided_path
from pymc_dynsys.latent.law import Layout, Pull, batch_cores, law_of, stage_shape
from pymc_dynsys.latent.paths import Course, MovedPath, path_of
from pymc_dynsys.likelihoods.laplace.path import AffinePath
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.systems.bound import Params

MOST_STEPS, MOST_HALVINGS = 100, 40
ENOUGH = 1e-10
"""Gain of a step in nats at which the search ends."""


class Bend(NamedTuple):
    """Slopes and curvatures of data in the states, none of them negative."""

    slope: Float[Array, "*batch visit state"]
    curvature: Float[Array, "*batch visit state state"]


class Data(Protocol):
    """What is known of paths: a log-density of their states at visits."""

    def value(self, x: Float[Array, "*batch visit state"]) -> float:
        """The log-density."""

    def bend(self, x: Float[Array, "*batch visit state"]) -> Bend:
        """Its slopes and curvatures."""


class Mode(NamedTuple):
    """The likeliest paths: normals, states, and the guide there.

    ``correction`` is what Laplace's approximation adds to the log-density of the data, one number a
    trajectory, and ``nats`` how much the data tell, half of log |H|.
    """

    u: Float[Array, "*batch stage noise"]
    x: Float[Array, "*batch visit state"]
    guide: Guide
    correction: Float[Array, "*batch"]
    nats: Float[Array, "*batch"]


def likeliest_paths(
    program: Program, operands: Operands, layout: Layout, batch: tuple[int, ...], data: Data
) -> Mode | None:
    """The mode of all paths at once; None where data exclude the path without noise."""
    u = jnp.zeros((*batch, *stage_shape(program, layout)))
    x = _rolled(program, operands, layout, u)
    reached = _log_density(data, u, x)
    if not np.isfinite(reached):
        return None
    for _ in range(MOST_STEPS):
        guide = _guide_at(data.bend(x), x)
        aim = _guided(program, operands, layout, Pull(guide, u)).u
        gain, u, x = _climb(program, operands, layout, data, reached, u, aim - u)
        reached += gain
        if gain <= ENOUGH:
            break
    guide = _guide_at(data.bend(x), x)
    top = _guided(program, operands, layout, Pull(guide, u))
    nats = -top.correction - 0.5 * (top.u**2).sum((-2, -1))
    return Mode(u, x, guide, -0.5 * (u**2).sum((-2, -1)) - nats, nats)


def _climb(
    program: Program,
    operands: Operands,
    layout: Layout,
    data: Data,
    reached: float,
    u: Array,
    move: Array,
) -> tuple[float, Array, Array]:
    """Gain, normals and states of the longest step of halves that gains; of none if none does."""
    for halvings in range(MOST_HALVINGS):
        there = u + 0.5**halvings * move
        x = _rolled(program, operands, layout, there)
        gain = _log_density(data, there, x) - reached
        if gain > 0:
            return gain, there, x
    return 0.0, u, _rolled(program, operands, layout, u)


def _log_density(data: Data, u: Array, x: Array) -> float:
    """Minus infinity where it is no number."""
    found = data.value(x) - 0.5 * float((u**2).sum())
    return found if np.isfinite(found) else -np.inf


def _guide_at(bend: Bend, x: Array) -> Guide:
    pull = bend.slope + jnp.einsum("...ij,...j->...i", bend.curvature, x)
    return Guide(pull, bend.curvature)


@partial(jax.jit, static_argnums=0)
def _rolled(
    program: Program, operands: Operands, layout: Layout, u: Float[Array, "*batch stage noise"]
) -> Float[Array, "*batch visit state"]:
    """States at visits from the normals of all stages."""
    parts, cores = batch_cores(program, operands, layout)

    def one(params: Params, grid: TimeGrid, moves: Moves, u: Array) -> Array:
        return _path(program, params, grid, moves).roll(u)[moves.at_visit]

    found: Array = map_batch(one, (*parts, u), (*cores, 2), u.ndim - 2)
    return found


@partial(jax.jit, static_argnums=0)
def _guided(program: Program, operands: Operands, layout: Layout, pull: Pull) -> Guided:
    """Paths where a guide leads them from a reference, without normals of their own."""
    parts, cores = batch_cores(program, operands, layout)

    def one(params: Params, grid: TimeGrid, moves: Moves, guide: Guide, reference: Array) -> Guided:
        path = _path(program, params, grid, moves)
        return guided_path(path, moves, guide, reference, jnp.zeros_like(reference))

    every, own = (*parts, *pull), (*cores, Guide(2, 3), 2)  # type: ignore[arg-type]
    found: Guided = map_batch(one, every, own, pull.reference.ndim - 2)
    return found


def _path(program: Program, params: Params, grid: TimeGrid, moves: Moves) -> AffinePath | MovedPath:
    """The path of one trajectory."""
    scheme = law_of(program).scheme(program.system)
    return path_of(program.system, scheme, params, Course(grid, moves))
