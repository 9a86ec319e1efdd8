"""Parameters that a system only compares with something are said when the model is built."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds


def build(drift, params, observation=None):
    system = pds.ODE(
        states=("gut", "blood"),
        drift=drift,
        initial=(10.0, 0.0),
        observation=observation or (lambda blood: dist.Normal(blood, 0.5)),
    )
    with pm.Model(coords={"time": np.arange(4.0)}) as model:
        given = {name: pm.LogNormal(name) if v is None else v for name, v in params.items()}
        pds.Trajectory("y", system, params=given, observed=np.ones(4), dims="time")
    return model


def gated(gut, blood, ka, lag, t):
    flow = jnp.where(t > lag, ka, 0.0) * gut
    return -flow, flow - 0.1 * blood


def smooth(gut, blood, ka, lag, t):
    flow = jax.nn.sigmoid((t - lag) / 0.1) * ka * gut
    return -flow, flow - 0.1 * blood


def both(gut, blood, ka, lag, t):
    flow = jnp.where(t > lag, ka * (t - lag), 0.0) * gut
    return -flow, flow - 0.1 * blood


def test_a_lag_time_written_as_a_gate():
    message = r"y: the gradient in 'lag' is zero everywhere.*t > lag.*transit states"
    with pytest.warns(UserWarning, match=message):
        build(gated, {"ka": None, "lag": None})


@pytest.mark.parametrize("drift", [smooth, both])
def test_what_has_a_slope(drift):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(drift, {"ka": None, "lag": None})


def test_a_lag_that_is_known_or_seen_elsewhere():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(gated, {"ka": None, "lag": 0.5})
        build(
            gated,
            {"ka": None, "lag": None},
            lambda blood, lag: dist.Normal(blood, 0.5 * jnp.exp(lag)),
        )
