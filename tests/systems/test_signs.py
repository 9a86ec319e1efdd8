"""Priors of noises that reach negative numbers are named when the model is built."""

import warnings

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds

Y = np.array([0.1, 0.2, 0.3, 0.1])


def build(prior, system=None, **functions):
    """A model whose parameter `s` is made by `prior`, in the system's usual or other functions."""
    usual = {
        "drift": lambda level: -level,
        "diffusion": 0.3,
        "initial": dist.Normal(0.0, 1.0),
        "observation": lambda level: dist.Normal(level, 0.1),
    }
    with pm.Model(coords={"time": np.arange(4.0), "group": ["a", "b"]}) as model:
        s = prior()
        if system is not None:
            return pds.Trajectory("y", system(s), observed=Y, dims="time")
        built = pds.SDE(states="level", **{**usual, **functions})
        pds.Trajectory("y", built, params={"s": s}, observed=Y, dims="time")
    return model


def normal(mean=0.5, sd=1.0):
    return pm.Normal("scale", mean, sd)


def non_centred():
    """Never bounded, whatever its scale."""
    z = pm.Normal("z", 0.0, 1.0)
    return pm.Deterministic("scale", 0.4 + pm.HalfNormal("spread", 0.1) * z)


@pytest.mark.parametrize(
    ("prior", "changes", "message"),
    [
        (normal, {"diffusion": lambda s: s}, r"'scale' .* diffusion\(\) of level .*mirror image"),
        (lambda: normal(0.0), {"diffusion": lambda s: s}, "mirror image"),
        (normal, {"observation": lambda level, s: dist.Normal(level, s)}, "noise of observation"),
        (normal, {"observation": lambda level, s: pds.Gaussian(level, s)}, "noise of observation"),
        (normal, {"initial": lambda s: dist.Normal(0.0, s)}, r"initial\(\) has no density"),
        (non_centred, {"diffusion": lambda s: s}, "prior of 'z' reaches negative .*'s'"),
        (lambda: pm.StudentT("t", 3), {"diffusion": lambda s: s}, "prior of 't'"),
        (normal, {"system": lambda s: pds.local_level(s) + pds.white_noise(1.0)}, "transition"),
        (normal, {"system": lambda s: pds.local_level(1.0) + pds.white_noise(s)}, "observation"),
    ],
)
def test_a_prior_that_reaches_below_zero(prior, changes, message):
    with pytest.warns(UserWarning, match=f"{message}.*pm.HalfNormal"):
        build(prior, **changes)


@pytest.mark.parametrize(
    ("prior", "changes"),
    [
        (lambda: pm.HalfNormal("scale", 1.0), {"diffusion": lambda s: s}),
        (lambda: pm.math.exp(pm.Normal("log", 0.0, 1.0)), {"diffusion": lambda s: s}),
        (lambda: normal(1.0, 0.1), {"diffusion": lambda s: s}),
        (lambda: pm.Flat("scale", initval=0.4), {"diffusion": lambda s: s}),
        (normal, {"diffusion": lambda s: jnp.exp(s)}),
        (normal, {"drift": lambda level, s: s - level}),
        (normal, {"observation": lambda level, s: dist.Normal(s + level, 0.1)}),
        (
            lambda: pm.Deterministic("scale", pm.LogNormal("of", 0.0, 1.0, dims="group"))[0] + 1.0,
            {"diffusion": lambda s: s},
        ),
        (normal, {"system": lambda s: pds.autoregression(s, 1.0) + pds.white_noise(1.0)}),
    ],
)
def test_nothing_is_said_of_what_stays_positive_or_may_be_negative(prior, changes):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build(prior, **changes)
