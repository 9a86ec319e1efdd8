"""Paths that leave the domain of a function of the system are said to be lost, at every door."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

LOST = r"of the paths are not finite, the first.* at time [0-9.]+\. .*jnp\.sqrt\(jnp\.maximum"
EULER = pds.EulerMaruyama(dt=0.1)
COORDS = {"subject": ["a", "b"], "time": [0.0, 1.0, 4.0]}


def cir(root, observation) -> pds.SDE:
    """Close to zero most of the time, where Euler steps go below it."""
    return pds.SDE(
        states=("rate",),
        drift=lambda rate, mean: 0.2 * (mean - rate),
        diffusion=lambda rate: 0.8 * root(rate),
        initial=dist.Delta(0.3),
        observation=observation,
    )


def counts(rate):
    return dist.Poisson(rate)


def level(rate):
    return dist.Normal(rate, 0.1)


BARE = cir(jnp.sqrt, level)
GUARDED = cir(lambda x: jnp.sqrt(jnp.maximum(x, 0.0)), level)
PARAMS = {"mean": 0.1}


def model_of(system) -> pm.Model:
    with pm.Model(coords=COORDS) as model:
        pds.Trajectory(
            "y",
            system,
            params=PARAMS,
            observed=np.full((2, 3), 0.3),
            dims=("subject", "time"),
            likelihood=pds.EKF(EULER),
            simulator=EULER,
        )
    return model


def test_lost_paths_are_counted_and_the_first_is_named():
    mean = xr.DataArray([0.1, 0.1], dims="subject", coords={"subject": ["a", "b"]})
    times = np.linspace(0.0, 20.0, 5)
    options = {"n": 20, "simulator": EULER, "random_seed": 1}
    with pytest.warns(UserWarning, match="first for subject='[ab]' at time") as caught:
        paths = pds.simulate(BARE, {"mean": mean}, times, **options)
    share = np.isnan(paths["states"].values).any(axis=(2, 3)).mean()
    assert 0.5 < share <= 1.0
    assert f"{share:.1%} of the paths" in str(caught[0].message)
    # The suite turns warnings into errors: there is none where nothing is lost.
    guarded = pds.simulate(GUARDED, {"mean": mean}, times, **options)
    assert np.isfinite(guarded["states"].values).all()


def test_a_count_at_a_lost_rate_is_missing_and_no_number():
    """JAX draws -1 at a rate that is NaN."""
    with pytest.warns(UserWarning, match=LOST):
        paths = pds.simulate(
            cir(jnp.sqrt, counts),
            PARAMS,
            np.linspace(0, 20, 5),
            n=20,
            simulator=EULER,
            random_seed=1,
        )
    lost = np.isnan(paths["states"].values[..., 0])
    np.testing.assert_array_equal(np.isnan(paths["observations"].values), lost)


def test_forecasts_and_predictive_draws_say_so_too():
    model = model_of(BARE)
    with pytest.warns(UserWarning, match=LOST):
        pds.forecast(None, model=model, times=[30.0], random_seed=1)
    with pytest.warns(UserWarning, match=r"simulated data are not finite.*jnp\.sqrt"), model:
        pm.sample_prior_predictive(5, random_seed=1)


def test_states_of_a_filter_that_failed_say_so_too():
    with pytest.warns(UserWarning, match="not finite at the model's initial point"):
        model = model_of(cir(lambda x: jnp.sqrt(x - 0.35), level))
    with pytest.warns(UserWarning, match=LOST):
        states = pds.sample_states(None, model=model, random_seed=1)
    assert np.isnan(states.posterior["states"].values).any()
    with pytest.warns(UserWarning, match="y: innovations: 100.0% of the paths are not finite"):
        pds.innovations(None, model=model)
