"""Innovations, pointwise log-likelihoods and the cost of approximations."""

import arviz as az
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from scipy import stats
from scipy.special import logsumexp

import pymc_dynsys as pds
from pymc_dynsys.inference.innovations import ljung_box
from tests.inference.posteriors import posterior

NAN = np.nan
N, TIMES = 300, np.linspace(0.0, 12.0, 41)
TRUTH = {"mu": 1.0, "theta": 0.6, "noise": 0.25}


def system(vector: bool = False) -> pds.SDE:
    def observation(level, noise):
        if not vector:
            return dist.Normal(level, noise)
        cov = noise**2 * jnp.array([[1.0, 0.6], [0.6, 2.0]])
        return dist.MultivariateNormal(jnp.stack([level, -0.5 * level]), cov)

    return pds.SDE(
        states=("level",),
        drift=lambda level, mu, theta: -theta * (level - mu),
        diffusion=0.5,
        initial=dist.Normal(0.0, 1.0),
        observation=observation,
    )


def simulated(vector: bool = False) -> np.ndarray:
    paths = pds.simulate(system(vector), TRUTH, TIMES, n=N, random_seed=8)
    y = paths["observations"].values
    y[np.random.default_rng(0).random(y.shape) < 0.15] = NAN
    return y


def model_of(y: np.ndarray, likelihood=None) -> pm.Model:
    vector = y.ndim == 3
    with pm.Model(coords={"subject": np.arange(len(y)), "time": TIMES[: y.shape[1]]}) as model:
        if vector:
            model.add_coord("component", ["u", "v"])
        params = {name: pm.HalfNormal(name) for name in TRUTH}
        dims = ("subject", "time", "component")[: y.ndim]
        pds.Trajectory(
            "y", system(vector), params=params, observed=y, dims=dims, likelihood=likelihood
        )
    return model


def rejected(p_values: xr.DataArray) -> float:
    return float((p_values < 0.05).mean())


@pytest.mark.parametrize("vector", [False, True])
def test_innovations_of_the_right_model_are_standard_normal(vector):
    y = simulated(vector)
    out = pds.innovations(posterior(TRUTH, 1), model=model_of(y))
    z = out["innovations"]["z"]
    assert z.dims == ("chain", "draw", "subject", "time", "component")[: y.ndim + 2]
    np.testing.assert_array_equal(np.isnan(z.values[0, 0]), np.isnan(y))
    known = z.values[np.isfinite(z.values)]
    assert stats.kstest(known, "norm").pvalue > 1e-3
    assert (
        stats.kstest(out["innovations"]["pit"].values[np.isfinite(z.values)], "uniform").pvalue
        > 1e-3
    )
    width = 4 * (0.05 * 0.95 / N) ** 0.5
    assert abs(rejected(out["tests"]["ljung_box"]) - 0.05) < width
    assert abs(rejected(out["tests"]["nis"]) - 0.05) < width
    if vector:
        pairs = z.values[0, 0].reshape(-1, 2)
        pairs = pairs[np.isfinite(pairs).all(1)]
        assert abs(np.corrcoef(pairs.T)[0, 1]) < 4 / len(pairs) ** 0.5
        nis = out["innovations"]["nis"].values[0, 0][np.isfinite(y).all(-1)]
        assert stats.kstest(nis, stats.chi2(2).cdf).pvalue > 1e-3


@pytest.mark.parametrize(
    ("wrong", "test"),
    [({"noise": 0.5}, "nis"), ({"noise": 0.1}, "nis"), ({"theta": 4.0, "noise": 0.5}, "ljung_box")],
)
def test_innovations_of_a_wrong_model_fail(wrong, test):
    out = pds.innovations(posterior({**TRUTH, **wrong}, 1), model=model_of(simulated()))
    assert rejected(out["tests"][test]) > 0.5


