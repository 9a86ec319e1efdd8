"""M02: radon in 85 counties, varying intercepts and slopes, exact posterior by quadrature."""

import arviz as az
import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.posteriors import assert_posterior_matches, sample_tree

CASE = load("M02")
COUNTIES = np.unique(CASE.county)
COUNTY = xr.DataArray(CASE.county, dims="home", name="county")
FLOOR = xr.DataArray(CASE.floor, dims="home", name="floor")


def radon(**centered: bool) -> pm.Model:
    with pm.Model(coords={"county": COUNTIES, "home": np.arange(len(CASE.y))}) as model:
        population = {
            name: (pm.Normal(f"mu_{name}", 0.0, 1e4), pm.HalfCauchy(f"sigma_{name}", 5.0))
            for name in "ab"
        }
        a, b = (
            pds.effects.varying(name, *population[name], dims="county", centered=centered[name])
            for name in "ab"
        )
        slope = pds.effects.covariates("by_floor", b, FLOOR, within=COUNTY, center=False)
        mean = pds.effects.combine("mean", [a, slope], dims="home", within=COUNTY)
        eps = pm.HalfCauchy("eps", 5.0)
        pm.Normal("y", mean, eps, observed=CASE.y, dims="home")
    return model


@pytest.mark.slow
def test_population_and_counties():
    """Slopes, of which the data say little, are non-centred; intercepts need not be."""
    idata = sample_tree(
        radon(a=True, b=False),
        draws=2500,
        tune=1000,
        chains=2,
        target_accept=0.95,
        var_names=["mu_a", "mu_b", "sigma_a", "sigma_b", "eps", "a", "b"],
    )
    posterior = idata["posterior"].dataset
    assert_posterior_matches(
        posterior, CASE.out, ["eps", "sigma_a", "sigma_b", "a", "b"], sd_ratio=(0.85, 1.15)
    )
    for i, name in enumerate("ab"):
        draws = posterior[f"mu_{name}"]
        error = abs(float(draws.mean()) - CASE.out.mu_mean[i])
        assert error <= 4 * float(az.mcse(draws, method="mean"))
    assert float(az.ess(posterior["sigma_b"])) >= 400
    assert int(idata["sample_stats"]["diverging"].sum()) == 0


def test_maximum_is_no_summary():
    """At the mode of the centred density all slopes are the same, and their sd is zero."""
    model = radon(a=True, b=True)
    mode = pm.find_MAP(
        model=model,
        progressbar=False,
        jitter=False,
        return_inferencedata=True,
        compile_kwargs={"mode": "JAX"},
    )["posterior"]
    assert mode["sigma_b"].item() < 0.02 * CASE.out.sigma_b_mean
    assert mode["b"].std().item() < 0.02 * np.std(CASE.out.b_mean)
