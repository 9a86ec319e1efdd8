"""What systems may ask of PyTensor variables: their shape, and that their value is not known."""

from typing import Any

from pytensor.graph.basic import Variable

from pymc_dynsys.systems.values import known_value, shape_of


@shape_of.register(Variable)
def _shape(value: Any) -> tuple[int, ...]:
    """Shape of a variable, whose unknown lengths are computed."""
    known = value.type.shape
    if None in known:
        known = [int(n) for n in value.shape.eval(mode="FAST_COMPILE")]
    return tuple(known)


@known_value.register(Variable)
def _unknown(value: Any) -> None:
    """Variables change while a model is sampled, and data may be set anew."""
    return None
