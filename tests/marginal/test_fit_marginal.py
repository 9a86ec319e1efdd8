"""Marginal fits: the gradient, the boundary, the result, the check and what it catches."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.marginal import blocks
from pymc_dynsys.marginal.problem import prepare

GAIN = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERROR = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


def schools(gain=GAIN, centred=True, n=8) -> pm.Model:
    with pm.Model(coords={"school": list("ABCDEFGH")[:n]}) as model:
        mu = pm.Normal("mu", 0.0, 5.0)
        tau = pm.HalfCauchy("tau", 5.0)
        theta = pds.effects.varying("theta", mu, tau, dims="school", centered=centred)
        pm.Deterministic("shrinkage", tau**2 / (tau**2 + 100.0))
        pm.Normal("y", theta, ERROR[:n], observed=gain[:n], dims="school")
    return model


@pytest.fixture(scope="module")
def counts() -> pm.Model:
    """Counts with two effects of each subject, one of them over two treatments."""
    rng = np.random.default_rng(3)
    coords = {"subject": [10, 20, 30, 40, 50], "treatment": ["a", "b"], "row": np.arange(30)}
    subject, treatment = np.repeat(np.arange(5), 6), np.tile([0, 1], 15)
    y = rng.poisson(np.exp(1.0 + 0.5 * rng.normal(size=5))[subject])
    with pm.Model(coords=coords) as model:
        b = pm.Normal("b", 0.0, 2.0, dims="treatment")
        sd = pm.HalfNormal("sd", 1.0, dims="treatment")
        v = pm.Normal("v", 0.0, sd[:, None], dims=("treatment", "subject"))
        pm.Poisson("y", pm.math.exp(b[treatment] + v[treatment, subject]), observed=y, dims="row")
    return model


@pytest.mark.parametrize("quadrature", [1, 9])
def test_the_gradient_is_the_difference_of_values(counts, quadrature):
    problem = prepare(counts, "subject", priors=True, quadrature=quadrature, initvals=None, seed=0)
    marginal = problem.marginal()
    theta = np.array([0.8, 1.3, -0.5, -0.2])
    answer = marginal(theta)
    step = 1e-4
    for j, slope in enumerate(answer.gradient):
        move = step * np.eye(4)[j]
        above, below = marginal(theta + move).value, marginal(theta - move).value
        # Laplace's is exact; that of nine nodes is Fisher's identity at nine nodes.
        tolerance = 1e-6 if quadrature == 1 else 2e-4
        assert slope == pytest.approx((above - below) / (2 * step), abs=tolerance)
    assert answer.members.sum() + answer.modes.rest == pytest.approx(answer.value, abs=1e-10)


def test_each_member_has_the_integral_of_its_own_data(counts):
    """Two effects are independent here, so a member is a product of integrals over a line."""
    fit = pds.fit_marginal(counts, "subject", quadrature=9, priors=True, progressbar=False)
    b, sd = (fit["estimate"][name].values for name in ("b", "sd"))
    y = counts.rvs_to_values[counts["y"]].data.reshape(5, 3, 2)
    grid = np.linspace(-9.0, 9.0, 4001)
    expected = np.zeros(5)
    for i in range(5):
        for k in range(2):
            v = sd[k] * grid
            logs = (
                pm.logp(pm.Poisson.dist(np.exp(b[k] + v)[:, None]), y[i, :, k])
                .eval(mode="FAST_COMPILE")
                .sum(1)
            )
            density = np.exp(logs - grid**2 / 2) / np.sqrt(2 * np.pi)
            expected[i] += np.log(np.trapezoid(density, grid))
    found = fit["log_likelihood"]["log_likelihood"]
    assert list(found["subject"].values) == [10, 20, 30, 40, 50]
    # Nine nodes leave an error below 1e-5; the line is integrated to rounding.
    np.testing.assert_allclose(found.values, expected, atol=1e-5)
    assert fit.attrs["log_likelihood"] == pytest.approx(expected.sum(), abs=5e-5)
    assert fit["mode"]["v"].dims == ("treatment", "subject")


def test_a_variance_of_zero_is_reported_as_such():
    """The data of eight schools say nothing against tau = 0; mu is then the pooled mean."""
    weight = ERROR**-2.0
    for centred in (True, False):
        fit = pds.fit_marginal(schools(centred=centred), "school", progressbar=False)
        table = fit["summary"].to_dataframe()
        assert fit.attrs["boundary"] == ["tau"]
        assert table.loc["tau", "estimate"] == 0.0
        assert np.isnan(table.loc["tau", ["standard_error", "lower", "upper"]].astype(float)).all()
        assert list(table["boundary"]) == [False, True, True]
        assert table.loc["shrinkage", "estimate"] == 0.0
        assert table.loc["mu", "estimate"] == pytest.approx((weight * GAIN).sum() / weight.sum())
        assert table.loc["mu", "standard_error"] == pytest.approx(weight.sum() ** -0.5, rel=1e-5)
        assert fit.attrs["log_likelihood"] == pytest.approx(-29.674, abs=1e-3)


def test_functions_of_several_members_have_the_sd_of_a_dense_normal():
    """Effects of a linear normal model are normal given the parameters, and so are their sums."""
    weights = np.random.default_rng(0).normal(size=8)
    with schools(gain=5 * GAIN) as model:
        theta = model["theta"]
        pm.Deterministic("mean", theta.mean())
        pm.Deterministic("contrast", theta - theta[0], dims="school")
        pm.Deterministic("sums", pm.math.stack([(weights * theta).sum(), theta[2] + theta[5]]))
        pm.Deterministic("level", pm.math.exp(theta / 100.0), dims="school")
    fit = pds.fit_marginal(model, "school", check=False, progressbar=False)
    tau = float(fit["estimate"]["tau"])
    variance = 1.0 / (ERROR**-2.0 + tau**-2.0)
    covariance = np.diag(variance)
    sd = fit["conditional_sd"]
    rows = {
        "mean": np.full((1, 8), 1 / 8),
        "contrast": np.eye(8) - np.eye(8)[0],
        "sums": np.stack([weights, np.eye(8)[2] + np.eye(8)[5]]),
        "level": np.diag(fit["mode"]["level"].values / 100.0),
    }
    for name, derivative in rows.items():
        expected = np.sqrt(np.diag(derivative @ covariance @ derivative.T))
        # Differences with a step of 1e-3 leave 1e-7.
        assert np.ravel(sd[name].values) == pytest.approx(expected, rel=1e-6, abs=1e-12), name


def lines(correlation: float, n: int = 30, visits: int = 6) -> pm.Model:
    """A line of each subject, whose intercept and slope go together perfectly."""
    rng = np.random.default_rng(0)
    z, _ = rng.normal(size=n), rng.normal(size=n)
    who, x = np.repeat(np.arange(n), visits), np.tile(np.linspace(-1.0, 1.0, visits), n)
    y = 1.0 + z[who] + (0.5 + 0.5 * correlation * z[who]) * x + 0.5 * rng.normal(size=n * visits)
    with pm.Model(coords={"subject": np.arange(n), "effect": ["a", "b"]}) as model:
        b, sigma = pm.Normal("b", 0.0, 3.0, dims="effect"), pm.HalfNormal("sigma")
        sds = pm.HalfNormal.dist(1.0, shape=2)
        root, _, _ = pm.LKJCholeskyCov("root", n=2, eta=1.0, sd_dist=sds)
        u = pm.MvNormal("u", np.zeros(2), chol=root, dims=("subject", "effect"))
        pm.Normal("y", b[0] + u[who, 0] + (b[1] + u[who, 1]) * x, sigma, observed=y)
    return model


@pytest.mark.parametrize("correlation", [1.0, pytest.param(-1.0, marks=pytest.mark.slow)])
def test_a_correlation_of_one_is_reported_as_such(correlation):
    fit = pds.fit_marginal(lines(correlation), "subject", check=False, progressbar=False)
    assert fit.attrs["boundary"] == ["root_corr"]
    table = fit["summary"].to_dataframe()
    row = table.loc["root_corr[0, 1]"]
    assert row["estimate"] == correlation and row["boundary"] and np.isnan(row["standard_error"])
    # The sds are inside, and so are their errors.
    names = ["root_stds[0]", "root_stds[1]"]
    assert not table.loc[names, "boundary"].any()
    assert (table.loc[names, "standard_error"].astype(float) > 0.05).all()
    with pytest.raises(ValueError, match="root_corr is at the boundary"):
        pds.warm_start(fit)
    if correlation > 0:
        # lmer(y ~ x + (x | subject), REML = FALSE) of lme4 1.1.31, which says that it is singular.
        assert fit.attrs["log_likelihood"] == pytest.approx(-173.635680061, abs=1e-6)
        lmer = [0.8506810651, 0.4269586839, 0.50686023, 0.73958644, 0.32413098]
        rows = ["b[a]", "b[b]", "sigma", *names]
        assert table.loc[rows, "estimate"].to_numpy() == pytest.approx(lmer, abs=1e-5)


def test_the_result_is_labelled_and_can_be_stored(tmp_path):
    fit = pds.fit_marginal(
        schools(gain=5 * GAIN), "school", priors=True, starts=3, random_seed=1, progressbar=False
    )
    assert set(fit.children) == {
        "summary",
        "estimate",
        "standard_error",
        "mode",
        "conditional_sd",
        "covariance",
        "unconstrained",
        "log_likelihood",
    }
    assert fit.attrs["starts_at_best"] == 3
    assert list(fit["mode"]["theta"]["school"].values) == list("ABCDEFGH")
    table = fit["summary"].to_dataframe()
    assert list(table.index) == ["mu", "tau", "shrinkage"]
    tau = table.loc["tau"]
    # The interval is symmetric for log tau.
    assert tau["lower"] * tau["upper"] == pytest.approx(tau["estimate"] ** 2)
    sd = np.sqrt(fit["covariance"]["covariance"].sel(coordinate="tau_log__").values[1])
    assert tau["standard_error"] == pytest.approx(sd * tau["estimate"], rel=1e-5)
    page = fit._repr_html_()
    assert "shrinkage" in page and "integrated out by Laplace" in page
    fit.to_netcdf(tmp_path / "fit.nc")
    again = xr.open_datatree(tmp_path / "fit.nc")
    assert again.attrs["aic"] == fit.attrs["aic"]
    xr.testing.assert_equal(again["estimate"].dataset, fit["estimate"].dataset)
    # AIC = 2 p - 2 log L, with the likelihood of the data alone.
    theta, mu = fit["estimate"]["tau"].values, fit["estimate"]["mu"].values
    variance = ERROR**2 + theta**2
    exact = -0.5 * (np.log(2 * np.pi * variance) + (5 * GAIN - mu) ** 2 / variance).sum()
    assert fit.attrs["aic"] == pytest.approx(4 - 2 * exact)


def ornstein_uhlenbeck(n: int, seed: int) -> pm.Model:
    """Series of 20 visits of subjects whose log rates have an sd of 0.3."""
    rng = np.random.default_rng(seed)
    rate = np.exp(np.log(0.5) + 0.3 * rng.normal(size=n))
    gap = 0.5
    x = np.zeros((n, 20))
    x[:, 0] = rng.normal(size=n) / np.sqrt(2 * rate)
    for k in range(1, 20):
        decay = np.exp(-rate * gap)
        noise = np.sqrt((1 - decay**2) / (2 * rate)) * rng.normal(size=n)
        x[:, k] = decay * x[:, k - 1] + noise
    y = x + 0.3 * rng.normal(size=x.shape)
    system = pds.SDE(
        states=("x",),
        drift=lambda x, log_rate: -jnp.exp(log_rate) * x,
        diffusion=lambda sigma: sigma,
        initial=pds.Stationary(),
        observation=lambda x, noise: dist.Normal(x, noise),
    )
    with pm.Model(coords={"subject": np.arange(n), "time": gap * np.arange(20)}) as model:
        mean, sd = pm.Normal("log_rate"), pm.HalfNormal("sd_rate")
        sigma, noise = pm.HalfNormal("sigma"), pm.HalfNormal("noise")
        z = pm.Normal("z", dims="subject")
        params = {"log_rate": mean + sd * z, "sigma": sigma, "noise": noise}
        pds.Trajectory("y", system, params=params, observed=y, dims=("subject", "time"))
    return model


def test_the_check_catches_what_laplace_gets_wrong_and_quadrature_cures_it():
    model = ornstein_uhlenbeck(300, seed=0)
    with pytest.warns(UserWarning, match=r"moves sd_rate by 0\.5.*quadrature=9"):
        rough = pds.fit_marginal(model, "subject", progressbar=False)
    fine = pds.fit_marginal(model, "subject", quadrature=9, progressbar=False)
    assert fine.attrs["largest_shift"] < 0.01
    assert abs(fine.attrs["approximation_error"]) < 1e-3
    of = {
        name: fit["summary"].to_dataframe().loc["sd_rate"]
        for name, fit in (("rough", rough), ("fine", fine))
    }
    # The warning told where to, and the truth lies there.
    error = of["rough"]["standard_error"]
    told = of["rough"]["estimate"] + of["rough"]["shift"] * error
    assert abs(told - of["fine"]["estimate"]) < 0.15 * error
    assert abs(of["fine"]["estimate"] - 0.3) < abs(of["rough"]["estimate"] - 0.3)


def test_many_effects_are_checked_by_importance_sampling():
    """Three effects of each member, seen through a normal: the weights are nearly equal."""
    rng = np.random.default_rng(0)
    with pm.Model(coords={"subject": range(4), "occasion": range(3)}) as model:
        sd = pm.HalfNormal("sd")
        v = pm.Normal("v", 0.0, sd, dims=("subject", "occasion"))
        pm.Normal("y", v, 0.5, observed=rng.normal(size=(4, 3)), dims=("subject", "occasion"))
    fit = pds.fit_marginal(model, "subject", progressbar=False)
    assert fit.attrs["check"].startswith("importance sampling")
    assert abs(fit.attrs["approximation_error"]) < 0.1
    assert (fit["log_likelihood"]["pareto_k"] < 0.5).all()
    assert fit.attrs["largest_shift"] < 0.05


def test_roots_of_inverses_also_of_matrices_that_are_not_positive():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(6, 3, 3))
    matrices = a @ a.transpose(0, 2, 1)
    roots = rng.normal(size=(6, 3, 3))
    inner = roots.transpose(0, 2, 1) @ matrices @ roots
    found, positive = blocks.root_of_inverse(inner, roots)
    assert positive.all()
    np.testing.assert_allclose(
        # Rounding, times the condition of these matrices.
        found @ found.transpose(0, 2, 1) @ matrices,
        [np.eye(3)] * 6,
        atol=1e-10,
    )
    _, positive = blocks.root_of_inverse(np.stack([np.eye(3), -np.eye(3)]), roots[:2])
    assert list(positive) == [True, False]
