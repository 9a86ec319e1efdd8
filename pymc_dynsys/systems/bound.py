"""A system together with the names and shapes of its parameters: ready to compute with.

This is what discretizations, filters and simulators see. Everything is checked here, once,
with abstract values: what each function returns, and what structure can be proved.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.systems import checks
from pymc_dynsys.systems.binding import (
    BoundFunction,
    bind,
    check_all_used,
    check_names,
)
from pymc_dynsys.systems.dose import Dose
from pymc_dynsys.systems.gaussian import gaussian_moments
from pymc_dynsys.systems.ode import ODE
from pymc_dynsys.systems.sde import SDE
from pymc_dynsys.systems.structure import Structure, depends_on, is_affine

Params = Mapping[str, Any]

INFUSION = "(infusion)"
"""Key under which the rate of infusion of each state joins the parameters of a gap."""


@dataclass(frozen=True, eq=False)
class BoundSystem:
    """Dynamics of one trajectory as functions of ``(x, t, params)``.

    Attributes
    ----------
    states : tuple of str
        Names of the states; ``x0``, ``x1``, ... if the user gave none.
    n_observed : int or None
        Number of observed components; None for a scalar observation.
    structure : Structure
        What was proved about the functions.
    """

    source: SDE | ODE
    states: tuple[str, ...]
    param_shapes: dict[str, tuple[int, ...]]
    n_observed: int | None
    structure: Structure = field(repr=False)
    _drift: BoundFunction = field(repr=False)
    _diffusion: BoundFunction | None = field(repr=False)
    _observation: BoundFunction = field(repr=False)
    _initial: BoundFunction = field(repr=False)
    input_shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    dose_state: int | None = None
    _jump: BoundFunction | None = field(default=None, repr=False)
    _bioavailability: BoundFunction | None = field(default=None, repr=False)

    @property
    def n_states(self) -> int:
        """Dimension of the state."""
        return len(self.states)

    @property
    def is_deterministic(self) -> bool:
        """Whether the dynamics have no noise term (an ODE)."""
        return self._diffusion is None

    def drift(self, x: Float[Array, " state"], t: Any, params: Params) -> Float[Array, " state"]:
        """Rate of change of the mean, with the infusion that runs, if any."""
        rate = checks.as_vector("drift", self._drift(x, t, params), self.states)
        infusion = params.get(INFUSION)
        return rate if infusion is None else rate + self._available(infusion, params)

    def jump(
        self, x: Float[Array, " state"], t: Any, params: Params, amount: Any, target: Any
    ) -> Float[Array, " state"]:
        """State after an event of a given amount; `target` is the index of the state it enters."""
        if self._jump is not None:
            after = self._jump(x, t, {**params, "amount": amount})
            return checks.as_vector("events", after, self.states)
        return x + jnp.where(jnp.arange(self.n_states) == target, 1.0, 0.0) * self._available(
            amount, params
        )

    def _available(self, amount: Any, params: Params) -> Any:
        """Part of a dose that arrives."""
        if self._bioavailability is None:
            return amount
        return jnp.asarray(self._bioavailability(None, None, params), float) * amount

    def diffusion(self, x: Float[Array, " state"], t: Any, params: Params) -> Array:
        """Noise loading: ``(state,)`` for independent noises, else ``(state, noise)``."""
        if self._diffusion is None:
            return jnp.zeros(self.n_states)
        return checks.as_loading(self._diffusion(x, t, params), self.states)

    def observation(self, x: Float[Array, " state"], t: Any, params: Params) -> Any:
        """The law of the datum."""
        return self._observation(x, t, params)

    def observation_moments(
        self, x: Float[Array, " state"], t: Any, params: Params
    ) -> tuple[Float[Array, " component"], Array]:
        """Mean of the datum, and its variances ``(component,)`` or covariance matrix."""
        moments = gaussian_moments(self.observation(x, t, params))
        assert moments is not None, "checked when the system was bound"
        mean, cov = moments
        return (mean[None], cov[None]) if mean.ndim == 0 else (mean, cov)

    def initial(self, params: Params) -> Any:
        """The law of the state at ``t0``, or the known state as an array."""
        return checks.as_initial(self._initial(None, None, params), self.states)

    def initial_moments(
        self, params: Params
    ) -> tuple[Float[Array, " state"], Float[Array, "state state"]]:
        """Mean and covariance of the state at ``t0``."""
        moments = gaussian_moments(self.initial(params))
        assert moments is not None, "checked when the system was bound"
        mean, cov = moments
        mean = mean.reshape(self.n_states)
        return mean, cov if cov.ndim == 2 else jnp.diag(cov.reshape(self.n_states))

    def drives(self, name: str) -> bool:
        """Whether drift or diffusion asks for an input."""
        functions = (self._drift, self._diffusion)
        return any(f is not None and name in f.parameters for f in functions)

    def is_observed_through(self, name: str) -> bool:
        """Whether observation or the jump of events asks for an input."""
        functions = (self._observation, self._jump, self._bioavailability)
        return any(f is not None and name in f.parameters for f in functions)

    def noise_covariance(self, x: Any, t: Any, params: Params) -> Float[Array, "state state"]:
        """Covariance rate ``L L'`` of the driving noise."""
        return loading_covariance(self.diffusion(x, t, params))


