"""M09: theophylline in twelve subjects, one compartment, no noise in the dynamics."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from scipy.stats import norm

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function
from tests.oracles.cases import load
from tests.oracles.posteriors import assert_posterior_matches, sample

CASE = load("M09")
FUNCTIONS = {
    "states": ("depot", "central"),
    "drift": lambda depot, central, lka, lke, lcl: (
        -jnp.exp(lka) * depot,
        jnp.exp(lka + lke - lcl) * depot - jnp.exp(lke) * central,
    ),
    "initial": lambda dose: (dose, 0.0),
    "observation": lambda central, s_obs: dist.Normal(central, s_obs),
}
ODE = pds.ODE(**FUNCTIONS)
SDE = pds.SDE(**FUNCTIONS, diffusion=0.0)
PATHS = {
    "ODE solver": (ODE, pds.ODESolve(rtol=1e-10, atol=1e-10)),
    "stiff ODE solver": (ODE, pds.ODESolve(rtol=1e-10, atol=1e-10, stiff=True)),
    "Kalman on the ODE": (ODE, pds.Kalman()),
    "Kalman on an SDE without noise": (SDE, pds.Kalman()),
    "EKF on an SDE without noise": (SDE, pds.EKF()),
}
S_OBS = 0.7093
POINT = {
    "lke": CASE.out.fixed_point[0],
    "lka": CASE.out.fixed_point[1],
    "lcl": CASE.out.fixed_point[2],
    "s_obs": S_OBS,
    "dose": CASE.dose,
}


@pytest.mark.parametrize("name", PATHS)
def test_likelihood_at_the_fixed_point(name):
    system, likelihood = PATHS[name]
    function = likelihood_function(system, likelihood, CASE.y, CASE.t, dict.fromkeys(POINT, ()))
    by_subject = function(as_arrays(POINT))
    expected = norm(CASE.out.conc_fixed_point, S_OBS).logpdf(CASE.y).sum(-1)
    np.testing.assert_allclose(by_subject, expected, rtol=0, atol=1e-6)


def test_concentrations_at_the_fixed_point():
    subject = xr.DataArray(CASE.dose, dims="subject")
    paths = pds.simulate(
        ODE,
        {**POINT, "dose": subject},
        xr.DataArray(CASE.t, dims=("subject", "time")),
        simulator=PATHS["ODE solver"][1],
    )
    conc = paths.states.sel(state="central").isel(sample=0)
    np.testing.assert_allclose(conc, CASE.out.conc_fixed_point, rtol=1e-6, atol=1e-8)


def build_model(system, likelihood) -> pm.Model:
    with pm.Model(coords={"subject": np.arange(12), "visit": np.arange(11)}) as model:
        lka, lcl = pm.Normal("lKa", 0.5, 1.0), pm.Normal("lCl", -3.2, 1.0)
        tau_lka, tau_lcl = pm.HalfNormal("tau_lKa", 1.0), pm.HalfNormal("tau_lCl", 0.5)
        pds.Trajectory(
            "conc",
            system,
            params={
                "lke": pm.Normal("lKe", -2.5, 0.5),
                "lka": pm.Normal("lKa_i", lka, tau_lka, dims="subject"),
                "lcl": pm.Normal("lCl_i", lcl, tau_lcl, dims="subject"),
                "s_obs": pm.HalfNormal("s_obs", 2.0),
                "dose": xr.DataArray(CASE.dose, dims="subject"),
            },
            observed=CASE.y,
            times=CASE.t,
            dims=("subject", "visit"),
            likelihood=likelihood,
        )
    return model


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Kalman on an SDE without noise", "ODE solver"])
def test_posterior_by_long_sampling(name):
    system, likelihood = PATHS[name]
    if name == "ODE solver":
        likelihood = pds.ODESolve()
    posterior = sample(build_model(system, likelihood), draws=1000, tune=1000, chains=4)
    names = ("lKe", "lKa", "lCl", "tau_lKa", "tau_lCl", "s_obs", "lKa_i", "lCl_i")
    assert_posterior_matches(posterior, CASE.out, names, sd_ratio=(0.85, 1.15))
