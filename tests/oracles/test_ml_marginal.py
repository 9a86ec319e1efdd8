"""ML01 to ML05, M03, M11 and M12: maximum marginal likelihood beside lme4, glmer and nlme."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds
from tests.oracles import test_m03_hierarchical_ou as m03
from tests.oracles.cases import load


def table(fit: xr.DataTree, *names: str) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and standard errors of rows of the summary."""
    found = fit["summary"].to_dataframe()
    rows = [row for name in names for row in found.index if row.split("[")[0] == name]
    return found.loc[rows, "estimate"].to_numpy(), found.loc[rows, "standard_error"].to_numpy()


def poisson(y, design, member, over: str, centred: bool) -> pm.Model:
    """A Poisson regression with a normal intercept of each member."""
    labels, index = np.unique(member, return_inverse=True)
    coords = {over: labels, "term": np.arange(design.shape[1])}
    with pm.Model(coords=coords) as model:
        b = pm.Normal("b", 0.0, 5.0, dims="term")
        sd = pm.HalfNormal("sd", 1.0)
        v = pm.Normal("v", 0.0, sd if centred else 1.0, dims=over)
        effect = v if centred else sd * v
        pm.Poisson("y", pm.math.exp(design @ b + effect[index]), observed=y.astype(int))
    return model


def radon(case, slopes: bool) -> pm.Model:
    """Radon by county, with random intercepts, or with correlated slopes too."""
    counties, index = np.unique(case.county, return_inverse=True)
    coords = {"county": counties, "effect": ["intercept", "floor"]}
    with pm.Model(coords=coords) as model:
        b = pm.Normal("b", 0.0, 5.0, dims="effect")
        sigma = pm.HalfNormal("sigma", 1.0)
        mean = b[0] + b[1] * case.floor
        if slopes:
            scales = pm.HalfNormal.dist(1.0, shape=2)
            root, _, _ = pm.LKJCholeskyCov("root", n=2, eta=1.0, sd_dist=scales)
            u = pm.MvNormal("u", np.zeros(2), chol=root, dims=("county", "effect"))
            mean += u[index, 0] + u[index, 1] * case.floor
        else:
            sd = pm.HalfNormal("sd", 1.0)
            mean += pm.Normal("u", 0.0, sd, dims="county")[index]
        pm.Normal("y", mean, sigma, observed=case.y)
    return model


@pytest.fixture(scope="module")
def intercepts() -> xr.DataTree:
    return pds.fit_marginal(radon(load("ML01"), slopes=False), "county", progressbar=False)


def test_ml01_random_intercepts_are_those_of_lmer(intercepts):
    fit = intercepts
    assert fit.attrs["log_likelihood"] == pytest.approx(-1081.825287, abs=1e-5)
    estimate, error = table(fit, "b")
    assert estimate == pytest.approx([1.46115822, -0.6926364712], abs=1e-4)
    assert error == pytest.approx([0.05157, 0.07052], abs=1e-4)
    assert table(fit, "sd", "sigma")[0] == pytest.approx([0.3244640207, 0.7551596209], rel=1e-3)
    assert abs(fit.attrs["approximation_error"]) < 1e-8
    assert fit.attrs["nats_left"] < 1e-8


def test_m11_counties_are_those_of_lme4(intercepts):
    """lme4's are with REML's variances, which differ a little from those of maximum likelihood."""
    case = load("M11")
    mode = intercepts["mode"]["u"]
    assert list(mode["county"].values) == list(np.unique(case.county))
    error = np.abs(mode.values - case.out.ri_blup) / case.out.ri_blup_condsd
    assert error.max() < 0.05
    sd = intercepts["conditional_sd"]["u"].values
    assert sd == pytest.approx(case.out.ri_blup_condsd, rel=0.05)


def test_ml01_correlated_slopes_are_those_of_lmer():
    fit = pds.fit_marginal(radon(load("ML01"), slopes=True), "county", progressbar=False)
    assert fit.attrs["log_likelihood"] == pytest.approx(-1080.5544, abs=1e-5)
    assert table(fit, "b")[0] == pytest.approx([1.462436446, -0.682457605], abs=1e-4)
    assert table(fit, "root_stds")[0] == pytest.approx([0.34426665, 0.32827662], rel=1e-3)
    correlation = float(fit["estimate"]["root_corr"].values[0, 1])
    assert correlation == pytest.approx(-0.339479, abs=1e-3)
    assert table(fit, "sigma")[0] == pytest.approx([0.74633749], rel=1e-3)


