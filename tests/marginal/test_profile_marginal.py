"""Profiles beside closed forms: y_i ~ N(mu, tau^2 + 1), whose variance is v."""

import numpy as np
import pymc as pm
import pytest
from scipy.optimize import brentq
from scipy.stats import chi2

import pymc_dynsys as pds

Y = np.array([3.1, -1.2, 0.4, 5.0, 2.2, -2.9, 1.0, 4.1])
N = len(Y)
S2 = Y.var()


def build(y: np.ndarray) -> pm.Model:
    with pm.Model(coords={"group": range(N)}) as model:
        mu, tau = pm.Normal("mu"), pm.HalfNormal("tau")
        theta = pm.Normal("theta", mu, tau, dims="group")
        pm.Normal("y", theta, 1.0, observed=y, dims="group")
    return model


def depth(v: float) -> float:
    """Of the variance, with the mean at its best."""
    return N * (np.log(v / S2) + S2 / v - 1.0)


@pytest.fixture(scope="module")
def fitted():
    model = build(Y)
    return model, pds.fit_marginal(model, "group", progressbar=False)


def test_the_profile_of_a_mean(fitted):
    model, fit = fitted
    profile = pds.profile_marginal(fit, "mu", model=model, level=0.9)
    cutoff = chi2.ppf(0.9, 1)
    half = np.sqrt(S2 * np.expm1(cutoff / N))
    assert profile.attrs["cutoff"] == pytest.approx(cutoff)
    # Ends are where the root is within 1e-5 of that of the cutoff.
    assert profile.attrs["lower"] == pytest.approx(Y.mean() - half, abs=1e-4)
    assert profile.attrs["upper"] == pytest.approx(Y.mean() + half, abs=1e-4)
    x, root = profile["value"].values, profile["root"].values
    exact = np.sign(x - Y.mean()) * np.sqrt(N * np.log1p((x - Y.mean()) ** 2 / S2))
    # The top is where 1e-8 nats or fewer are left, a root of 1.4e-4.
    np.testing.assert_allclose(root, exact, atol=1.5e-4)
    assert (np.diff(x) > 0).all() and profile["best"].dims == ("point", "coordinate")


@pytest.mark.slow  # the mean asks for the same machinery
def test_the_profile_of_a_standard_deviation_is_lopsided(fitted):
    model, fit = fitted
    with model:
        profile = pds.profile_marginal(fit, "tau")
    cutoff = chi2.ppf(0.95, 1)
    ends = [
        brentq(lambda v: depth(v) - cutoff, *sorted((S2, S2 * factor))) for factor in (0.05, 20.0)
    ]
    found = [profile.attrs[end] ** 2 + 1.0 for end in ("lower", "upper")]
    np.testing.assert_allclose(found, ends, rtol=1e-4)


def test_an_end_that_the_data_do_not_exclude_is_that_of_the_range():
    model = build(0.6 * Y)
    fit = pds.fit_marginal(model, "group", progressbar=False, check=False)
    profile = pds.profile_marginal(fit, "tau", model=model, points=0)
    assert profile.attrs["lower"] == 0.0
    v = 0.36 * S2
    cutoff = chi2.ppf(0.95, 1)
    upper = brentq(lambda w: N * (np.log(w / v) + v / w - 1.0) - cutoff, v, 20 * v)
    assert profile.attrs["upper"] ** 2 + 1.0 == pytest.approx(upper, rel=1e-4)


def test_what_has_no_profile(fitted):
    model, fit = fitted
    with pytest.raises(ValueError, match=r"name: got 'theta'.*itself: mu, tau"):
        pds.profile_marginal(fit, "theta", model=model)
    with pytest.raises(ValueError, match="it is not the model of the fit"):
        pds.profile_marginal(fit, "mu", model=build(Y + 1.0))
    with pytest.raises(ValueError, match="level: got 95"):
        pds.profile_marginal(fit, "mu", model=model, level=95)
    with pytest.raises(TypeError, match="fit: expected"):
        pds.profile_marginal({}, "mu", model=model)
