"""A look at the system at the model's initial point, before anything is compiled.

Cheap (no filter runs): the functions are evaluated once per trajectory at the mean of the
initial distribution. What is surely wrong there is an error, what may be wrong a warning.
"""

import warnings
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import jax
import numpy as np
import pymc as pm
import pytensor
from pymc.initial_point import make_initial_point_fn
from pytensor.graph.basic import Variable
from pytensor.graph.replace import clone_replace

from pymc_dynsys.bridge.beside import require_finite_beside
from pymc_dynsys.bridge.data import is_variable, observed_values
from pymc_dynsys.bridge.evaluation import evaluate_system
from pymc_dynsys.bridge.noise import require_noise
from pymc_dynsys.bridge.signs import warn_of_signs
from pymc_dynsys.bridge.stability import warn_unstable
from pymc_dynsys.bridge.stationary import require_stationary
from pymc_dynsys.bridge.steady import require_steady
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.bridge.support import require_possible
from pymc_dynsys.bridge.told import look_at_data
from pymc_dynsys.bridge.trial import try_likelihood, without_missing
from pymc_dynsys.discretization import Operands, TimeGrid, prepare_grid
from pymc_dynsys.discretization.grid import with_rows


def probe(study: Study, model: pm.Model, y: np.ndarray | None = None) -> None:
    """Evaluate the system at the initial point and report what is not finite or not stable.

    With data `y` also report what they lack, where the system makes that possible.
    """
    values = initial_values(study, model)
    if values is None:
        return
    operands = study.design.pack([None, *values])
    grid = _with_inputs(study, operands)
    params = {**operands.params, **_first_inputs(study, grid)}
    times, t0 = study.operands.times, study.operands.t0
    first = np.nanmin(np.where(np.isfinite(times), times, np.inf), axis=-1)
    start = np.where(np.isnan(t0), first, t0)
    found = evaluate_system(study.system, study.frame.rank, params, start)
    there = found if y is None else without_missing(study, found, y, start)
    _require_semidefinite(study, there, partial(_is_without_noise, study, params, start))
    require_noise(study, operands.params, grid)
    _require_positive_diffusion(study, found)
    warn_of_signs(study, model, params, start)
    if y is not None:
        require_finite_beside(study, values, y, found)
    _warn_not_finite(study, there, params)
    if "jacobian" in found:
        require_steady(study, found)
        warn_unstable(study, np.asarray(found["jacobian"]))
    if y is not None:
        require_possible(study, operands.params, grid, y)
        try_likelihood(study, values, y)
        look_at_data(study, operands._replace(y=y), found)


def initial_values(study: Study, model: pm.Model) -> list[np.ndarray] | None:
    """Values of all arrays at the model's initial point; None if PyMC has none."""
    point: Mapping[str, np.ndarray] = {}
    if any(is_variable(tensor) for tensor in study.variables):
        try:
            point = initial_point(model)
        except NotImplementedError:
            return None
    return values_at(study, model, point)


def initial_point(model: pm.Model) -> dict[str, np.ndarray]:
    """Values of the free variables, on their own scales, where a sampler would begin."""
    return dict(make_initial_point_fn(model=model.root, return_transformed=False)(0))


