"""M11: radon with varying intercepts beside lme4, and with the residual sd fixed at one."""

from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from scipy.stats import halfnorm

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.posteriors import assert_posterior_matches, sample

CASE = load("M11")
COUNTIES, INDEX = np.unique(CASE.county, return_inverse=True)
COUNTY = xr.DataArray(CASE.county, dims="home", name="county")
FLOOR = xr.DataArray(CASE.floor, dims="home", name="floor")


def radon(prior_sd: float, residual_sd: float | None) -> pm.Model:
    """One intercept a county; the residual sd is learnt unless it is given."""
    with pm.Model(coords={"county": COUNTIES, "home": np.arange(len(CASE.y))}) as model:
        intercept = pm.Normal("intercept", 0.0, prior_sd)
        slope = pm.Normal("floor", 0.0, prior_sd)
        scale = pm.HalfNormal("scale", 1.0)
        county = pds.effects.varying("county_effect", 0.0, scale, dims="county")
        by_floor = pds.effects.covariates("by_floor", slope, FLOOR, center=False)
        mean = pds.effects.combine(
            "mean", [intercept, by_floor, county], dims="home", within=COUNTY
        )
        sd = residual_sd or pm.HalfNormal("residual", 2.0)
        pm.Normal("y", mean, sd, observed=CASE.y, dims="home")
    return model


@pytest.mark.slow
def test_beside_lme4():
    posterior = sample(radon(10.0, None), draws=1000, tune=500, chains=2)
    mean = posterior.mean()
    assert float(mean["intercept"]) == pytest.approx(CASE.out.ri_REML_intercept, abs=0.02)
    assert float(mean["floor"]) == pytest.approx(CASE.out.ri_REML_floor, abs=0.02)
    assert float(mean["scale"]) == pytest.approx(CASE.out.ri_REML_sd_county, abs=0.02)
    assert float(mean["residual"]) == pytest.approx(CASE.out.ri_REML_sd_resid, abs=0.005)
    counties = posterior["county_effect"].mean(("chain", "draw"))
    # lme4 takes its estimate of the county sd as known, which shrinks counties a little otherwise.
    error = np.abs(counties - CASE.out.ri_blup) / CASE.out.ri_blup_condsd
    assert error.max() < 0.25


def exact_with_residual_one() -> dict:
    """Posterior given the county scale is normal; the scale itself is one integral.

    The weights of the fixed effects and counties have the prior N(0, diag(1, 1, s^2, ...)).
    """
    design = np.column_stack([np.ones_like(CASE.y), CASE.floor, np.eye(len(COUNTIES))[INDEX]])
    nodes, weights = np.polynomial.legendre.leggauss(400)
    scales, weights = 0.75 * (nodes + 1.0), 0.75 * weights  # to 1.5, far beyond the posterior
    log_density, means, seconds = [], [], []
    for s in scales:
        prior = np.r_[1.0, 1.0, np.full(len(COUNTIES), s**-2.0)]
        precision = design.T @ design + np.diag(prior)
        covariance = np.linalg.inv(precision)
        mean = covariance @ design.T @ CASE.y
        evidence = 0.5 * (
            np.log(prior).sum() - np.linalg.slogdet(precision)[1] + mean @ precision @ mean
        )
        log_density.append(evidence + halfnorm.logpdf(s))
        means.append(mean[:2])
        seconds.append(np.diag(covariance)[:2] + mean[:2] ** 2)
    density = np.exp(log_density - np.max(log_density)) * weights
    density /= density.sum()
    mean, second = density @ np.array(means), density @ np.array(seconds)
    scale, squared = density @ scales, density @ scales**2
    sd = np.sqrt(np.r_[second - mean**2, squared - scale**2])
    names = ["intercept", "floor", "scale"]
    return dict(zip(names, zip(np.r_[mean, scale], sd, strict=True), strict=True))


@pytest.mark.slow
def test_with_the_residual_sd_at_one():
    """The model of the published variational fit, whose residual sd is one and not 0.76."""
    exact = exact_with_residual_one()
    posterior = sample(radon(1.0, 1.0), draws=1000, tune=500, chains=2)
    expected = SimpleNamespace()
    for name, (mean, sd) in exact.items():
        setattr(expected, f"{name}_mean", mean)
        setattr(expected, f"{name}_sd", sd)
    assert_posterior_matches(posterior, expected, list(exact), sd_ratio=(0.9, 1.1))
