"""BlackJAX's samplers against exact posteriors, against BlackJAX's own loops and against PyMC."""

from dataclasses import replace

import arviz as az
import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist
from pymc.exceptions import SamplingError
from pymc.progress_bar import create_simple_progress

import pymc_dynsys as pds
from pymc_dynsys.sampling import adaptation, chains, run
from pymc_dynsys.sampling.adaptation import Warmup
from pymc_dynsys.sampling.algorithms import ALGORITHMS
from pymc_dynsys.sampling.chains import Chains
from pymc_dynsys.sampling.sample_blackjax import sample_blackjax

PRIOR_COV = np.array([[1.0, 0.8], [0.8, 4.0]])
Y, NOISE = np.array([0.3, -1.0]), 0.7
# Two steps are far from a resonance here: four hardly mix the spreads.
OPTIONS = {
    "hmc": {"num_integration_steps": 2},
    "mclmc": {"desired_energy_var": 1e-4, "draws": 4000, "tune": 1000},
}
EXACT_SEED = 20


def gaussian_model() -> pm.Model:
    """A correlated normal with data, a lognormal, and what follows from both."""
    with pm.Model(coords={"place": ["here", "there"]}) as model:
        pm.Data("weights", [1.0, 2.0], dims="place")
        level = pm.MvNormal("level", [1.0, -2.0], PRIOR_COV, dims="place")
        rate = pm.LogNormal("rate", 0.3, 0.4)
        pm.Deterministic("total", level.sum() + pm.math.log(rate))
        pm.Deterministic("twice", 2 * level, dims="place")
        pm.Normal("y", level, NOISE, observed=Y, dims="place")
        # Tilts the normal of log(rate) by one variance.
        pm.Potential("tilt", pm.math.log(rate))
    return model


