"""M01: eight schools, whose exact posterior is known by quadrature."""

import arviz as az
import pymc as pm
import pytest

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.posteriors import assert_posterior_matches, sample_tree

CASE = load("M01")
NAMES = ["mu", "tau", "theta"]


def eight_schools(centered: bool) -> pm.Model:
    with pm.Model(coords={"school": list("ABCDEFGH")}) as model:
        mu, tau = pm.Normal("mu", 0.0, 5.0), pm.HalfCauchy("tau", 5.0)
        theta = pds.effects.varying("theta", mu, tau, dims="school", centered=centered)
        pm.Normal("y", theta, CASE.sigma, observed=CASE.y, dims="school")
    return model


def sample(model: pm.Model):
    return sample_tree(model, draws=2000, tune=1000, chains=4)


@pytest.mark.parametrize("form", [pytest.param("non-centred", marks=pytest.mark.slow), "learnt"])
def test_posterior_is_exact(form):
    if form == "learnt":
        model = pds.reparametrize(eight_schools(True), random_seed=1, progressbar=False)
    else:
        model = eight_schools(False)
    idata = sample(model)
    posterior = idata["posterior"].dataset
    assert_posterior_matches(posterior, CASE.out, NAMES, sd_ratio=(0.9, 1.1))
    for name in NAMES:
        share = az.mcse(posterior[name], method="mean") / posterior[name].std(("chain", "draw"))
        assert float(share.max()) <= 0.03, name
    for name in ("mu", "tau"):  # from the neck of the funnel to its mouth
        for level, exact in zip(CASE.out.qs, getattr(CASE.out, f"{name}_q"), strict=True):
            error = abs(float(posterior[name].quantile(level)) - exact)
            assert error <= 4 * float(az.mcse(posterior[name], method="quantile", prob=level))


@pytest.mark.slow
def test_the_centred_form_says_that_it_fails():
    """Divergences, and too few effective draws of tau, whose small values it does not reach."""
    idata = sample(eight_schools(True))
    tau = idata["posterior"]["tau"]
    assert int(idata["sample_stats"]["diverging"].sum()) > 50
    assert float(az.ess(tau)) < 1000
    missed = float((tau < CASE.out.tau_q[1]).mean())
    assert missed < 0.025  # half of the 5% that are there
