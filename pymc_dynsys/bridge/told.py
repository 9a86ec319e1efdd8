"""A look at the data at the model's initial point, where a start is diffuse or a noise is missing.

Diffuse states of which the data tell nothing are warned of. A datum that is predicted without
variance has no density, whether it agrees or not, which is an error.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Operands, TimeGrid
from pymc_dynsys.likelihoods.answers import Faults
from pymc_dynsys.likelihoods.base import Run
from pymc_dynsys.likelihoods.program import Program, map_run


def look_at_data(study: Study, operands: Operands, moments: Mapping[str, Any]) -> None:
    """Raise for a datum without variance, warn of diffuse states that the data do not tell.

    Nothing is run where neither can be, nor is a noise missed that parameters may give;
    ``moments["observation"]`` are mean and covariance of a datum, ``(*batch, ...)``.
    """
    noiseless = not study.system.proof.observation.definite and _without_noise(moments)
    if not (study.system.n_diffuse or noiseless):
        return
    program = replace(study.program, complete=not np.isnan(operands.y).any())
    grid = program.prepare(operands)
    found = jax.tree.map(np.asarray, find_faults(program, operands, grid))
    shape = (*study.shape[: study.frame.rank + 1], found.certain.shape[-1])
    first = np.argwhere(np.broadcast_to(found.certain, shape) & ~_missing(operands.y, shape))
    if noiseless and len(first):
        raise ValueError(_certain(study, tuple(first[0])))
    untold = found.untold
    who = np.argwhere(untold.any(-1))
    if not len(who):
        return
    here = tuple(who[0])
    diffuse = np.flatnonzero(study.system.start.diffuse)
    names = [study.system.states[i] for i in diffuse[untold[here]]]
    of = f" of {study.frame.who(here)}" if study.frame.rank else ""
    others = f", and of {len(who) - 1} others," if len(who) > 1 else ""
    warnings.warn(
        f"{study.name}: the data{of}{others} do not tell the diffuse states {some(names)} apart or "
        "at all. The log-likelihood counts what they tell, with a constant that depends on units; "
        "states and forecasts that depend on the rest are NaN. Give these states a distribution, "
        "such as Diffuse(kappa=...), or more data",
        UserWarning,
        stacklevel=4,
    )


def _without_noise(moments: Mapping[str, Any]) -> bool:
    """Whether what is observed has no noise in some direction, in any trajectory."""
    if "observation" not in moments:
        return False
    R = np.asarray(moments["observation"][1])
    if not np.isfinite(R).all():
        return False
    lowest, largest = np.linalg.eigvalsh(R)[..., 0], np.abs(R).max((-1, -2))
    return bool((lowest <= 1e-13 * largest).any())


def _missing(y: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    return np.broadcast_to(np.isnan(np.asarray(y)).reshape(shape), shape)


def _certain(study: Study, here: tuple[int, ...]) -> str:
    """What to say of a datum ``(*batch, visit, component)``."""
    rank, frame = study.frame.rank, study.frame
    times = np.broadcast_to(study.operands.times, study.shape[: rank + 1])
    of = f" of {frame.who(here[:rank])}" if rank else ""
    component = ""
    if frame.component_dim is not None:
        component = f", {frame.component_dim}={frame.labels[frame.component_dim][here[-1]]}"
    return (
        f"{study.name}: the datum at time {times[here[: rank + 1]]:g}{of}{component} is predicted "
        "without variance at the model's initial point, so that it has no density and the "
        "log-likelihood is minus infinity even if it agrees: the state is known there (a known "
        "start, data without noise) or another datum determines it (two equal series). Make the "
        "datum missing (NaN) or its series a part of the other, or give the observation a noise "
        "or the start a variance"
    )


@partial(jax.jit, static_argnums=0)
def find_faults(program: Program, operands: Operands, grid: TimeGrid) -> Faults:
    """What is at fault with the data of every trajectory."""
    return map_run(program, ask_faults, operands, grid)


def ask_faults(run: Run, visits: Callable[[Any], Any], key: None = None) -> Faults:
    """Faults, by visit where they are of one."""
    faults = run.faults()
    return faults._replace(certain=visits(faults.certain))


def some(names: Sequence[str], most: int = 5) -> str:
    """The first of many names, in words."""
    rest = len(names) - most
    return ", ".join(names[:most]) + (f" and {rest} more" if rest > 0 else "")
