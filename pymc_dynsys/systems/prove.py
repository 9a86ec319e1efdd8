"""The proof that parts of a system are linear and Gaussian, or why they are not.

Each part is proved by itself, from abstract values of its arguments ``(x, t, held)``: state
``(state,)``, time ``()``, and parameters and inputs by name.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import ShapeDtypeStruct
from jaxtyping import Array
from numpyro import distributions as dist

from pymc_dynsys.linalg import linearize
from pymc_dynsys.systems import checks
from pymc_dynsys.systems.dependence import dependence
from pymc_dynsys.systems.dosing import Dosing
from pymc_dynsys.systems.dynamics import Continuous, Dynamics
from pymc_dynsys.systems.gaussian import gaussian_moments
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import Observation
from pymc_dynsys.systems.proof import (
    DynamicsProof,
    FedBy,
    Proof,
    Reason,
    StartProof,
)
from pymc_dynsys.systems.prove_observation import (
    AbstractArguments,
    depends_on_inputs,
    holds_of,
    is_gaussian,
    prove_observation,
)
from pymc_dynsys.systems.start import Start
from pymc_dynsys.systems.structure import depends_on, is_affine


def prove(
    dynamics: Dynamics,
    observation: Observation,
    start: Start,
    dosing: Dosing,
    abstract: AbstractArguments,
) -> Proof:
    """Prove what can be proved of the parts of a system.

    Raises ValueError if the initial distribution is to be stationary and the dynamics cannot be.
    """
    of_dynamics, reasons = _prove_dynamics(dynamics, abstract)
    if start.stationary:
        _require_stationary(of_dynamics, reasons)
    of_observation, more = prove_observation(observation, abstract)
    of_start = _prove_start(start, abstract)
    amount = ShapeDtypeStruct((), jnp.zeros(()).dtype)
    affine_jump = not dosing.has_own_jump or is_affine(
        lambda x, t, held, amount: dosing.jump(x, t, held, amount, 0), (*abstract.args, amount)
    )
    reasons += more
    if not affine_jump:
        reasons.append(Reason("events", "the jump of events is not affine in the state"))
    if not of_start.gaussian:
        reasons.append(Reason("initial", "initial is not Gaussian"))
    unseen: tuple[str, ...] = ()
    if of_dynamics.gaussian and of_observation.gaussian and of_start.gaussian:
        unseen = _unseen(dynamics, observation, start, abstract)
    return Proof(of_dynamics, of_observation, of_start, affine_jump, tuple(reasons), unseen)


def _prove_dynamics(
    dynamics: Dynamics, abstract: AbstractArguments
) -> tuple[DynamicsProof, list[Reason]]:
    """What is proved of drift and diffusion, or of the transition, and what hinders linearity.

    Phases: take mean ``(state,)`` and noise, which is the loading in continuous time and the
    covariance matrix in discrete time; look where state, time and inputs enter them; word what
    was not proved. A transition that is not Gaussian has no moments to look at.
    """
    args = abstract.args
    mean: Callable[..., Array]
    noise: Callable[..., Array]
    if isinstance(dynamics, Continuous):
        mean, noise = dynamics.drift, dynamics.diffusion
    else:
        if not is_gaussian(dynamics.law, args):
            nothing = DynamicsProof(
                gaussian=False,
                linear=False,
                autonomous=False,
                varying=False,
                driven=True,
                constant_noise=False,
            )
            return nothing, [Reason("dynamics", "transition is not Gaussian")]
        moments = dynamics.moments
        mean = lambda *args: moments(*args)[0]  # noqa: E731
        noise = lambda *args: moments(*args)[1]  # noqa: E731

    def slope_and_noise(x: Array, t: Array, held: Held) -> tuple[Array, Array]:
        return linearize(lambda x: mean(x, t, held), x)[1], noise(x, t, held)

    affine, additive = is_affine(mean, args), not depends_on(noise, args, 0)
    timeless, steady = not depends_on(mean, args, 1), not depends_on(noise, args, 1)
    found = {
        "drift is not affine in the state": not affine,
        "drift depends on time": not timeless,
        "diffusion depends on the state or on time": not (additive and steady),
    }
    if not isinstance(dynamics, Continuous):
        found = {
            "the mean of transition is not affine in the state": not affine,
            "the noise of transition depends on the state": not additive,
        }
    reasons = [Reason("dynamics", text) for text, holds in found.items() if holds]
    if isinstance(dynamics, Continuous) and abstract.lines:
        reasons += _prove_lines(mean, slope_and_noise, abstract)
    proof = DynamicsProof(
        gaussian=True,
        linear=not reasons,
        autonomous=timeless and steady,
        varying=depends_on_inputs(slope_and_noise, abstract),
        driven=depends_on_inputs(lambda *args: (mean(*args), noise(*args)), abstract),
        constant_noise=additive and steady and not depends_on_inputs(noise, abstract),
        fed_by=_fed_by(mean, args) if isinstance(dynamics, Continuous) else None,
    )
    return proof, reasons


def _fed_by(drift: Callable[..., Array], args: Sequence[Any]) -> FedBy:
    """For each state, the other states on which its rate may depend."""
    depends = dependence(drift, args)
    return tuple(
        tuple(j for j, holds in enumerate(row) if holds and j != i) for i, row in enumerate(depends)
    )


def _prove_lines(
    drift: Callable[..., Array], slope_and_noise: Callable[..., Any], abstract: AbstractArguments
) -> list[Reason]:
    """What hinders inputs that are lines from moving linear dynamics along lines.

    They may be terms of the offset, each times what does not change: then the offset ``(state,)``
    is a line too, and its response has a closed form. Infusions over a gap count as any other term.
    """
    x, t, held = abstract.args
    lines = {name: held.values[name] for name in abstract.lines}
    fixed = {name: value for name, value in held.values.items() if name not in lines}
    args = (lines, x, t, fixed, ShapeDtypeStruct(x.shape, x.dtype))

    def of_lines(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda u, x, t, p, infusion: function(x, t, Held({**p, **u}, infusion))

    names = " and ".join(map(repr, lines))
    found = {
        f"drift is not affine in {names}, a line over each gap": not is_affine(
            of_lines(drift), args
        ),
        f"the slope of drift or diffusion depends on {names}, a line over each gap": depends_on(
            of_lines(slope_and_noise), args, 0
        ),
    }
    return [Reason("dynamics", text) for text, holds in found.items() if holds]


def _unseen(
    dynamics: Dynamics, observation: Observation, start: Start, abstract: AbstractArguments
) -> tuple[str, ...]:
    """States that a noise depends on and no mean of the data.

    A state is seen if a mean of the data depends on it, or the mean of a state that is seen, or if
    it is correlated with one by noise or start; the covariances are looked at in a point without
    special values. Flags are ``(state,)`` and ``(state, state)``.
    """
    args, n = abstract.args, abstract.x.shape[0]
    if isinstance(dynamics, Continuous):
        mean: Callable[..., Array] = dynamics.drift
        noise: Callable[..., Array] = dynamics.noise_covariance
    else:
        moments = dynamics.moments
        mean = lambda *args: moments(*args)[0]  # noqa: E731
        noise = lambda *args: moments(*args)[1]  # noqa: E731
    noises = (noise, lambda *args: observation.moments(*args)[1])
    noisy = np.any([dependence(f, args).reshape(-1, n).any(0) for f in noises], axis=0)
    if not noisy.any():
        return ()
    point = jax.tree.map(lambda v: 2 + jnp.sin(jnp.arange(1.0, v.size + 1)).reshape(v.shape), args)
    # Traced, so that no distribution checks the values of the point.
    covariances = jax.jit(lambda x, t, held: (noise(x, t, held), start.moments(held.values)[1]))(
        *point
    )
    together = np.any([np.asarray(cov) != 0 for cov in covariances], axis=0)
    together |= dependence(mean, args)
    seen = dependence(lambda *args: observation.moments(*args)[0], args).any(0)
    for _ in range(n):
        seen = seen | together[seen].any(0)
    return tuple(np.asarray(dynamics.states)[noisy & ~seen].tolist())


def _prove_start(start: Start, abstract: AbstractArguments) -> StartProof:
    """What is proved of the initial distribution."""
    known: list[bool] = []

    def read(law: dist.Distribution) -> bool:
        known.append(checks.is_known(law) and not start.n_diffuse)
        return gaussian_moments(law) is not None

    gaussian = holds_of(start.law, (abstract.held.values,), read)
    return StartProof(gaussian=gaussian, known=known[0])


def _require_stationary(dynamics: DynamicsProof, reasons: list[Reason]) -> None:
    """Require dynamics that can have a stationary distribution."""
    texts = [reason.text for reason in reasons]
    if not dynamics.autonomous:
        texts.append("the dynamics depend on time")
    if dynamics.driven and dynamics.gaussian:
        texts.append("inputs drive the dynamics")
    if texts:
        raise ValueError(
            "initial=Stationary() needs linear dynamics that do not change in time, but "
            f"{'; '.join(texts)}. Give a distribution, or Diffuse()"
        )
