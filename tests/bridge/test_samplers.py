"""The same posterior from every sampler: a hierarchical model whose posterior is known exactly."""

import warnings

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds

with warnings.catch_warnings():
    # pymc-extras uses deprecated names of its own dependencies while it is imported.
    warnings.simplefilter("ignore", DeprecationWarning)
    import pymc_extras as pmx

N, TIMES = 3, np.linspace(0.0, 3.0, 7)
THETA, SIGMA, S_OBS, P0 = 0.5, 0.3, 0.2, 0.5
SUBJECTS = ["a", "b", "c"]

OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu: -THETA * (level - mu),
    diffusion=SIGMA,
    initial=dist.Normal(0.0, P0**0.5),
    observation=lambda level: dist.Normal(level, S_OBS),
)


def simulated_data():
    rng = np.random.default_rng(7)
    mu = rng.normal(0.3, 1.0, size=N)
    decay = np.exp(-THETA * TIMES)
    y = mu[:, None] * (1 - decay) + rng.multivariate_normal(np.zeros(7), noise(), size=N)
    y[1, 3] = np.nan
    return y


def noise():
    """Covariance of the data of one subject given its mean."""
    lag, total = np.abs(TIMES[:, None] - TIMES), TIMES[:, None] + TIMES
    cov = SIGMA**2 / (2 * THETA) * (np.exp(-THETA * lag) - np.exp(-THETA * total))
    return cov + P0 * np.exp(-THETA * total) + S_OBS**2 * np.eye(len(TIMES))


def exact_posterior(y):
    """Mean and sd of (mu_global, mu): everything is Gaussian."""
    precision = np.zeros((N + 1, N + 1))
    shift = np.zeros(N + 1)
    precision[0, 0] = 1 / 0.5**2
    for i in range(N):
        seen = np.isfinite(y[i])
        x = (1 - np.exp(-THETA * TIMES))[seen]
        inverse = np.linalg.inv(noise()[np.ix_(seen, seen)])
        link = np.zeros(N + 1)
        link[[0, i + 1]] = 1, -1
        precision += np.outer(link, link)
        precision[i + 1, i + 1] += x @ inverse @ x
        shift[i + 1] += x @ inverse @ y[i, seen]
    cov = np.linalg.inv(precision)
    return cov @ shift, np.sqrt(np.diag(cov))


Y = simulated_data()
MEAN, SD = exact_posterior(Y)


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
        mu_global = pm.Normal("mu_global", 0.0, 0.5)
        mu = pm.Normal("mu", mu_global, 1.0, dims="subject")
        pds.Trajectory("y", OU, params={"mu": mu}, observed=Y, dims=("subject", "time"))
    return model


def draws_of(idata):
    posterior = idata.posterior
    both = np.concatenate([posterior["mu_global"].values[..., None], posterior["mu"].values], -1)
    return both.reshape(-1, N + 1)


def check(idata, worst=0.2):
    """Means within `worst` posterior sds, sds within a third: four standard errors at 400 draws."""
    draws = draws_of(idata)
    assert np.isfinite(draws).all()
    assert np.max(np.abs(draws.mean(0) - MEAN) / SD) < worst
    np.testing.assert_allclose(draws.std(0), SD, rtol=1 / 3)


def sample(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pm.sample(
            draws=400,
            tune=300,
            progressbar=False,
            random_seed=1,
            compute_convergence_checks=False,
            **options,
        )


@pytest.mark.parametrize(
    "chain_method", ["vectorized", pytest.param("parallel", marks=pytest.mark.slow)]
)
def test_numpyro(model, chain_method):
    with model:
        idata = sample(nuts_sampler="numpyro", chains=2, nuts={"chain_method": chain_method})
    assert idata.posterior["mu"].dims == ("chain", "draw", "subject")
    assert list(idata.posterior["subject"].values) == SUBJECTS
    assert idata.observed_data["y"].dims == ("subject", "time")
    check(idata)


@pytest.mark.slow
def test_blackjax(model):
    with model:
        check(sample(nuts_sampler="blackjax", chains=2, nuts={"chain_method": "vectorized"}))


@pytest.mark.parametrize("backend", ["numba", pytest.param("jax", marks=pytest.mark.slow)])
def test_nutpie(model, backend):
    with model:
        check(sample(nuts_sampler="nutpie", chains=2, cores=1, nuts={"backend": backend}))


def test_pymc(model):
    with model:
        check(sample(nuts_sampler="pymc", chains=2, cores=1))


@pytest.mark.slow
@pytest.mark.parametrize("context", ["forkserver", "spawn"])
def test_pymc_in_processes(model, context):
    with model:
        check(sample(nuts_sampler="pymc", chains=2, cores=2, mp_ctx=context))


def test_map_is_the_mean(model):
    with model:
        found = pm.find_MAP(progressbar=False, return_inferencedata=True, jitter=False)
    # As near as the optimiser's own stopping rule brings it.
    np.testing.assert_allclose(draws_of(found)[0], MEAN, atol=1e-4)


@pytest.mark.parametrize("method", ["advi", pytest.param("fullrank_advi", marks=pytest.mark.slow)])
def test_variational(model, method):
    with model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = pm.fit(6000, method=method, progressbar=False, random_seed=1)
        draws = draws_of(fit.sample(1000, random_seed=2))
    assert np.max(np.abs(draws.mean(0) - MEAN) / SD) < 0.5


def test_laplace_is_exact_for_a_gaussian(model):
    with model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        idata = pmx.fit_laplace(draws=4000, random_seed=1, progressbar=False)
    draws = draws_of(idata)
    assert np.max(np.abs(draws.mean(0) - MEAN) / SD) < 0.1
    # The sd of 4,000 draws has a standard error of about 1%.
    np.testing.assert_allclose(draws.std(0), SD, rtol=0.1)


@pytest.mark.slow
def test_pathfinder(model):
    with model, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        idata = pmx.fit_pathfinder(
            num_paths=4, num_draws=400, parallel=False, progressbar=False, random_seed=1
        )
    check(idata, worst=0.5)
