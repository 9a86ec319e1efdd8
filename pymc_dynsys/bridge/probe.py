"""A look at the system at the model's initial point, before anything is compiled.

Cheap (no filter runs): the functions are evaluated once per trajectory at the mean of the
initial law. What is surely wrong there is an error, what may be wrong a warning.
"""

import warnings
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor
from pymc.initial_point import make_initial_point_fn
from pytensor.graph.replace import clone_replace

from pymc_dynsys.bridge.assemble import Assembled
from pymc_dynsys.bridge.data import is_variable, place
from pymc_dynsys.discretization import EulerMaruyama, Exact
from pymc_dynsys.discretization.grid import build_grid
from pymc_dynsys.filters.base import Likelihood
from pymc_dynsys.filters.mapping import map_batch
from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems.bound import BoundSystem


def probe(name: str, built: Assembled, model: pm.Model) -> None:
    """Evaluate the system at the initial point and report what is not finite or not stable."""
    values = initial_params(built, model)
    if values is None:
        return
    values = {**values, **_first_inputs(built)}
    first = np.nanmin(np.where(np.isfinite(built.times_now), built.times_now, np.inf), axis=-1)
    start = np.where(np.isnan(built.t0_now), first, built.t0_now)
    looks = look_at_all(built.system, len(built.batch_dims), values, start)
    _require_semidefinite(name, built, looks)
    _warn_not_finite(name, built, looks, values)
    if "jacobian" in looks:
        _warn_unstable(name, built, np.asarray(looks["jacobian"]))


def initial_params(built: Assembled, model: pm.Model) -> dict[str, np.ndarray] | None:
    """Values of the parameters at the model's initial point; None if PyMC has none."""
    tensors = [placed.tensor for placed in built.params.values()]
    fixed: dict[Any, Any] = {}
    if any(is_variable(tensor) for tensor in tensors):
        try:
            point = make_initial_point_fn(model=model.root, return_transformed=False)(0)
        except NotImplementedError:
            return None
        fixed = {
            rv: rv.type.make_constant(np.asarray(point[rv.name], rv.dtype))
            for rv in model.root.free_RVs
        }
    graph = clone_replace(tensors, replace=fixed, rebuild_strict=False)
    values = pytensor.function([], graph, mode="FAST_COMPILE")()
    return dict(zip(built.params, map(np.asarray, values), strict=True))


@partial(jax.jit, static_argnums=(0, 1))
def look_at_all(system: BoundSystem, rank: int, params: Any, t: Any) -> dict[str, Any]:
    """Look at each trajectory; traced, so that no law checks its own arguments before we do."""
    shapes = {**system.param_shapes, **system.input_shapes}
    core = {name: len(shape) for name, shape in shapes.items()}
    return map_batch(partial(look, system), (params, t), (core, 0), rank)


def look(system: BoundSystem, params: Any, t: Any) -> dict[str, Any]:
    """Values of the functions at the mean of the initial law, and their slopes in parameters."""
    seen: dict[str, Any] = {}
    if not system.structure.gaussian_initial:
        return seen
    m, P = system.initial_moments(params)
    seen["initial"] = (m, P)
    functions: dict[str, Any] = {}
    if system.step is None:
        seen["drift"], seen["jacobian"] = linearize(lambda x: system.drift(x, t, params), m)
        seen["diffusion"] = system.diffusion(m, t, params)
        functions = {"drift": system.drift, "diffusion": system.diffusion}
    elif system.structure.gaussian_transition:
        seen["transition"] = system.transition_moments(m, t, params)
        functions = {"transition": lambda *args: _flat(system.transition_moments(*args))}
    if system.structure.gaussian_observation:
        mean, R = system.observation_moments(m, t, params)
        seen["observation"] = (mean, R if R.ndim == 2 else jnp.diag(R))
        functions["observation"] = lambda *args: _flat(system.observation_moments(*args))
    seen["slopes"] = {
        role: jax.jacfwd(lambda p, f=f: f(m, t, p))(params) if params else {}
        for role, f in functions.items()
    }
    seen["state slopes"] = {
        role: jax.jacfwd(lambda x, f=f: f(x, t, params))(m) for role, f in functions.items()
    }
    return seen


def _flat(parts: Any) -> Any:
    return jnp.concatenate([part.ravel() for part in parts])


def _first_inputs(built: Assembled) -> dict[str, np.ndarray]:
    """Inputs at the first row."""
    if built.schedule is None:
        return {}
    grid = build_grid(built.times_now, built.t0_now, Exact(), built.schedule, built.system.n_states)
    assert grid.rows is not None
    row = len(built.batch_dims)
    return {k: np.take(v, 0, axis=row) for k, v in grid.rows.row_inputs.items()}


def _require_semidefinite(name: str, built: Assembled, looks: dict[str, Any]) -> None:
    covariances = {
        "observation": "noise covariance",
        "transition": "covariance",
        "initial": "covariance",
    }
    for role, what in covariances.items():
        if role not in looks:
            continue
        cov = np.asarray(looks[role][1])
        finite = np.isfinite(cov).all((-1, -2))
        safe = np.where(finite[..., None, None], cov, 0.0)
        lowest = np.linalg.eigvalsh(0.5 * (safe + np.swapaxes(safe, -1, -2)))[..., 0]
        scale = np.abs(safe).max((-1, -2))
        _require_symmetric(name, built, role, what, safe, scale)
        structure = built.system.structure
        if role == "observation" and structure.definite_noise and _is_projected(built):
            singular = np.argwhere(finite & (lowest <= 1e-13 * scale) & (lowest > -1e-10 * scale))
            if len(singular):
                raise ValueError(
                    f"{name}: the noise covariance of observation() is singular at the model's "
                    f"initial point{_at(built, tuple(singular[0]))}; write the law as "
                    "pds.Gaussian(mean, cov), or give linear_gaussian an R of numbers"
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
                f"{name}: {role}() has a {what} that is not positive semi-definite at the model's "
                f"initial point{_at(built, here)} ({detail})"
            )