def test_ml04_counts_are_those_of_glmer():
    case = load("ML04")
    ones = np.ones_like(case.lbase)
    columns = (ones, case.lbase, case.trt, case.lage, case.V4, case.lbase * case.trt)
    model = poisson(case.y, np.column_stack(columns), case.subject, "subject", centred=True)
    fit = pds.fit_marginal(model, "subject", progressbar=False)
    assert fit.attrs["log_likelihood"] == pytest.approx(-665.47443, abs=5e-4)
    assert fit.attrs["log_likelihood"] > -665.4747905  # glmer's, which stopped short
    estimate, error = table(fit, "b", "sd")
    expected = [1.83282, 0.88348, -0.33421, 0.48093, -0.15977, 0.33891, 0.50113]
    errors = [0.10529, 0.13086, 0.14765, 0.34634, 0.05458, 0.20279, 0.05834]
    assert np.abs((estimate - expected) / errors).max() < 0.01
    assert error == pytest.approx(errors, rel=1e-3)
    # The check knows what nine nodes would have said.
    finer = fit.attrs["log_likelihood"] + fit.attrs["approximation_error"]
    assert finer == pytest.approx(-665.40658, abs=1e-3)

    fit = pds.fit_marginal(model, "subject", quadrature=9, progressbar=False)
    expected = [1.832764494, 0.883400856, -0.334254313, 0.480575292, -0.159775606, 0.338802775]
    assert np.abs((table(fit, "b")[0] - expected) / errors[:6]).max() < 0.01
    assert table(fit, "sd")[0] == pytest.approx([0.502386], abs=1e-4)
    assert fit.attrs["log_likelihood"] == pytest.approx(-665.40658, abs=1e-4)


def test_ml05_ticks_by_brood_are_those_of_glmer():
    case = load("ML05")
    columns = (np.ones_like(case.cheight), case.year == 96, case.year == 97, case.cheight)
    design = np.column_stack(columns).astype(float)
    model = poisson(case.ticks, design, case.brood, "brood", centred=False)
    fit = pds.fit_marginal(model, "brood", progressbar=False)
    assert fit.attrs["log_likelihood"] == pytest.approx(-989.0377461, abs=1e-4)
    estimate, error = table(fit, "b", "sd")
    expected = [0.50917345, 1.1359009041, -1.0011299729, -0.0238660896, 0.9497031]
    assert np.abs((estimate - expected) / error).max() < 0.01
    assert error[:4] == pytest.approx([0.1866184866, 0.24239, 0.269688, 0.00301067], rel=1e-3)
    finer = fit.attrs["log_likelihood"] + fit.attrs["approximation_error"]
    assert finer == pytest.approx(-988.95537, abs=1.5e-3)


def theophylline(case) -> pm.Model:
    labels, index = np.unique(case.subject, return_inverse=True)
    with pm.Model(coords={"subject": labels}) as model:
        log_ke = pm.Normal("lKe", -2.5, 1.0)
        log_ka, log_cl = pm.Normal("lKa", 0.5, 1.0), pm.Normal("lCl", -3.2, 1.0)
        sd_ka, sd_cl = pm.HalfNormal("sd_lKa", 1.0), pm.HalfNormal("sd_lCl", 1.0)
        sigma = pm.HalfNormal("sigma", 1.0)
        ka = pm.math.exp(pm.Normal("a", log_ka, sd_ka, dims="subject"))[index]
        cl = pm.math.exp(pm.Normal("c", log_cl, sd_cl, dims="subject"))[index]
        ke = pm.math.exp(log_ke)
        curve = pm.math.exp(-ke * case.t) - pm.math.exp(-ka * case.t)
        pm.Normal("y", case.dose * ke * ka / (cl * (ka - ke)) * curve, sigma, observed=case.conc)
    return model


NAMES = ("lKe", "lKa", "lCl", "sd_lKa", "sd_lCl", "sigma")


def test_ml02_theophylline_is_not_the_linearized_likelihood_of_nlme():
    model = theophylline(load("ML02"))
    fit = pds.fit_marginal(model, "subject", progressbar=False)
    estimate, error = table(fit, *NAMES)
    expected = np.array([-2.45888, 0.47907, -3.22668, 0.65392, 0.16736, 0.70798])
    assert np.abs((estimate - expected) / error).max() < 0.02
    assert error[:3] == pytest.approx([0.05116, 0.19758, 0.05944], rel=1e-3)
    assert fit.attrs["log_likelihood"] == pytest.approx(-177.87021, abs=1e-3)
    # 521 x 521 trapezoids at this estimate, independent of any package.
    finer = fit.attrs["log_likelihood"] + fit.attrs["approximation_error"]
    assert finer == pytest.approx(-177.740554164, abs=5e-4)

    # M12: nlme's estimates, though not its log-likelihood.
    nlme = np.array([-2.45470438, 0.4657362896, -3.227222886])
    assert np.abs((estimate[:3] - nlme) / [0.05249, 0.19856, 0.06001]).max() < 0.1
    assert estimate[3:5] == pytest.approx([0.643574711083, 0.166928200346], rel=0.02)

    # The exact value at the optimum of nine nodes: an error that falls with the nodes.
    errors = []
    for nodes in (3, 9):
        fit = pds.fit_marginal(model, "subject", quadrature=nodes, progressbar=False)
        errors.append(abs(fit.attrs["log_likelihood"] + 177.739895604))
    assert errors[0] > 10 * errors[1]
    assert errors[1] < 7e-4
    assert np.abs((table(fit, "lKa")[0] - 0.48078) / error[1]).max() < 0.002


