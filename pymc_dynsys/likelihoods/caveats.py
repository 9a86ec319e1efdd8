"""What a likelihood leaves out of a system, in words; the log and the check read it."""

from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.systems.bound import BoundSystem


def caveats(likelihood: Likelihood, system: BoundSystem) -> tuple[str, ...]:
    """All that is left out, a sentence each."""
    return tuple(
        text
        for text in (
            unseen_states(likelihood, system),
            noise_of_state(likelihood, system),
            held_lines(likelihood, system),
        )
        if text
    )


def is_blind(likelihood: Likelihood, system: BoundSystem) -> bool:
    """Whether what a noise says of the state is lost, all of it or some."""
    proof = system.proof
    lost = not proof.observation.constant_noise or bool(proof.unseen)
    return likelihood.moved_by_means and proof.observation.gaussian and lost


def unseen_states(likelihood: Likelihood, system: BoundSystem) -> str | None:
    """States of which the likelihood learns nothing."""
    names = system.proof.unseen
    if not names or not is_blind(likelihood, system):
        return None
    them = "it" if len(names) == 1 else "them"
    return (
        f"a noise depends on {' and '.join(names)}, and no mean of the data does, so "
        f"{likelihood!r} learns nothing of {them}: like EKF(), UKF() and EnKF() it moves states by "
        "their covariance with the data, which is zero here; Laplace() learns of it"
    )


def noise_of_state(likelihood: Likelihood, system: BoundSystem) -> str | None:
    """Noise of the data by which less is learnt of the state than it tells."""
    if not is_blind(likelihood, system) or system.proof.observation.constant_noise:
        return None
    if system.proof.unseen:
        return None
    return (
        f"the noise of observation() depends on the state; {likelihood!r} takes it where it "
        "predicts the state, and what the size of deviations tells of the state is lost, which "
        "Laplace() sees; it is little where the noise hardly changes over the spread of the "
        "predicted state"
    )


def held_lines(likelihood: Likelihood, system: BoundSystem) -> str | None:
    """Inputs that are lines, of which the likelihood sees means."""
    names = [name for name in system.lines if system.drives(name)]
    if not names or likelihood.follows_lines(system):
        return None
    scheme = likelihood.scheme(system)
    return (
        f"of input {' and '.join(map(repr, names))}, a straight line between its values, "
        f"{scheme!r} takes the mean over each step, so a visit without a datum may change the "
        "log-likelihood: shorter steps (dt=...) come closer, and EKF(MomentODE()) follows the line"
    )
