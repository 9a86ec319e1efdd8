"""A first evaluation at the model's initial point, where it is cheap: what has no likelihood.

Sampling cannot begin at a point of zero likelihood, and minus infinity says neither which datum it
is nor why. So the solution of an ODE is compared with its data once, when the model is built.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pymc_dynsys.bridge.likelihood_op import LogLikelihood
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Operands, Rows, TimeGrid, at_row
from pymc_dynsys.likelihoods.base import Run
from pymc_dynsys.likelihoods.program import Program, ask_pointwise, map_run


def try_likelihood(study: Study, values: Sequence[np.ndarray], y: np.ndarray) -> None:
    """Warn of the first trajectory whose likelihood at the initial point is zero, and say why.

    `values` are those of all arrays but the data. What is compiled for it is found again when PyMC
    evaluates the same model.
    """
    if not study.program.likelihood.cheap:
        return
    program = replace(study.program, complete=not np.isnan(y).any())
    total = np.asarray(LogLikelihood(program).compute(y, *values)[0])
    bad = np.argwhere(~np.isfinite(np.broadcast_to(total, study.frame.batch)))
    if not len(bad):
        return
    operands = program.design.pack([y, *values])
    found = _look_closer(program, operands, program.prepare(operands))
    here = tuple(int(i) for i in bad[0])
    who = f" of {study.frame.who(here)}" if study.frame.rank else ""
    terms, states, means, sds = (_one(part, here) for part in found)
    lost = ~np.isfinite(states).all(-1)
    visit = int(np.argmax(lost | ~np.isfinite(terms)))
    times = np.broadcast_to(study.operands.times, (*study.frame.batch, terms.shape[-1]))
    at = float(times[here][visit])
    if lost[visit]:
        # One solve for all visits leaves none of them; between doses it is known which.
        where = f"up to time {np.nanmax(times[here]):g}" if lost.all() else f"at time {at:g}"
        cause = (
            f"{study.program.likelihood!r} has no solution {where}: it ran out of steps, which a "
            "larger max_steps cures and stiff=True where time scales differ much, or the drift is "
            "not a finite number on the way"
        )
        if "interval" in program.design.laws:
            cause += (
                "; or the doses of a steady state exceed what can be eliminated, so that there is "
                "none"
            )
    else:
        of_datum = _of_datum(np.atleast_1d(y[here][visit]), means[visit], sds[visit])
        cause = f"at time {at:g} {of_datum}"
    warnings.warn(
        f"{study.name}: the likelihood{who} is zero at the model's initial point: {cause}",
        UserWarning,
        stacklevel=4,
    )


def without_missing(
    study: Study, found: Mapping[str, Any], y: np.ndarray, start: np.ndarray
) -> dict[str, Any]:
    """What was found of a system, with a standard normal for an observation that nobody made.

    It stands in where a trajectory has no datum at its start: log(0) is no matter there. Data are
    ``(*batch, time[, component])``, starts ``(*batch,)``.
    """
    rank = study.frame.rank
    there = ~np.isnan(y) if y.ndim == rank + 1 else ~np.isnan(y).all(-1)
    idle = ~(there & (study.operands.times == start[..., None])).any(-1)

    def replaced(part: Array, by: float | np.ndarray = 0.0) -> np.ndarray:
        array = np.asarray(part)
        return np.where(idle.reshape(*idle.shape, *(1,) * (array.ndim - rank)), by, array)

    out = dict(found)
    if "observation" in found:
        mean, cov = found["observation"]
        out["observation"] = replaced(mean), replaced(cov, np.eye(np.shape(cov)[-1]))
    for slopes in ("slopes", "state slopes"):
        of_role = found.get(slopes, {})
        if "observation" in of_role:
            parts = jax.tree.map(replaced, of_role["observation"])
            out[slopes] = {**of_role, "observation": parts}
    return out


def _of_datum(y: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> str:
    """What is wrong with the prediction of a datum, ``(component,)`` each."""
    there = ~np.isnan(y)
    known = there & (sd == 0)
    if known.any():
        i = int(np.argmax(known))
        return (
            f"the datum {y[i]:g} is predicted as {mean[i]:g} with a standard deviation of 0, as by "
            "an error that is proportional to a prediction of zero. Add a part that is not, "
            "jnp.sqrt(a**2 + (b * mean)**2), or leave the datum out (NaN)"
        )
    if not np.isfinite(mean[there]).all() and not np.isnan(sd[there]).all():
        return (
            f"the mean of observation() is {mean[there][0]:g}, as the logarithm of a prediction of "
            "zero is; leave the datum out (NaN), or model its positive scale with an error that "
            "does not vanish"
        )
    shown = ", ".join(f"{v:g}" for v in y[there])
    return (
        f"the datum {shown} has no density under observation(): it lies outside the support (zero "
        "under a law of positive numbers, say), or a parameter of the distribution is not valid. "
        "Leave it out (NaN), or choose a law that admits it"
    )


def _one(part: Array, index: tuple[int, ...]) -> np.ndarray:
    """What belongs to one trajectory; axes of length one serve all."""
    array = np.asarray(part)
    return array[tuple(0 if n == 1 else i for i, n in zip(index, array.shape, strict=False))]


@partial(jax.jit, static_argnums=0)
def _look_closer(program: Program, operands: Operands, grid: TimeGrid) -> tuple[Array, ...]:
    return map_run(program, _ask, operands, grid)


def _ask(run: Run, visits: Callable[[Any], Any], key: Array | None) -> tuple[Array, ...]:
    """Terms ``(visit,)``, states, and means and standard deviations of the data, by visit.

    The latter are NaN where a datum is not Gaussian.
    """
    system, problem = run.system, run.problem
    states = run.moments("past").mean

    def predicted(x: Array, t: Array, row: Rows | None) -> tuple[Array, Array]:
        if not system.proof.observation.gaussian:
            nothing = jnp.full(system.observation.n_components, jnp.nan)
            return nothing, nothing
        mean, cov = system.observation.moments(x, t, at_row(row, problem.params))
        return mean, jnp.sqrt(cov if cov.ndim == 1 else jnp.diagonal(cov))

    rows = jax.tree.map(jnp.asarray, problem.grid.rows)
    of_data = jax.vmap(predicted)(states, jnp.asarray(problem.grid.times), rows)
    means, sds = visits(of_data)
    return ask_pointwise(run, visits), visits(states), means, sds
