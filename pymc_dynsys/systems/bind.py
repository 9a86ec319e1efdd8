"""From a system and the shapes of its parameters to functions that are ready to compute with.

Everything is checked here, once, with abstract values: what each function returns, and what
structure can be proved.
"""

from collections.abc import Mapping
from functools import lru_cache

import jax
import jax.numpy as jnp

from pymc_dynsys.systems import checks
from pymc_dynsys.systems.binding import BoundFunction, bind, check_all_used, check_names
from pymc_dynsys.systems.bound import BoundSystem, System
from pymc_dynsys.systems.dose import Dose
from pymc_dynsys.systems.proofs import prove_structure
from pymc_dynsys.systems.structure import NOTHING_PROVED


def bind_system(
    source: System,
    param_shapes: Mapping[str, tuple[int, ...]],
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
) -> BoundSystem:
    """Bind a system to parameters and inputs of known names and per-trajectory shapes.

    Raises
    ------
    ValueError, TypeError
        Naming the function, the argument, what was got and what was expected.
    """
    if not isinstance(source, System):
        raise TypeError(
            f"system: expected an SDE, ODE or DiscreteTime, got {type(source).__name__}"
        )
    both = (param_shapes, input_shapes or {})
    return _bind(source, *(tuple((k, tuple(shape)) for k, shape in s.items()) for s in both))


Shapes = tuple[tuple[str, tuple[int, ...]], ...]


@lru_cache(maxsize=256)
def _bind(source: System, of_params: Shapes, of_inputs: Shapes) -> BoundSystem:
    """Bind once per system and shapes, so that compiled code is found again."""
    param_shapes, input_shapes = dict(of_params), dict(of_inputs)
    both = sorted(set(param_shapes) & set(input_shapes))
    if both:
        raise ValueError(f"inputs: {both[0]!r} is also in params; rename one of them")
    names = (*param_shapes, *input_shapes)
    named = source.states
    states = None if named is None else tuple(named)
    check_names(states, names)
    roles = ("drift", "diffusion", "transition")
    drift, diffusion, transition = (
        bind(role, getattr(source, role), states, names) if hasattr(source, role) else None
        for role in roles
    )
    observation = bind("observation", source.observation, states, names)
    initial = bind("initial", source.initial, states, tuple(param_shapes), of_state=False)
    jump, bioavailability, dose_state = _bind_events(source, states, names)
    parts = (drift, diffusion, transition, observation, initial, jump, bioavailability)
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

    if drift is not None:
        checks.evaluate(drift, x, t, params, lambda v: checks.as_vector("drift", v, labels))
    if transition is not None:
        checks.check_transition(transition, x, t, params, labels)
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
        _transition=transition,
        diffuse=checks.diffuse_states(initial, params, labels),
        _observation=observation,
        _initial=initial,
    )
    if jump is not None:
        amount = jax.ShapeDtypeStruct((), x.dtype)
        given = {**params, "amount": amount}
        checks.evaluate(jump, x, t, given, lambda v: checks.as_vector("events", v, labels))
    stationary = checks.is_stationary(initial, params)
    structure = prove_structure(unproved, x, t, params, stationary)
    object.__setattr__(unproved, "structure", structure)
    return unproved


def _bind_events(
    source: System, states: tuple[str, ...] | None, names: tuple[str, ...]
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
