"""D13: concentrations below the limit of quantification (method M3), from table to gradient."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.test_dose_tables import evaluate, params_of

CASE = load("D13")
LAST = {"add": 0.2, "prop": 0.12}


def observation(central, V, add, prop, DV_lower, DV_upper):
    mean = central / V
    sd = jnp.sqrt(add**2 + (prop * mean) ** 2)
    return pds.censored(dist.Normal(mean, sd), lower=DV_lower, upper=DV_upper)


def oral(observation):
    return pds.ODE(
        states=("depot", "central"),
        drift=lambda depot, central, ka, k: (-ka * depot, ka * depot - k * central),
        observation=observation,
        initial=(0.0, 0.0),
        events="depot",
    )


def panel(**changes):
    columns = {name: v for name, v in vars(CASE).items() if name.isupper() and name != "BLQ"}
    frame = pd.DataFrame({**columns, "CENS": CASE.BLQ, **changes})
    return pds.panel(
        frame,
        subject="ID",
        time="TIME",
        observed="DV",
        events="nonmem",
        censored="CENS",
        limit="LIMIT" if "LIMIT" in frame else None,
    )


def test_value_and_gradient():
    table = panel()
    bounds = {name: table[name] for name in ("DV_lower", "DV_upper")}
    # The case is met to 1e-7; the solver is a few digits beyond.
    solver = pds.ODESolve(rtol=1e-10, atol=1e-12)
    value, slopes = evaluate(oral(observation), table, params_of(CASE), bounds, solver)
    np.testing.assert_allclose(value.sum(), CASE.out.loglik, rtol=0, atol=1e-7)
    np.testing.assert_allclose(slopes, CASE.out.grad, rtol=1e-6)
