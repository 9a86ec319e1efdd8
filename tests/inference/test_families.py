"""Components of several families along one ODE, from likelihood to residuals, by scipy."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from scipy import special, stats

import pymc_dynsys as pds

TIMES = np.array([0.5, 1.0, 2.0, 4.0, 5.0])
RATE = {"ann": 0.2, "bob": 0.6}
NAMES = ["conc", "count", "grade", "yes"]
CUTS = np.array([0.5, 1.5])
AREA = np.array([[1.0, 2.0, 1.0, 3.0, 1.0], [2.0, 2.0, 4.0, 1.0, 1.0]])
LIMIT = 0.4
LEVEL = 2.0 * np.exp(-np.array(list(RATE.values()))[:, None] * (TIMES - TIMES[0]))


def observation(level, area):
    return {
        "yes": dist.Bernoulli(logits=level - 1.0),
        "count": dist.NegativeBinomial2(area * level, 2.0),
        "conc": pds.censored(dist.LogNormal(jnp.log(level), 0.4), lower=LIMIT),
        "grade": dist.OrderedLogistic(2.0 * level, CUTS),
    }


def in_order(level, area):
    laws = observation(level, area)
    return tuple(laws[name] for name in NAMES)


def system(observation):
    return pds.ODE(
        states="level",
        drift=lambda level, rate: -rate * level,
        initial=2.0,
        observation=observation,
    )


def draws_of_the_truth(seed, n=1):
    """Data ``(n, subject, time, component)`` drawn by NumPy."""
    rng = np.random.default_rng(seed)
    level = np.broadcast_to(LEVEL, (n, *LEVEL.shape))
    conc = np.maximum(rng.lognormal(np.log(level), 0.4), LIMIT)
    count = rng.poisson(rng.gamma(2.0, AREA * level / 2.0))
    latent = rng.logistic(2.0 * level)
    grade = (latent[..., None] > CUTS).sum(-1)
    yes = rng.uniform(size=level.shape) < special.expit(level - 1.0)
    return np.stack([conc, count, grade, yes], axis=-1).astype(float)


def log_densities(y):
    """Log-density of each number, zero where it is missing."""
    conc, count, grade, yes = np.moveaxis(np.nan_to_num(y, nan=1.0), -1, 0)
    law = stats.lognorm(0.4, scale=LEVEL)
    p = 2.0 / (2.0 + AREA * LEVEL)
    edges = np.concatenate([[-np.inf], CUTS, [np.inf]])
    upper, lower = (edges[grade.astype(int) + i] - 2.0 * LEVEL for i in (1, 0))
    each = [
        np.where(conc <= LIMIT, law.logcdf(LIMIT), law.logpdf(conc)),
        stats.nbinom(2.0, p).logpmf(count),
        np.log(special.expit(upper) - special.expit(lower)),
        stats.bernoulli(special.expit(LEVEL - 1.0)).logpmf(yes),
    ]
    return np.where(np.isnan(y), 0.0, np.stack(each, axis=-1))


DATA = draws_of_the_truth(2)[0]
DATA[0, 1, 0] = DATA[1, 2] = DATA[0, 3, 1] = np.nan
DATA[:, :, 2] = np.where(np.arange(2)[:, None] == 0, np.nan, DATA[:, :, 2])  # none of one subject
DATA[1, 4, 0] = LIMIT
TABLE = xr.DataArray(
    DATA,
    dims=("subject", "time", "item"),
    coords={"subject": list(RATE), "time": TIMES, "item": NAMES},
)
EXPECTED = log_densities(DATA)


def model_of(observation, table=TABLE, order=NAMES):
    rate = xr.DataArray(list(RATE.values()), dims="subject", coords={"subject": list(RATE)})
    area = xr.DataArray(AREA, dims=("subject", "time"))
    with pm.Model(coords={"subject": list(RATE), "time": TIMES, "item": order}) as model:
        pds.Trajectory(
            "y",
            system(observation),
            params={"rate": rate},
            inputs={"area": area},
            observed=table,
            dims=("subject", "time", "item"),
        )
    return model


@pytest.fixture(scope="module")
def model():
    return model_of(observation)


def test_the_likelihood_is_the_sum_of_what_is_there(model):
    value = model.compile_logp(sum=False, mode="FAST_COMPILE")({})[0]
    np.testing.assert_allclose(value, EXPECTED.sum((1, 2)), rtol=1e-7)


def test_pointwise(model):
    found = pds.log_likelihood(None, model=model).log_likelihood["y"].values[0, 0]
    seen = ~np.isnan(DATA).all(-1)
    np.testing.assert_allclose(found, EXPECTED.sum(-1)[seen], rtol=1e-7)


@pytest.mark.parametrize(
    ("law", "order"), [(observation, NAMES[::-1]), (in_order, NAMES)], ids=["mapping", "tuple"]
)
def test_other_orders_and_tuples(law, order):
    value = model_of(law, order=order).compile_logp(mode="FAST_COMPILE")({})
    np.testing.assert_allclose(value, EXPECTED.sum(), rtol=1e-7)


def test_draws_have_the_distributions(model):
    """Simulated data and NumPy's own, by component, at one place."""
    rate = xr.DataArray(list(RATE.values()), dims="subject", coords={"subject": list(RATE)})
    area = xr.DataArray(AREA, dims=("subject", "time"), coords={"time": TIMES})
    found = pds.simulate(
        system(in_order), {"rate": rate}, TIMES, inputs={"area": area}, n=500, random_seed=1
    )["observations"].values
    expected = draws_of_the_truth(3, 4000)
    assert found.shape == (500, *DATA.shape)
    error = (found.var(0) / len(found) + expected.var(0) / len(expected)) ** 0.5
    assert (np.abs(found.mean(0) - expected.mean(0)) <= 5 * error).all()
    for i in range(len(NAMES)):
        values = stats.ks_2samp(found[:, 0, 1, i], expected[:, 0, 1, i])
        assert values.pvalue > 1e-3
    assert found[..., 0].min() == LIMIT
    assert set(np.unique(found[..., 2])) == {0.0, 1.0, 2.0}