def test_innovations_of_filters_and_of_an_ode():
    y = simulated()[:5]
    exact = pds.innovations(posterior(TRUTH, 2), model=model_of(y))["innovations"]["z"]
    same = pds.innovations(posterior(TRUTH, 2), model=model_of(y, pds.EKF(pds.Exact())))
    near = pds.innovations(posterior(TRUTH, 2), model=model_of(y, pds.EnKF(2000, pds.Exact())))
    np.testing.assert_allclose(same["innovations"]["z"], exact, rtol=1e-9)
    assert float(abs(near["innovations"]["z"] - exact).max()) < 0.2
    decay = pds.ODE(
        states=("level",),
        drift=lambda level, k: -k * level,
        initial=(2.0,),
        observation=lambda level: dist.Normal(level, 0.1),
    )
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        params = {"k": pm.HalfNormal("k")}
        pds.Trajectory("y", decay, params=params, observed=[2.1, NAN], dims="time")
    z = pds.innovations(posterior({"k": 0.5}, 1), model=model)["innovations"]["z"]
    np.testing.assert_allclose(z.values[0, 0], [1.0, NAN], rtol=1e-9)


def test_ljung_box_by_hand_and_at_the_nominal_rate():
    z = np.random.default_rng(1).normal(size=60)
    off = z - z.mean()
    rho = np.array([(off[k:] * off[:-k]).sum() / (off @ off) for k in (1, 2, 3)])
    # Here each correlation is of its own pairs: scaled by n / (n - k).
    scaled = rho * 60 / (60 - np.array([1, 2, 3]))
    total = 62 / 60 * ((60 - np.array([1, 2, 3])) * scaled**2).sum()
    np.testing.assert_allclose(ljung_box(z, 3), stats.chi2.sf(total, 3), rtol=1e-12)
    many = np.random.default_rng(2).normal(size=(4000, 80))
    many[:, ::7] = NAN
    assert abs((ljung_box(many, 5) < 0.05).mean() - 0.05) < 0.02
    assert np.isnan(ljung_box(z[:4], 3))
    with pytest.raises(ValueError, match="lags: expected a positive integer, got 0"):
        ljung_box(z, 0)


# Log-likelihoods -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small():
    y = simulated()[:4, :6]
    y[1, 2:] = NAN
    y[:, 3] = NAN
    model = model_of(y)
    draws = {name: np.array([0.8, 1.2, 0.9]) * value for name, value in TRUTH.items()}
    return model, posterior(draws, 3), y


def test_log_likelihoods_by_trajectory_datum_and_time_have_one_sum(small):
    model, idata, y = small
    expected = model.compile_fn(model.logp(vars=[model["y"]], sum=False), point_fn=True)
    sums = []
    for s in range(3):
        point = {f"{k}_log__": np.log(idata.posterior[k].values[0, s]) for k in TRUTH}
        sums.append(expected(point)[0])
    of_subjects = pds.log_likelihood(idata, model=model, by="trajectory").log_likelihood["y"]
    assert of_subjects.dims == ("chain", "draw", "subject")
    np.testing.assert_allclose(of_subjects.values[0], sums, rtol=1e-10)
    of_data = pds.log_likelihood(idata, model=model).log_likelihood["y"]
    assert of_data.sizes["datum"] == np.isfinite(y).sum()
    assert (of_data != 0).all()
    for i in range(4):
        part = of_data.values[..., of_data["subject"].values == i].sum(-1)
        np.testing.assert_allclose(part[0], np.array(sums)[:, i], rtol=1e-10)
    of_times = pds.log_likelihood(idata, model=model, by="time").log_likelihood["y"]
    assert of_times["time"].values.tolist() == np.delete(TIMES[:6], 3).tolist()
    np.testing.assert_allclose(of_times.values[0].sum(-1), np.array(sums).sum(-1), rtol=1e-10)
    assert "log_likelihood" not in idata.children


