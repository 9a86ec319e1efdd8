"""Log-likelihoods of new subjects at draws of a posterior, and leaving one subject out."""

import arviz as az
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from scipy import integrate, stats

import pymc_dynsys as pds

# PyMC takes the logarithm of a number such as 0.5 in single precision, and that of 0.55 in double.
N, VISITS, TAU, SIGMA, WIDE = 7, 3, 0.8, 0.55, 2.0
NAMES = list("abcdefg")
Y = np.random.default_rng(1).normal(size=(N, VISITS)) * SIGMA + np.linspace(-1.2, 1.5, N)[:, None]


def drawn(arrays: dict, chains: int = 2, **coords) -> xr.DataTree:
    """Draws as a posterior, dims (chain, draw, subject)."""
    group = {}
    for name, array in arrays.items():
        split = np.reshape(array, (chains, -1, *np.shape(array)[1:]))
        group[name] = (("chain", "draw", *coords)[: split.ndim], split)
    return xr.DataTree.from_dict({"posterior": xr.Dataset(group, coords=coords)})


def normal_model() -> pm.Model:
    """Normal data around normal effects, of which only the mean is unknown."""
    with pm.Model(coords={"subject": NAMES, "visit": range(VISITS)}) as model:
        mu = pm.Normal("mu", 0.0, WIDE)
        effect = pm.Normal("effect", mu, TAU, dims="subject")
        pm.Normal("y", effect[:, None], SIGMA, observed=Y, dims=("subject", "visit"))
    return model


def mean_given(y: np.ndarray) -> tuple[float, float]:
    """Mean and variance of the posterior of mu: means of subjects are normal around it."""
    precision = 1.0 / (TAU**2 + SIGMA**2 / VISITS)
    variance = 1.0 / (1.0 / WIDE**2 + len(y) * precision)
    return variance * precision * y.mean(1).sum(), variance


def log_density(y: np.ndarray, mean: float, variance: float) -> float:
    """Of the data of one subject, whose visits share a mean with this variance."""
    covariance = variance + SIGMA**2 * np.eye(VISITS)
    return float(stats.multivariate_normal(np.full(VISITS, mean), covariance).logpdf(y))


def test_one_subject_left_out_has_its_closed_form():
    rng = np.random.default_rng(5)
    mean, variance = mean_given(Y)
    # Draws of mu that fill its posterior evenly.
    quantiles = stats.norm.ppf((rng.permutation(600) + 0.5) / 600)
    mu = mean + np.sqrt(variance) * quantiles
    effect = rng.normal(size=(600, N))  # they only start the search for modes
    # Labels in another order than the model's.
    idata = drawn({"mu": mu, "effect": effect}, subject=NAMES[::-1])
    idata = pds.marginal_log_likelihood(idata, "subject", model=normal_model(), progressbar=False)
    group = idata["log_likelihood"].dataset
    assert group["y"].dims == ("chain", "draw", "subject")
    assert list(group["subject"].values) == NAMES
    assert group.attrs["integral"] == "Laplace's approximation"
    assert group.attrs["integral_error"] < 1e-10  # 1e-13 is reached: it is exact here
    exact = np.array([[log_density(y, m, TAU**2) for y in Y] for m in mu])
    # 3e-14 is reached.
    np.testing.assert_allclose(group["y"].values.reshape(-1, N), exact, rtol=0.0, atol=1e-12)
    loo = az.loo(idata, pointwise=True)
    others = [mean_given(np.delete(Y, i, 0)) for i in range(N)]
    elpd = [log_density(y, m, TAU**2 + v) for y, (m, v) in zip(Y, others, strict=True)]
    assert float(loo.pareto_k.max()) < 0.5
    # 3e-4 is reached, with draws that fill the posterior evenly; random ones are off by 0.03.
    np.testing.assert_allclose(loo.elpd_i.values, elpd, rtol=0.0, atol=1e-3)
    # A density that knows the subject's own data is higher by far more than that.
    assert (exact.mean(0) - elpd).max() > 0.1


