"""Draws of a model's variables, matched to it by label, and what they make of its parameters."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from jaxtyping import Array
from pymc.sampling.jax import get_jaxified_graph
from pytensor.compile.sharedvalue import SharedVariable
from pytensor.graph.basic import Constant, Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.type import RandomType

from pymc_dynsys.bridge.data import current_value, is_variable, observed_values
from pymc_dynsys.bridge.labels import labels_of
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Operands
from pymc_dynsys.discretization.operands import Role
from pymc_dynsys.reading.labels import keys, shown
from pymc_dynsys.reading.values import plain


class OperandDraws:
    """Arrays of a trajectory, computed from draws of the model's free variables.

    All else, data above all, is as the model has it now; observed variables have the values that
    are observed. Where free variables are missing from the draws, a stored deterministic one stands
    in for them if it is a function of random variables and of nothing else.
    """

    def __init__(self, study: Study, model: pm.Model, draws: xr.Dataset) -> None:
        self.study = study
        known = study.design.unpack(study.operands)[1:]
        self._random = [i for i, value in enumerate(known) if value is None]
        outputs = [study.variables[i] for i in self._random]
        inputs = _sources(outputs, study.name, model, draws)
        self.size = draws.sizes["chain"] * draws.sizes["draw"]
        if not self.size:
            raise ValueError(f"idata: there are no draws, {dict(draws.sizes)}")
        self.arrays = {}
        for name, variable in inputs.items():
            array = aligned_draws(name, draws, model)
            values = array.values.astype(variable.type.dtype)
            self.arrays[name] = values.reshape(self.size, *values.shape[2:])
        places = {variable: variable.type() for variable in inputs.values()}
        if outputs:
            given = {**observed_values(model), **places}
            replaced = clone_replace(outputs, replace=given, rebuild_strict=False)
            graph = get_jaxified_graph([*places.values()], replaced)
            self._function = jax.jit(jax.vmap(graph) if places else graph)

    def at(self, which: np.ndarray, operands: Operands | None = None) -> Operands:
        """Arrays at some of the draws, ``(draw, *batch, ...)``, length one where they are known.

        `operands` replace the known arrays of the study, at other times for instance; their
        inputs may have times of their own where those of the study have none.
        """
        known = self.study.operands if operands is None else operands
        first = jax.tree.map(lambda leaf: np.expand_dims(leaf, 0), known)
        if not self._random:
            return first
        values = self._function(*(jnp.asarray(a[which]) for a in self.arrays.values()))
        slots = self.study.design.slots[1:]
        for i, value in zip(self._random, values, strict=True):
            slot = slots[i]
            found = self._padded(value, len(slot.core), len(which))
            if slot.role is Role.PARAM:
                first = first._replace(params={**first.params, slot.name: found})
            else:
                signal = first.inputs[slot.name]._replace(values=found)
                first = first._replace(inputs={**first.inputs, slot.name: signal})
        return first

    def _padded(self, value: Array, n_own: int, n_draws: int) -> Array:
        """A computed array with a draw axis and all batch axes."""
        varies = 1 if self.arrays else 0
        batch = value.shape[varies : value.ndim - n_own]
        missing = (1,) * (self.study.frame.rank - len(batch))
        own = value.shape[value.ndim - n_own :]
        return value.reshape((n_draws if varies else 1, *missing, *batch, *own))


def _sources(
    outputs: list[Variable], name: str, model: pm.Model, draws: xr.Dataset
) -> dict[str, Variable]:
    """Variables from whose draws the outputs are computed, by name.

    From the outputs upwards: free variables that were kept; else, below one that was not, a stored
    deterministic variable that is sure to be what the model of now would compute; else an error.
    """
    free, observed = set(model.free_RVs), set(model.observed_RVs)
    stored = {v for v in model.deterministics if v.name in draws}
    sources: dict[str, Variable] = {}
    missing: set[str] = set()
    stale: set[str] = set()
    seen: set[Variable] = set()
    todo = list(outputs)
    while todo:
        variable = todo.pop()
        if variable in seen or variable in observed:
            continue
        seen.add(variable)
        if variable in free:
            if variable.name in draws:
                sources[str(variable.name)] = variable
            else:
                missing.add(str(variable.name))
            continue
        if variable in stored:
            above = ancestors([variable], blockers=[*free, *observed])
            if any(v in free and v.name not in draws for v in above):
                if _is_formula(variable, model):
                    sources[str(variable.name)] = variable
                    continue
                stale.add(str(variable.name))
        todo += [] if variable.owner is None else variable.owner.inputs
    if missing:
        stand_in = (
            f" ({', '.join(sorted(stale))} cannot stand in, since data or numbers enter that may "
            "have been others when it was drawn)"
            if stale
            else ""
        )
        raise ValueError(
            f"idata: the draws do not hold {', '.join(sorted(missing))}, on which the parameters "
            f"of {name} depend{stand_in}; leave var_names out of pm.sample, or add "
            f"{', '.join(map(repr, sorted(missing)))} to them"
        )
    return sources


def _is_formula(variable: Variable, model: pm.Model) -> bool:
    """Whether nothing enters but random variables and the lengths of dims.

    Numbers may be a covariate, an intervention or an index, and so may have been others.
    """
    lengths = set(model.dim_lengths.values())
    return not any(
        isinstance(v, Constant | SharedVariable)
        and not isinstance(v.type, RandomType)
        and v not in lengths
        for v in ancestors([variable], blockers=model.basic_RVs)
    )


def draws_for_new_labels(
    study: Study, model: pm.Model, draws: xr.Dataset, random_seed: Any
) -> tuple[xr.Dataset, list[str]]:
    """Draws for a model with other labels than those of the fit, and the names of what is new.

    A free variable none of whose labels along some dim are in the draws is drawn from its own
    distribution, given the variables that are.
    """
    needed = _free_ancestors(study, model)
    new = [rv.name for rv in needed if rv.name in draws and _is_new(rv.name, draws, model)]
    if not new:
        return draws, []
    whole = _free_ancestors(study, model, through=True)
    kept = [rv.name for rv in whole if rv.name in draws and rv.name not in new]
    lacking = [rv.name for rv in whole if rv.name not in draws]
    if lacking:
        raise ValueError(
            f"idata: the draws do not hold {', '.join(lacking)}, on which the new "
            f"{', '.join(new)} depend; leave var_names out of pm.sample"
        )
    if not kept:
        raise ValueError(
            f"idata: all of {', '.join(new)} have other labels than the model, so nothing is left "
            "that was learnt from the data"
        )
    _refuse_unnamed(kept, new, draws, model)
    given = xr.Dataset({name: aligned_draws(name, draws, model) for name in kept})
    drawn = pm.sample_posterior_predictive(
        xr.DataTree.from_dict({"posterior": given}),
        model=_at_observed(model, new),
        var_names=new,
        random_seed=random_seed,
        progressbar=False,
        compile_kwargs={"mode": "FAST_COMPILE"},
    )
    fresh = drawn["posterior_predictive"].dataset[new]
    return xr.merge([given, fresh], compat="override", join="override"), new


def _at_observed(model: pm.Model, new: list[str]) -> pm.Model:
    """The model in which observed variables above new ones are data; PyMC draws others anew."""
    above = set(ancestors([model[name] for name in new], blockers=model.observed_RVs))
    values = {rv: current_value(model.rvs_to_values[rv]) for rv in model.observed_RVs}
    known = {str(rv.name): v for rv, v in values.items() if rv in above and v is not None}
    return pm.do(model, known) if known else model


def _free_ancestors(study: Study, model: pm.Model, through: bool = False) -> list[Any]:
    """Free variables on which the parameters depend, directly or `through` other free ones."""
    outputs = [v for v in study.variables if is_variable(v)]
    blockers = model.observed_RVs if through else model.basic_RVs
    reached = {*outputs, *ancestors(outputs, blockers=blockers)}
    return [rv for rv in model.free_RVs if rv in reached]


def _is_new(name: str, draws: xr.Dataset, model: pm.Model) -> bool:
    """Whether labels of a variable are all different from those in the draws."""
    for dim in _shared_dims(name, draws, model):
        wanted, have = _index(labels_of(model, [dim])[0]), _index(_labels(draws[name], dim))
        both = have.intersection(wanted)
        if not len(both):
            return True
        if len(both) < max(len(wanted), len(have)):
            remedy = "; a model of new ones must have new ones only, or all of them"
            raise ValueError(
                f"idata: along {dim!r} the model has {plain(both[0])} of the draws, but not the "
                f"same labels{_keep_all(dim, wanted, have) or remedy}"
            )
    return False


def _keep_all(dim: str, wanted: pd.Index, have: pd.Index) -> str:
    """What to do where a model has some of the labels only; nothing otherwise."""
    if not wanted.isin(have).all():
        return ""
    every = ", ".join(map(plain, have))
    return (
        f"; a model of new members of old groups keeps all the labels of {dim!r}, such as "
        f"coords=pds.coords(new) | {{{dim!r}: [{every}]}}"
    )


def _refuse_unnamed(kept: list[str], new: list[str], draws: xr.Dataset, model: pm.Model) -> None:
    """Raise for a variable that may belong to the old labels, though no dim says so."""
    old = {dim: draws[name].sizes[dim] for name in new for dim in _shared_dims(name, draws, model)}
    for name in kept:
        if name in model.named_vars_to_dims:
            continue
        for dim, length in old.items():
            if length > 1 and length in draws[name].shape[2:]:
                raise ValueError(
                    f"idata: {name} has no named dims and an axis of length {length}, which is "
                    f"how many labels {dim!r} had; if it varies by {dim}, say dims={dim!r} where "
                    "it is defined, else it cannot be told what it is for new ones"
                )


def aligned_draws(name: str, draws: xr.Dataset, model: pm.Model) -> xr.DataArray:
    """Draws of one variable, dims and labels in the order of the model."""
    array = draws[name].transpose("chain", "draw", ...)
    variable = model.named_vars[name]
    own = tuple(map(str, array.dims[2:]))
    named = tuple(map(str, model.named_vars_to_dims.get(name, own)))
    if set(named) == set(own):
        array = array.transpose("chain", "draw", *named)
    for dim in _shared_dims(name, draws, model):
        wanted, have = _index(labels_of(model, [dim])[0]), _index(_labels(array, dim))
        position = have.get_indexer(wanted) if have.is_unique else np.array([-1])
        if len(wanted) != len(have) or (position < 0).any():
            raise ValueError(
                f"idata: {name} has other labels along {dim!r} than the model: "
                f"{shown(have)} ({len(have)}) and {shown(wanted)} ({len(wanted)})"
                f"{_keep_all(dim, wanted, have)}"
            )
        array = array.isel({dim: position})
    shape = tuple(int(n) for n in pt.stack([*variable.shape, 1]).eval(mode="FAST_COMPILE")[:-1])
    if array.shape[2:] != shape:
        raise ValueError(
            f"idata: {name} has shape {array.shape[2:]} in the draws and {shape} in the model"
        )
    return array


def _shared_dims(name: str, draws: xr.Dataset, model: pm.Model) -> list[str]:
    named = map(str, model.named_vars_to_dims.get(name, ()))
    return [dim for dim in named if dim in draws[name].dims and dim in model.dim_lengths]


def _labels(array: xr.DataArray, dim: str) -> Any:
    return array.indexes[dim] if dim in array.indexes else range(array.sizes[dim])


def _index(labels: Any) -> pd.Index:
    """Labels that compare equal whatever holds them: Python, numpy or pandas."""
    index = pd.Index(keys(labels))
    return index.astype("datetime64[ns]") if index.dtype.kind == "M" else index
