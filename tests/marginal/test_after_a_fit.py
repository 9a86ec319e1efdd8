"""What comes after a marginal fit: draws, starts for a sampler, comparisons."""

import numpy as np
import pymc as pm
import pytest
from scipy.stats import chi2

import pymc_dynsys as pds
from pymc_dynsys.sampling.unconstrained import Unconstrained
from tests.oracles import test_m03_hierarchical_ou as m03

Y = np.random.default_rng(2).normal(size=(12, 4)) + np.linspace(-1, 1, 12)[:, None]


def build(slope=False, centred=True) -> pm.Model:
    """Normal data of twelve subjects around effects, with free variables of several kinds."""
    with pm.Model(coords={"subject": np.arange(12) + 100, "visit": range(4)}) as model:
        sigma = pm.HalfNormal("sigma", 2.0)
        mu = pm.Normal("mu", 0.0, 3.0)
        effect = pm.Normal("effect", mu if centred else 0.0, 0.7, dims="subject")
        mean = effect if centred else mu + effect
        if slope:
            mean = mean + pm.Normal("b", 0.0, 1.0) * np.linspace(-1, 1, 12)
        pm.Normal("y", mean[:, None], sigma, observed=Y, dims=("subject", "visit"))
    return model


@pytest.fixture(scope="module")
def fit():
    return pds.fit_marginal(
        build(), "subject", priors=True, draws=800, random_seed=4, progressbar=False
    )


def exact(model: pm.Model) -> tuple[np.ndarray, np.ndarray]:
    """Means and sds of log sigma, mu and the first effect: sigma on a grid, the rest is normal."""
    logs, found = [], []
    grid = np.linspace(-1.0, 1.2, 300)
    own, prior, n = 0.7**2, 9.0, 12
    for log_sigma in grid:
        s2 = np.exp(2 * log_sigma)
        mean, within = Y.mean(1), ((Y - Y.mean(1, keepdims=True)) ** 2).sum()
        covariance = (own + s2 / 4) * np.eye(n) + prior
        solved = np.linalg.solve(covariance, mean)
        log_lik = -0.5 * (mean @ solved + np.linalg.slogdet(covariance)[1])
        log_lik += -within / (2 * s2) - 3 * n * log_sigma - s2 / (2 * 4.0) + log_sigma
        cross = np.stack([np.full(n, prior), prior + own * np.eye(n)[0]])
        m = cross @ solved
        v = np.array([prior, prior + own]) - (cross * np.linalg.solve(covariance, cross.T).T).sum(1)
        logs.append(log_lik)
        found.append([log_sigma, *m, 0.0, *v])
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    found = np.array(found)
    means = weights @ found[:, :3]
    variances = weights @ (found[:, 3:] + (found[:, :3] - means) ** 2)
    return means, np.sqrt(variances)


def test_draws_are_those_of_the_posterior(fit):
    posterior = fit["posterior"].dataset
    assert posterior["effect"].dims == ("chain", "draw", "subject")
    assert posterior.attrs["pareto_k"] < 0.5 and posterior.attrs["ess"] > 400
    means, sds = exact(build())
    for array, mean, sd in zip(
        (np.log(posterior["sigma"]), posterior["mu"], posterior["effect"][..., 0]),
        means,
        sds,
        strict=True,
    ):
        assert abs(float(array.mean()) - mean) < 4 * sd / np.sqrt(posterior.attrs["ess"])
        assert float(array.std()) == pytest.approx(sd, rel=0.12)


def test_draws_need_priors():
    with pytest.raises(ValueError, match="draws: without priors there is no posterior"):
        pds.fit_marginal(build(), "subject", draws=10)


def test_a_warm_start_has_the_spread_of_the_posterior(fit):
    start = pds.warm_start(fit, chains=500)
    means, sds = exact(build())
    variances = start["nuts"]["inverse_mass_matrix"]
    # In the order of the model: sigma, mu, then the effects.
    assert np.sqrt(variances[:3]) == pytest.approx(sds, rel=0.05)
    starts = start["initvals"]
    drawn = np.array([[s["sigma_log__"], s["mu"], s["effect"][0]] for s in starts])
    assert drawn.mean(0) == pytest.approx(means, abs=4 * sds.max() / np.sqrt(500))
    assert drawn.std(0) == pytest.approx(sds, rel=0.12)
    # Effects go with their mean.
    whole = np.array([s["effect"].mean() for s in starts])
    assert np.corrcoef(whole, drawn[:, 1])[0, 1] > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("nuts_sampler", ["numpyro", "blackjax", "pymc", "nutpie"])