def test_counts_take_as_many_nodes_as_they_need():
    rng = np.random.default_rng(3)
    counts = rng.poisson(1.5, size=(N, 2))
    with pm.Model(coords={"subject": NAMES}) as model:
        mu, tau = pm.Normal("mu", 0.0, 1.0), pm.HalfNormal("tau", 1.0)
        effect = pm.Normal("effect", 0.0, 1.0, dims="subject")
        pm.Poisson("counts", pm.math.exp(mu + tau * effect)[:, None], observed=counts)
    mus, taus = rng.normal(0.0, 0.3, 20), rng.uniform(0.8, 1.6, 20)
    idata = drawn({"mu": mus, "tau": taus})  # without effects, which are not needed
    found = pds.marginal_log_likelihood(idata, "subject", model=model, progressbar=False)
    group = found["log_likelihood"].dataset
    assert group.attrs["integral"].startswith("quadrature with")
    assert group.attrs["integral_error"] <= 0.05
    values = group["counts"].values.reshape(20, N)

    def density(z: float, m: float, t: float, y: np.ndarray) -> float:
        return stats.norm.pdf(z) * stats.poisson.pmf(y, np.exp(m + t * z)).prod()

    for draw in (0, 11):
        exact = [
            np.log(integrate.quad(density, -9, 9, args=(mus[draw], taus[draw], y), epsabs=0)[0])
            for y in counts
        ]
        np.testing.assert_allclose(values[draw].sum(), sum(exact), rtol=0.0, atol=0.05)


def test_what_cannot_be_integrated_out():
    idata = drawn({"tau": np.ones(4)})
    with pytest.raises(TypeError, match="idata: expected the DataTree of"):
        pds.marginal_log_likelihood({}, "subject", model=normal_model())
    with pytest.raises(ValueError, match=r"no free variable has this dim.*by='trajectory'"):
        pds.marginal_log_likelihood(idata, "visit", model=normal_model())
    with pytest.raises(ValueError, match=r"idata: no draws of mu, .* the posterior holds tau"):
        pds.marginal_log_likelihood(idata, "subject", model=normal_model())
    with pytest.raises(ValueError, match="quadrature: got 0"):
        pds.marginal_log_likelihood(idata, "subject", model=normal_model(), quadrature=0)


def test_effects_of_an_unnamed_level_are_held_and_of_a_named_one_integrated_out():
    """Subjects in groups, both normal: all is a normal density."""
    rng = np.random.default_rng(8)
    group = np.array([0, 0, 1, 1, 1, 2, 2])
    with pm.Model(coords={"subject": NAMES, "group": range(3), "visit": range(VISITS)}) as model:
        mu, between = pm.Normal("mu", 0.0, WIDE), pm.HalfNormal("between", 1.0)
        level = pm.Normal("level", mu, between, dims="group")
        effect = pm.Normal("effect", 0.0, TAU, dims="subject")
        pm.Normal("y", (level[group] + effect)[:, None], SIGMA, observed=Y)
    arrays = {"mu": rng.normal(size=6), "between": rng.uniform(0.2, 1.0, 6)}
    levels = rng.normal(size=(6, 3))
    idata = drawn(arrays | {"level": levels}, group=range(3))
    held = pds.marginal_log_likelihood(idata, "subject", model=model, progressbar=False)
    exact = [
        [log_density(y, of[g], TAU**2) for y, g in zip(Y, group, strict=True)] for of in levels
    ]
    values = held["log_likelihood"]["y"].values.reshape(6, N)
    np.testing.assert_allclose(values, exact, rtol=0.0, atol=1e-12)

    nested = ("group", "subject")
    out = pds.marginal_log_likelihood(idata, nested, model=model, progressbar=False)
    values = out["log_likelihood"]["y"].values.reshape(6, 3)
    for draw, (mean, sd) in enumerate(zip(*arrays.values(), strict=True)):
        for g in range(3):
            y = Y[group == g]
            covariance = sd**2 + np.kron(np.eye(len(y)), np.full((VISITS, VISITS), TAU**2))
            covariance = covariance + SIGMA**2 * np.eye(y.size)
            exact = stats.multivariate_normal(np.full(y.size, mean), covariance).logpdf(y.ravel())
            assert values[draw, g] == pytest.approx(exact, abs=1e-12)


