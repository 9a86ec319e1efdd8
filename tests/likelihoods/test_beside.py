"""A missing component whose prediction is not finite, beside one that is there."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

TIMES = np.array([0.0, 1.0, 2.0])
Y = np.array([[np.nan, 0.9], [0.2, 0.7], [-0.4, np.nan]])


def logarithms(conc, effect):
    return dist.Normal(jnp.stack([jnp.log(conc), effect]), 0.3).to_event(1)


def build(observation, y=Y, likelihood=None, t0=0.0, subjects=("ann",)):
    """A drug whose concentration is zero until the dose at time 0, and an effect that decays."""
    parts = {
        "states": ("conc", "effect"),
        "drift": lambda conc, effect, k, r: (-k * conc, -r * effect),
        "initial": (0.0, 1.0),
        "observation": observation,
        "events": "conc",
    }
    system = pds.ODE(**parts)
    if likelihood is not None:
        system = pds.SDE(diffusion=(0.0, 0.1), **parts)
    doses = xr.Dataset({"event_time": ("event", [0.0]), "event_amount": ("event", [2.0])})
    coords = {"subject": list(subjects), "time": TIMES, "of": ["conc", "effect"]}
    with pm.Model(coords=coords) as model:
        pds.Trajectory(
            "y",
            system,
            params={"k": pm.LogNormal("k", 0.0, 1.0), "r": pm.LogNormal("r", 0.0, 1.0)},
            observed=np.stack([y] * len(subjects)),
            events=doses,
            t0=t0,
            dims=("subject", "time", "of"),
            likelihood=likelihood,
        )
    return model


def named(conc, effect):
    return {"conc": dist.Normal(jnp.log(conc), 0.3), "effect": dist.Normal(effect, 0.3)}


def positive(conc, effect):
    """A law that is not Gaussian."""
    return dist.LogNormal(jnp.stack([jnp.log(conc), effect]), 0.3).to_event(1)


def root(conc, effect):
    """Finite at zero, but for its slope."""
    return dist.Normal(jnp.stack([jnp.sqrt(conc), effect]), 0.3).to_event(1)


@pytest.mark.parametrize(
    ("observation", "likelihood"),
    [(logarithms, None), (named, pds.EKF()), (positive, None), (root, pds.EnKF(10))],
    ids=["logarithms", "named", "positive", "root"],
)
def test_it_is_named_with_its_remedy(observation, likelihood):
    y = np.exp(Y) if observation is positive else Y
    message = r"time 0 of subject=.ann. .* of=conc, which is missing.* and effect is there.*where"
    with pytest.raises(ValueError, match=message):
        build(observation, y, likelihood)


def test_so_it_is_between_a_start_and_the_first_dose():
    with pytest.raises(ValueError, match=r"at time 0 of subject=.ann. "):
        build(logarithms, t0=-3.0)


def test_guarded_it_has_value_and_gradient_of_what_is_there():
    def guarded(conc, effect):
        safe = jnp.where(conc > 0, conc, 1.0)
        return dist.Normal(jnp.stack([jnp.log(safe), effect]), 0.3).to_event(1)

    model = build(guarded)
    point = {"k_log__": np.log(0.8), "r_log__": np.log(0.3)}
    value = model.compile_logp(vars=model.observed_RVs)(point)
    gradient = model.compile_dlogp(vars=model.free_RVs)(point)

    def referee(k, r, priors=False):
        mean = np.stack([np.log(2.0) - k * TIMES, np.exp(-r * TIMES)], axis=1)
        terms = -0.5 * ((Y - mean) / 0.3) ** 2 - np.log(0.3 * np.sqrt(2 * np.pi))
        prior = -0.5 * (np.log(k) ** 2 + np.log(r) ** 2)
        return np.nansum(terms) + (prior if priors else 0.0)

    np.testing.assert_allclose(value, referee(0.8, 0.3), rtol=1e-6)
    h = 1e-6
    slopes = [
        (referee(0.8 * np.exp(h), 0.3, True) - referee(0.8 * np.exp(-h), 0.3, True)) / (2 * h),
        (referee(0.8, 0.3 * np.exp(h), True) - referee(0.8, 0.3 * np.exp(-h), True)) / (2 * h),
    ]
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5)


def test_where_all_of_a_visit_is_missing_nothing_is_said():
    y = Y.copy()
    y[0] = np.nan
    model = build(logarithms, y)
    assert np.isfinite(model.compile_dlogp()(model.initial_point())).all()
