"""Guides of a path: pseudo-data of the states, read against its dims."""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import xarray as xr
from pytensor.graph.basic import Variable
from pytensor.xtensor.type import XTensorVariable

from pymc_dynsys.bridge.dims import named_dims, require_in_model
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.latent.law import Layout, stage_shape
from pymc_dynsys.latent.parametrizations import Guided
from pymc_dynsys.reading.labels import in_order
from pymc_dynsys.reading.values import as_float, place


def read_guide(
    guide: Guided, study: Study, layout: Layout, model: pm.Model
) -> tuple[Variable, Variable, Variable]:
    """Information ``(*batch, time, state)``, precisions, and normals of the reference.

    A standard deviation may be a variable; what is known when the model is built is checked.
    """
    values = _of_states("Guided: values", guide.values, study, model)
    told = ~np.isnan(values)
    moving = isinstance(guide.sd, Variable | XTensorVariable)
    sd = np.ones(()) if moving else _of_states("Guided: sd", guide.sd, study, model)
    wrong = told & ~(np.broadcast_to(sd, values.shape) > 0)
    if wrong.any():
        here = tuple(np.argwhere(wrong)[0])
        where = _where(here, study)
        raise ValueError(
            f"Guided: sd is {np.broadcast_to(sd, values.shape)[here]:g} {where}, where there is a "
            "value; a standard deviation is positive, and NaN values are those that say nothing"
        )
    absent = told & np.isnan(np.broadcast_to(study.operands.times, told.shape[:-1]))[..., None]
    if absent.any():
        here = tuple(np.argwhere(absent)[0])
        raise ValueError(
            f"Guided: values has {values[here]:g} {_where(here, study)}, but the time there is "
            "NaN, which means no visit"
        )
    precision: Any = np.where(told, 1.0 / np.where(told, sd, 1.0) ** 2, 0.0)
    if moving:
        precision = pt.where(told, _variable_sd(guide.sd, study, model) ** -2.0, 0.0)
    reference = np.zeros((*(1 for _ in study.frame.batch), *stage_shape(study.program, layout)))
    information = precision * np.where(told, values, 0.0)
    matrices = precision[..., None] * np.eye(values.shape[-1])
    return pt.as_tensor(information), pt.as_tensor(matrices), pt.constant(reference)


def guide_to_learn(study: Study, layout: Layout, model: pm.Model) -> tuple[Variable, ...]:
    """Data of the model for a guide that is learnt later, and says nothing until then."""
    batch = tuple(study.frame.batch)
    visit = (*batch, study.operands.times.shape[-1], len(study.system.states))
    shapes = (visit, (*visit, visit[-1]), (*batch, *stage_shape(study.program, layout)))
    names = guide_names(study.name)
    return tuple(pm.Data(n, np.zeros(s)) for n, s in zip(names, shapes, strict=True))


def guide_names(path: str) -> tuple[str, str, str]:
    """Data of a guide that is learnt: information, precision, and normals of the reference."""
    return f"{path}_guide_information", f"{path}_guide_precision", f"{path}_guide_reference"


def _variable_sd(given: Any, study: Study, model: pm.Model) -> Any:
    """A variable with axes that stretch to ``(*batch, time, state)``, by the names of its dims."""
    require_in_model("Guided: sd", given, model)
    tensor, dims = named_dims("sd", given, model, "Guided: ")
    places = (*study.frame.dims, "state")
    strange = [dim for dim in dims if dim not in places]
    if strange:
        raise ValueError(
            f"Guided: sd has the dims {tuple(dims)}; those of the guide are {places}, of which it "
            "may have any"
        )
    if "state" in dims and list(model.coords.get("state") or ()) != list(study.system.states):
        raise ValueError(
            f"Guided: sd varies along 'state', which has the labels {model.coords.get('state')} in "
            f"the model; those of the path are {list(study.system.states)}"
        )
    order = [dims.index(dim) if dim in dims else "x" for dim in places]
    return pt.as_tensor(tensor).astype("float64").dimshuffle(*order)


def _of_states(role: str, given: Any, study: Study, model: pm.Model) -> np.ndarray:
    """Numbers ``(*batch, time, state)``; a single one serves all.

    In order: dims are found, labels matched, shapes compared, infinities refused. Without the dim
    ``state`` they are those of the only one.
    """
    if isinstance(given, Variable):
        raise TypeError(f"{role}: expected numbers, got a variable; of a guide only sd may be one")
    frame, states = study.frame, study.system.states
    shape = (*frame.batch, study.operands.times.shape[-1], len(states))
    if np.ndim(given) == 0:
        numbers = as_float(role, given)
    else:
        dims: tuple[str, ...] = frame.dims
        if (isinstance(given, xr.DataArray) and "state" in given.dims) or np.ndim(given) > len(
            dims
        ):
            dims = (*dims, "state")
        known: dict[str, Any] = {**dict(model.coords), "state": list(states)}
        numbers = as_float(role, in_order(role, given, dims, known))
        if len(dims) == frame.rank + 1 and len(states) > 1:
            raise ValueError(
                f"{role}: the system has the states {', '.join(states)}, so its dims are "
                f"{(*dims, 'state')}, NaN where nothing is said of a state"
            )
        numbers = numbers if len(dims) > frame.rank + 1 else numbers[..., None]
        if numbers.shape != shape:
            raise ValueError(
                f"{role}: shape {numbers.shape}, expected {shape}, {(*frame.dims, 'state')}"
            )
    infinite = np.isinf(np.broadcast_to(numbers, shape))
    if infinite.any():
        raise ValueError(
            f"{role}: infinite {_where(tuple(np.argwhere(infinite)[0]), study)}; NaN says nothing"
        )
    return np.broadcast_to(numbers, shape)


def _where(here: tuple[int, ...], study: Study) -> str:
    """Words for a place in the guide."""
    frame = study.frame
    labels = [*frame.batch_labels, frame.labels.get(frame.time_dim), list(study.system.states)]
    return f"at {place(here, labels, (*frame.dims, 'state'))}"
