"""Inputs of econometrics: what stands in a row acts on that row, and on no other."""

from collections.abc import Mapping
from dataclasses import replace

from pymc_dynsys.reading.inputs import Input
from pymc_dynsys.systems.linear_gaussian import LinearGaussian


def on_own_rows(system: object, inputs: Mapping[str, object]) -> Mapping[str, object]:
    """Inputs of a linear-Gaussian system, each value of which belongs to its own row.

    That is the value that comes next over the step into a row, the one of the row at its datum,
    and none after the last row: a forecast asks for more.
    """
    if not isinstance(system, LinearGaussian):
        return inputs
    return {name: _next(name, value, system) for name, value in inputs.items()}


def _next(name: str, value: object, system: LinearGaussian) -> Input:
    given = value if isinstance(value, Input) else Input(value)
    if given.interpolation == "linear":
        raise ValueError(
            f"inputs: {name!r} of {system.name} has a value in each row that belongs to that row, "
            "so there are no lines between them; give its values at the rows"
        )
    return replace(given, interpolation="next")


def announced(system: object) -> str:
    """What to say of inputs that drive the steps of a system; nothing where there are none."""
    if not isinstance(system, LinearGaussian) or not system.drivers:
        return ""
    return (
        f"{', '.join(system.drivers)}: a row acts on the state of the same row, as in a VARX, and "
        "the first row on nothing; it is not to be shifted"
    )
