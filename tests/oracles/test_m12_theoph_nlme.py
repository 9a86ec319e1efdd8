"""M12: theophylline beside nlme: random absorption and clearance, no noise in the dynamics."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load, to_panel
from tests.oracles.posteriors import sample

CASE = load("M12")
TIME, CONC, DOSE = to_panel(CASE.subject, CASE.t, CASE.conc, CASE.dose)

ONE_COMPARTMENT = pds.ODE(
    states=("depot", "central"),
    drift=lambda depot, central, ka, ke, cl: (-ka * depot, ka * ke / cl * depot - ke * central),
    initial=lambda dose: (dose, jnp.zeros_like(dose)),
    observation=lambda central, sigma: dist.Normal(central, sigma),
)


def build() -> pm.Model:
    with pm.Model(coords={"subject": np.arange(1, 13), "visit": np.arange(11)}) as model:
        lke, lka, lcl = (pm.Normal(name, 0.0, 5.0) for name in ("lke", "lka", "lcl"))
        sd_ka, sd_cl = (pm.HalfNormal(name, 2.0) for name in ("sd_lka", "sd_lcl"))
        log = pds.effects.Log()
        params = {
            "ka": pds.effects.varying("ka", lka, sd_ka, dims="subject", centered=True, scale=log),
            "cl": pds.effects.varying("cl", lcl, sd_cl, dims="subject", centered=True, scale=log),
            "ke": pm.Deterministic("ke", pm.math.exp(lke)),
            "sigma": pm.HalfNormal("sigma", 5.0),
            "dose": xr.DataArray(DOSE[:, 0], dims="subject"),
        }
        pds.Trajectory(
            "conc",
            ONE_COMPARTMENT,
            params=params,
            observed=CONC,
            times=TIME,
            dims=("subject", "visit"),
            likelihood=pds.Kalman(),
        )
        model.set_initval(lke, -2.5)
        model.set_initval(lka, 0.5)
        model.set_initval(lcl, -3.2)
    return model


@pytest.mark.slow  # M09 asks for the likelihood of the same curves
def test_beside_nlme():
    posterior = sample(build(), draws=250, tune=250, chains=2, dense_mass=True)
    mean = posterior.mean()
    for name, theirs, se in zip(
        ("lke", "lka", "lcl"), CASE.out.fixef_lKe_lKa_lCl, CASE.out.se, strict=True
    ):
        assert abs(float(mean[name]) - theirs) <= 0.4 * se, name
    for name, theirs in (
        ("sd_lka", CASE.out.sd_lKa),
        ("sd_lcl", CASE.out.sd_lCl),
        ("sigma", CASE.out.sigma),
    ):
        assert abs(float(mean[name]) / theirs - 1.0) <= 0.3, name
