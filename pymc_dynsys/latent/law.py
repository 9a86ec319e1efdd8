"""Paths of a batch of trajectories from their normals."""

from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.batching.execution import require_double
from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.discretization import Discretization, EulerMaruyama, Operands, TimeGrid, scheme_of
from pymc_dynsys.discretization.grid import grid_cores, with_rows
from pymc_dynsys.discretization.moves import Moves, lay_out_moves
from pymc_dynsys.latent.guide import Guide, guided_path
from pymc_dynsys.latent.paths import Course, Normals, noise_size, path_of, stage_normals
from pymc_dynsys.likelihoods.base import Likelihood, Problem, Run
from pymc_dynsys.likelihoods.ode import ODESolve
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.linalg import matvec, psd_factor
from pymc_dynsys.systems.bound import BoundSystem, Params


@dataclass(frozen=True, repr=False)
class PathLaw(Likelihood):
    """What stands in a program in the place of a likelihood where the path is a variable.

    Nothing is integrated out, so that there is no run.

    Attributes
    ----------
    discretization : Discretization, optional
        How an SDE is carried over its gaps.
    solver : ODESolve, optional
        What solves an ODE.
    guided : bool
        Whether normals are counted from a guide.
    centred : bool
        Whether the states themselves are variables.
    """

    discretization: Discretization | None = None
    solver: ODESolve | None = None
    guided: bool = False
    centred: bool = False

    @property
    def parts(self) -> str:
        """What carries states over gaps, in words."""
        return repr(self.solver or self.discretization)

    def scheme(self, system: BoundSystem) -> Discretization:
        """What carries a system over its gaps; the solver of an ODE cuts no gap beforehand."""
        if self.solver is not None:
            return EulerMaruyama(dt=None)
        return scheme_of(system, self.discretization)

    def follows_lines(self, system: BoundSystem) -> bool:
        """Whether inputs that are straight lines are followed, or held at their means."""
        return self.solver is not None or self.scheme(system).follows_lines(system)

    def run(self, system: BoundSystem, problem: Problem) -> Run:
        """There is none."""
        raise TypeError("the path is a variable of the model, so that no likelihood is computed")


class Layout(NamedTuple):
    """Grid of gaps and moves of all trajectories, with leading batch axes."""

    grid: TimeGrid
    moves: Moves


class Pull(NamedTuple):
    """A guide and the normals of the reference that it is linearized about, ``(*batch, ...)``."""

    guide: Guide
    reference: Any


def lay_out_paths(program: Program, operands: Operands) -> Layout:
    """Grid and moves of known times, which are made outside compiled code."""
    grid = program.prepare(operands)
    return Layout(grid, lay_out_moves(grid, program.system.proof.affine_path))


def sizes(program: Program, layout: Layout) -> tuple[int, int, int]:
    """Normals of the start, steps, and normals of each step."""
    system = program.system
    start = 0 if system.proof.start.known else system.n_states
    law = law_of(program)
    if law.solver is not None:
        return start, 0, 0
    return start, layout.moves.n_steps, noise_size(system, law.scheme(system))


def law_of(program: Program) -> PathLaw:
    """What carries states over gaps."""
    assert isinstance(program.likelihood, PathLaw)
    return program.likelihood


def batch_cores(
    program: Program, operands: Operands, layout: Layout
) -> tuple[tuple[Params, TimeGrid, Moves], tuple[Any, ...]]:
    """What is known of each trajectory, and how many axes of it belong to one."""
    grid = with_rows(layout.grid, operands, program.design)
    params = {name: len(shape) for name, shape in program.system.param_shapes.items()}
    moves: Moves = jax.tree.map(lambda _: 1, layout.moves)
    parts = (dict(operands.params), grid, layout.moves)
    return parts, (params, grid_cores(grid, program.design), moves)


def stage_shape(program: Program, layout: Layout) -> tuple[int, int]:
    """Number of stages of a path, and of normals at each."""
    width = sizes(program, layout)[-1]
    return 1 + layout.moves.t.shape[-1], max(program.system.n_states, width)


def paths(
    program: Program, operands: Operands, layout: Layout, normals: Normals, pull: Pull | None
) -> tuple[Array, Array]:
    """States ``(*batch, visit, state)`` and corrections of the log-density ``(*batch,)``.

    Normals are ``(*batch, state)`` and ``(*batch, step, source)``, and set the batch. A visit that
    is not there has the state of the one before it.
    """
    require_double()
    parts, cores = batch_cores(program, operands, layout)
    own: Any = (Normals(1, 2), None if pull is None else Pull(Guide(2, 3), 2))  # type: ignore[arg-type]
    one = partial(_one, program.system, law_of(program))
    found: tuple[Array, Array] = map_batch(
        one, (*parts, normals, pull), (*cores, *own), normals.start.ndim - 1
    )
    return found


def _one(
    system: BoundSystem,
    law: PathLaw,
    params: Params,
    grid: TimeGrid,
    moves: Moves,
    normals: Normals,
    pull: Pull | None,
) -> tuple[Array, Array]:
    """States of one trajectory at its visits, and the correction of its log-density."""
    if law.solver is not None:
        m, P = system.start.moments(params)
        start = m if system.proof.start.known else m + matvec(psd_factor(P), normals.start)
        states = law.solver.solve(system, params, start, grid)
        before = jnp.concatenate([start[None], states])
        return before[moves.visit_row + 1], jnp.zeros(())
    path = path_of(system, law.scheme(system), params, Course(grid, moves))
    z = stage_normals(normals, moves, path.shape[1])
    if pull is None:
        return path.roll(z)[moves.at_visit], jnp.zeros(())
    found = guided_path(path, moves, pull.guide, pull.reference, z)
    return found.x[moves.at_visit], found.correction