@pytest.mark.filterwarnings("ignore:Estimated shape parameter")  # of few data, not of the code
@pytest.mark.parametrize("first", [6, pytest.param(5, marks=pytest.mark.slow)])
def test_arviz_leaves_subjects_out_and_the_future(first):
    """Each time left out is one more run of the sampler."""
    y = simulated()[:20, :8]
    y[:, 2] = NAN
    model = model_of(y)
    options = {
        "draws": 300,
        "tune": 300,
        "chains": 2,
        "nuts_sampler": "numpyro",
        "nuts": {"chain_method": "vectorized"},
        "progressbar": False,
        "random_seed": 1,
        "compute_convergence_checks": False,
    }
    idata = pm.sample(model=model, **options)
    of_subjects = az.loo(pds.log_likelihood(idata, model=model, by="trajectory"))
    assert of_subjects.n_data_points == 20
    of_times = pds.log_likelihood(idata, model=model, by="time")
    future = pds.LeaveFutureOut(model, **options)
    out = az.lfo_cv(of_times, future, min_observations=first, forecast_horizon=1, pointwise=True)
    assert out.n_data_points == 7 - first
    assert out.elpd_i["time"].values.tolist() == TIMES[first + 1 : 8].tolist()
    # With an sd of some 0.7 nats over the posterior, 600 draws give each to about 0.04.
    np.testing.assert_allclose(out.elpd_i, predictive_densities(model)[first:], atol=0.2)


def predictive_densities(model: pm.Model, n: int = 32) -> np.ndarray:
    """Exact log-density of the data of each time given those before it.

    Parameters stand on a grid of quantiles of their priors, where all points weigh the same.
    """
    quantiles = stats.halfnorm.ppf((np.arange(n) + 0.5) / n)
    grid = np.meshgrid(*[quantiles] * 3, indexing="ij")
    points = {name: axis.reshape(1, -1) for name, axis in zip(TRUTH, grid, strict=True)}
    idata = az.from_dict({"posterior": points})
    each = pds.log_likelihood(idata, model=model, by="time", progressbar=False).log_likelihood["y"]
    until = logsumexp(each.values[0].cumsum(-1), axis=0)
    return np.diff(until, prepend=np.log(n**3))


def test_there_is_no_common_future_in_a_ragged_panel():
    times = np.array([[0.0, 1.0], [0.5, 2.0]])
    with pm.Model(coords={"subject": [0, 1], "visit": [0, 1]}) as model:
        params = {name: pm.HalfNormal(name) for name in TRUTH}
        pds.Trajectory(
            "y", system(), params=params, observed=times, times=times, dims=("subject", "visit")
        )
    with pytest.raises(ValueError, match="times of their own, so there is no common future"):
        pds.log_likelihood(posterior(TRUTH, 1), model=model, by="time")
    with pytest.raises(ValueError, match="no common future"):
        pds.LeaveFutureOut(model)
    with pytest.raises(ValueError, match="by: expected one of"):
        pds.log_likelihood(posterior(TRUTH, 1), model=model, by="subject")


# What approximations cost --------------------------------------------------------------------


def test_exact_likelihood_costs_nothing(small):
    model, idata, _ = small
    report = pds.check_likelihood(model, idata)["check"]
    assert dict(report.sizes) == {"draw": 3, "subject": 4}
    for name in ("seed_sd", "step_change", "reference_change"):
        assert (report[name] == 0).all()
    assert report["finite"].all() and report["gradient_finite"].all()
    assert "is exact" in report.attrs["advice"][0]


@pytest.mark.parametrize("options", [{"n_draws": 0}, {"n_seeds": -1}, {"n_draws": 2.5}])
def test_numbers_of_draws_and_seeds_are_checked(small, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}: expected a positive integer"):
        pds.check_likelihood(small[0], small[1], **options)