def exact_moments() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Means and sds of the posterior of `gaussian_model`."""
    precision = np.linalg.inv(PRIOR_COV)
    cov = np.linalg.inv(precision + np.eye(2) / NOISE**2)
    level = cov @ (precision @ [1.0, -2.0] + Y / NOISE**2)
    log_rate, var = 0.3 + 0.4**2, 0.4**2
    rate = np.exp(log_rate + var / 2)
    return {
        "level": (level, np.sqrt(np.diag(cov))),
        "rate": (rate, rate * np.sqrt(np.exp(var) - 1)),
        "total": (level.sum() + log_rate, np.sqrt(cov.sum() + var)),
    }


@pytest.fixture(scope="module")
def model():
    return gaussian_model()


@pytest.fixture(scope="module")
def posteriors(model):
    """A posterior of each algorithm, sampled when it is first asked for."""
    found = {}

    def get(name, **changes):
        key = (name, *changes.items())
        if key not in found:
            settings = {"draws": 500, "tune": 300, "random_seed": EXACT_SEED, "progressbar": False}
            # BlackJAX broadcasts the mean of the chains.
            with jax.numpy_rank_promotion("allow"):
                found[key] = sample_blackjax(
                    name, model=model, **{**settings, **OPTIONS.get(name, {}), **changes}
                )
        return found[key]

    return get


def assert_exact(idata):
    for name, (mean, sd) in exact_moments().items():
        draws = idata["posterior"][name]
        found = draws.std(("chain", "draw"))
        for estimate, truth, method in (
            (draws.mean(("chain", "draw")), mean, "mean"),
            (found, sd, "sd"),
        ):
            error = az.mcse(draws, method=method)
            assert (abs(estimate - truth) < 4 * error).all(), (name, method)


# Exact posteriors


ADJUSTED = pytest.param("adjusted_mclmc_dynamic", marks=pytest.mark.slow)
# What follows from any draws at all is seen in a few.
FEW = {"mclmc": {"draws": 500, "tune": 100}}
DYNAMIC = pytest.param("dynamic_hmc", marks=pytest.mark.slow)


@pytest.mark.parametrize("name", ["hmc", "nuts", DYNAMIC, ADJUSTED])
def test_moments_are_exact(posteriors, name):
    idata = posteriors(name)
    assert all(az.ess(idata["posterior"][v]).min() > 200 for v in ("level", "rate"))
    assert not idata["sample_stats"]["diverging"].any()
    assert_exact(idata)


@pytest.mark.slow
def test_unadjusted_moments_are_exact_up_to_monte_carlo_error(posteriors):
    assert_exact(posteriors("mclmc"))


def test_parallel_chains(posteriors):
    one, other = posteriors("hmc"), posteriors("hmc", chain_method="parallel")
    assert one["posterior"].sizes == other["posterior"].sizes
    assert_exact(other)


def test_deterministics_follow_from_the_draws(posteriors):
    draws = posteriors("hmc")["posterior"]
    np.testing.assert_allclose(draws["twice"], 2 * draws["level"], rtol=1e-12)
    total = draws["level"].sum("place") + np.log(draws["rate"])
    np.testing.assert_allclose(draws["total"], total, rtol=1e-12)


@pytest.mark.parametrize("name", ["hmc", "nuts", DYNAMIC, "mclmc", ADJUSTED])
def test_lp_is_the_log_density(model, posteriors, name):
    idata = posteriors(name, **FEW.get(name, {}))
    logp = model.compile_logp()
    for chain, draw in ((0, 0), (1, 17), (3, 499)):
        at = idata["posterior"].isel(chain=chain, draw=draw)
        point = {"level": at["level"].values, "rate_log__": np.log(at["rate"].values)}
        lp = float(idata["sample_stats"]["lp"][chain, draw])
        assert lp == pytest.approx(float(logp(point)), rel=1e-10)


# The same results as PyMC's


@pytest.fixture(scope="module")
def numpyro(model):
    return pm.sample(
        60, tune=60, chains=4, nuts_sampler="numpyro", model=model, random_seed=1, progressbar=False
    )


@pytest.mark.parametrize("name", [pytest.param("hmc", marks=pytest.mark.slow), "nuts", "mclmc"])
def test_groups_and_labels_are_those_of_pymc(posteriors, numpyro, name):
    idata = posteriors(name, **FEW.get(name, {}))
    assert set(idata.children) == set(numpyro.children)
    for group in ("posterior", "observed_data", "constant_data"):
        ours, theirs = idata[group].to_dataset(), numpyro[group].to_dataset()
        assert list(ours.data_vars) == list(theirs.data_vars)
        assert {n: v.dims for n, v in ours.items()} == {n: v.dims for n, v in theirs.items()}
        for coord in set(theirs.coords) - {"draw"}:
            np.testing.assert_array_equal(ours[coord], theirs[coord])
    np.testing.assert_array_equal(idata["observed_data"]["y"], Y)
    assert idata["posterior"].attrs.keys() == numpyro["posterior"].attrs.keys()
    assert idata["posterior"].attrs["tuning_steps"] == FEW.get(name, {}).get("tune", 300)


def test_statistics_of_nuts_are_those_of_pymc(posteriors, numpyro):
    ours = posteriors("nuts")["sample_stats"]
    assert set(ours) == {*numpyro["sample_stats"], "reached_max_treedepth"}
    for name, values in numpyro["sample_stats"].items():
        assert ours[name].dims == values.dims
        assert ours[name].dtype == values.dtype
    assert (ours["tree_depth"] <= 10).all()


def test_statistics_of_hmc(posteriors):
    stats = posteriors("hmc")["sample_stats"]
    assert (stats["n_steps"] == 2).all()
    assert (stats["step_size"].std("draw") < 1e-12).all()
    assert float(stats["acceptance_rate"].mean()) == pytest.approx(0.8, abs=0.15)
    # What is left of the energy is kinetic, half a chi square of three degrees of freedom.
    kinetic = stats["energy"] + stats["lp"]
    assert (kinetic > 0).all()
    assert float(kinetic.mean()) == pytest.approx(1.5, abs=0.2)


@pytest.mark.slow
def test_reached_max_treedepth(model):
    stats = sample_blackjax(
        "nuts",
        draws=30,
        tune=30,
        chains=2,
        max_num_doublings=1,
        target_accept=0.99,
        model=model,
        random_seed=1,
        progressbar=False,
    )["sample_stats"]
    assert (stats["tree_depth"] == 1).all()
    assert stats["reached_max_treedepth"].any()


def test_convergence_warnings_are_those_of_pymc(caplog):
    with pm.Model() as funnel:
        log_scale = pm.Normal("log_scale", 0.0, 3.0)
        pm.Normal("x", 0.0, pm.math.exp(log_scale), shape=2)
    stats = sample_blackjax(
        "hmc",
        num_integration_steps=3,
        initial_step_size=1e3,
        draws=20,
        tune=1,
        model=funnel,
        random_seed=1,
        progressbar=False,
    )["sample_stats"]
    assert stats["diverging"].all()
    np.testing.assert_allclose(stats["step_size"], 1e3)
    # The energy is that of where the chain stays, not of where it could not go.
    assert np.isfinite(stats["energy"]).all()
    assert "There were 80 divergences after tuning" in caplog.text


# Seeds, warm-up, loops


def test_seeds_reproduce(model, posteriors):
    again = sample_blackjax(
        "hmc",
        **OPTIONS["hmc"],
        draws=500,
        tune=300,
        random_seed=EXACT_SEED,
        model=model,
        progressbar=False,
    )
    first = posteriors("hmc")["posterior"]["level"]
    np.testing.assert_array_equal(first, again["posterior"]["level"])
    other = posteriors("hmc", random_seed=EXACT_SEED + 1)["posterior"]["level"]
    assert not np.isclose(first, other).any()


@pytest.mark.parametrize("name", ["hmc", DYNAMIC])
def test_warmup_is_kept(posteriors, name):
    without = posteriors(name)
    idata = posteriors(name, keep_warmup=True)
    assert "warmup_posterior" not in without.children
    np.testing.assert_array_equal(without["posterior"]["level"], idata["posterior"]["level"])
    warmup, stats = idata["warmup_posterior"], idata["warmup_sample_stats"]
    assert warmup.sizes == {**idata["posterior"].sizes, "draw": 300}
    assert set(warmup) == set(idata["posterior"])
    assert set(stats) == set(idata["sample_stats"])
    assert (stats["step_size"].std("draw") > 0).all()
    assert np.isfinite(stats["energy"][:, 100:]).all()


def warmup_of(name, tune, progress=None, **changes) -> Warmup:
    """A warm-up on a plain Gaussian density."""
    scale = jnp.array([1.0, 3.0])
    return Warmup(
        kernel=ALGORITHMS[name].kernel,
        stats=ALGORITHMS[name].stats,
        logdensity=lambda x: -0.5 * jnp.sum((x / scale) ** 2),
        positions=np.array([[0.1, 0.2], [1.0, -1.0]]),
        keys=np.asarray(jax.random.split(jax.random.PRNGKey(4), 2)),
        chains=Chains("vectorized", 2, progress or create_simple_progress(progressbar=False)),
        tune=tune,
        draws=10,
        target_accept=0.8,
        **changes,
    )


@pytest.mark.parametrize("name", ["hmc", pytest.param("nuts", marks=pytest.mark.slow)])
def test_windows_are_those_of_blackjax(name):
    options = OPTIONS.get(name, {})
    warmup = warmup_of(name, 30, keep=True, options=options)
    tuned = adaptation.windows(warmup)
    theirs = blackjax.window_adaptation(getattr(blackjax, name), warmup.logdensity, **options)
    for chain in range(2):
        (state, params), info = theirs.run(
            jnp.asarray(warmup.keys[chain]), jnp.asarray(warmup.positions[chain]), 30
        )
        np.testing.assert_allclose(
            tuned.states.position[chain], state.position, rtol=1e-9, atol=1e-10
        )
        np.testing.assert_allclose(tuned.kept[0][chain], info.state.position, rtol=1e-9, atol=1e-10)
        for key, value in tuned.params.items():
            np.testing.assert_allclose(value[chain], params[key], rtol=1e-9, atol=1e-10)


def test_pieces_change_neither_the_draws_nor_the_compilations(monkeypatch):
    results, traces = [], []
    for seconds in (0.0, 1e3):
        monkeypatch.setattr(chains, "PIECE_SECONDS", seconds)
        warmup = warmup_of("hmc", 30, keep=True, options=OPTIONS["hmc"])
        density, calls = warmup.logdensity, []

        def counted(x, density=density, calls=calls):
            calls.append(x)
            return density(x)

        results.append(adaptation.windows(replace(warmup, logdensity=counted)))
        traces.append(len(calls))
    np.testing.assert_array_equal(results[0].kept[0], results[1].kept[0])
    assert traces[0] == traces[1]


class Recorded:
    """A progress bar that remembers, and that may be interrupted."""

    def __init__(self, stop=np.inf):
        self.stop, self.titles, self.totals, self.done = stop, [], [], []

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def add_task(self, description, completed, total):
        self.titles.append(description)
        self.totals.append(total)
        self.done.append([completed])
        return len(self.done) - 1

    def update(self, task, refresh, completed):
        self.done[task].append(completed)
        if completed >= self.stop:
            raise KeyboardInterrupt


def test_an_interrupt_stops_between_two_pieces(monkeypatch):
    monkeypatch.setattr(chains, "PIECE_SECONDS", 0.0)
    progress = Recorded(stop=3)
    with pytest.raises(KeyboardInterrupt):
        adaptation.windows(warmup_of("hmc", 30, progress, options=OPTIONS["hmc"]))
    assert progress.done == [[0, 1, 2, 3]]


def test_progress_is_shown(model, monkeypatch):
    progress = Recorded()
    monkeypatch.setattr(run, "create_simple_progress", lambda **_: progress)
    monkeypatch.setattr(chains, "PIECE_SECONDS", 0.0)
    sample_blackjax(
        "hmc", num_integration_steps=2, draws=5, tune=7, chains=2, model=model, random_seed=1
    )
    assert progress.titles == ["Tuning 2 chains ...", "Sampling 2 chains ..."]
    assert progress.totals == [7, 5]
    assert progress.done == [list(range(8)), list(range(6))]


# What is refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"algorithm": "gibbs"}, ValueError, "'gibbs', expected one of 'hmc', 'nuts', 'dyn"),
        ({"algorithm": "hmc"}, TypeError, "needs 'num_integration_steps'.*=10, or .*'nuts'"),
        ({"algorithm": "nuts", "num_integration_steps": 3}, TypeError, "it has 'max_num_doubl"),
        ({"num_integration_steps": 0}, ValueError, "num_integration_steps: got 0, expected"),
        ({"draws": 0}, ValueError, "draws: got 0, expected a whole number of at least 1"),
        ({"draws": 10.0}, ValueError, "draws: got 10.0"),
        ({"tune": 0}, ValueError, "tune: got 0, .* at least 1 for hmc"),
        ({"chains": True}, ValueError, "chains: got True"),
        ({"algorithm": "dynamic_hmc", "chains": 1}, ValueError, "at least 2 for dynamic_hmc"),
        ({"algorithm": "mclmc", "tune": 50}, ValueError, "at least 100 for mclmc"),
        ({"target_accept": 1.5}, ValueError, "target_accept: got 1.5"),
        ({"algorithm": "mclmc", "target_accept": 0.8}, ValueError, "mclmc accepts every step"),
        ({"algorithm": "mclmc", "keep_warmup": True}, ValueError, "or use 'hmc', 'nuts'"),
        ({"chain_method": "serial"}, ValueError, "'serial', expected one of 'vectorized'"),
        ({"chain_method": "parallel", "chains": 5000}, ValueError, "JAX has .* for 5000 chains"),
        ({"initvals": {"levle": 1.0}}, ValueError, "no 'levle'; it has level, rate"),
    ],
)
def test_bad_arguments(model, arguments, error, message):
    if arguments.get("algorithm", "hmc") == "hmc" and "needs" not in message:
        arguments = {"num_integration_steps": 3, **arguments}
    with pytest.raises(error, match=message):
        sample_blackjax(model=model, progressbar=False, **arguments)


def test_discrete_variables_are_named():
    with pm.Model() as model:
        pm.Normal("x")
        pm.Poisson("count", 2.0)
    with pytest.raises(ValueError, match="count are discrete"):
        sample_blackjax("nuts", model=model)


def test_a_model_without_free_variables():
    with pm.Model() as model:
        pm.Normal("y", observed=1.0)
    with pytest.raises(ValueError, match="no free variables"):
        sample_blackjax("nuts", model=model)


def test_one_free_value_is_too_few_for_microcanonical_dynamics():
    with pm.Model() as model:
        pm.Normal("x")
    with pytest.raises(ValueError, match=r"mclmc needs at least 2 free values.* has 1"):
        sample_blackjax("mclmc", model=model)


def test_starts_without_a_density_name_the_variable():
    with pm.Model() as model:
        x = pm.Normal("x")
        pm.Normal("fine", x, observed=0.0)
        pm.Normal("broken", pm.math.log(-1 - x**2), observed=0.0)
    with pytest.raises(SamplingError, match=r"log-density is not finite .*not: broken \(nan\)"):
        sample_blackjax("nuts", model=model)


def test_starts_without_a_gradient_name_the_variable():
    with pm.Model() as model:
        x, z = pm.Normal("x"), pm.Normal("z")
        safe = pm.math.switch(x**2 > -1, 0.0, pm.math.sqrt(-1 - x**2))
        pm.Potential("kink", safe + z)
    with pytest.raises(SamplingError, match=r"gradient is not finite .*not: d/dx\."):
        sample_blackjax("nuts", model=model)


def test_initvals_are_where_chains_start():
    with pm.Model() as model:
        pm.Normal("x", 0.0, 100.0)
    idata = sample_blackjax(
        "hmc",
        num_integration_steps=1,
        draws=1,
        tune=1,
        chains=2,
        initial_step_size=1e-6,
        initvals=[{"x": 50.0}, {"x": -50.0}],
        model=model,
        random_seed=1,
        progressbar=False,
    )
    # PyMC's jitter is less than one.
    np.testing.assert_allclose(idata["posterior"]["x"][:, 0], [50.0, -50.0], atol=1.01)


@pytest.mark.slow
def test_hmc_and_nuts_agree_on_a_hierarchical_sde():
    times, subjects = np.linspace(0.0, 10.0, 40), [1, 2, 3, 4]
    system = pds.SDE(
        states=("level",),
        drift=lambda level, mu, rate: -rate * (level - mu),
        diffusion=0.1,
        initial=dist.Normal(0.0, 0.5**0.5),
        observation=lambda level: dist.Normal(level, 0.1),
    )
    truth = {"mu": -1.0, "rate": 0.5}
    y = pds.simulate(system, truth, times, n=len(subjects), random_seed=1)["observations"].values
    with pm.Model(coords={"subject": subjects, "time": times}) as model:
        mu_global = pm.Normal("mu_global", 0.0, 0.5)
        mu = pm.Normal("mu", mu_global, 1.0, dims="subject")
        rate = pm.LogNormal("rate", -1.0, 0.5)
        pds.Trajectory(
            "y",
            system,
            params={"mu": mu, "rate": rate},
            observed=y,
            dims=("subject", "time"),
            likelihood=pds.Kalman(),
        )
    settings = {"model": model, "draws": 2000, "random_seed": 1, "progressbar": False}
    hmc = sample_blackjax("hmc", num_integration_steps=5, **settings)
    nuts = sample_blackjax("nuts", **settings)
    for name in ("mu_global", "mu", "rate"):
        for method in ("mean", "sd"):
            one, other = (i["posterior"][name] for i in (hmc, nuts))
            moment = (
                (lambda d: d.mean(("chain", "draw")))
                if method == "mean"
                else (lambda d: d.std(("chain", "draw")))
            )
            error = np.hypot(az.mcse(one, method=method), az.mcse(other, method=method))
            assert (abs(moment(one) - moment(other)) < 4 * error).all(), (name, method)
