"""Components of one observation: how many there are, and their names where these are given."""

from collections.abc import Hashable, Mapping
from typing import Any

import jax.numpy as jnp

from pymc_dynsys.systems.binding import BoundFunction
from pymc_dynsys.systems.checks import evaluate
from pymc_dynsys.systems.gaussian import gaussian_moments

Names = tuple[Hashable, ...] | None


def observation_shape(
    observation: BoundFunction, x: Any, t: Any, params: Mapping[str, Any]
) -> tuple[tuple[int, ...], Names]:
    """Shape of an observation, ``()`` or ``(component,)``, and names of its components if any."""
    found: list[tuple[tuple[int, ...], Names]] = []

    def read(law: Any) -> Any:
        if isinstance(law, Mapping):
            _require_scalar_laws(law)
            found.append(((len(law),), tuple(law)))
            return jnp.zeros(())
        if not hasattr(law, "log_prob") or isinstance(law, type):
            raise TypeError(
                f"observation() must return a numpyro distribution, got {type(law).__name__}; "
                "for noise of standard deviation s write dist.Normal(mean, s)"
            )
        shape = law.shape()
        if len(shape) > 1:
            raise ValueError(
                f"observation() returned a distribution of shape {shape}; one observation is a "
                "scalar or a vector"
            )
        found.append((shape, None))
        return jnp.zeros(())

    evaluate(observation, x, t, params, read)
    return found[0]


def _require_scalar_laws(laws: Mapping[Any, Any]) -> None:
    """Raise unless each named component has a scalar Gaussian distribution."""
    if not laws:
        raise ValueError("observation() returned a mapping without components")
    for name, law in laws.items():
        is_law = hasattr(law, "log_prob") and not isinstance(law, type)
        if not is_law or law.shape() != () or gaussian_moments(law) is None:
            got = f"{type(law).__name__} of shape {law.shape()}" if is_law else repr(law)[:60]
            raise ValueError(
                f"observation(): component {name!r} is {got}; in a mapping each component has a "
                "scalar Gaussian distribution, such as dist.Normal(mean, sd)"
            )


def in_order_of(components: Names, names: Names) -> Names:
    """Names of components in the order of the data's labels, which must be the same."""
    if components is None or names is None:
        return names
    ours, theirs = (", ".join(map(repr, part)) for part in (names, components))
    if set(components) != set(names):
        raise ValueError(
            f"observation(): it names the components {ours}, and the data have {theirs}; give "
            "both the same labels"
        )
    return components
