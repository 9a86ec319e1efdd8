"""Arguments by name: a user's function of one trajectory becomes ``f(x, t, params)``.

The rule, which no other place knows: ``states`` is the whole state vector and ``t`` the time,
always; a name in the system's states is that component; any other name is a parameter or an input.
``x`` is short for the whole vector unless a state, a parameter or an input is called so.
"""

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WHOLE, SHORT = "states", "x"
RESERVED = (WHOLE, "t")
MEANING = f"{WHOLE!r} is the whole state vector, 't' the time"


def names_of_vector(states: Iterable[str] | None, others: Iterable[str]) -> tuple[str, ...]:
    """What the whole state vector is called beside these states, parameters and inputs."""
    return (WHOLE,) if SHORT in (*(states or ()), *others) else (WHOLE, SHORT)


def check_states(states: Sequence[str] | None) -> tuple[str, ...] | None:
    """Validate the names of the states; one name may be given as a plain string."""
    if states is None:
        return None
    if not isinstance(states, Iterable):
        raise TypeError(f"states: expected names, got {states!r}")
    names = (states,) if isinstance(states, str) else tuple(states)
    if not names:
        raise ValueError("states is empty: name at least one state, or leave it out")
    for name in names:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"states: {name!r} is not a name a Python function can take")
        if name in RESERVED:
            raise ValueError(f"states: {name!r} is reserved ({MEANING}); choose another name")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"states: {names} has {twice!r} more than once")
    return names


def require_initial(initial: object) -> None:
    """Raise for a system that does not say where it begins."""
    if initial is None:
        raise TypeError(
            "initial: missing; give the distribution of the state at t0, such as "
            "dist.Normal(0.0, 1.0), a function of parameters that returns one, or a known state"
        )


@dataclass(frozen=True, eq=False)
class BoundFunction:
    """A function whose arguments were found among state, time and parameters.

    Called as ``bound(x, t, params)``, it passes on what the user's signature asks for. `vector` has
    the names of ``x``.
    """

    role: str
    function: Callable[..., Any]
    arguments: tuple[tuple[str, bool], ...]
    states: tuple[str, ...]
    vector: tuple[str, ...] = (WHOLE,)

    def __call__(self, x: Any, t: Any, params: Mapping[str, Any]) -> Any:
        """Value of the user's function."""
        positional, named = [], {}
        for name, by_keyword in self.arguments:
            if name in self.vector:
                value = x
            elif name == "t":
                value = t
            elif name in self.states:
                value = x[self.states.index(name)]
            else:
                value = params[name]
            if by_keyword:
                named[name] = value
            else:
                positional.append(value)
        return self.function(*positional, **named)

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names taken from ``params``."""
        known = (*RESERVED, *self.vector, *self.states)
        return tuple(name for name, _ in self.arguments if name not in known)

    @property
    def reads_state(self) -> bool:
        """Whether it takes the state, all of it or a component."""
        return any(name in (*self.vector, *self.states) for name, _ in self.arguments)


def bind(
    role: str,
    function: Any,
    states: tuple[str, ...] | None,
    params: Iterable[str],
    *,
    of_state: bool = True,
) -> BoundFunction:
    """Resolve the arguments of ``function``, the system's ``role``, against the known names.

    A constant becomes a function without arguments. Arguments with a default that is not
    among `params` keep the default. ``of_state=False`` is for ``initial``, which may use
    parameters only.
    """
    names = states or ()
    params = tuple(params)
    vector = names_of_vector(states, params)
    if not callable(function) or _is_distribution(function):
        value = function
        return BoundFunction(role, lambda: value, (), names, vector)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"{role}: the arguments of {function!r} cannot be read; wrap it in a lambda that "
            "names them"
        ) from error
    available = (*(("t", *vector, *names) if of_state else ()), *params)
    arguments = []
    for name, parameter in signature.parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(
                f"{role}() takes *{name}: arguments are bound by name, so name each one"
            )
        if name in available:
            arguments.append((name, parameter.kind is not parameter.POSITIONAL_ONLY))
        elif parameter.default is parameter.empty:
            raise ValueError(_missing(role, name, names, params, of_state))
    return BoundFunction(role, function, tuple(arguments), names, vector)


def _is_distribution(value: Any) -> bool:
    return hasattr(value, "log_prob") and hasattr(value, "sample")


def _missing(
    role: str, name: str, states: Sequence[str], params: Sequence[str], of_state: bool
) -> str:
    if not of_state and name in (*states, *RESERVED, SHORT):
        return (
            f"{role}() asks for {name!r}, but the initial distribution may depend on "
            f"parameters only; params has {_listing(params)}"
        )
    close = difflib.get_close_matches(name, [*states, *params], n=1, cutoff=0.65)
    if close:
        hint = f"; did you mean {close[0]!r}?"
    elif not states and of_state:
        hint = "; if it is a state, name the states with states=(...)"
    elif of_state:
        hint = f"; if it changes with time, give it with inputs={{{name!r}: ...}}"
    else:
        hint = ""
    return (
        f"{role}() asks for {name!r}; params has {_listing(params)}, states has "
        f"{_listing(states)}{hint}"
    )


def _listing(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names) if names else "nothing"


def check_names(states: tuple[str, ...] | None, params: Iterable[str]) -> None:
    """Refuse parameter names that already mean something else."""
    for name in params:
        if not isinstance(name, str) or not name.isidentifier():
            raise ValueError(f"params: {name!r} is not a name a Python function can take")
        if name in RESERVED:
            raise ValueError(f"params: {name!r} is reserved ({MEANING}); rename it")
        if states and name in states:
            raise ValueError(f"params: {name!r} is also a state; rename one of them")


def check_all_used(
    functions: Iterable[BoundFunction], params: Iterable[str], role: str = "params"
) -> None:
    """Refuse parameters that no function asks for: they are most often misspelt."""
    functions = tuple(functions)
    used = {name for function in functions for name in function.parameters}
    for name in params:
        if name not in used:
            asked = sorted(used)
            close = difflib.get_close_matches(name, asked, n=1)
            hint = f"; did you mean {close[0]!r}?" if close else ""
            if role == "inputs" and not close:
                hint = "; leave it out, as inputs=table[[...]] does with a column of a table"
            roles = ", ".join(function.role for function in functions)
            raise ValueError(
                f"{role} has {name!r}, which none of {roles} asks for (they ask for "
                f"{_listing(asked)}){hint}"
            )


def check_state_used(functions: Iterable[BoundFunction], names: Iterable[str]) -> None:
    """Refuse a parameter or input called ``x`` where ``x`` seems to be meant as the state.

    That is where no function asks for a state by another name.
    """
    if SHORT in names and not any(function.reads_state for function in functions):
        raise ValueError(
            f"params or inputs have {SHORT!r}, and no function asks for a state; where {SHORT!r} "
            f"is a parameter or an input, the whole state vector is {WHOLE!r}"
        )


def bind_part(
    part: str, given: Any, states: tuple[str, ...] | None, names: tuple[str, ...]
) -> BoundFunction | None:
    """A part of a dose as a function of what it names; None where there is none."""
    if given is None:
        return None
    if isinstance(given, str):
        if given not in names:
            raise ValueError(
                f"events: {part} asks for {given!r}; params has "
                f"{', '.join(map(repr, names)) or 'nothing'}"
            )
        return BoundFunction(part, lambda value: value, ((given, False),), states or ())
    return bind(part, given, states, names, of_state=False)
