"""Values that a system meets where it is not defined."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.bad_inputs.models import (
    COORDS,
    TIMES,
    Y,
    build,
    cases,
    decay,
    dense_ou,
    ou,
    slopes,
    terms,
)


@pytest.mark.parametrize("likelihood", [pds.EKF(), pds.EnKF()], ids=repr)
def test_a_square_root_of_a_negative_state_is_told_and_has_no_likelihood(likelihood):
    cir = ou(diffusion=lambda level: 0.3 * jnp.sqrt(level), initial=dist.Normal(-0.5, 0.1))
    with pytest.warns(UserWarning, match="diffusion.. is not finite.*jnp.where"):
        model = build(cir, likelihood=likelihood)
    np.testing.assert_array_equal(terms(model), -np.inf)
    assert np.isfinite(slopes(model)).all()


@cases(
    {
        "square root": lambda level, mu: jnp.sqrt(mu * mu) - level,
        "power": lambda level, mu: (mu * mu) ** 0.5 - level,
        "norm": lambda level, mu: jnp.linalg.norm(jnp.stack([mu, mu])) - level,
    }
)
def test_a_gradient_that_is_not_finite_at_the_start_is_told(case):
    with pytest.warns(UserWarning, match=r"drift\(\) is finite, but its gradient .* mu is not"):
        build(ou(drift=case))


def test_a_gradient_in_the_state_that_is_not_finite_at_the_start_is_told():
    with pytest.warns(UserWarning, match=r"diffusion\(\) is finite, but its gradient .* the state"):
        build(ou(diffusion=lambda level: 0.3 * jnp.sqrt(level)))


@pytest.mark.parametrize("likelihood", [pds.Kalman(), pds.EKF(), pds.EnKF()], ids=repr)
def test_a_negative_scale_met_while_sampling_is_minus_infinity_with_a_finite_gradient(likelihood):
    with pm.Model(coords=COORDS) as model:
        mu = pm.Normal("mu", 1.0, 1.0)
        system = ou(
            drift=lambda level: -0.5 * level,
            observation=lambda level, mu: dist.Normal(level, mu),
        )
        with pytest.warns(UserWarning, match=r"prior of 'mu' reaches negative values"):
            pds.Trajectory(
                "y",
                system,
                params={"mu": mu},
                observed=Y,
                dims=("subject", "time"),
                likelihood=likelihood,
            )
    value = model.compile_logp(mode="FAST_COMPILE")
    slope = model.compile_dlogp(mode="FAST_COMPILE")
    assert np.isfinite(value({"mu": np.array(0.2)}))
    assert value({"mu": np.array(-0.2)}) == -np.inf
    assert np.isfinite(slope({"mu": np.array(-0.2)})).all()


@pytest.mark.parametrize("law", [pds.Gaussian, dist.MultivariateNormal])
def test_an_indefinite_noise_met_while_sampling_is_minus_infinity_with_a_finite_gradient(law):
    def observation(level, mu):
        return law(
            jnp.stack([level, level]), jnp.stack([jnp.stack([1.0, mu]), jnp.stack([mu, 1.0])])
        )

    model = build(
        ou(drift=lambda level: -0.5 * level, observation=observation),
        observed=np.stack([Y, Y + 0.1], -1),
        coords={**COORDS, "component": [0, 1]},
        dims=("subject", "time", "component"),
    )
    assert np.isfinite(terms(model, 0.5)).all()
    np.testing.assert_array_equal(terms(model, 1.5), -np.inf)
    assert np.isfinite(slopes(model, 1.5)).all()


def test_no_observation_noise_is_a_likelihood_unless_it_contradicts_itself():
    exact = ou(observation=lambda level: pds.Gaussian(level, 0.0))
    np.testing.assert_allclose(terms(build(exact)), dense_ou(TIMES, noise=0.0), rtol=1e-10)
    with pytest.raises(ValueError, match="time 1 of subject='a' is predicted without variance"):
        build(exact, times=[0, 1, 1, 3])


@cases(
    {
        "a negative count": (lambda amount: dist.Poisson(amount), "whole numbers from 0 on"),
        "a negative concentration": (
            lambda amount: dist.LogNormal(jnp.log(amount), 0.2),
            "numbers above 0",
        ),
    }
)
def test_data_outside_the_support_are_an_error(case):
    observation, support = case
    y = np.full((3, 4), -1.0)
    with pytest.raises(ValueError, match=rf"value -1 \(subject='a', time=0\).*{support}"):
        build(decay(observation=observation), observed=y)