@pytest.mark.slow
def test_many_effects_are_sampled_and_each_chain_of_values_is_near_a_fine_grid():
    """Three effects per subject, which enter through a Poisson rate."""
    rng = np.random.default_rng(4)
    counts = rng.poisson(2.0, size=(N, 9))
    times = np.linspace(-1.0, 1.0, 9)
    with pm.Model(coords={"subject": NAMES, "term": range(3)}) as model:
        tau = pm.HalfNormal("tau", 1.0)
        b = pm.Normal("b", 0.0, tau, dims=("subject", "term"))
        rate = b[:, :1] + b[:, 1:2] * times + b[:, 2:] * times**2
        pm.Poisson("y", pm.math.exp(rate), observed=counts)
    idata = drawn({"tau": np.array([0.5, 0.9])}, chains=1)
    found, grid = (
        pds.marginal_log_likelihood(idata, "subject", model=model, quadrature=n, progressbar=False)[
            "log_likelihood"
        ].dataset
        for n in (None, 9)
    )
    assert found.attrs["integral"] == "importance sampling with 200 draws"
    error = (found["y"] - grid["y"]).values
    # The error that is told is one standard deviation of the sum; single ones are of its size.
    assert found.attrs["integral_error"] < 0.15
    assert np.abs(error.sum(-1)).max() < 3 * found.attrs["integral_error"]


@pytest.mark.slow
def test_leaving_a_subject_out_is_fitting_without_it():
    """Ornstein-Uhlenbeck paths with levels and rates of their own, fitted again six times."""
    ou = pds.SDE(
        states=("level",),
        drift=lambda level, mean, log_rate: -jnp.exp(log_rate) * (level - mean),
        diffusion=0.5,
        initial=lambda mean: dist.Normal(mean, 0.5),
        observation=lambda level: dist.Normal(level, 0.2),
    )
    names, times = list("ABCDEF"), np.arange(0.0, 6.0, 0.5)
    rng = np.random.default_rng(7)
    truth = {"mean": rng.normal(0.5, 0.7, 6), "log_rate": rng.normal(0.0, 0.3, 6)}
    truth = {name: xr.DataArray(v, dims="subject") for name, v in truth.items()}
    y = pds.simulate(ou, truth, times, random_seed=2)["observations"].values.reshape(6, -1)

    def build(data: np.ndarray) -> pm.Model:
        with pm.Model(coords={"subject": names, "time": times}) as model:
            mean = pm.Normal("mean", 0.0, 1.0)
            sd = pm.HalfNormal("sd", 1.0)
            log_rate = pm.Normal("log_rate", 0.0, 0.5)
            z = pm.Normal("z", 0.0, 1.0, dims="subject")
            z_rate = pm.Normal("z_rate", 0.0, 1.0, dims="subject")
            params = {
                "mean": pm.Deterministic("own_mean", mean + sd * z, dims="subject"),
                "log_rate": pm.Deterministic("own", log_rate + 0.3 * z_rate, dims="subject"),
            }
            pds.Trajectory("y", ou, params=params, observed=data, dims=("subject", "time"))
        return model

    model = build(y)

    def log_densities(data: np.ndarray, seed: int) -> xr.DataTree:
        idata = pm.sample(
            draws=500,
            tune=500,
            chains=2,
            nuts_sampler="numpyro",
            random_seed=seed,
            progressbar=False,
            compute_convergence_checks=False,
            model=build(data),
        )
        return pds.marginal_log_likelihood(idata, "subject", model=model, progressbar=False)

    loo = az.loo(log_densities(y, 1), pointwise=True)
    assert float(loo.pareto_k.max()) < 0.7
    refits = []
    for i, name in enumerate(names):
        data = y.copy()
        data[i] = np.nan
        with pytest.warns(UserWarning, match=f"no value observed for subject='{name}'"):
            each = log_densities(data, 2 + i)["log_likelihood"]["y"].sel(subject=name).values
        refits.append(np.log(np.exp(each).mean()))
    # 0.054 is reached: both are means over a thousand draws of densities that differ by a nat.
    np.testing.assert_allclose(loo.elpd_i.values, refits, rtol=0.0, atol=0.12)
