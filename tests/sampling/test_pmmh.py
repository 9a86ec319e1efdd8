"""Pseudo-marginal sampling against posteriors on a grid, and what it keeps and refuses."""

import arviz as az
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist
from scipy import special, stats

import pymc_dynsys as pds
from pymc_dynsys.sampling.estimated import Estimated
from tests.oracles.test_p04_ensemble import SERIES

TIMES = np.arange(6.0)
Y = np.array([3.0, np.nan, 1.0, 4.0, 2.0, 7.0])
LEVELS = np.linspace(-9, 11, 1601)


def counts(particles, y=Y):
    """Counts at a level that moves by Laplace noise, whose log-scale is not known."""
    system = pds.DiscreteTime(
        states=("level",),
        transition=lambda level, log_scale: dist.Laplace(0.9 * level, jnp.exp(log_scale)),
        observation=lambda level: dist.Poisson(jnp.exp(level)),
        initial=dist.Laplace(0.5, 0.6),
    )
    with pm.Model(coords={"time": TIMES}) as model:
        pds.Trajectory(
            "y",
            system,
            params={"log_scale": pm.Normal("log_scale", -1.0, 0.8)},
            observed=y,
            dims="time",
            likelihood=pds.ParticleFilter(particles),
        )
    return model


def exact_moments():
    """Mean and sd of the log-scale, by sums over levels and log-scales."""
    width = LEVELS[1] - LEVELS[0]
    logs = np.linspace(-4.5, 2.0, 53)
    joint = []
    for log in logs:
        edges = (LEVELS - width / 2)[:, None], (LEVELS + width / 2)[:, None]
        low, high = (stats.laplace.cdf(e, 0.9 * LEVELS[None, :], np.exp(log)) for e in edges)
        p, total = stats.laplace.pdf(LEVELS, 0.5, 0.6), stats.norm.logpdf(log, -1.0, 0.8)
        for k, value in enumerate(Y):
            p = (high - low) @ p if k else p
            p = p if np.isnan(value) else p * stats.poisson.pmf(value, np.exp(LEVELS))
            weight = p.sum() * width
            total, p = total + np.log(weight), p / weight
        joint.append(total)
    w = special.softmax(joint)
    mean = (w * logs).sum()
    return mean, np.sqrt((w * (logs - mean) ** 2).sum())


@pytest.fixture(scope="module")
def idata():
    return pds.sample_pmmh(
        draws=1500, tune=500, model=counts(40), random_seed=3, progressbar=False, keep_warmup=True
    )


def test_the_posterior_is_that_of_a_grid(idata):
    draws = idata["posterior"]["log_scale"]
    mean, sd = exact_moments()
    assert az.ess(draws) > 300
    assert abs(draws.mean().item() - mean) < 4 * az.mcse(draws, method="mean")
    assert abs(draws.std().item() - sd) < 4 * az.mcse(draws, method="sd")
    assert 0.3 < sd < 0.8, "the data tell something"


def test_an_estimate_is_kept_where_the_chain_stays_and_new_where_it_moves(idata):
    stats, log = idata["sample_stats"], idata["posterior"]["log_scale"].values
    moved = np.diff(log, axis=1) != 0
    changed = np.diff(stats["log_likelihood"].values, axis=1) != 0
    np.testing.assert_array_equal(moved, stats["accepted"].values[:, 1:])
    np.testing.assert_array_equal(changed, moved)
    prior = -0.5 * ((log + 1.0) / 0.8) ** 2 - np.log(0.8) - 0.5 * np.log(2 * np.pi)
    np.testing.assert_allclose(stats["lp"] - stats["log_likelihood"], prior, rtol=1e-9, atol=1e-9)


def test_moves_are_adapted_in_the_warm_up_only(idata):
    assert (np.ptp(idata["sample_stats"]["step_size"].values, axis=1) == 0).all()
    assert (np.ptp(idata["warmup_sample_stats"]["step_size"].values, axis=1) > 0).all()
    assert idata["warmup_posterior"].sizes["draw"] == 500
    assert 0.1 < idata["sample_stats"]["accepted"].mean() < 0.4
    assert 0 < idata["posterior"].attrs["log_likelihood_sd"] < 1.5


