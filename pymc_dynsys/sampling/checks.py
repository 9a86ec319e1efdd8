"""Arguments of the samplers that make no sense."""

from collections.abc import Iterable
from typing import get_args

import numpy as np

from pymc_dynsys.sampling.chains import ChainMethod, require_devices


def listed(names: Iterable[str]) -> str:
    """Names as they would be written, with commas between them."""
    return ", ".join(repr(name) for name in names)


def require_count(name: str, value: object, least: int, what: str = "") -> None:
    """Raise for what is not a whole number that is large enough."""
    whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
    if not whole or value < least:  # type: ignore[operator]
        raise ValueError(
            f"{name}: got {value!r}, expected a whole number of at least {least}{what}"
        )


def require_method(chain_method: str, chains: int) -> None:
    """Raise for a way to map chains that there is not, here or at all."""
    if chain_method not in get_args(ChainMethod):
        raise ValueError(
            f"chain_method: got {chain_method!r}, expected one of {listed(get_args(ChainMethod))}"
        )
    require_devices(chain_method, chains)  # type: ignore[arg-type]
