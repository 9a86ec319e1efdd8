"""What likelihoods ask of the distributions of a system, in words."""

from pymc_dynsys.systems.bound import BoundSystem


def require_gaussian(name: str, system: BoundSystem) -> None:
    """Refuse distributions that an approximate Gaussian filter cannot use."""
    wanting = gaussian_law_wanting(system)
    if wanting is not None:
        raise ValueError(f"{name} {wanting}")
    _refuse_diffuse(name, system)


def require_gaussian_path(name: str, system: BoundSystem) -> None:
    """Refuse a transition or an initial state without a Gaussian distribution."""
    wanting = _transition_wanting(system) or _start_wanting(system)
    if wanting is not None:
        raise ValueError(f"{name} {wanting}")
    _refuse_diffuse(name, system)


def gaussian_law_wanting(system: BoundSystem) -> str | None:
    """What every Gaussian filter needs and the system does not have, in words."""
    return _transition_wanting(system) or _observation_wanting(system) or _start_wanting(system)


def _transition_wanting(system: BoundSystem) -> str | None:
    """A Gaussian transition."""
    if system.proof.dynamics.gaussian:
        return None
    return (
        "needs a Gaussian transition (dist.Normal, dist.MultivariateNormal, pds.Gaussian, "
        "dist.Delta), and transition() returns another distribution; transform the state (the "
        "logarithm of a positive one), approximate the distribution by its mean and variance, "
        "or take ParticleFilter(), which needs no Gaussian"
    )


def _observation_wanting(system: BoundSystem) -> str | None:
    """A Gaussian observation."""
    if system.proof.observation.gaussian:
        return None
    return (
        "needs a Gaussian observation (dist.Normal, dist.MultivariateNormal, pds.Gaussian), "
        "and observation() returns another distribution; Laplace() takes any whose log-density "
        "is smooth in the state, so does ODESolve() for an ODE with a known initial state, and "
        "ParticleFilter() takes all others"
    )


def _start_wanting(system: BoundSystem) -> str | None:
    """A Gaussian initial state."""
    if system.proof.start.gaussian:
        return None
    return (
        "needs a Gaussian or exactly known initial state (dist.Normal, "
        "dist.MultivariateNormal, pds.Gaussian, dist.Delta), and initial is another "
        "distribution; only ParticleFilter() takes any"
    )


def _refuse_diffuse(name: str, system: BoundSystem) -> None:
    """Refuse states that are exactly diffuse."""
    if system.n_diffuse:
        states = [s for s, flag in zip(system.states, system.start.diffuse, strict=True) if flag]
        raise ValueError(
            f"{name} cannot begin with exactly diffuse states ({', '.join(states)}); only Kalman() "
            "can. Give initial=Diffuse(kappa=...) a variance far above that of the data, or a "
            "distribution"
        )
