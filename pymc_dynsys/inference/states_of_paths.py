"""States of a path that is a variable: as drawn at its visits, by bridges between them."""

from dataclasses import replace
from functools import partial

import jax
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Array

from pymc_dynsys.bridge.draws import OperandDraws, aligned_draws
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Operands
from pymc_dynsys.inference import blocks
from pymc_dynsys.inference.draws import in_blocks, without_unknown
from pymc_dynsys.inference.labels import labelled, select_rows
from pymc_dynsys.inference.times import OutputTimes, merged, output_times, requested_times
from pymc_dynsys.latent.bridges import bridged_paths
from pymc_dynsys.latent.law import Layout, lay_out_paths
from pymc_dynsys.likelihoods.program import Program

Seed = int | np.random.Generator | None


def states_of_path(
    path: Study,
    model: pm.Model,
    draws: xr.Dataset,
    times: object,
    random_seed: Seed,
    progressbar: bool,
) -> xr.Dataset:
    """States ``(chain, draw, *batch, time, state)`` of a path at its visits or other times."""
    if path.name not in draws:
        raise ValueError(
            f"idata: the draws do not hold the path {path.name!r}; leave var_names out of "
            f"pm.sample, or add {path.name!r} to them"
        )
    x = aligned_draws(path.name, draws, model).values
    x = x.reshape(-1, *x.shape[2:])
    if times is None:
        at = output_times(path, None)
        states = select_rows(x, at, path)
    elif path.system.proof.affine_path:
        at = merged(path, *requested_times(times, path))
        states = _between(path, model, draws, x, at, random_seed, progressbar)
    else:
        at = merged(path, *requested_times(times, path))
        states = select_rows(_filled(x, _visit_before(path, at)), at, path)
    data = labelled(path, at, draws, {"states": (states, ("state",))})
    del data.attrs["likelihood"]
    data["states"].attrs["trajectory"] = path.name
    return data


def _between(
    path: Study,
    model: pm.Model,
    draws: xr.Dataset,
    x: np.ndarray,
    at: OutputTimes,
    random_seed: Seed,
    progressbar: bool,
) -> np.ndarray:
    """Draws given the states at the visits, at other times too."""
    of_draws = OperandDraws(path, model, draws)
    program = replace(path.program, design=path.design.replaced(at.operands))
    operands = jax.tree.map(lambda leaf: np.expand_dims(leaf, 0), at.operands)
    layout = lay_out_paths(program, without_unknown(operands, program))
    known = ~np.isnan(np.asarray(at.operands.y))
    here = _visits_in_order(path, known)
    keys = blocks.draw_keys(random_seed, of_draws.size, path.frame.batch)

    def work(which: np.ndarray) -> np.ndarray:
        of_block = of_draws.at(which, at.operands)
        found = _bridge(
            program, of_block, layout, _filled(x[which], here), known[None], keys[which]
        )
        return select_rows(np.asarray(found), at, path)

    states: np.ndarray = in_blocks(
        of_draws, work, known.shape[-1], "Sampling states ...", progressbar
    )
    return states


@partial(jax.jit, static_argnums=0)
def _bridge(
    program: Program, operands: Operands, layout: Layout, x: Array, known: Array, keys: Array
) -> Array:
    return bridged_paths(program, operands, layout, x, known, keys)


def _visits_in_order(path: Study, known: np.ndarray) -> np.ndarray:
    """Visit that is, or comes before, each of the merged times ``(*batch, time)``; -1: none."""
    times = np.broadcast_to(path.operands.times, path.shape)
    there = np.argsort(np.isnan(times), axis=-1, kind="stable")
    count = np.cumsum(known, axis=-1) - 1
    found = np.take_along_axis(there, np.maximum(count, 0), axis=-1)
    return np.where(count >= 0, found, -1)


def _filled(x: np.ndarray, here: np.ndarray) -> np.ndarray:
    """States ``(draw, *batch, time, state)`` of the visits at places."""
    index = np.maximum(here, 0)[None, ..., None]
    return np.take_along_axis(x, np.broadcast_to(index, (len(x), *here.shape, x.shape[-1])), -2)


def _visit_before(path: Study, at: OutputTimes) -> np.ndarray:
    """Visits of the merged times; an error where a requested one is none."""
    known = ~np.isnan(np.asarray(at.operands.y))
    here = _visits_in_order(path, known)
    asked = np.broadcast_to(at.requested, (*path.frame.batch, at.requested.shape[-1]))
    assert at.position is not None
    position = np.broadcast_to(at.position, asked.shape)
    visit = np.take_along_axis(here, position, axis=-1)
    own = np.broadcast_to(path.operands.times, path.shape)
    when = np.take_along_axis(own, np.maximum(visit, 0), axis=-1)
    other = ~np.isnan(asked) & ((visit < 0) | (when != asked))
    if other.any():
        first = tuple(np.argwhere(other)[0])
        of = f" of {path.frame.who(first[:-1])}" if path.frame.rank else ""
        raise ValueError(
            f"times: {asked[first]:g} is no visit{of}, and between visits of a path that is not "
            f"linear there is no exact draw; give it to Path({path.name!r}, times=...) too, where "
            "no data have to be, or ask for visits"
        )
    return here