def values_at(study: Study, model: pm.Model, point: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Values of all arrays where free variables have these on their own scales."""
    fixed: dict[Variable, Variable] = dict(observed_values(model.root))
    fixed |= {
        rv: rv.type.make_constant(np.asarray(point[rv.name], rv.dtype))
        for rv in model.root.free_RVs
        if rv.name in point
    }
    graph = clone_replace(list(study.variables), replace=fixed, rebuild_strict=False)
    return [np.asarray(v) for v in pytensor.function([], graph, mode="FAST_COMPILE")()]


def _with_inputs(study: Study, operands: Operands) -> TimeGrid | None:
    """Rows with the values of inputs; None without inputs."""
    if not study.design.inputs:
        return None
    return with_rows(prepare_grid(study.design, operands), operands, study.design)


def _first_inputs(study: Study, grid: TimeGrid | None) -> dict[str, np.ndarray]:
    """Inputs at the first row."""
    if grid is None:
        return {}
    assert grid.rows is not None
    row = study.frame.rank
    return {k: np.take(np.asarray(v), 0, axis=row) for k, v in grid.rows.row_inputs.items()}


def _is_without_noise(study: Study, params: dict[str, np.ndarray], start: np.ndarray) -> bool:
    """Whether the noise of data is zero away from the initial point too."""
    known = study.operands.params
    moved = {k: v + 0.37 if k in known and known[k] is None else v for k, v in params.items()}
    _, cov = evaluate_system(study.system, study.frame.rank, moved, start)["observation"]
    return not np.asarray(cov).any()


def _require_semidefinite(
    study: Study, found: dict[str, Any], is_without_noise: Callable[[], bool]
) -> None:
    """Raise for covariances ``(*batch, n, n)`` that are not symmetric and positive semi-definite.

    A noise covariance that is singular raises too where data are projected onto the states, which
    divides by it; one that is zero only where parameters are zero does not.
    """
    covariances = {
        "observation": "noise covariance",
        "transition": "covariance",
        "initial": "covariance",
    }
    for role, what in covariances.items():
        if role not in found:
            continue
        cov = np.asarray(found[role][1])
        if role == "initial":
            require_stationary(study, cov)
        finite = np.isfinite(cov).all((-1, -2))
        safe = np.where(finite[..., None, None], cov, 0.0)
        lowest = np.linalg.eigvalsh(0.5 * (safe + np.swapaxes(safe, -1, -2)))[..., 0]
        scale = np.abs(safe).max((-1, -2))
        _require_symmetric(study, role, what, safe, scale)
        proof = study.system.proof
        if role == "observation" and proof.observation.definite and _is_projected(study):
            at_fault = finite & (lowest <= 1e-13 * scale) & (lowest >= -1e-10 * scale)
            if not (scale[at_fault] > 0).all() and not is_without_noise():
                at_fault = at_fault & (scale > 0)
            singular = np.argwhere(at_fault)
            if len(singular):
                raise ValueError(
                    f"{study.name}: the noise covariance of observation() is singular at the "
                    f"model's initial point{_at(study, tuple(singular[0]))}; write the "
                    "distribution as pds.Gaussian(mean, cov), or give linear_gaussian an R of "
                    "numbers"
                )
        bad = np.argwhere((lowest < -1e-10 * np.maximum(scale, 1e-300)) | ~finite)
        if len(bad):
            here = tuple(bad[0])
            detail = (
                f"smallest eigenvalue {lowest[here]:.3g}"
                if finite[here]
                else "not finite; a negative scale or an indefinite matrix gives this"
            )
            raise ValueError(
                f"{study.name}: {role}() has a {what} that is not positive semi-definite at the "
                f"model's initial point{_at(study, here)} ({detail})"
            )


def _is_projected(study: Study) -> bool:
    """Whether a datum has more components than the system states."""
    return study.system.observation.n_components > study.system.n_states


def _require_symmetric(
    study: Study, role: str, what: str, cov: np.ndarray, scale: np.ndarray
) -> None:
    off = np.abs(cov - np.swapaxes(cov, -1, -2)).max((-1, -2))
    bad = np.argwhere(off > 1e-8 * scale)
    if len(bad):
        raise ValueError(
            f"{study.name}: {role}() has a {what} that is not symmetric at the model's initial "
            f"point{_at(study, tuple(bad[0]))}"
        )


def _require_positive_diffusion(study: Study, found: dict[str, Any]) -> None:
    """Raise for a parameter as diffusion that is negative: the sign has no meaning.

    The loading is ``(*batch, state)`` where noises are independent. What a function of state, time
    or inputs gives may change its sign.
    """
    rank, L = study.frame.rank, np.asarray(found.get("diffusion", 0.0))
    if L.ndim != rank + 1 or not study.system.proof.dynamics.constant_noise:
        return
    negative = np.argwhere(L < 0)
    if len(negative):
        here = tuple(negative[0])
        state = study.system.states[here[-1]]
        raise ValueError(
            f"{study.name}: diffusion() of {state} is {L[here]:g} at the model's initial point"
            f"{_at(study, here[:-1])}; it is a standard deviation per root of time, whose sign has "
            "no meaning. Give it a positive prior, such as pm.HalfNormal or pm.LogNormal"
        )


def _warn_not_finite(study: Study, found: dict[str, Any], params: dict[str, np.ndarray]) -> None:
    """Warn of values that are not finite, else of slopes that are not.

    What was found is ``(*batch, ...)``; the first trajectory at fault is named, and one warning
    given.
    """
    rank = study.frame.rank
    for role in ("initial", "drift", "diffusion", "transition", "observation"):
        for part in jax.tree.leaves(found.get(role)):
            bad = _first_bad(np.asarray(part), rank)
            if bad is not None:
                warnings.warn(
                    f"{study.name}: {role}() is not finite at the model's initial point"
                    f"{_at(study, bad)}, state = mean of initial, {_values(params, bad)}; such "
                    "points have log-likelihood minus infinity. If the state may leave the domain "
                    "of a square root or logarithm, transform it or guard it with jnp.where",
                    UserWarning,
                    stacklevel=4,
                )
                return
    slopes = [
        (role, parameter, part)
        for role, by_parameter in found.get("slopes", {}).items()
        for parameter, part in by_parameter.items()
    ]
    slopes += [(role, "the state", part) for role, part in found.get("state slopes", {}).items()]
    for role, parameter, part in slopes:
        bad = _first_bad(np.asarray(part), rank)
        if bad is not None:
            warnings.warn(
                f"{study.name}: {role}() is finite, but its gradient with respect to {parameter} "
                f"is not, at the model's initial point{_at(study, bad)}; sqrt(0), 0**0.5 and "
                "norm(0) do this. Guard the argument with jnp.where inside and outside the "
                "function",
                UserWarning,
                stacklevel=4,
            )
            return


def _first_bad(part: np.ndarray, rank: int) -> tuple[int, ...] | None:
    bad = np.argwhere(~np.isfinite(part).all(axis=tuple(range(rank, part.ndim))))
    return tuple(int(i) for i in bad[0]) if len(bad) else None


def _at(study: Study, index: Any) -> str:
    return f" for {study.frame.who(index)}" if study.frame.rank else ""


def _values(values: dict[str, np.ndarray], index: tuple[int, ...]) -> str:
    """Parameter values of one trajectory, scalars only."""
    shown = []
    for name, value in values.items():
        if value.ndim == len(index):
            own = value[tuple(0 if n == 1 else i for i, n in zip(index, value.shape, strict=True))]
            shown.append(f"{name}={float(own):.4g}")
    return ", ".join(shown) if shown else "no scalar parameters"