def _is_projected(built: Assembled) -> bool:
    """Whether a datum has more components than the system states."""
    return (built.system.n_observed or 1) > built.system.n_states


def _require_symmetric(
    name: str, built: Assembled, role: str, what: str, cov: np.ndarray, scale: np.ndarray
) -> None:
    off = np.abs(cov - np.swapaxes(cov, -1, -2)).max((-1, -2))
    bad = np.argwhere(off > 1e-8 * scale)
    if len(bad):
        raise ValueError(
            f"{name}: {role}() has a {what} that is not symmetric at the model's initial point"
            f"{_at(built, tuple(bad[0]))}"
        )


def _warn_not_finite(
    name: str, built: Assembled, looks: dict[str, Any], values: dict[str, np.ndarray]
) -> None:
    """Warn of values that are not finite, else of slopes that are not."""
    rank = len(built.batch_dims)
    for role in ("initial", "drift", "diffusion", "transition", "observation"):
        for part in jax.tree.leaves(looks.get(role)):
            bad = _first_bad(np.asarray(part), rank)
            if bad is not None:
                warnings.warn(
                    f"{name}: {role}() is not finite at the model's initial point"
                    f"{_at(built, bad)}, state = mean of initial, {_values(values, bad)}; such "
                    "points have log-likelihood minus infinity. If the state may leave the domain "
                    "of a square root or logarithm, transform it or guard it with jnp.where",
                    UserWarning,
                    stacklevel=4,
                )
                return
    slopes = [
        (role, parameter, part)
        for role, by_parameter in looks.get("slopes", {}).items()
        for parameter, part in by_parameter.items()
    ]
    slopes += [(role, "the state", part) for role, part in looks.get("state slopes", {}).items()]
    for role, parameter, part in slopes:
        bad = _first_bad(np.asarray(part), rank)
        if bad is not None:
            warnings.warn(
                f"{name}: {role}() is finite, but its gradient with respect to {parameter} is not, "
                f"at the model's initial point{_at(built, bad)}; sqrt(0), 0**0.5 and norm(0) do "
                "this. Guard the argument with jnp.where inside and outside the function",
                UserWarning,
                stacklevel=4,
            )
            return


def _warn_unstable(name: str, built: Assembled, jacobian: np.ndarray) -> None:
    """Warn of Euler steps longer than a decaying mode allows: |1 + lambda h| > 1."""
    schemes: dict[Any, str] = {}
    if isinstance(built.likelihood, Likelihood):
        schemes.setdefault(built.likelihood.scheme(built.system), "likelihood")
    schemes.setdefault(built.simulator, "simulator")
    if not np.isfinite(jacobian).all():
        return
    modes = np.linalg.eigvals(jacobian)
    decaying = modes.real < 0
    longest = np.where(decaying, -2 * modes.real / np.maximum(np.abs(modes) ** 2, 1e-300), np.inf)
    limit = longest.min(-1)
    for scheme, role in schemes.items():
        if not isinstance(scheme, EulerMaruyama) or built.system.is_deterministic:
            continue
        grid = build_grid(
            built.times_now, built.t0_now, scheme, built.schedule, built.system.n_states
        )
        step = (grid.gaps / grid.steps).max(-1)
        bad = np.argwhere(np.broadcast_arrays(step > limit, limit)[0])
        if len(bad):
            here = tuple(bad[0])
            allowed = np.broadcast_to(limit, np.broadcast_shapes(limit.shape, step.shape))[here]
            taken = np.broadcast_to(step, np.broadcast_shapes(limit.shape, step.shape))[here]
            warnings.warn(
                f"{name}: Euler steps of {taken:.3g} in the {role} are unstable{_at(built, here)} "
                f"at the model's initial point, where steps must be below {allowed:.3g}; use "
                f"EulerMaruyama(dt={allowed / 4:.2g}) or LocalLinearization()",
                UserWarning,
                stacklevel=4,
            )
            return


def _first_bad(part: np.ndarray, rank: int) -> tuple[int, ...] | None:
    bad = np.argwhere(~np.isfinite(part).all(axis=tuple(range(rank, part.ndim))))
    return tuple(int(i) for i in bad[0]) if len(bad) else None


def _at(built: Assembled, index: Any) -> str:
    return f" for {place(index, built.labels, built.batch_dims)}" if built.batch_dims else ""


def _values(values: dict[str, np.ndarray], index: tuple[int, ...]) -> str:
    """Parameter values of one trajectory, scalars only."""
    shown = []
    for name, value in values.items():
        if value.ndim == len(index):
            own = value[tuple(0 if n == 1 else i for i, n in zip(index, value.shape, strict=True))]
            shown.append(f"{name}={float(own):.4g}")
    return ", ".join(shown) if shown else "no scalar parameters"
