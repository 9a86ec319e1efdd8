"""What can be proved of an observation, and of what any function of ``(x, t, held)`` returns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import ShapeDtypeStruct
from jaxtyping import Array
from numpyro import distributions as dist

from pymc_dynsys.systems import checks
from pymc_dynsys.systems.dependence import depended_on
from pymc_dynsys.systems.gaussian import gaussian_moments
from pymc_dynsys.systems.held import Held
from pymc_dynsys.systems.observation import Observation
from pymc_dynsys.systems.proof import ObservationProof, Reason
from pymc_dynsys.systems.structure import depends_on, is_affine
from pymc_dynsys.systems.support import is_censored, only_bounds, supports_of


class AbstractArguments(NamedTuple):
    """Shapes and types of the arguments of the parts, which values are inputs, and which lines."""

    x: ShapeDtypeStruct
    t: ShapeDtypeStruct
    held: Held
    inputs: tuple[str, ...]
    lines: tuple[str, ...] = ()

    @property
    def args(self) -> tuple[ShapeDtypeStruct, ShapeDtypeStruct, Held]:
        """Arguments ``(x, t, held)``."""
        return self.x, self.t, self.held


def prove_observation(
    observation: Observation, abstract: AbstractArguments
) -> tuple[ObservationProof, list[Reason]]:
    """What is proved of the observation, and what hinders linearity.

    The moments are a mean ``(component,)`` and variances or a covariance matrix; they exist only
    if the distribution is Gaussian, so this is looked at first.
    """
    args, moments = abstract.args, observation.moments
    density = lambda x, y, t, held: observation.log_density(y, None, x, t, held)  # noqa: E731
    y = ShapeDtypeStruct((observation.n_components,), abstract.x.dtype)
    sees = depended_on(density, (args[0], y, *args[1:]))
    if not is_gaussian(observation.law, args):
        supports, censored = _of_kind(
            observation.law, args, lambda law: (supports_of(law), is_censored(law))
        )
        nothing = ObservationProof(
            gaussian=False,
            affine=False,
            constant_noise=False,
            timeless=False,
            definite=False,
            sees=sees,
            supports=supports,
            censored=censored,
            bounds=only_bounds(observation.law, args, abstract.inputs) if censored else (),
        )
        return nothing, [Reason("observation", "observation is not Gaussian")]
    affine = is_affine(lambda *args: moments(*args)[0], args)
    additive = not depends_on(lambda *args: moments(*args)[1], args, 0)
    reasons = []
    if not affine:
        text = "the mean of observation is not affine in the state"
        reasons.append(Reason("observation", text))
    if not additive:
        reasons.append(Reason("observation", "the noise of observation depends on the state"))
    proof = ObservationProof(
        gaussian=True,
        affine=affine,
        constant_noise=additive,
        timeless=not depends_on(moments, args, 1) and not depends_on_inputs(moments, abstract),
        definite=holds_of(observation.law, args, checks.is_definite),
        sees=sees,
    )
    return proof, reasons


def is_gaussian(law: Callable[..., dist.Distribution], args: tuple[Any, ...]) -> bool:
    """Whether the distribution that a function returns is Gaussian."""
    return holds_of(law, args, lambda found: gaussian_moments(found) is not None)


def holds_of(
    law: Callable[..., dist.Distribution],
    args: tuple[Any, ...],
    holds: Callable[[dist.Distribution], bool],
) -> bool:
    """Whether something holds of the kind of distribution that a function returns."""
    return _of_kind(law, args, holds)


def _of_kind[Found](
    law: Callable[..., dist.Distribution],
    args: tuple[Any, ...],
    find: Callable[[dist.Distribution], Found],
) -> Found:
    """What can be said of the kind of distribution that a function returns."""
    found: list[Found] = []

    def read(*args: Any) -> Array:
        found.append(find(law(*args)))
        return jnp.zeros(())

    jax.eval_shape(read, *args)
    return found[0]


def depends_on_inputs(function: Callable[..., Any], abstract: AbstractArguments) -> bool:
    """Whether a function of ``(x, t, held)`` depends on any input."""
    x, t, held = abstract.args
    inputs = {name: held.values[name] for name in abstract.inputs}
    fixed = {name: value for name, value in held.values.items() if name not in inputs}
    if not inputs:
        return False
    return depends_on(lambda u, x, t, p: function(x, t, Held({**p, **u})), (inputs, x, t, fixed), 0)
