"""States behind a measurement model whose unit or zero nothing fixes."""

import warnings

import numpy as np

from pymc_dynsys.bridge.data import current_value, is_variable
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization.operands import Role
from pymc_dynsys.systems.identification import Line, lines_of_constancy
from pymc_dynsys.systems.measurement import Measurement


def warn_unfixed(study: Study) -> None:
    """Warn where the likelihood is constant along a line, and say what moves on it."""
    if not isinstance(study.system.source.observation, Measurement):
        return
    params = [slot for slot in study.design.slots[1:] if slot.role is Role.PARAM]
    tensors = study.variables[len(study.variables) - len(params) :]
    known = {}
    for slot, tensor in zip(params, tensors, strict=True):
        if not is_variable(tensor):
            value = np.asarray(current_value(tensor), float)
            core = len(slot.core)
            known[slot.name] = value.reshape(-1, *value.shape[value.ndim - core :])[0]
    for line in lines_of_constancy(study.system, known):
        warnings.warn(f"{study.name}: {_told(line)}", UserWarning, stacklevel=3)


def _told(line: Line) -> str:
    """What is free, along what, and the mend."""
    if line.what == "axes":
        return (
            "the likelihood does not change when the states are mixed with each other (rotated), "
            "since parameters follow; fix some loadings at zero"
        )
    along = f"; {', '.join(line.params)} move together" if line.params else ""
    if line.what == "scale":
        return (
            f"nothing fixes the unit of the state {line.state!r}, so the likelihood is constant "
            f"along a line{along}. Fix one of its loadings, {{item: ({line.state!r}, 1.0)}}, or "
            "its variance"
        )
    return (
        f"nothing fixes the zero of the state {line.state!r}, so the likelihood is constant along "
        f"a line{along}. Fix the mean of the state, or one intercept"
    )
