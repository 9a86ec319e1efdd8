"""Parameters that a system brings along: of linear-Gaussian systems, of measurement models."""

from collections.abc import Mapping
from typing import Any

from pymc_dynsys.systems.linear_gaussian import LinearGaussian
from pymc_dynsys.systems.measurement import Measurement


def as_system(
    system: Any, params: Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[Any, Mapping[str, Any]]:
    """A system and all its parameters, some of which it may bring along."""
    measured = getattr(system, "observation", None)
    if isinstance(measured, Measurement):
        return system, {**params, **_brought(measured, params, inputs)}
    if not isinstance(system, LinearGaussian):
        return system, params
    for name in params:
        if name in system.params:
            raise ValueError(f"params: {name!r} is given with the system {system.name} already")
        raise ValueError(
            f"params: {system.name} has no place for {name!r}: its parameters are "
            f"{', '.join(system.params) or 'none'}, given where it is made. A system with others "
            "is written as functions: use DiscreteTime"
        )
    asked = dict.fromkeys((*system.regressors, *system.drivers))
    for name in inputs:
        if name not in asked:
            raise ValueError(
                f"inputs: {system.name} does not ask for {name!r}; it asks for "
                f"{', '.join(asked) or 'none'}. A regressor is a block, "
                f"... + pds.regression({name!r}, ...); otherwise use DiscreteTime"
            )
    for name in asked:
        if name not in inputs:
            raise ValueError(
                f"inputs: {system.name} asks for {name!r}; give it with a value for each row, "
                f"inputs={{{name!r}: xr.DataArray(..., dims=(<time>, ...))}}"
            )
    return system.system(), system.params


def _brought(
    measured: Measurement, params: Mapping[str, Any], inputs: Mapping[str, Any]
) -> dict[str, object]:
    """Parameters of a measurement model, which nobody else may give."""
    for name in (*params, *inputs):
        if name in measured.params:
            raise ValueError(
                f"params or inputs: {name!r} is given with the measurement model already; leave it "
                "out, or give measurement(name=...) another name"
            )
    return measured.params
