"""From a system and the shapes of its parameters to a :class:`BoundSystem`.

Everything is checked here, once per system and shapes, with abstract values. The phases, in the
order in which mistakes are reported:

1. names: parameters, inputs and states must not share any (``check_names``);
2. functions: each argument of each function is found by name (``_bind_functions``), and each
   parameter and input must be asked for;
3. shapes: the number of states, then what each function returns for abstract arguments
   (``_check_shapes``);
4. parts: the functions become dynamics, observation, start and dosing (``_make_parts``);
5. proof: what is linear, Gaussian, free of time and of inputs (``proof.prove``).
"""

import inspect
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import jax.numpy as jnp
from jax import ShapeDtypeStruct
from numpyro import distributions as dist

from pymc_dynsys.systems import checks
from pymc_dynsys.systems.binding import (
    BoundFunction,
    bind,
    check_all_used,
    check_names,
    check_state_used,
)
from pymc_dynsys.systems.bound import BoundSystem, System
from pymc_dynsys.systems.components import Names, in_order_of, observation_shape
from pymc_dynsys.systems.discrete import DiscreteTime
from pymc_dynsys.systems.dosing import Dosing
from pymc_dynsys.systems.dynamics import Continuous, Discrete, Dynamics
from pymc_dynsys.systems.event_functions import EventFunctions, bind_events
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import Observation
from pymc_dynsys.systems.ode import ODE
from pymc_dynsys.systems.prove import prove
from pymc_dynsys.systems.prove_observation import AbstractArguments
from pymc_dynsys.systems.start import Start


def bind_system(
    source: System,
    param_shapes: Mapping[str, tuple[int, ...]],
    input_shapes: Mapping[str, tuple[int, ...]] | None = None,
    components: Sequence[Hashable] | None = None,
    lines: Iterable[str] = (),
) -> BoundSystem:
    """Bind a system to parameters and inputs of known names and per-trajectory shapes.

    `components` are labels in the order of the data, for an observation that names its components;
    by default these come in its own order. `lines` are inputs that are straight lines over a gap.

    Raises
    ------
    ValueError, TypeError
        Naming the function, the argument, what was received and what was expected.
    """
    if not isinstance(source, System):
        raise TypeError(
            f"system: expected an SDE, ODE or DiscreteTime, got {type(source).__name__}"
        )
    both = (param_shapes, input_shapes or {})
    shapes = (tuple((k, tuple(shape)) for k, shape in s.items()) for s in both)
    labels = None if components is None else tuple(components)
    return _bind(source, *shapes, labels, tuple(sorted(lines)))


Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def unobserved(
    source: System, params: Iterable[str], inputs: Iterable[str]
) -> tuple[System, tuple[str, ...]]:
    """The system without its observation, and which parameters only that asks for.

    `params` and `inputs` are the names that there are. In the place of the observation is a datum
    that no state or parameter enters, and that nobody asks for.
    """
    if not isinstance(source, System) or not callable(source.observation):
        return _unobserved(source) if isinstance(source, System) else source, ()
    states = None if source.states is None else tuple(source.states)
    of_params = tuple(params)
    names = (*of_params, *inputs)
    functions = _bind_functions(_unobserved(source), states, of_params, names)
    others = {name for f in functions.all for name in f.parameters}
    asked = inspect.signature(source.observation).parameters
    only = tuple(name for name in of_params if name in asked and name not in others)
    return _unobserved(source), only


@lru_cache(maxsize=256)
def _unobserved(source: System) -> System:
    """One and the same system for one source, so that compiled programs are found again."""
    return replace(source, observation=_nothing_seen)


def _nothing_seen() -> dist.Distribution:
    """Distribution of a datum without a state in it."""
    return dist.Normal(0.0, 1.0)


class Functions(NamedTuple):
    """Functions of a system whose arguments were found; those it does not have are None."""

    drift: BoundFunction | None
    diffusion: BoundFunction | None
    transition: BoundFunction | None
    observation: BoundFunction
    initial: BoundFunction
    events: EventFunctions

    @property
    def all(self) -> tuple[BoundFunction, ...]:
        """Functions that there are, in the order in which messages list them."""
        return tuple(f for f in (*self[:5], *self.events) if isinstance(f, BoundFunction))


