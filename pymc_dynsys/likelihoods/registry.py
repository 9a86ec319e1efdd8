"""All likelihoods, in the order in which an expert would consider them.

A new likelihood is its own file and one line here: the choice, the error texts, the reference page
and the contract that tests hold every likelihood to read this list.
"""

import numpy as np

from pymc_dynsys.likelihoods.base import Likelihood, Variation
from pymc_dynsys.likelihoods.caveats import is_blind
from pymc_dynsys.likelihoods.ekf import EKF
from pymc_dynsys.likelihoods.ensemble import EnKF
from pymc_dynsys.likelihoods.kalman import Kalman
from pymc_dynsys.likelihoods.laplace import Laplace
from pymc_dynsys.likelihoods.ode import ODESolve
from pymc_dynsys.likelihoods.particle import ParticleFilter
from pymc_dynsys.likelihoods.ukf import UKF
from pymc_dynsys.systems.bound import BoundSystem

LIKELIHOODS: tuple[type[Likelihood], ...] = (
    ODESolve,
    Kalman,
    Laplace,
    EKF,
    UKF,
    EnKF,
    ParticleFilter,
)


def choose_likelihood(system: BoundSystem) -> tuple[Likelihood, str]:
    """The likelihood an expert would choose, and why in a few words."""
    if not system.proof.dynamics.gaussian:
        raise ValueError(
            "likelihood: transition() returns a distribution that is not Gaussian, for which there "
            "is only likelihood=ParticleFilter(). It has no gradient: sample with "
            "pds.sample_pmmh(). Where the state can be transformed so that its noise is Gaussian "
            "(the logarithm of a positive one), filters with a gradient apply"
        )
    for kind in LIKELIHOODS:
        why = kind.recommended(system)
        if why is not None:
            chosen = kind()
            chosen.check(system)
            return chosen, why
    raise ValueError(f"likelihood: none of {calls()} is recommended for this system; choose one")


def variations(
    likelihood: Likelihood, system: BoundSystem, gaps: np.ndarray
) -> tuple[Variation, ...]:
    """All that ``check_likelihood`` compares a likelihood with: its own variations, a reference.

    What is blind in the same way is no reference: Laplace's approximation is there.
    """
    own = likelihood.variations(system)
    other = likelihood.reference(system, {kind.__name__: kind for kind in LIKELIHOODS})
    if other is not None and is_blind(likelihood, system) and is_blind(other, system):
        other = Laplace() if Laplace.recommended(system) else None
    if other is None:
        return own
    other, _ = other.resolve_defaults(system, gaps)
    if other == likelihood:
        return own
    # An approximation compared with another one: with finer steps, so as not to share their error.
    finer = not other.exact and any(variation.name == "step" for variation in own)
    return (*own, Variation("reference", other, finer=finer, exact=other.exact))


def require_likelihood(likelihood: object) -> None:
    """Raise for what is no likelihood."""
    if not isinstance(likelihood, Likelihood):
        raise TypeError(f"likelihood: expected {calls()}, got {likelihood!r}")


def calls() -> str:
    """All likelihoods as one would write them."""
    *first, last = (f"{kind.__name__}()" for kind in LIKELIHOODS)
    return f"{', '.join(first)} or {last}"
