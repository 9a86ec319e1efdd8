"""A missing component whose prediction is not finite, beside components that are there.

Derivatives of a function of several components go through all of them. One that is missing counts
for nothing, but zero times an infinite slope is not a number, and the gradient of all is lost.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Operands, Rows, TimeGrid, at_row
from pymc_dynsys.likelihoods.base import Run
from pymc_dynsys.likelihoods.program import Program, map_run


def require_finite_beside(
    study: Study, values: Sequence[np.ndarray], y: np.ndarray, found: Mapping[str, Any]
) -> None:
    """Raise for a missing component that is not finite where others of its visit are there.

    Nothing is run unless data ``(*batch, visit, component)`` are partly missing at a visit, and,
    where they are Gaussian, something is not finite in what was found at the initial state.
    """
    if study.system.observation.n_components == 1:
        return
    seen = ~np.isnan(y)
    partly = seen.any(-1) & ~seen.all(-1)
    if not partly.any() or not study.system.proof.start.gaussian:
        return
    if study.system.proof.observation.gaussian:
        parts = [*found["observation"], found["state slopes"]["observation"]]
        if all(np.isfinite(np.asarray(part)).all() for part in parts):
            return
    elif not study.program.likelihood.cheap:
        return
    program = replace(study.program, complete=False)
    operands = program.design.pack([y, *values])
    grid = program.prepare(operands)
    noise = program.draw_noise(operands.y, grid)
    finite = np.asarray(_are_finite(program, operands, grid, noise))
    bad = np.argwhere(partly[..., None] & ~seen & ~np.broadcast_to(finite, y.shape))
    if len(bad):
        raise ValueError(_describe(study, tuple(bad[0]), seen))


def _describe(study: Study, here: tuple[int, ...], seen: np.ndarray) -> str:
    """What to say of a component that is missing, ``(*batch, visit, component)``."""
    frame, rank = study.frame, study.frame.rank
    labels = frame.labels.get(str(frame.component_dim), np.arange(seen.shape[-1]))
    times = np.broadcast_to(study.operands.times, seen.shape[:-1])
    of = f" of {frame.who(here[:rank])}" if rank else ""
    other = labels[int(np.argmax(seen[here[:-1]]))]
    return (
        f"{study.name}: at time {times[here[:-1]]:g}{of} the prediction of "
        f"{frame.component_dim}={labels[here[-1]]}, which is missing, or its slope is not finite, "
        f"as the logarithm of a concentration of zero is, and {other} is there: no gradient would "
        "be left. Guard the argument inside the function, "
        "jnp.log(jnp.where(conc > 0, conc, 1.0)), which changes nothing where it is positive"
    )


@partial(jax.jit, static_argnums=0)
def _are_finite(program: Program, operands: Operands, grid: TimeGrid, noise: Any) -> Array:
    return map_run(program, _ask, operands, grid, noise)


def _ask(
    run: Run, visits: Callable[[Any], Any], key: Array | None
) -> Bool[Array, "visit component"]:
    """Whether the law of each component, and its slope in the state, is finite at every visit.

    A state that is not finite itself is another matter.
    """
    observation, problem = run.system.observation, run.problem
    gaussian, rows = run.system.proof.observation.gaussian, problem.grid.rows

    def finite(x: Array, t: Array, y: Array, row: Rows | None) -> Array:
        held = at_row(row, problem.params)

        def parts(x: Array) -> Array:
            if not gaussian:
                return observation.log_densities(y, x, t, held)[:, None]
            mean, cov = observation.moments(x, t, held)
            return jnp.stack([mean, cov if cov.ndim == 1 else jnp.diagonal(cov)], axis=1)

        slopes = jax.jacfwd(parts)(x)
        fine = jnp.isfinite(parts(x)).all(1) & jnp.isfinite(slopes).all((1, 2))
        return fine | ~jnp.isfinite(x).all()

    along = (
        run.moments("past").mean,
        jnp.asarray(problem.grid.times),
        problem.data.y,
        jax.tree.map(jnp.asarray, rows),
    )
    found: Array = visits(jax.vmap(finite)(*along))
    return found