@lru_cache(maxsize=256)
def _bind(
    source: System,
    of_params: Shapes,
    of_inputs: Shapes,
    components: Names,
    lines: tuple[str, ...],
) -> BoundSystem:
    """Bind once per system and shapes, so that compiled programs are found again.

    In order: names of arguments are resolved, shapes of what functions return are checked by
    tracing them, parts are made, and what can be proved of them is proved.
    """
    param_shapes, input_shapes = dict(of_params), dict(of_inputs)
    both = sorted(set(param_shapes) & set(input_shapes))
    if both:
        raise ValueError(f"inputs: {both[0]!r} is also in params; rename one of them")
    names = (*param_shapes, *input_shapes)
    states = None if source.states is None else tuple(source.states)
    check_names(states, names)
    functions = _bind_functions(source, states, tuple(param_shapes), names)
    check_all_used(functions.all, param_shapes, "params")
    check_all_used(functions.all, input_shapes, "inputs")
    check_state_used(functions.all, names)

    dtype = jnp.zeros(()).dtype
    values = {
        name: ShapeDtypeStruct(tuple(shape), dtype)
        for name, shape in {**param_shapes, **input_shapes}.items()
    }
    n_states = checks.count_states(functions.initial, values, states)
    labels = states or tuple(f"x{i}" for i in range(n_states))
    abstract = AbstractArguments(
        x=ShapeDtypeStruct((n_states,), dtype),
        t=ShapeDtypeStruct((), dtype),
        held=Held(values),
        inputs=tuple(input_shapes),
        lines=lines,
    )
    observed, of_components = _check_shapes(functions, abstract, labels)
    of_components = in_order_of(components, of_components)
    parts = _make_parts(source, functions, abstract, labels, observed, of_components)
    proof = prove(*parts, abstract)
    return BoundSystem(source, labels, param_shapes, input_shapes, *parts, proof, lines)


def _bind_functions(
    source: System,
    states: tuple[str, ...] | None,
    params: tuple[str, ...],
    names: tuple[str, ...],
) -> Functions:
    """Find the arguments of every function; `names` are those of parameters and inputs."""
    drift = diffusion = transition = None
    if isinstance(source, DiscreteTime):
        transition = bind("transition", source.transition, states, names)
    else:
        drift = bind("drift", source.drift, states, names)
        if not isinstance(source, ODE):
            diffusion = bind("diffusion", source.diffusion, states, names)
    if source.observation is None:
        raise ValueError(
            f"observation: {source!r} does not say what is seen of its states; give it "
            "observation=lambda ...: dist.Normal(...), or sample paths with pds.Path, whose data "
            "follow distributions of PyMC"
        )
    observation = bind("observation", source.observation, states, names)
    initial = bind("initial", source.initial, states, params, of_state=False)
    accumulated = getattr(source, "accumulate", ())
    events = bind_events(source.events, accumulated, states, params, names)
    return Functions(drift, diffusion, transition, observation, initial, events)


def _check_shapes(
    functions: Functions, abstract: AbstractArguments, states: tuple[str, ...]
) -> tuple[tuple[int, ...], Names]:
    """Check what the functions return for abstract arguments.

    Returns the shape of an observation, ``()`` or ``(component,)``, and names of its components.
    """
    x, t, values = abstract.x, abstract.t, abstract.held.values
    drift, diffusion, jump = functions.drift, functions.diffusion, functions.events.jump
    if drift is not None:
        checks.evaluate(drift, x, t, values, lambda v: checks.as_vector("drift", v, states))
    if functions.transition is not None:
        checks.check_transition(functions.transition, x, t, values, states)
    if diffusion is not None:
        checks.evaluate(diffusion, x, t, values, lambda v: checks.as_loading(v, states))
    observed = observation_shape(functions.observation, x, t, values)
    if jump is not None:
        given = {**values, "amount": ShapeDtypeStruct((), x.dtype)}
        checks.evaluate(jump, x, t, given, lambda v: checks.as_vector("events", v, states))
    return observed


def _make_parts(
    source: System,
    functions: Functions,
    abstract: AbstractArguments,
    states: tuple[str, ...],
    observed: tuple[int, ...],
    names: Names,
) -> tuple[Dynamics, Observation, Start, Dosing]:
    """Make the parts of the system; `observed` is the shape of an observation.

    In order: what events do, how the state moves, what is seen of it, and where it begins.
    """
    values = abstract.held.values
    dosing = Dosing(states, functions.events)
    dynamics: Dynamics
    if isinstance(source, DiscreteTime):
        assert functions.transition is not None
        dynamics = Discrete(states, source.step, functions.transition)
    else:
        assert functions.drift is not None
        dynamics = Continuous(states, functions.drift, functions.diffusion, dosing)
    observation = Observation(
        scalar=not observed,
        n_components=observed[0] if observed else 1,
        names=names,
        _function=functions.observation,
    )
    diffuse, stationary = checks.kinds_of_states(functions.initial, values, states)
    start = Start(
        states=states,
        dynamics=dynamics,
        stationary=checks.is_stationary(functions.initial, values),
        diffuse=diffuse,
        stationary_states=stationary,
        _initial=functions.initial,
    )
    return dynamics, observation, start, dosing