def test_a_sampler_takes_a_warm_start(fit, nuts_sampler):
    start = pds.warm_start(fit, chains=2, nuts_sampler=nuts_sampler)
    more = {"cores": 1, "tune": 300} if nuts_sampler != "numpyro" else {}
    idata = pm.sample(
        draws=400,
        model=build(),
        progressbar=False,
        random_seed=1,
        compute_convergence_checks=False,
        **(start | more),
    )
    means, sds = exact(build())
    found = float(idata["posterior"]["mu"].mean())
    assert abs(found - means[1]) < 0.25 * sds[1]


def test_what_cannot_start_a_sampler(fit):
    with pytest.raises(TypeError, match=r"expected the DataTree of pds\.fit_marginal"):
        pds.warm_start({})
    with pytest.raises(ValueError, match=r"nuts_sampler: got 'stan', expected one of 'numpyro',"):
        pds.warm_start(fit, nuts_sampler="stan")


def test_nutpie_starts_at_the_mode_and_blackjax_without_jitter(fit):
    at_mode = pds.warm_start(fit, nuts_sampler="nutpie")["initvals"]
    assert at_mode["mu"] == fit["unconstrained"]["mu"]
    start = pds.warm_start(fit, chains=2, nuts_sampler="sample_blackjax", random_seed=3)
    rng = np.random.default_rng(0)
    density = Unconstrained(build(), start["initvals"], 2, rng, start["jitter"])
    for at, given in zip(density.starts, start["initvals"], strict=True):
        np.testing.assert_array_equal(at[:2], [given["sigma_log__"], given["mu"]])


@pytest.mark.slow
def test_blackjax_takes_a_warm_start(fit):
    start = pds.warm_start(fit, chains=2, nuts_sampler="sample_blackjax")
    idata = pds.sample_blackjax(
        "nuts", draws=400, tune=300, model=build(), random_seed=1, progressbar=False, **start
    )
    means, sds = exact(build())
    assert abs(float(idata["posterior"]["mu"].mean()) - means[1]) < 0.25 * sds[1]


def test_fits_are_ranked_and_compared_by_likelihood_ratios(fit):
    flat, line = (
        pds.fit_marginal(build(slope=s), "subject", check=False, progressbar=False)
        for s in (False, True)
    )
    table = pds.compare_marginal({"flat": flat, "line": line}, reference="flat")
    assert list(table.index) == ["line", "flat"]
    assert table["weight"].sum() == pytest.approx(1.0)
    ratio = 2 * (line.attrs["log_likelihood"] - flat.attrs["log_likelihood"])
    row = table.loc["line"]
    assert (row["ratio"], row["df"]) == (pytest.approx(ratio), 1)
    assert row["p_value"] == pytest.approx(chi2.sf(ratio, 1))
    halved = pds.compare_marginal({"flat": flat, "line": line}, reference="flat", zero_variances=1)
    assert halved.loc["line", "p_value"] == pytest.approx(chi2.sf(ratio, 1) / 2)
    for fits, options, message in (
        ({"flat": flat}, {}, "got 1, expected two or more"),
        ({"flat": flat, "prior": fit}, {}, "'prior' was fitted with priors"),
        ({"flat": flat, "line": line}, {"reference": "line"}, "no special case"),
        ({"flat": flat, "line": line}, {"reference": "x"}, "expected one of flat, line"),
        ({"flat": flat, "line": line}, {"zero_variances": 2}, "zero_variances: got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            pds.compare_marginal(fits, **options)


@pytest.mark.slow  # programs of states and forecasts, which have tests of their own
def test_what_comes_after_sampling_takes_the_draws():
    model = m03.build_model()
    fit = pds.fit_marginal(model, "subject", priors=True, draws=30, progressbar=False)
    states = pds.sample_states(fit, model=model, random_seed=1, progressbar=False)
    found = states["posterior"]["states"]
    assert found.sizes["draw"] == 30 and found.sizes["subject"] == 10
    # Noise of the data is 0.1, so states are near them.
    assert float(abs(found.mean(("chain", "draw")).values[..., 0] - m03.CASE.y).mean()) < 0.1
    ahead = pds.forecast(
        fit, model=model, times=np.array([11.0, 40.0]), random_seed=1, progressbar=False
    )
    last = ahead["predictions"]["states"].isel(state=0).mean(("chain", "draw"))
    mu = fit["posterior"]["mu_i"].mean(("chain", "draw"))
    # Thirty units on the process has forgotten where it was.
    assert float(abs(last.isel({last.dims[-1]: -1}) - mu).max()) < 0.15
