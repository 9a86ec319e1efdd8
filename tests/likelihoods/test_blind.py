"""Noise that depends on the state: what Gaussian filters miss of it is said, never agreed on."""

import logging
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds

Y = np.array([0.4, -1.1, 0.2, 0.9])
NORMAL = dist.Normal(0.0, 1.0)


def sde(observation, states=("h",), drift=None, diffusion=0.3, initial=NORMAL):
    return pds.SDE(drift or (lambda h: -0.5 * h), diffusion, observation, initial, states)


def discrete(transition, observation, states, initial):
    return pds.DiscreteTime(transition, observation, initial, states)


def build(system, likelihood=None, y=Y):
    dims = "time" if np.ndim(y) == 1 else ("time", "component")
    with pm.Model(coords={"time": np.arange(4.0), "component": ["a", "b"]}) as model:
        params = {"s": pm.HalfNormal("s")} if "s" in str(_names(system)) else {}
        pds.Trajectory("y", system, params=params, observed=y, dims=dims, likelihood=likelihood)
    return model


def _names(system):
    return system.observation.__code__.co_varnames[: system.observation.__code__.co_argcount]


def volatility(h):
    return dist.Normal(0.0, jnp.exp(h / 2))


TWO = np.stack([Y, Y], axis=1)
PAIR = {
    "states": ("level", "h"),
    "drift": lambda level, h: (-level, -0.5 * h),
    "initial": dist.Normal(jnp.zeros(2), 1.0),
}
NOISY_PRICE = {
    "transition": lambda price, h: (dist.Normal(price, jnp.exp(h / 2)), dist.Normal(0.9 * h, 0.3)),
    "observation": lambda price: dist.Normal(price, 0.01),
    "states": ("price", "h"),
    "initial": (0.0, NORMAL),
}


@pytest.mark.parametrize(
    ("system", "y"),
    [
        (sde(volatility), Y),
        (sde(lambda h, s: dist.Normal(s, jnp.exp(h / 2))), Y),
        (sde(lambda h: dist.Normal(0.0 * h, jnp.exp(h / 2))), Y),
        (sde(lambda h: dist.Normal(0.0, 1.0 + jnp.clip(h, 0.0, 3.0))), Y),
        (sde(lambda h: pds.Gaussian(0.0, jnp.exp(h))), Y),
        (sde(lambda h: dist.Normal(jnp.zeros(2), jnp.exp(h / 2))), TWO),
        (
            sde(lambda h: dist.MultivariateNormal(jnp.zeros(2), jnp.exp(h) * jnp.eye(2))),
            TWO,
        ),
        # A component sees the level, none the other state.
        (
            sde(
                lambda level, h: dist.Normal(
                    jnp.stack([level, 0.0]), jnp.stack([0.1, jnp.exp(h / 2)])
                ),
                **PAIR,
            ),
            TWO,
        ),
        (sde(lambda level, h: dist.Normal(level, jnp.exp(h / 2)), **PAIR), Y),
        (
            discrete(lambda h: dist.Normal(0.9 * h, 0.3), volatility, ("h",), NORMAL),
            Y,
        ),
        # In the noise of another state, which is what is observed.
        (discrete(**NOISY_PRICE), Y),
        (
            sde(
                lambda level: dist.Normal(level, 0.1),
                **{**PAIR, "diffusion": lambda h: jnp.stack([jnp.exp(h / 2), 0.3])},
            ),
            Y,
        ),
    ],
)
def test_a_state_that_no_mean_of_the_data_depends_on_is_left_to_laplace(system, y, caplog):
    with caplog.at_level(logging.INFO, logger="pymc_dynsys"), warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build(system, y=y)
    assert isinstance(model["y"].owner.op.spec.likelihood, pds.Laplace)
    assert "noise" in caplog.text and "approximation" in caplog.text


@pytest.mark.parametrize(
    "sd",
    [lambda h: jnp.where(h > 0, 2.0, 1.0), lambda h: jnp.exp(jax.lax.stop_gradient(h))],
    ids=["steps", "a wall to slopes"],
)
def test_a_noise_without_a_slope_in_the_state_is_an_error(sd):
    with pytest.raises(ValueError, match=r"depends on h and has no slope in it.*ParticleFilter"):
        build(sde(lambda h: dist.Normal(0.0 * h, sd(h))))


@pytest.mark.parametrize("likelihood", [pds.EKF(), pds.UKF(), pds.EnKF(10)], ids=repr)
def test_whoever_asks_for_one_is_told_what_it_does_not_learn(likelihood):
    with pytest.warns(UserWarning, match=r"y: a noise depends on h.*learns nothing of it"):
        model = build(sde(volatility), likelihood, 3 * Y)
    check = pds.check_likelihood(model, n_seeds=2)["check"]
    assert check.attrs["reference"].startswith("Laplace(")
    assert (np.abs(check["reference_change"]) > 0.1).all()
    advice = " ".join(check.attrs["advice"])
    assert "learns nothing of it" in advice and "agree" not in advice and "exact" not in advice


PROPORTIONAL = sde(lambda h: dist.Normal(h, 0.1 + 0.2 * jnp.abs(h)))


def test_what_is_lost_where_mean_and_noise_depend_on_the_state_is_told_beside_laplace():
    check = pds.check_likelihood(build(PROPORTIONAL, pds.EKF()))["check"]
    advice = " ".join(check.attrs["advice"])
    assert check.attrs["reference"].startswith("Laplace(")
    assert "size of deviations" in advice and "exact" not in advice


@pytest.mark.parametrize("likelihood", [pds.EKF(), pds.UKF(), pds.EnKF(10)], ids=repr)
def test_on_request_it_is_in_the_log(likelihood, caplog):
    with caplog.at_level(logging.INFO, logger="pymc_dynsys"), warnings.catch_warnings():
        warnings.simplefilter("error")
        build(PROPORTIONAL, likelihood)
    assert "the noise of observation() depends on the state" in caplog.text


def test_kalman_names_the_noise_beside_a_mean_that_is_not_affine():
    with pytest.raises(ValueError, match=r"mean of observation is not affine.*the noise"):
        build(sde(lambda h: dist.Normal(h**2, jnp.exp(h))), pds.Kalman())


LEVEL = lambda level: dist.Normal(level, 0.1)  # noqa: E731
STIR = {**PAIR, "diffusion": lambda h: jnp.stack([jnp.exp(h / 2), 0.3])}


@pytest.mark.parametrize(
    "changes",
    [
        # Volatility moves the level's mean; is correlated with it by its noise; by its start.
        {"drift": lambda level, h: (0.5 * jnp.exp(h) - level, -0.5 * h)},
        {"diffusion": lambda h: jnp.array([[1.0, 0.0], [-0.5, 0.3]]) * jnp.exp(h / 2)},
        {"initial": dist.MultivariateNormal(jnp.zeros(2), jnp.array([[1.0, 0.2], [0.2, 1.0]]))},
    ],
)
def test_a_state_that_is_seen_by_way_of_another_is_left_to_the_filter(changes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build(sde(LEVEL, **{**STIR, **changes}))
    assert type(model["y"].owner.op.spec.likelihood) is pds.EKF


def test_the_noise_of_a_state_that_is_seen_is_no_reason_to_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = build(
            sde(
                lambda h: dist.Normal(h, 0.1),
                drift=lambda h: 1.0 - h,
                diffusion=lambda h: 0.1 * jnp.sqrt(jnp.maximum(h, 0.1)),
                initial=dist.Normal(1.0, 0.2),
            )
        )
    check = pds.check_likelihood(model, n_seeds=2)["check"]
    assert "EnKF" in check.attrs["reference"]
