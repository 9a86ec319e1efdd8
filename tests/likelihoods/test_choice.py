"""Which likelihood a system gets, and which it refuses."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.likelihoods import choose_likelihood
from pymc_dynsys.systems import bind_system

LINEAR = {
    "drift": lambda level: -level,
    "diffusion": 0.5,
    "initial": dist.Normal(0.0, 1.0),
    "observation": lambda level: dist.Normal(level, 0.1),
}


def sde(**changes):
    return bind_system(pds.SDE(states="level", **{**LINEAR, **changes}), {})


def ode(**changes):
    functions = {name: value for name, value in LINEAR.items() if name != "diffusion"}
    return bind_system(pds.ODE(states="level", **{**functions, **changes}), {})


def test_a_linear_system_gets_the_exact_filter():
    likelihood, why = choose_likelihood(sde())
    assert likelihood == pds.Kalman() and "exact" in why


def test_an_ode_with_a_known_start_is_solved():
    assert choose_likelihood(ode(initial=1.0))[0] == pds.ODESolve()
    poisson = ode(initial=1.0, observation=lambda level: dist.Poisson(level))
    assert choose_likelihood(poisson)[0] == pds.ODESolve()


def test_an_ode_with_an_uncertain_start_gets_a_filter():
    assert choose_likelihood(ode())[0] == pds.Kalman()
    assert choose_likelihood(ode(drift=lambda level: -(level**2)))[0] == pds.EKF()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"drift": lambda level: -(level**3)}, "drift is not affine"),
        ({"drift": lambda level, t: -level * jnp.cos(t)}, "drift depends on time"),
        ({"diffusion": lambda level: 0.1 * level}, "diffusion depends on the state"),
        ({"observation": lambda level: dist.Normal(level**2, 0.1)}, "mean of observation"),
    ],
)
def test_other_gaussian_systems_get_the_extended_filter(changes, reason):
    system = sde(**changes)
    likelihood, why = choose_likelihood(system)
    assert likelihood == pds.EKF()
    assert reason in why and "approximation" in why
    with pytest.raises(ValueError, match=f"Kalman.*{reason}"):
        pds.Kalman().check(system)


@pytest.mark.parametrize(
    ("observation", "reason"),
    [
        (lambda level: dist.Poisson(jnp.exp(level)), "observation is not Gaussian"),
        (lambda level: dist.Normal(level, 0.1 + level**2), "noise of observation depends on"),
    ],
)
def test_data_that_tell_of_the_state_in_other_ways_get_laplace(observation, reason):
    likelihood, why = choose_likelihood(sde(observation=observation))
    assert likelihood == pds.Laplace()
    assert reason in why and "approximation" in why


def test_gaussian_filters_refuse_another_distribution_with_the_choices():
    system = sde(observation=lambda level: dist.Poisson(jnp.exp(level)))
    for likelihood in (pds.EKF(), pds.EnKF()):
        with pytest.raises(
            ValueError, match=rf"{type(likelihood).__name__} needs a Gaussian observ.*Laplace\(\)"
        ):
            likelihood.check(system)


def test_a_start_that_is_not_gaussian_is_refused():
    system = sde(initial=dist.Gamma(2.0, 1.0))
    for likelihood in (pds.EKF(), pds.EnKF()):
        with pytest.raises(ValueError, match="Gaussian or exactly known initial state"):
            likelihood.check(system)
    with pytest.raises(ValueError, match="initial is not Gaussian"):
        pds.Kalman().check(system)


def test_schemes_that_do_not_suit_the_dynamics_are_refused():
    nonlinear = sde(drift=lambda level: -(level**3))
    for likelihood in (pds.EKF(pds.Exact()), pds.EnKF(discretization=pds.Exact())):
        with pytest.raises(
            ValueError, match=r"Exact\(\) needs linear dynamics, but drift is not affine"
        ):
            likelihood.check(nonlinear)


@pytest.mark.parametrize(
    "initial",
    [0.5, np.array([0.5]), (0.5,), dist.Delta(0.5), dist.Delta(jnp.array([0.5]), event_dim=1)],
)
def test_all_ways_to_know_a_start(initial):
    system = ode(initial=initial)
    assert system.proof.start.known
    assert choose_likelihood(system)[0] == pds.ODESolve()


def test_options_say_what_they_are():
    assert repr(pds.Kalman()) == "Kalman()"
    assert repr(pds.Kalman(pds.Exact())) == "Kalman(discretization=Exact())"
    assert pds.EKF(pds.LocalLinearization()) != pds.EKF(pds.EulerMaruyama())
    assert hash(pds.EnKF(seed=1)) != hash(pds.EnKF(seed=2))
