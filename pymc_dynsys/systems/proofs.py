"""What can be proved of a bound system, and why it is not linear where it is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems import checks
from pymc_dynsys.systems.gaussian import gaussian_moments
from pymc_dynsys.systems.structure import Structure, depends_on, is_affine

if TYPE_CHECKING:
    from pymc_dynsys.systems.bound import BoundSystem


def prove_structure(
    system: BoundSystem, x: Any, t: Any, params: dict[str, Any], stationary: bool
) -> Structure:
    """Prove what can be proved, from abstract values of the arguments.

    Raises ValueError if the initial law is to be `stationary` and the dynamics cannot be.
    """
    args = (x, t, params)
    dynamics = _dynamics(system, args)
    if stationary:
        _require_settling(dynamics)
    observation = _observation(system, args)
    law: dict[str, Any] = {}

    def look(p: Any) -> Any:
        initial = system.initial(p)
        law["moments"] = gaussian_moments(initial) is not None
        law["known"] = checks.is_known(initial) and not system.n_diffuse
        return jnp.zeros(())

    jax.eval_shape(look, params)
    amount = jax.ShapeDtypeStruct((), jnp.zeros(()).dtype)
    affine_jump = system._jump is None or is_affine(
        lambda x, t, p, a: system.jump(x, t, p, a, 0), (*args, amount)
    )
    reasons = [*dynamics.pop("reasons"), *observation.pop("reasons")]
    if not affine_jump:
        reasons.append("the jump of events is not affine in the state")
    if not law["moments"]:
        reasons.append("initial is not Gaussian")
    return Structure(
        **{name: dynamics[name] for name in DYNAMICS},
        **observation,
        affine_jump=affine_jump,
        gaussian_initial=law["moments"],
        known_initial=law["known"],
        reasons=tuple(reasons),
    )


DYNAMICS = ("gaussian_transition", "linear_dynamics", "autonomous", "varying_dynamics")


def _dynamics(system: BoundSystem, args: tuple[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """What is proved of drift and diffusion, or of the transition."""
    if system.step is None:
        mean, noise = system.drift, system.diffusion
        gaussian = True
    else:
        gaussian = _is_gaussian(system.transition, args)
        if not gaussian:
            nothing = dict.fromkeys(DYNAMICS, False)
            return {**nothing, "driven": True, "reasons": ["transition is not Gaussian"]}
        mean = lambda *a: system.transition_moments(*a)[0]  # noqa: E731
        noise = lambda *a: system.transition_moments(*a)[1]  # noqa: E731

    def matrices(x: Any, t: Any, params: Any) -> Any:
        return linearize(lambda x: mean(x, t, params), x)[1], noise(x, t, params)

    affine, additive = is_affine(mean, args), not depends_on(noise, args, 0)
    timeless, steady = not depends_on(mean, args, 1), not depends_on(noise, args, 1)
    reasons = []
    if system.step is None:
        if not affine:
            reasons.append("drift is not affine in the state")
        if not timeless:
            reasons.append("drift depends on time")
        if not (additive and steady):
            reasons.append("diffusion depends on the state or on time")
    else:
        if not affine:
            reasons.append("the mean of transition is not affine in the state")
        if not additive:
            reasons.append("the noise of transition depends on the state")
    return {
        "gaussian_transition": gaussian,
        "linear_dynamics": not reasons,
        "autonomous": timeless and steady,
        "varying_dynamics": _depends_on_inputs(matrices, system, args),
        "driven": _depends_on_inputs(lambda *a: (mean(*a), noise(*a)), system, args),
        "reasons": reasons,
    }


def _observation(system: BoundSystem, args: tuple[Any, Any, dict[str, Any]]) -> dict[str, Any]:
    """What is proved of the law of the datum."""
    moments = system.observation_moments
    if not _is_gaussian(system.observation, args):
        nothing = dict.fromkeys(OBSERVATION, False)
        return {**nothing, "reasons": ["observation is not Gaussian"]}
    affine = is_affine(lambda *a: moments(*a)[0], args)
    additive = not depends_on(lambda *a: moments(*a)[1], args, 0)
    reasons = []
    if not affine:
        reasons.append("the mean of observation is not affine in the state")
    elif not additive:
        reasons.append("the noise of observation depends on the state")
    found: dict[str, Any] = {}

    def look(*args: Any) -> Any:
        law = system.observation(*args)
        found["definite"] = checks.is_definite(law)
        return jnp.zeros(())

    jax.eval_shape(look, *args)
    return {
        "gaussian_observation": True,
        "affine_observation": affine,
        "constant_noise": additive,
        "timeless_observation": not depends_on(moments, args, 1)
        and not _depends_on_inputs(moments, system, args),
        "definite_noise": found["definite"],
        "reasons": reasons,
    }


OBSERVATION = (
    "gaussian_observation",
    "affine_observation",
    "constant_noise",
    "timeless_observation",
    "definite_noise",
)


def _is_gaussian(function: Any, args: tuple[Any, ...]) -> bool:
    found = {}

    def look(*args: Any) -> Any:
        found["gaussian"] = gaussian_moments(function(*args)) is not None
        return jnp.zeros(())

    jax.eval_shape(look, *args)
    return found["gaussian"]


def _depends_on_inputs(function: Any, system: BoundSystem, args: tuple[Any, Any, Any]) -> bool:
    x, t, params = args
    inputs = {name: params[name] for name in system.input_shapes}
    fixed = {name: value for name, value in params.items() if name not in inputs}
    if not inputs:
        return False
    return depends_on(lambda u, x, t, p: function(x, t, {**p, **u}), (inputs, x, t, fixed), 0)


def _require_settling(dynamics: dict[str, Any]) -> None:
    """Refuse a stationary initial law for dynamics that have none."""
    reasons = list(dynamics["reasons"])
    if not dynamics["autonomous"]:
        reasons.append("the dynamics depend on time")
    if dynamics["driven"] and dynamics["gaussian_transition"]:
        reasons.append("inputs drive the dynamics")
    if reasons:
        raise ValueError(
            "initial=Stationary() needs linear dynamics that do not change in time, but "
            f"{'; '.join(reasons)}. Give a law, or Diffuse()"
        )
