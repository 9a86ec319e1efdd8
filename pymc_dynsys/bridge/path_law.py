"""What a path is made of: its system without data, and what carries its states over gaps."""

from collections.abc import Mapping
from typing import Any

from pymc_dynsys.bridge.assemble import Arrays
from pymc_dynsys.discretization import Discretization, default_scheme
from pymc_dynsys.latent.law import PathLaw
from pymc_dynsys.latent.parametrizations import Centred, Guided, Parametrization
from pymc_dynsys.likelihoods.ode import ODESolve
from pymc_dynsys.simulation.paths import Simulator, default_simulator
from pymc_dynsys.systems.bind import unobserved
from pymc_dynsys.systems.bound import System
from pymc_dynsys.systems.brought import as_system

STEPS_PER_GAP = 4
"""Euler steps in the median gap when the user states none: each has normals of its own."""


def check_path(arrays: Arrays, parametrization: Parametrization) -> None:
    """Raise for systems whose paths are no function of standard normals, or have no density."""
    design, system = arrays.design, arrays.design.system
    if system.n_diffuse:
        diffuse = [s for s, which in zip(system.states, system.start.diffuse, strict=True) if which]
        raise ValueError(
            f"initial: {', '.join(diffuse)} of a path cannot be exactly diffuse, since normals are "
            "drawn for it; give it a wide prior of your own, x0 = pm.Normal('x0', 0, 100) with "
            "initial=lambda x0: x0, or pds.Diffuse(kappa=...)"
        )
    if not system.proof.start.gaussian:
        raise ValueError(
            "initial: the first state of a path is made from standard normals, and this "
            "distribution is not Gaussian; make the first state a variable of any distribution, "
            "x0 = pm.Gamma('x0', ...), and give it, params={'x0': x0} with initial=lambda x0: x0"
        )
    centred = isinstance(parametrization, Centred)
    if not system.proof.dynamics.gaussian and not centred:
        raise ValueError(
            "transition: this path is made from standard normals, and transition() gives a "
            "distribution that is not Gaussian; take parametrization=pds.Centred(), transform the "
            "state so that its noise is (the logarithm of a positive one), or use Trajectory with "
            "likelihood=ParticleFilter()"
        )
    if design.moving:
        raise ValueError(
            "events: where parameters say when a dose arrives (lag times) or an infusion ends (a "
            "rate, a duration, or a bioavailability beside a rate), the steps of a path are not "
            "known; give times of arrival, and event_duration (DUR), which do not change"
        )
    if design.laws:
        raise ValueError(
            "events: resets and steady states (EVID 3 and 4, SS) begin a path anew, which Path() "
            "does not do; use Trajectory(), or give the doses themselves from an empty start"
        )


def without_observation(
    system: object, params: Mapping[str, Any], inputs: Mapping[str, Any]
) -> tuple[System, Mapping[str, Any], list[str]]:
    """The system and its parameters without what is said of data, and what to say of that."""
    source, given = as_system(system, params, inputs)
    if not isinstance(source, System):
        raise TypeError(
            f"system: expected an SDE, ODE or DiscreteTime, got {type(system).__name__}"
        )
    bare, only = unobserved(source, given, inputs)
    announced = []
    if source.observation is not None:
        unused = f", nor is {', '.join(only)}, which only it asks for" if only else ""
        announced.append(f"the system's observation is not used{unused}")
    return bare, {k: v for k, v in given.items() if k not in only}, announced


def choose_law(
    arrays: Arrays, chosen: Simulator | None, parametrization: Parametrization
) -> tuple[PathLaw, str]:
    """What carries states over gaps, and why."""
    system = arrays.design.system
    guided, centred = (isinstance(parametrization, kind) for kind in (Guided, Centred))
    if chosen is not None and not isinstance(chosen, Simulator):
        raise TypeError(
            "discretization: expected EulerMaruyama(dt=...), LocalLinearization(dt=...), Exact() "
            f"or, for an ODE, ODESolve(), got {chosen!r}"
        )
    if system.is_deterministic:
        if guided or centred:
            word = "no noise along its path that Guided() could lead"
            if centred:
                word = "a path of which Centred() would have no density"
            raise ValueError(f"parametrization: an ODE has {word}; leave it out")
        if isinstance(chosen, Discretization):
            raise ValueError(
                f"discretization: {chosen!r} is for an SDE; an ODE takes ODESolve(), its default"
            )
        return PathLaw(solver=chosen or ODESolve()), "" if chosen else ": the system is an ODE"
    if system.step is not None:
        if chosen is not None:
            raise ValueError(
                f"discretization: {chosen!r} has no meaning for a DiscreteTime system, which "
                "moves in its own steps; leave it out"
            )
        scheme, why = default_simulator(system, arrays.gaps)
        assert isinstance(scheme, Discretization)
        return PathLaw(scheme, guided=guided, centred=centred), f": {why}"
    why = ""
    if chosen is None:
        chosen, why = default_scheme(system, arrays.gaps, STEPS_PER_GAP)
        why = f": {why}"
    if not isinstance(chosen, Discretization):
        raise ValueError("discretization: ODESolve() is for an ODE; an SDE takes EulerMaruyama()")
    chosen.check_simulates(system)
    return PathLaw(chosen, guided=guided, centred=centred), why
