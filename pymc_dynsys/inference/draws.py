"""The one way from draws of parameters to results: a question to each draw's run, in blocks."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from pymc_dynsys.batching.execution import require_double
from pymc_dynsys.bridge.draws import OperandDraws
from pymc_dynsys.discretization import Operands, TimeGrid
from pymc_dynsys.inference import blocks
from pymc_dynsys.inference.labels import select_rows
from pymc_dynsys.inference.times import OutputTimes
from pymc_dynsys.likelihoods.program import Ask, Program, map_run


def per_draw(
    draws: OperandDraws,
    ask: Ask[Any],
    at: OutputTimes,
    title: str,
    progressbar: bool,
    random_seed: Any = None,
    keyed: bool = False,
) -> Any:
    """Answers of the run of each draw, ``(draw, *batch, time, ...)``, at the requested times.

    `ask` is a function of a module, or a frozen dataclass, by which compiled code is found again.
    With ``keyed`` each draw of each trajectory gets a key of its own.
    """
    study = draws.study
    program = replace(study.program, design=study.design.replaced(at.operands))
    if at.position is not None:
        program = replace(program, complete=False)
    grid, noise = prepared(program, at.operands)
    keys = blocks.draw_keys(random_seed, draws.size, study.frame.batch) if keyed else None

    def work(which: np.ndarray) -> Any:
        operands = draws.at(which, at.operands)
        part = None if keys is None else keys[which]
        answers = answer(program, ask, operands, grid, noise, part)
        return jax.tree.map(lambda leaf: select_rows(np.asarray(leaf), at, study), answers)

    return in_blocks(draws, work, grid.times.shape[-1], title, progressbar)


def in_blocks(
    draws: OperandDraws,
    work: Callable[[np.ndarray], Any],
    n_rows: int,
    title: str,
    progressbar: bool,
) -> Any:
    """Results of ``work(positions of draws)`` for all draws, as many at a time as fit in memory."""
    study = draws.study
    per_row = 8.0 * study.program.likelihood.floats_per_row(study.system)
    each = float(np.prod(study.frame.batch, dtype=float)) * n_rows * per_row
    return blocks.run(work, draws.size, each, title, progressbar)


def prepared(program: Program, operands: Operands) -> tuple[TimeGrid, Any]:
    """Grid and noise for known arrays, both with one more batch axis in front, that of draws."""
    values = jax.tree.map(lambda leaf: np.expand_dims(leaf, 0), operands)
    grid = program.prepare(without_unknown(values, program))
    noise = program.draw_noise(operands.y, grid)
    return grid, jax.tree.map(lambda leaf: np.expand_dims(leaf, 1), noise)


def without_unknown(operands: Operands, program: Program) -> Operands:
    """Operands for the layout only: values of inputs that are variables are looked up later."""
    inputs = {
        name: signal if signal.values is not None else signal._replace(values=jnp.zeros(()))
        for name, signal in operands.inputs.items()
    }
    return operands._replace(inputs=inputs)


@partial(jax.jit, static_argnums=(0, 1))
def answer(
    program: Program, ask: Ask[Any], operands: Operands, grid: TimeGrid, noise: Any, keys: Any
) -> Any:
    """Answers of the runs of all trajectories, compiled once per question and shapes."""
    require_double()
    return map_run(program, ask, operands, grid, noise, keys)
