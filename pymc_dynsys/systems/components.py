"""Components of one observation: how many there are, their names, and their joint distribution."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array
from numpyro import distributions as dist
from numpyro.distributions import constraints

from pymc_dynsys.systems.binding import BoundFunction
from pymc_dynsys.systems.checks import evaluate, independent
from pymc_dynsys.systems.densities import cdf_bounds, draw, log_density
from pymc_dynsys.systems.gaussian import gaussian_moments

Names = tuple[Hashable, ...] | None


class Components(dist.Distribution):
    """Independent scalar distributions, one a component, of any families."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("laws",)
    support = constraints.real_vector

    def __init__(self, laws: Sequence[dist.Distribution]) -> None:
        self.laws = tuple(laws)
        super().__init__(batch_shape=(), event_shape=(len(self.laws),), validate_args=False)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw values, one a component."""
        keys = jax.random.split(key, len(self.laws))
        drawn = [draw(law, own, sample_shape) for law, own in zip(self.laws, keys, strict=True)]
        return jnp.stack(drawn, axis=-1)

    def log_prob(self, value: ArrayLike, intermediates: object = None) -> Array:
        """Log-density of a vector of values."""
        return self.log_densities(jnp.asarray(value, float)).sum(-1)

    def log_densities(self, y: Array) -> Array:
        """Log-density of each component."""
        terms = [log_density(law, y[..., i]) for i, law in enumerate(self.laws)]
        return jnp.stack(terms, axis=-1)

    def cdf_bounds(self, y: Array) -> tuple[Array, Array]:
        """Probabilities of less than each component, and of up to each."""
        each = [cdf_bounds(law, y[..., i]) for i, law in enumerate(self.laws)]
        less, upto = (jnp.stack(part, axis=-1) for part in zip(*each, strict=True))
        return less, upto


def together(laws: Sequence[dist.Distribution]) -> dist.Distribution:
    """Joint distribution of independent components; a Gaussian one if all are Gaussian."""
    if all(gaussian_moments(law) is not None for law in laws):
        joint: dist.Distribution = independent("observation", laws)
        return joint
    return Components(laws)


def observation_shape(
    observation: BoundFunction, x: Any, t: Any, params: Mapping[str, Any]
) -> tuple[tuple[int, ...], Names]:
    """Shape of an observation, ``()`` or ``(component,)``, and names of its components if any."""
    found: list[tuple[tuple[int, ...], Names]] = []

    def read(law: Any) -> Any:
        if isinstance(law, Mapping | tuple | list):
            named = isinstance(law, Mapping)
            laws = law if isinstance(law, Mapping) else dict(enumerate(law))
            _require_scalar_laws(laws, named)
            found.append(((len(law),), tuple(law) if named else None))
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


def _require_scalar_laws(laws: Mapping[Any, Any], named: bool) -> None:
    """Raise unless each component has a scalar distribution."""
    kind = "mapping" if named else "tuple"
    if not laws:
        raise ValueError(f"observation() returned a {kind} without components")
    for name, law in laws.items():
        is_law = hasattr(law, "log_prob") and not isinstance(law, type)
        if not is_law or law.shape() != ():
            got = f"{type(law).__name__} of shape {law.shape()}" if is_law else repr(law)[:60]
            which = f"component {name!r}" if named else f"entry {name}"
            raise ValueError(
                f"observation(): {which} is {got}; in a {kind} each component has a scalar "
                "distribution of its own, such as dist.Normal(mean, sd) or dist.Poisson(rate), and "
                "they are independent given the state"
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