@pytest.mark.slow  # ML02 asks for the same, without a filter; M03 with one
def test_ml03_phenobarbital():
    from examples import phenobarbital

    model = phenobarbital.build_model(phenobarbital.read_panel(), process_noise=False)
    fit = pds.fit_marginal(model, "subject", progressbar=False)
    estimate, error = table(fit, *phenobarbital.NLME)
    expected = [-5.42067, 1.11209, 0.15168, 0.93964, -0.15268, 0.21212, 0.1703, 2.71881]
    errors = [0.06922, 0.13949, 0.06685, 0.07094, 0.07149, 0.05145, 0.02315, 0.23238]
    assert np.abs((estimate - expected) / errors).max() < 0.02
    assert error == pytest.approx(errors, rel=2e-3)
    assert fit.attrs["log_likelihood"] == pytest.approx(-435.76282, abs=1e-3)
    finer = fit.attrs["log_likelihood"] + fit.attrs["approximation_error"]
    assert finer == pytest.approx(-435.67899, abs=1e-3)
    # Linearized estimates of nlme.
    nlme = np.array(list(phenobarbital.NLME.values()))
    assert np.abs((estimate - nlme) / errors).max() < 0.5
    # What depends on effects is in the modes, on its own scale.
    assert fit["mode"]["log_cl_subject"].dims == ("subject",)
    sd = float(fit["estimate"]["sd_log_cl"])
    assert float(fit["conditional_sd"]["log_cl_subject"].mean()) < sd


def test_m03_evidence_and_posterior_are_exact():
    fit = pds.fit_marginal(m03.build_model(), "subject", priors=True, progressbar=False)
    out = load("M03").out
    assert fit.attrs["log_evidence"] == pytest.approx(float(out.log_evidence), abs=1e-8)
    assert float(fit["estimate"]["mu_global"]) == pytest.approx(float(out.mu_global_mean), abs=1e-8)
    error = float(fit["standard_error"]["mu_global"])
    assert error == pytest.approx(float(out.mu_global_sd), abs=1e-8)


def by_occasion(case) -> pm.Model:
    """D14 in closed form: absorption and elimination of each subject in each occasion."""
    seen = case.EVID == 0
    subject, occasion = (v[seen].astype(int) - 1 for v in (case.ID, case.OCC))
    since = case.TIME[seen] - 24.0 * occasion
    dose = case.AMT[(case.EVID == 1) & (case.OCC == 1)]
    with pm.Model(coords={"subject": [1, 2, 3], "occasion": [1, 2, 3]}) as model:
        lka, lk, lv = pm.Normal("lka"), pm.Normal("lk", -2.0, 1.0), pm.Normal("lV", 2.4, 1.0)
        sd, sd_ka, sd_k = (pm.HalfNormal(name) for name in ("sd", "sd_ka", "sd_k"))
        eka = pm.Normal("eka", 0.0, sd_ka, dims=("subject", "occasion"))
        ek = pm.Normal("ek", 0.0, sd_k, dims=("subject", "occasion"))
        ka, k = pm.math.exp(lka + eka), pm.math.exp(lk + ek)
        gut, blood = [], []
        left, amount = dose, np.zeros(3)
        for o in range(3):
            gut.append(left)
            blood.append(amount)
            fast, slow = pm.math.exp(-24.0 * ka[:, o]), pm.math.exp(-24.0 * k[:, o])
            amount = amount * slow + left * ka[:, o] / (ka[:, o] - k[:, o]) * (slow - fast)
            left = left * fast + dose
        at = (subject, occasion)
        left, amount = pm.math.stack(gut, 1)[at], pm.math.stack(blood, 1)[at]
        ka, k = ka[at], k[at]
        fast, slow = pm.math.exp(-ka * since), pm.math.exp(-k * since)
        mean = amount * slow + left * ka / (ka - k) * (slow - fast)
        pm.Normal("y", mean / pm.math.exp(lv), sd, observed=case.DV[seen])
    return model


def test_d14_effects_by_occasion_are_integrated_out_six_at_a_time():
    case = load("D14")
    model = by_occasion(case)
    point = model.initial_point()
    for name in ("eka", "ek", "lka", "lk", "lV"):
        point[name] = getattr(case, f"param_{name}")
    point["sd_log__"] = np.log(case.param_sd)
    found = model.compile_logp(vars=model["y"], sum=True)(point)
    assert float(found) == pytest.approx(float(case.out.loglik), abs=1e-7)

    fit = pds.fit_marginal(model, "subject", priors=True, progressbar=False)
    assert fit.attrs["nats_left"] < 1e-8
    assert fit["mode"]["eka"].dims == ("subject", "occasion")
    assert fit.attrs["check"].startswith("importance sampling")
    # Importance sampling and Laplace's approximation are two ways to the same integral.
    assert abs(fit.attrs["approximation_error"]) < 0.1
    assert fit.attrs["largest_shift"] < 0.1
    # The truth behind the case.
    table = fit["summary"].to_dataframe()
    for name in ("lka", "lk", "lV"):
        row = table.loc[name]
        truth = float(getattr(case, f"param_{name}"))
        assert abs(row["estimate"] - truth) < 2 * row["standard_error"], name