def test_each_key_gives_another_estimate_and_always_the_same():
    density = Estimated(counts(40), None, 1, np.random.default_rng(0))
    keys = jax.random.split(jax.random.PRNGKey(0), 20)
    values = jax.jit(jax.vmap(lambda key: density.logp(jnp.zeros(1), key)))(
        jnp.concatenate([keys, keys])
    )
    first, again = np.split(np.asarray(values), 2)
    assert np.unique(first).size == first.size
    np.testing.assert_allclose(again, first, rtol=1e-12)


def test_few_particles_are_warned_of_with_how_many_there_should_be():
    y = np.array([0.0, 30.0, 0.0, 25.0, 1.0, 90.0])
    message = r"sd of \d+\.\d over its noise at the best start.*\d+ particles would bring it"
    with pytest.raises(UserWarning, match=message):  # before anything is sampled
        pds.sample_pmmh(
            draws=1, tune=1, chains=1, model=counts(10, y), random_seed=1, progressbar=False
        )


def test_a_model_without_a_particle_filter_is_refused():
    with pm.Model() as model:
        pm.Normal("y", pm.Normal("mu"), observed=[0.1, 0.2])
    with pytest.raises(ValueError, match=r"no trajectory in it has likelihood=pds.ParticleFilter"):
        pds.sample_pmmh(model=model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"draws": 0}, "draws: got 0"),
        ({"tune": 1.5}, "tune: got 1.5"),
        ({"chains": 0}, "chains: got 0"),
        ({"target_accept": 1.0}, "target_accept: got 1.0"),
        ({"chain_method": "both"}, "chain_method: got 'both'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        pds.sample_pmmh(model=pm.Model(), **options)


# A series with an exact likelihood


def walk(likelihood):
    theta, noise = float(SERIES.theta), float(SERIES.obs_var) ** 0.5
    system = pds.SDE(
        states=("level",),
        drift=lambda level, mu: theta * (mu - level),
        diffusion=lambda log_sigma: jnp.exp(log_sigma),
        initial=dist.Normal(float(SERIES.m0), float(SERIES.P0) ** 0.5),
        observation=lambda level: dist.Normal(level, noise),
    )
    with pm.Model(coords={"time": SERIES.t}) as model:
        params = {"mu": pm.Normal("mu", 0, 2), "log_sigma": pm.Normal("log_sigma", -1, 1)}
        pds.Trajectory(
            "y", system, params=params, observed=SERIES.y, dims="time", likelihood=likelihood
        )
    return model


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:sample_pmmh. the log-likelihood has an sd of")
def test_two_parameters_of_p04_have_the_posterior_of_a_grid():
    """With 100 particles; with 20 of them chains of this length do not mix."""
    grid_mu, grid_log = np.linspace(0.8, 3.2, 61), np.linspace(-1.1, 0.4, 61)
    logp = walk(pds.Kalman()).compile_logp()
    joint = np.array([[logp({"mu": m, "log_sigma": s}) for s in grid_log] for m in grid_mu])
    w = special.softmax(joint)
    idata = pds.sample_pmmh(
        draws=20_000,
        tune=2000,
        model=walk(pds.ParticleFilter(100, proposal=pds.Bootstrap())),
        initvals={"mu": 1.8, "log_sigma": -0.4},
        random_seed=5,
        progressbar=False,
    )
    for name, values, margin in (("mu", grid_mu, w.sum(1)), ("log_sigma", grid_log, w.sum(0))):
        draws = idata["posterior"][name]
        mean = (margin * values).sum()
        sd = np.sqrt((margin * (values - mean) ** 2).sum())
        assert abs(draws.mean().item() - mean) < 4 * az.mcse(draws, method="mean")
        assert abs(draws.std().item() - sd) < 4 * az.mcse(draws, method="sd")
        assert az.ess(draws) > 1000