def loading_covariance(L: Array) -> Float[Array, "state state"]:
    """``L L'`` of a diagonal ``(state,)`` or full ``(state, noise)`` loading."""
    if L.ndim == 1:
        return jnp.diag(L**2)
    return (L[:, None, :] * L[None, :, :]).sum(-1)


def bind_system(
    source: SDE | ODE,
    param_shapes: Mapping[str, tuple[int, ...]],
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> BoundSystem:
    """Bind a system to parameters and inputs of known names and per-trajectory shapes.

    Raises
    ------
    ValueError, TypeError
        Naming the function, the argument, what was got and what was expected.
    """
    if not isinstance(source, SDE | ODE):
        raise TypeError(f"system: expected an SDE or ODE, got {type(source).__name__}")
    both = (param_shapes, input_shapes or {})
    return _bind(source, *(tuple((k, tuple(shape)) for k, shape in s.items()) for s in both))


Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@lru_cache(maxsize=256)
def _bind(source: SDE | ODE, of_params: Shapes, of_inputs: Shapes) -> BoundSystem:
    """Bind once per system and shapes, so that compiled code is found again."""
    param_shapes, input_shapes = dict(of_params), dict(of_inputs)
    both = sorted(set(param_shapes) & set(input_shapes))
    if both:
        raise ValueError(f"inputs: {both[0]!r} is also in params; rename one of them")
    names = (*param_shapes, *input_shapes)
    named = source.states
    states = None if named is None else tuple(named)
    check_names(states, names)
    drift = bind("drift", source.drift, states, names)
    diffusion = (
        bind("diffusion", source.diffusion, states, names) if isinstance(source, SDE) else None
    )
    observation = bind("observation", source.observation, states, names)
    initial = bind("initial", source.initial, states, tuple(param_shapes), of_state=False)
    jump, bioavailability, dose_state = _bind_events(source, states, names)
    parts = (drift, diffusion, observation, initial, jump, bioavailability)
    functions = [f for f in parts if f is not None]
    check_all_used(functions, param_shapes, "params")
    check_all_used(functions, input_shapes, "inputs")

    params = {
        name: jax.ShapeDtypeStruct(tuple(shape), jnp.zeros(()).dtype)
        for name, shape in {**param_shapes, **input_shapes}.items()
    }
    n_states = checks.count_states(initial, params, states)
    labels = states or tuple(f"x{i}" for i in range(n_states))
    x = jax.ShapeDtypeStruct((n_states,), jnp.zeros(()).dtype)
    t = jax.ShapeDtypeStruct((), jnp.zeros(()).dtype)

    checks.evaluate(drift, x, t, params, lambda v: checks.as_vector("drift", v, labels))
    if diffusion is not None:
        checks.evaluate(diffusion, x, t, params, lambda v: checks.as_loading(v, labels))
    n_observed = checks.count_components(observation, x, t, params)
    unproved = BoundSystem(
        source=source,
        states=labels,
        param_shapes=param_shapes,
        input_shapes=input_shapes,
        dose_state=dose_state,
        _jump=jump,
        _bioavailability=bioavailability,
        n_observed=n_observed,
        structure=NOTHING_PROVED,
        _drift=drift,
        _diffusion=diffusion,
        _observation=observation,
        _initial=initial,
    )
    if jump is not None:
        amount = jax.ShapeDtypeStruct((), x.dtype)
        given = {**params, "amount": amount}
        checks.evaluate(jump, x, t, given, lambda v: checks.as_vector("events", v, labels))
    object.__setattr__(unproved, "structure", prove_structure(unproved, x, t, params))
    return unproved


def _bind_events(
    source: SDE | ODE, states: tuple[str, ...] | None, names: tuple[str, ...]
) -> tuple[BoundFunction | None, BoundFunction | None, int | None]:
    """Bind the jump, the bioavailability and the index of the state that doses enter."""
    events = source.events
    if events is None:
        return None, None, None
    if isinstance(events, str):
        events = Dose(events)
    if not isinstance(events, Dose):
        return bind("events", events, states, (*names, "amount")), None, None
    index = None if events.state is None else (states or ()).index(events.state)
    fraction = events.bioavailability
    if fraction is None:
        return None, None, index
    if isinstance(fraction, str):
        if fraction not in names:
            raise ValueError(
                f"events: bioavailability asks for {fraction!r}; params has "
                f"{', '.join(map(repr, names)) or 'nothing'}"
            )
        named = BoundFunction("bioavailability", lambda f: f, ((fraction, False),), states or ())
        return None, named, index
    bound = bind("bioavailability", fraction, states, names, of_state=False)
    return None, bound, index


NOTHING_PROVED = Structure(*(False,) * 12, reasons=("nothing was proved",))


def prove_structure(system: BoundSystem, x: Any, t: Any, params: Any) -> Structure:
    """Prove what can be proved of a bound system, with the reasons why it is not linear."""
    law = {}

    def initial_moments(p: Any) -> Any:
        law["moments"] = gaussian_moments(system.initial(p)) is not None
        law["known"] = checks.is_known(system.initial(p))
        return jnp.zeros(())

    def observation_kind(x: Any, t: Any, p: Any) -> Any:
        moments = gaussian_moments(system.observation(x, t, p))
        law["gaussian"] = moments is not None
        law["independent"] = moments is not None and moments[1].ndim == moments[0].ndim < 2
        if moments is not None and moments[0].ndim == 0:
            law["independent"] = True
        return jnp.zeros(())

    jax.eval_shape(initial_moments, params)
    jax.eval_shape(observation_kind, x, t, params)
    args = (x, t, params)
    gaussian = law["gaussian"]
    affine_drift = is_affine(system.drift, args)
    autonomous = not depends_on(system.drift, args, 1)
    loading = system.diffusion
    constant_diffusion = not depends_on(loading, args, 0) and not depends_on(loading, args, 1)
    affine_observation = constant_noise = timeless = False
    if gaussian:
        moments = system.observation_moments
        affine_observation = is_affine(lambda *a: moments(*a)[0], args)
        constant_noise = not depends_on(lambda *a: moments(*a)[1], args, 0)
        timeless = not depends_on(moments, args, 1)
    inputs = {name: params[name] for name in system.input_shapes}
    fixed = {name: value for name, value in params.items() if name not in inputs}

    def matrices(inputs: Any, x: Any, t: Any, fixed: Any) -> Any:
        params = {**fixed, **inputs}
        return jax.jacfwd(system.drift)(x, t, params), system.diffusion(x, t, params)

    varying = bool(inputs) and depends_on(matrices, (inputs, x, t, fixed), 0)
    if gaussian and inputs:
        timeless = timeless and not depends_on(
            lambda inputs, x, t, fixed: system.observation_moments(x, t, {**fixed, **inputs}),
            (inputs, x, t, fixed),
            0,
        )
    amount = jax.ShapeDtypeStruct((), jnp.zeros(()).dtype)
    affine_jump = system._jump is None or is_affine(
        lambda x, t, p, a: system.jump(x, t, p, a, 0), (x, t, params, amount)
    )
    reasons = []
    if not affine_drift:
        reasons.append("drift is not affine in the state")
    if not autonomous:
        reasons.append("drift depends on time")
    if not constant_diffusion:
        reasons.append("diffusion depends on the state or on time")
    if not gaussian:
        reasons.append("observation is not Gaussian")
    elif not affine_observation:
        reasons.append("the mean of observation is not affine in the state")
    elif not constant_noise:
        reasons.append("the noise of observation depends on the state")
    if not affine_jump:
        reasons.append("the jump of events is not affine in the state")
    if not law["moments"]:
        reasons.append("initial is not Gaussian")
    return Structure(
        affine_drift=affine_drift,
        autonomous_drift=autonomous,
        constant_diffusion=constant_diffusion,
        affine_observation=affine_observation,
        constant_noise=constant_noise,
        timeless_observation=timeless,
        varying_dynamics=varying,
        affine_jump=affine_jump,
        gaussian_observation=gaussian,
        independent_noise=law["independent"],
        gaussian_initial=law["moments"],
        known_initial=law["known"],
        reasons=tuple(reasons),
    )
