"""Data that their distribution cannot give: an error with subject, time, value and support."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

TIMES = np.array([0.5, 1.0, 2.0, 4.0])
Y = np.array([[0.0, 1.0, np.nan, 1.0], [1.0, 0.0, 1.0, 0.0]])
COORDS = {"subject": ["ann", "bob"], "time": TIMES}
BOTH = xr.DataArray(np.stack([Y, Y], -1), dims=("subject", "time", "item"))
BELOW = xr.DataArray(np.where(Y == 1, 1.0, -np.inf), dims=("subject", "time"))
CUTS = jnp.array([0.0, 1.0])
PLACE = r"subject='bob', time=1"


def build(observation, y, inputs=None, dims=("subject", "time"), coords=()):
    system = pds.ODE(
        states="level", drift=lambda level: -level, initial=2.0, observation=observation
    )
    with pm.Model(coords={**COORDS, **dict(coords)}) as model:
        value = pds.data("data", y, dims=dims)
        pds.Trajectory("y", system, observed=value, dims=dims, inputs=inputs)
    return model


@pytest.mark.parametrize(
    ("law", "value", "words"),
    [
        (lambda level: dist.Poisson(level), -1.0, "Poisson.*whole numbers from 0 on"),
        (lambda level: dist.NegativeBinomial2(level, 1.0), 0.5, "whole numbers from 0 on"),
        (lambda level: dist.Gamma(2.0, level), 0.0, "Gamma.*numbers above 0"),
        (lambda level: dist.LogNormal(level, 1.0), 0.0, "LogNormal.*numbers above 0"),
        (lambda level: dist.Beta(level, 1.0), 1.0, "Beta.*numbers from 0 to 1, both left out"),
        (lambda level: dist.Bernoulli(logits=level), 2.0, "Bernoulli.* 0 and 1"),
        (lambda level: dist.Binomial(3, logits=level), 4.0, "Binomial.* from 0 to 3"),
        (lambda level: dist.OrderedLogistic(level, CUTS), 3.0, "OrderedLogistic.* from 0 to 2"),
        (
            lambda level: pds.censored(dist.LogNormal(level, 1.0), lower=-1.0),
            -0.5,
            r"LogNormal \(censored\).*numbers above 0, and values at or beyond its bounds",
        ),
    ],
)
def test_values_outside_the_support(law, value, words):
    y = np.where(np.isnan(Y), np.nan, 0.5 if "Beta" in words or "above" in words else Y)
    y[1, 1] = value
    with pytest.raises(ValueError, match=rf"the value {value:g} \({PLACE}\).*{words}"):
        build(law, y)


@pytest.mark.parametrize("named", [True, False])
def test_the_component_is_named(named):
    def observation(level):
        laws = {"count": dist.Poisson(level), "yes": dist.Bernoulli(logits=level)}
        return laws if named else tuple(laws.values())

    y = BOTH.copy(deep=True)
    y[1, 1, 1] = 2.0
    of = {"item": ["count", "yes"]}
    with pytest.raises(ValueError, match=rf"value 2 \({PLACE}, item='yes'\).*Bernoulli"):
        build(observation, y, dims=y.dims, coords=of)


def test_trials_that_are_inputs():
    trials = xr.DataArray(np.ones((2, 4)), dims=("subject", "time"))
    trials[1, 1] = 0.0
    y = np.where(np.isnan(Y), np.nan, 1.0)
    with pytest.raises(ValueError, match=rf"value 1 \({PLACE}\).*numbers from 0 to 0"):
        build(lambda level, n: dist.Binomial(n, logits=level), y, {"n": trials})


def test_limits_on_the_wrong_side():
    def observation(level, low):
        return pds.censored(dist.Normal(level, 1.0), lower=low, limit=low + 1.0)

    with pytest.raises(ValueError, match=r"value 1 \(subject='ann', time=1\).*on the far side"):
        build(observation, Y, {"low": BELOW})


def test_only_bounds_may_be_infinite():
    with pytest.raises(ValueError, match="inputs: 'low' has an infinite value for subject='ann'"):
        build(lambda level, low: dist.Poisson(jnp.exp(level + low)), Y, {"low": BELOW})


def test_data_that_change_later():
    model = build(lambda level: dist.Poisson(level), Y)
    evaluate = model.compile_logp()
    with model:
        pm.set_data({"data": Y - 1.0})
    with pytest.raises(ValueError, match=r"the value -1 .*Poisson.*whole numbers from 0 on"):
        evaluate(model.initial_point())


@pytest.mark.parametrize(
    ("law", "bounds", "message"),
    [
        (dist.Normal(0.0, 1.0), {}, "give a lower or an upper bound"),
        (dist.Normal(jnp.zeros(2), 1.0), {"lower": 0.0}, r"Normal of shape \(2,\).*tuple"),
        (dist.Delta(0.0), {"lower": 0.0}, "without noise"),
        (dist.Normal(0.0, 1.0), {"lower": jnp.zeros(2)}, r"lower has shape \(2,\)"),
        (dist.Normal(0.0, 1.0), {"lower": np.nan}, "lower is NaN"),
        (dist.Normal(0.0, 1.0), {"lower": 1.0, "upper": 0.0}, "not below upper=0"),
        (dist.Normal(0.0, 1.0), {"lower": 1.0, "limit": 2.0}, "limit=2 closes no event"),
        (dist.VonMises(0.0, 1.0), {"lower": 0.0}, "VonMises has no distribution function"),
        (pds.censored(dist.Normal(0.0, 1.0), lower=0.0), {"upper": 1.0}, "censored already"),
        (0.0, {"lower": 0.0}, "expected a numpyro distribution, got float"),
    ],
)
def test_what_cannot_be_censored(law, bounds, message):
    with pytest.raises((ValueError, TypeError), match=message):
        pds.censored(law, **bounds)