def test_residuals_are_uniform_within_their_steps(model):
    tree = pds.innovations(None, model=model, random_seed=1)
    pit, z = tree["innovations"]["pit"].values[0, 0], tree["innovations"]["z"].values[0, 0]
    np.testing.assert_array_equal(np.isnan(pit), np.isnan(DATA))
    seen = ~np.isnan(DATA)
    np.testing.assert_allclose(special.ndtr(z[seen]), pit[seen], rtol=1e-9)
    assert np.isnan(tree["innovations"]["nis"]).all()
    assert np.isnan(tree["tests"]["nis"]).all()
    law = stats.nbinom(2.0, 2.0 / (2.0 + AREA * LEVEL))
    count = DATA[..., 1]
    less, upto = law.cdf(count - 1), law.cdf(count)
    there = ~np.isnan(count)
    assert ((less < pit[..., 1]) & (pit[..., 1] < upto))[there].all()
    exact = stats.lognorm(0.4, scale=LEVEL).cdf(DATA[..., 0])
    above = DATA[..., 0] > LIMIT
    np.testing.assert_allclose(pit[..., 0][above], exact[above], rtol=1e-7)
    assert 0 < pit[1, 4, 0] < exact[1, 4]
    again = pds.innovations(None, model=model, random_seed=1)["innovations"]["pit"].values[0, 0]
    np.testing.assert_array_equal(again, pit)


def test_residuals_under_laplace_are_those_of_the_predictive_distribution():
    """One count of a known mean, whose predictive distribution is a sum over NumPy's draws."""
    walk = pds.DiscreteTime(
        states="x",
        transition=lambda x: dist.Normal(0.8 * x, 0.5),
        initial=dist.Normal(0.3, 0.7),
        observation=lambda x: (dist.Poisson(jnp.exp(x)), dist.Normal(x, 0.5)),
    )
    y = np.array([[3.0, np.nan], [1.0, 0.2], [np.nan, np.nan]])
    with pm.Model(coords={"time": np.arange(3.0), "item": ["n", "z"]}) as model:
        pds.Trajectory("y", walk, observed=y, dims=("time", "item"), likelihood=pds.Laplace())
    pit = [
        pds.innovations(None, model=model, random_seed=seed)["innovations"]["pit"].values[0, 0]
        for seed in range(30)
    ]
    rate = np.exp(np.random.default_rng(1).normal(0.3, 0.7, 10_000))
    less, upto = (stats.poisson(rate).cdf(k).mean() for k in (2.0, 3.0))
    first = np.array(pit)[:, 0, 0]
    np.testing.assert_allclose(first.mean(), 0.5 * (less + upto), atol=0.04)
    assert less - 0.05 < first.min() < first.max() < upto + 0.05
    np.testing.assert_array_equal(np.isnan(pit[0]), np.isnan(y))


def test_predictive_draws_and_forecasts(model):
    with model:
        prior = pm.sample_prior_predictive(20, random_seed=1)
    drawn = prior.prior_predictive["y"] if "prior_predictive" in prior.children else None
    assert drawn is not None
    assert np.isfinite(drawn).all()
    assert set(np.unique(drawn.sel(item="yes"))) <= {0.0, 1.0}
    future = pds.forecast(None, model=model, times=[6.0, 7.0], random_seed=1)
    y = future.predictions["y"]
    assert np.isfinite(y).all()
    assert (y.sel(item="conc") >= LIMIT).all()
    counts = y.sel(item=["count", "grade", "yes"])
    assert (counts == counts.round()).all()
