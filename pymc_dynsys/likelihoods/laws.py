"""What a Gaussian filter asks of the distributions of a system, in words."""

from pymc_dynsys.systems.bound import BoundSystem


def require_gaussian(name: str, system: BoundSystem) -> None:
    """Refuse distributions that an approximate Gaussian filter cannot use."""
    wanting = gaussian_law_wanting(system)
    if wanting is not None:
        raise ValueError(f"{name} {wanting}")
    if system.n_diffuse:
        states = [s for s, flag in zip(system.states, system.start.diffuse, strict=True) if flag]
        raise ValueError(
            f"{name} cannot begin with exactly diffuse states ({', '.join(states)}); only Kalman() "
            "can. Give initial=Diffuse(kappa=...) a variance far above that of the data, or a "
            "distribution"
        )


def gaussian_law_wanting(system: BoundSystem) -> str | None:
    """What every Gaussian filter needs and the system does not have, in words."""
    if not system.proof.dynamics.gaussian:
        return (
            "needs a Gaussian transition (dist.Normal, dist.MultivariateNormal, pds.Gaussian, "
            "dist.Delta), and transition() returns another distribution; transform the state (the "
            "logarithm of a positive one), approximate the distribution by its mean and variance, "
            "or take ParticleFilter(), which needs no Gaussian"
        )
    if not system.proof.observation.gaussian:
        return (
            "needs a Gaussian observation (dist.Normal, dist.MultivariateNormal, pds.Gaussian), "
            "and observation() returns another distribution; Laplace() takes any whose log-density "
            "is smooth in the state, so does ODESolve() for an ODE with a known initial state, and "
            "ParticleFilter() takes all others"
        )
    if not system.proof.start.gaussian:
        return (
            "needs a Gaussian or exactly known initial state (dist.Normal, "
            "dist.MultivariateNormal, pds.Gaussian, dist.Delta), and initial is another "
            "distribution; only ParticleFilter() takes any"
        )
    return None
