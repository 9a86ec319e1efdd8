"""Paths in every sampler of PyMC, predictive draws, files; and posteriors that are known."""

import arviz as az
import numpy as np
import pymc as pm
import pytest

import pymc_dynsys as pds
from tests.oracles.cases import load

OU = pds.SDE(
    states=("level",),
    drift=lambda level, theta, mu: -theta * (level - mu),
    diffusion=lambda sigma: sigma,
    initial=pds.Stationary(),
)


def count_model(parametrization) -> pm.Model:
    counts = np.array([[3.0, np.nan, 2.0, 5.0], [0.0, 1.0, np.nan, np.nan]])
    times = np.array([[0.0, 1.0, 2.5, 3.0], [0.5, 2.0, 4.0, np.nan]])
    with pm.Model(coords={"subject": ["a", "b"], "visit": range(4)}) as model:
        mu = pm.Normal("mu", dims="subject")
        x = pds.Path(
            "x",
            OU,
            params={"mu": mu, "theta": 0.8, "sigma": 0.6},
            times=times,
            dims=("subject", "visit"),
            parametrization=parametrization,
        )
        cells = pds.observed_cells(counts, ("subject", "visit"), name="count")
        rate = pm.math.exp(cells.of(x[..., 0]))
        pm.Poisson("count", rate, observed=cells.values, dims=cells.dim)
    return model


def guide() -> pds.Guided:
    counts = np.array([[3.0, np.nan, 2.0, 5.0], [0.0, 1.0, np.nan, np.nan]])
    return pds.Guided(np.log(counts + 0.5), np.sqrt(1 / (counts + 0.5)))


KINDS = {"free": pds.Free, "guided": guide, "centred": pds.Centred}

SAMPLERS = {
    "numpyro": {"nuts_sampler": "numpyro"},
    "nutpie": {"nuts_sampler": "nutpie"},
    "pymc": {"nuts_sampler": "pymc", "cores": 1},
    "blackjax": {"nuts_sampler": "blackjax"},
}


@pytest.fixture(scope="module")
def long_run():
    """Many draws of the free path."""
    with count_model(pds.Free()):
        return pm.sample(2000, chains=4, random_seed=9, progressbar=False, **SAMPLERS["numpyro"])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_sampler_draws_from_the_same_posterior(name, kind, long_run):
    with count_model(KINDS[kind]()):
        idata = pm.sample(500, chains=2, random_seed=1, progressbar=False, **SAMPLERS[name])
    x = idata.posterior["x"]
    assert x.dims == ("chain", "draw", "subject", "visit", "x_state")
    for variable in ("mu", "x"):
        ours, theirs = (tree.posterior[variable].values for tree in (idata, long_run))
        for i in np.ndindex(ours.shape[2:]):
            one, other = ours[(..., *i)], theirs[(..., *i)]
            error = np.hypot(*(d.std() / np.sqrt(float(az.ess(d))) for d in (one, other)))
            assert abs(one.mean() - other.mean()) < 4 * error, (variable, i)


@pytest.mark.filterwarnings("ignore:The effect of Potentials")
@pytest.mark.parametrize(
    "kind", ["free", "guided", pytest.param("centred", marks=pytest.mark.slow)]
)
def test_draws_before_and_after_the_data_and_a_file(kind, tmp_path):
    with count_model(KINDS[kind]()) as model:
        prior = pm.sample_prior_predictive(20, random_seed=1)
        fit = pm.fit(50, random_seed=1, progressbar=False).sample(10, random_seed=1)
        after = pm.sample_posterior_predictive(fit, random_seed=1, progressbar=False)
    assert prior.prior["x"].dims == ("chain", "draw", "subject", "visit", "x_state")
    assert prior.prior_predictive["count"].sizes["count_cell"] == 5
    assert after.posterior_predictive["count"].notnull().all()
    assert model.coords["x_state"] == ("level",)
    prior.to_netcdf(tmp_path / "prior.nc")
    again = az.from_netcdf(tmp_path / "prior.nc")
    np.testing.assert_array_equal(again.prior["x"], prior.prior["x"])
    x = fit.posterior["x"]
    np.testing.assert_array_equal(x.sel(subject="b").values[..., 3, :], x.values[..., 1, 2, :])


@pytest.mark.slow
@pytest.mark.parametrize("case", ["L01", "L02"])
@pytest.mark.parametrize("kind", ["free", "guided"])
def test_posteriors_of_counts_and_of_yes_and_no(case, kind):
    """Means of the path and of mu, with theta and sigma known, against grids of 1,201 points."""
    data = load(case)
    y, t = data.y.reshape(-1), data.t.reshape(-1)
    seen = ~np.isnan(y)
    filled = np.where(seen, y, 0.0)
    if case == "L01":
        values, sd = np.log(filled + 0.5), np.sqrt(1 / (filled + 0.5))
    else:
        values, sd = 2.0 * (2 * filled - 1), 2.0
    parametrization = pds.Free()
    if kind == "guided":
        parametrization = pds.Guided(np.where(seen, values, np.nan), sd)

    def model(fixed):
        with pm.Model(coords={"time": t}) as model:
            mu = float(data.mu) if fixed else pm.Normal("mu")
            params = {"mu": mu, "theta": float(data.theta), "sigma": float(data.sigma)}
            x = pds.Path("x", OU, params=params, dims="time", parametrization=parametrization)
            cells = pds.observed_cells(y, ("time",), name="y")
            eta = cells.of(x[..., 0])
            if case == "L01":
                pm.Poisson("y", pm.math.exp(eta), observed=cells.values, dims=cells.dim)
            else:
                pm.Bernoulli("y", logit_p=eta, observed=cells.values, dims=cells.dim)
        return model

    options = {"chains": 4, "random_seed": 1, "progressbar": False, "nuts_sampler": "numpyro"}
    options |= {"nuts": {"chain_method": "vectorized"}}
    with model(fixed=True):
        states = pm.sample(1000, **options).posterior["x"].isel(x_state=0)
    assert_means(states.values, data.out.smoothed_mean.reshape(-1))
    with model(fixed=False):
        mu = pm.sample(1000, **options).posterior["mu"]
    assert_means(mu.values[..., None], np.atleast_1d(data.out.mu_mean))


def assert_means(draws: np.ndarray, expected: np.ndarray) -> None:
    """Means ``(chain, draw, n)`` within four of their own Monte Carlo errors."""
    for i, mean in enumerate(expected):
        one = draws[..., i]
        error = one.std() / np.sqrt(float(az.ess(one)))
        assert abs(one.mean() - mean) < 4 * error, (i, one.mean(), mean, error)
