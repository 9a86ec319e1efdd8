"""Parameters that scale a noise and whose prior reaches negative numbers.

A standard deviation below zero has no meaning: there the log-likelihood is minus infinity, which a
sampler meets as divergences, or a diffusion is that of the opposite sign, and every chain finds one
of two mirror images.
"""

import warnings
from typing import Any

import numpy as np
import pymc as pm
from pytensor.compile.ops import ViewOp
from pytensor.graph.basic import Constant, Variable
from pytensor.scalar.basic import Add, Cast, Identity, Mul, Neg, Sub
from pytensor.tensor.elemwise import DimShuffle, Elemwise
from pytensor.tensor.random.op import RandomVariable
from pytensor.tensor.shape import Reshape
from pytensor.tensor.subtensor import AdvancedSubtensor, Subtensor

from pymc_dynsys.bridge.evaluation import evaluate_system
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization.operands import Role

SUMS = (Add, Sub, Mul, Neg, Identity, Cast)
"""Scalar operations that take a number of the whole real line to one, whatever the others are."""

VIEWS = (ViewOp, DimShuffle, Reshape, Subtensor, AdvancedSubtensor)
"""Operations that pick or place numbers of their first argument."""

REAL = frozenset(
    "asymmetriclaplace cauchy gumbel laplace logistic multivariate_normal normal skewnormal t "
    "studentt".split()
)
"""Names of distributions of any real number. pm.Flat is none: others answer for its values."""

FAR = 5.0
"""Standard deviations of a normal prior that are out of reach."""

WHAT = {
    "diffusion": "diffusion() of {state} is negative there, whose sign has no meaning, so that the "
    "posterior has a mirror image",
    "observation": "the noise of observation() has no density there",
    "transition": "the noise of transition() has no density there",
    "initial": "initial() has no density there",
}


def warn_of_signs(
    study: Study, model: pm.Model, params: dict[str, np.ndarray], start: np.ndarray
) -> None:
    """Warn of the first parameter that scales a noise and may be negative.

    It is looked at where the sign of its value at the initial point is turned; parameters are
    ``(*batch, ...)``, starts ``(*batch,)``.
    """
    slots = zip(study.design.slots[1:], study.variables, strict=True)
    for slot, variable in slots:
        rv = None if slot.role is not Role.PARAM else _of_the_real_line(variable, model.root)
        if rv is None:
            continue
        value = np.asarray(params[slot.name])
        turned = {**params, slot.name: -np.where(value == 0, 0.37, np.abs(value))}
        before = evaluate_system(study.system, study.frame.rank, params, start)
        after = evaluate_system(study.system, study.frame.rank, turned, start)
        what = _has_no_meaning(study, before, after)
        if what is not None:
            warnings.warn(
                f"{study.name}: the prior of {rv.name!r} reaches negative values of parameter "
                f"{slot.name!r}, and {what}. Give it a positive prior, such as pm.HalfNormal or "
                "pm.LogNormal",
                UserWarning,
                stacklevel=4,
            )
            return


def _has_no_meaning(study: Study, before: dict[str, Any], after: dict[str, Any]) -> str | None:
    """What became of the noises when a sign was turned; None if they still are noises."""
    loading = np.asarray(after.get("diffusion", 0.0))
    if loading.ndim == study.frame.rank + 1 and study.system.proof.dynamics.constant_noise:
        negative = np.argwhere(loading < 0)
        if len(negative):
            return WHAT["diffusion"].format(state=study.system.states[negative[0][-1]])
    for role in ("observation", "transition", "initial"):
        if role not in after or (role == "initial" and any(study.system.start.stationary_states)):
            continue
        variances = [np.diagonal(np.asarray(f[role][1]), 0, -2, -1) for f in (before, after)]
        if (variances[0] >= 0).all() and not (variances[1] >= 0).all():
            return WHAT[role]
    return None


def _of_the_real_line(variable: Variable, model: pm.Model) -> Variable | None:
    """The free variable by which an expression is any real number; None where none is sure to be.

    A normal prior with a mean many standard deviations above zero does not reach below it.
    """
    if variable in model.free_RVs:
        whole = model.rvs_to_transforms.get(variable) is None
        real = str(getattr(variable.owner.op, "name", "")).lower() in REAL
        return variable if whole and real and not _is_out_of_reach(variable) else None
    node = variable.owner
    if node is None:
        return None
    if isinstance(node.op, VIEWS):
        return _of_the_real_line(node.inputs[0], model)
    if isinstance(node.op, Elemwise) and isinstance(node.op.scalar_op, SUMS):
        found = (_of_the_real_line(v, model) for v in node.inputs)
        return next((rv for rv in found if rv is not None), None)
    return None


def _is_out_of_reach(rv: Variable) -> bool:
    """Whether a prior is normal with known moments far above zero."""
    op = rv.owner.op
    if not isinstance(op, RandomVariable) or op.name != "normal":
        return False
    mean, sd = (_without_views(part) for part in op.dist_params(rv.owner))
    if not (isinstance(mean, Constant) and isinstance(sd, Constant)):
        return False
    return bool((np.asarray(mean.data) > FAR * np.asarray(sd.data)).all())


def _without_views(variable: Variable) -> Variable:
    """What a variable is before it was given axes."""
    while variable.owner is not None and isinstance(variable.owner.op, VIEWS):
        variable = variable.owner.inputs[0]
    return variable
