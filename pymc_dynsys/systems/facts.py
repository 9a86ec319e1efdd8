"""What is said of a system or a trajectory, line by line: plain text, and a table in notebooks."""

import html
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpyro import distributions as dist

from pymc_dynsys.systems.binding import RESERVED, names_of_vector
from pymc_dynsys.systems.dose import Dose

Row = tuple[str, str]

ROLES = ("drift", "diffusion", "transition", "observation", "initial", "events")
"""Functions of a system, in the order in which they are shown."""


@dataclass(frozen=True, repr=False)
class Facts:
    """Lines about one thing, each with a label.

    Attributes
    ----------
    title : str
        What they are about.
    rows : tuple of (str, str)
        Labels and what is said under each.
    """

    title: str
    rows: tuple[Row, ...]

    def __repr__(self) -> str:
        width = max((len(label) for label, _ in self.rows), default=0)
        return "\n".join(
            [self.title, *(f"  {label:<{width}}  {text}" for label, text in self.rows)]
        )

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<tr><th style="text-align: left">{html.escape(label)}</th>'
            f'<td style="text-align: left">{html.escape(text)}</td></tr>'
            for label, text in self.rows
        )
        caption = f'<caption style="text-align: left">{html.escape(self.title)}</caption>'
        return f"<table>{caption}<tbody>{cells}</tbody></table>"


class Described:
    """A system whose ``print`` and display in notebooks say what it is made of."""

    def __str__(self) -> str:
        return repr(facts_of(self))

    def _repr_html_(self) -> str:
        return facts_of(self)._repr_html_()


def facts_of(system: object) -> Facts:
    """States and functions of a system, and which function asks for which parameter or input."""
    named = getattr(system, "states", None)
    step = getattr(system, "step", None)
    rows = [
        ("time", "continuous" if step is None else f"discrete, steps of {step:g}"),
        ("states", ", ".join(named) if named else "not named; functions take the vector x"),
        *functions_of(system),
    ]
    named_lists = ("accumulate", "regressors", "drivers")
    rows.extend(
        (name, listed(getattr(system, name))) for name in named_lists if getattr(system, name, ())
    )
    asked = asks_of(system)
    if asked:
        asks = "; ".join(f"{name} ({', '.join(roles)})" for name, roles in asked.items())
        rows.append(("asks for", asks))
    params = getattr(system, "params", None)
    if params:
        rows.append(("parameters", ", ".join(params)))
    return Facts(repr(system), tuple(rows))


def functions_of(system: object) -> list[Row]:
    """Each function of a system with its arguments, each constant with its value."""
    parts = ((role, _part(system, role)) for role in ROLES)
    return [(role, _said(value)) for role, value in parts if value is not None]


def asks_of(system: object) -> dict[str, list[str]]:
    """Names that functions ask for and that are neither a state nor time: who asks for them."""
    states = getattr(system, "states", None)
    # Where something is called x, only a trajectory tells whether it is the vector.
    known = {*RESERVED, *names_of_vector(states, ()), *(states or ())}
    found: dict[str, list[str]] = {}
    for role in ROLES:
        value = _part(system, role)
        own = {"amount"} if role == "events" else set()
        for name in _names_asked(value):
            if name not in known | own:
                found.setdefault(name, []).append(role)
    return found


def _part(system: object, role: str) -> object:
    """A part as the user wrote it; None where matrices of blocks stand in its place."""
    return None if hasattr(system, "moves") else getattr(system, role, None)


def _is_function(value: object) -> bool:
    return callable(value) and not isinstance(value, dist.Distribution)


def _names_asked(value: object) -> Iterator[str]:
    """Arguments of a function without a default, and what a dose asks for."""
    if isinstance(value, Dose):
        for part in (value.bioavailability, value.lag):
            yield from [part] if isinstance(part, str) else _names_asked(part)
    elif _is_function(value):
        yield from (name for name, default in _arguments(value) if not default)


def _arguments(function: object) -> Iterator[tuple[str, str]]:
    """Names of the arguments of a function, and what is shown of a default."""
    assert callable(function)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # one whose arguments cannot be known, which no model takes
        return
    for name, argument in signature.parameters.items():
        given = argument.default is not inspect.Parameter.empty
        yield name, f"={_said(argument.default)}" if given else ""


def _said(value: object) -> str:
    """A part of a system in a few words."""
    if isinstance(value, dist.Distribution):
        return law_said(value)
    if _is_function(value):
        return f"f({', '.join(name + default for name, default in _arguments(value))})"
    if isinstance(value, tuple | list):
        return f"({', '.join(map(_said, value))})"
    if hasattr(value, "shape") and np.ndim(value):  # type: ignore[arg-type]
        return f"array of shape {np.shape(value)}"
    return repr(value)


def law_said(law: dist.Distribution) -> str:
    """Name of a distribution with those of its parameters that are single numbers."""
    values = [np.asarray(getattr(law, name, None), object) for name in law.arg_constraints]
    if any(value.ndim or value.item() is None for value in values):
        return type(law).__name__
    named = zip(law.arg_constraints, values, strict=True)
    return f"{type(law).__name__}({listed(f'{k}={float(v.item()):g}' for k, v in named)})"


def listed(names: Iterable[str], none: str = "") -> str:
    """Names with commas between them."""
    return ", ".join(names) or none