def test_errors_of_an_ensemble_are_those_measured_elsewhere(small):
    """Spread over seeds, and bias against the exact filter, which the report computes itself."""
    _, idata, y = small
    report = pds.check_likelihood(model_of(y, pds.EnKF(30, pds.Exact())), idata, n_seeds=12)[
        "check"
    ]
    spread, bias = report["seed_sd"], report["reference_change"]
    assert float(spread.max()) > 0.02
    assert report.attrs["reference"] == "Kalman(discretization=Exact())"
    large = pds.check_likelihood(model_of(y, pds.EnKF(3000, pds.Exact())), idata, n_seeds=4)[
        "check"
    ]
    assert float(large["seed_sd"].mean()) < 0.25 * float(spread.mean())
    assert float(abs(large["reference_change"]).mean()) < 0.25 * float(abs(bias).mean()) + 0.01
    assert "an ensemble of" in report.attrs["advice"][0] or float(spread.max()) <= 0.1


def test_euler_steps_are_measured_against_halves_and_the_exact_filter(small):
    _, idata, y = small
    report = pds.check_likelihood(model_of(y, pds.Kalman(pds.EulerMaruyama())), idata)["check"]
    step, whole = report["step_change"], report["reference_change"]
    # A first-order scheme: half the step removes about half of the error.
    seen = abs(whole) > 0.01
    ratio = (step / whole).where(seen)
    assert seen.any() and 0.35 < float(ratio.median()) < 0.65


def test_extended_filter_is_compared_with_a_large_ensemble():
    curved = pds.SDE(
        states=("level",),
        drift=lambda level, k: -k * level**3,
        diffusion=0.5,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.2),
    )
    with pm.Model(coords={"time": TIMES[:10]}) as model:
        params = {"k": pm.HalfNormal("k")}
        y = np.zeros(10)
        pds.Trajectory("y", curved, params=params, observed=y, dims="time")
    report = pds.check_likelihood(model, n_seeds=4)["check"]
    assert report.sizes == {"draw": 1}
    assert "EnKF(ensemble_size=1000" in report.attrs["reference"]
    assert 0 < float(abs(report["reference_change"]).max()) < 2


def test_two_infinities_do_not_agree():
    """A negative standard deviation leaves neither the likelihood nor its reference a value."""
    bent = pds.SDE(
        states=("level",),
        drift=lambda level: -jnp.sinh(level),
        diffusion=0.3,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level, sd: dist.Normal(level, sd),
    )
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        params = {"sd": pm.HalfNormal("sd")}
        pds.Trajectory("y", bent, params=params, observed=[0.1, 0.2], dims="time")
    idata = posterior({"sd": -1.0}, 1)
    advice = pds.check_likelihood(model, idata)["check"].attrs["advice"]
    assert not any("agree" in sentence or "short enough" in sentence for sentence in advice)
    assert sum("nothing to compare" in sentence for sentence in advice) == 2


def test_values_and_gradients_that_are_not_numbers_are_named():
    broken = pds.ODE(
        states=("level",),
        drift=lambda level, k, s: -k * level * jnp.where(s > 1e3, jnp.sqrt(s - s), 1.0),
        initial=(2.0,),
        observation=lambda level: dist.Normal(level, 0.1),
    )
    with pm.Model(coords={"subject": ["a", "b"], "time": [0.0, 1.0]}) as model:
        params = {"k": pm.HalfNormal("k"), "s": pm.HalfNormal("s", dims="subject")}
        y = np.ones((2, 2))
        pds.Trajectory("y", broken, params=params, observed=y, dims=("subject", "time"))
    idata = posterior({"k": 0.5, "s": (("subject",), [0.5, 2e3])}, 1, subject=["a", "b"])
    report = pds.check_likelihood(model, idata)["check"]
    assert (
        report["gradient_finite"].values.tolist() == [[False, False]]
        or not report["gradient_finite"].sel(subject="b").all()
    )
    assert any("gradient with respect to s is not finite" in s for s in report.attrs["advice"])
