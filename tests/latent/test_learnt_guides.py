"""Guides that are learnt from the data of a model: at the mode, as Laplace and Kalman have it."""

import arviz as az
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.bridge.given_path import GivenPath
from pymc_dynsys.bridge.learnt_guide import with_learnt_guides
from pymc_dynsys.bridge.probe import initial_point, values_at
from pymc_dynsys.bridge.study import find_path
from pymc_dynsys.latent.law import lay_out_paths
from pymc_dynsys.latent.mode import likeliest_paths
from tests.latent.evaluate import compiled, draw_point
from tests.latent.test_paths import hunt_model, ou_model

NAN = np.nan
Y = np.array([[1.0, 0.4, NAN, -0.2], [0.3, NAN, 0.9, 1.1]])
COUNTS = np.array([[3.0, 0.0, NAN, 5.0], [1.0, NAN, 400.0, 2.0]])
DIMS = ("subject", "time")
COORDS = {"subject": ["a", "b"], "time": [0.0, 0.5, 1.5, 2.0]}
START = jnp.array([0.3, -0.2])


def pair(observation=None) -> pds.SDE:
    """Two states with one noise."""
    return pds.SDE(
        states=("position", "speed"),
        drift=lambda position, speed, a: (speed, -a * position - 0.3 * speed),
        diffusion=jnp.array([[0.0], [0.6]]),
        initial=dist.MultivariateNormal(START, jnp.array([[0.5, 0.2], [0.2, 0.7]])),
        observation=observation,
    )


def rate(position, speed):
    """The logarithm of a rate that sees both states."""
    return 0.5 + position - 0.5 * speed


def of_counts() -> pm.Model:
    with pm.Model(coords=COORDS) as model:
        a = pm.Normal("a", 1.0, 0.1, dims="subject")
        x = pds.Path("x", pair(), params={"a": a}, dims=DIMS, parametrization=pds.Guided())
        seen = pds.observed_cells(COUNTS, DIMS, name="count")
        log_rate = rate(seen.of(x[..., 0]), seen.of(x[..., 1]))
        pm.Poisson("count", pm.math.exp(log_rate), observed=seen.values, dims=seen.dim)
    return model


@pytest.fixture(scope="module")
def counts():
    return of_counts()


def mode_of(model: pm.Model, point: dict):
    study = find_path(model, "x")
    operands = study.design.pack([None, *values_at(study, model, point)])
    layout, data = lay_out_paths(study.program, study.operands), GivenPath(model, "x").at(point)
    mode = likeliest_paths(study.program, operands, layout, tuple(study.frame.batch), data)
    return mode, float(mode.correction.sum()) + data.value(mode.x)


def assert_at_the_mode(model: pm.Model, tolerance: float):
    """Where normals are zero the log-density is highest in them, and their Hessian minus one."""
    point = initial_point(model)
    new = with_learnt_guides(model, ["x"], [point])
    slope = new.compile_dlogp(vars=[new["x_start"], new["x_noise"]], mode="FAST_COMPILE")
    here = new.initial_point()
    assert not any(here[name].any() for name in ("x_start", "x_noise"))
    assert abs(slope(here)).max() < tolerance
    return slope, here


@pytest.mark.slow
def test_of_counts_seen_by_two_states_it_is_laplace(counts):
    """The likelihood without the path, and a guide with blocks of precision."""
    point = {"a": np.array([1.1, 0.9])}
    mode, found = mode_of(counts, point)
    system = pair(lambda position, speed: dist.Poisson(jnp.exp(rate(position, speed))))
    with pm.Model(coords=COORDS) as marginal:
        a = pm.Normal("a", 1.0, 0.1, dims="subject")
        pds.Trajectory("y", system, params={"a": a}, observed=COUNTS, dims=DIMS)
    (expected,) = compiled(marginal, marginal.logp(marginal["y"]))(point)
    # Both end their search where a step gains less than 1e-10 of a nat.
    assert abs(found - float(expected)) < 1e-9 * abs(found)
    unit = np.array([1.0, -0.5])
    size = np.where(np.isnan(COUNTS), 0.0, np.exp(rate(*np.moveaxis(mode.x, -1, 0))))
    np.testing.assert_allclose(
        mode.guide.precision, size[..., None, None] * np.outer(unit, unit), atol=1e-10
    )


def test_of_gaussian_data_it_is_the_data_and_the_likelihood_that_of_kalman():
    def system(observation=None):
        return pds.SDE(
            states="level",
            drift=lambda level: -0.5 * level,
            diffusion=lambda sigma: sigma,
            initial=dist.Normal(0.0, 0.7),
            observation=observation,
        )

    with pm.Model(coords=COORDS) as model:
        sigma, error = pm.LogNormal("sigma"), pm.LogNormal("error", dims="subject")
        form = pds.Guided()
        x = pds.Path("x", system(), params={"sigma": sigma}, dims=DIMS, parametrization=form)
        seen = pds.observed_cells(Y, DIMS, name="y")
        of_cell = seen.of(x[..., 0]), seen.of(error)
        pm.Normal("y", *of_cell, observed=seen.values, dims=seen.dim)
    point = {"sigma": np.array(0.8), "error": np.array([0.2, 0.5])}
    mode, found = mode_of(model, point)
    of_data = system(lambda level, error: dist.Normal(level, error))
    with pm.Model(coords=COORDS) as marginal:
        params = {"sigma": point["sigma"], "error": pm.Data("e", point["error"], dims="subject")}
        pds.Trajectory("y", of_data, params=params, observed=Y, dims=DIMS)
    exact = float(marginal.compile_logp(mode="FAST_COMPILE")({}))
    assert abs(found - exact) < 1e-12
    precision = np.where(np.isnan(Y), 0.0, point["error"][:, None] ** -2.0)
    np.testing.assert_allclose(mode.guide.precision[..., 0, 0], precision, rtol=1e-13)
    np.testing.assert_allclose(
        mode.guide.information[..., 0], precision * np.nan_to_num(Y), atol=1e-12
    )


def test_at_the_mode_normals_are_standard(counts):
    """Slopes are zero there, and minus the Hessian is the identity where moves are linear."""
    slope, here = assert_at_the_mode(counts, 1e-6)
    names = ("x_start", "x_noise")
    rng = np.random.default_rng(1)
    away = {name: 1e-4 * rng.normal(size=here[name].shape) for name in names}
    ahead, behind = (slope({**here, **{n: s * away[n] for n in names}}) for s in (1, -1))
    expected = np.concatenate([away[name].ravel() for name in names])
    # What differences leave of third derivatives.
    np.testing.assert_allclose((behind - ahead) / 2, expected, atol=1e-7)
    assert not counts["x_guide_precision"].get_value().any()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["doses", "bent", "hazard"])
def test_modes_of_ragged_nonlinear_and_unusual_models(kind):
    if kind == "doses":
        with ou_model(pds.Guided()) as model:
            seen = pds.observed_cells([[1.0, NAN, 3.0, 2.0], [0, 2.0, NAN, NAN], [NAN] * 4], DIMS2)
            pm.StudentT("y", 4.0, mu=seen.of(model["x"][..., 0]), sigma=0.3, observed=seen.values)
    elif kind == "bent":
        with hunt_model(parametrization=pds.Guided()) as model:
            pm.Normal("y", model["x"][0, :, 0], 0.2, observed=[0.3, 1.0, -0.4])
            pm.Normal("z", model["x"][1, 1].sum(), 0.1, observed=1.0)
    else:
        with ou_model(pds.Guided()) as model:
            hazard = model["x"][..., 0]
            pm.Potential("event", (hazard[:, 1] - 0.1 * pm.math.exp(hazard[:, :2]).sum(1)).sum())
    # The search ends where a step gains less than 1e-10 of a nat, so at a slope of 1e-5.
    assert_at_the_mode(model, 1e-5)


DIMS2 = ("subject", "visit")


def test_until_it_is_learnt_the_path_is_free(counts):
    point = draw_point(counts, 1)
    with pm.Model(coords=COORDS) as model:
        a = pm.Normal("a", 1.0, 0.1, dims="subject")
        pds.Path("x", pair(), params={"a": a}, dims=DIMS)
    (x,), (free,) = compiled(counts, counts["x"])(point), compiled(model, model["x"])(point)
    np.testing.assert_allclose(x, free, rtol=1e-12)


def test_what_has_no_guide_to_learn_is_refused(counts):
    with pytest.raises(TypeError, match=r"give values and sd.*or neither"):
        pds.Guided(np.zeros(3))
    with pm.Model(coords=COORDS) as model:
        a = pm.Normal("a", 1.0, 0.1, dims="subject")
        pds.Path("x", pair(), params={"a": a}, dims=DIMS)
        pds.Path("silent", pair(), params={"a": a}, dims=DIMS, parametrization=pds.Guided())
    with pytest.raises(ValueError, match=r"'x': it is a path.*parametrization=pds.Guided\(\)"):
        pds.reparametrize(model, "x")
    with pytest.raises(ValueError, match="silent: nothing in the model depends on this path"):
        pds.reparametrize(model)
    with pytest.raises(ValueError, match="'x': it is a path, whose guide is learnt"):
        pds.reparametrize(counts, "x", centeredness={"x": 0.3})
    with pm.Model(coords=COORDS) as model:
        form = pds.Guided()
        x = pds.Path("x", pair(), params={"a": 1.0}, dims=DIMS, parametrization=form)
        pm.HalfNormal("y", x[0, 1, 0] - 10.0, observed=1.0)
    with pytest.raises(ValueError, match="log-density of the data of 'x' is not finite"):
        pds.reparametrize(model)


def test_a_path_is_found_in_copies_of_its_model(counts):
    copy = pm.do(counts, {"a": np.ones(2)})
    assert find_path(copy).name == "x"
    assert find_path(copy).frame.dims == DIMS


@pytest.mark.slow
def test_learnt_with_effects_a_guide_mixes_many_times_faster_where_data_are_dense():
    """Effective draws of the parameter with the fewest, for one gradient."""
    rng = np.random.default_rng(1)
    n, error = 60, 0.1
    levels = [rng.normal(0.5 * rng.normal(size=5), 0.6)]
    for _ in range(n - 1):
        levels.append(0.6 * levels[-1] + 0.48 * rng.normal(size=5))
    y = np.transpose(levels) + error * rng.normal(size=(5, n))
    system = pds.SDE(
        states="level",
        drift=lambda level, rate, mu: rate * (mu - level),
        diffusion=lambda sigma: sigma,
        initial=pds.Stationary(),
    )

    def build(form):
        with pm.Model(coords={"subject": range(5), "time": np.arange(float(n))}) as model:
            mean, between = pm.Normal("mean"), pm.HalfNormal("between")
            mu = pds.effects.varying("mu", mean, between, dims="subject", centered=True)
            rate, sigma = pm.LogNormal("rate", -0.7, 0.7), pm.HalfNormal("sigma")
            params = {"mu": mu, "rate": rate, "sigma": sigma}
            x = pds.Path("x", system, params=params, dims=DIMS, parametrization=form)
            pm.Normal("y", x[..., 0], error, observed=y, dims=DIMS)
        return model

    quiet = {"random_seed": 1, "progressbar": False}
    model = pds.reparametrize(build(pds.Guided()), **quiet)
    free = {rv.name for rv in model.free_RVs}
    assert free == {"mean", "between", "mu_offset", "rate", "sigma", "x_start", "x_noise"}
    np.testing.assert_allclose(model["x_guide_precision"].get_value(), error**-2.0, rtol=1e-13)
    options = {"chains": 2, "nuts_sampler": "numpyro", **quiet}
    per_gradient = {}
    for kind in ("guided", "free"):
        with model if kind == "guided" else pds.reparametrize(build(pds.Free()), **quiet):
            idata = pm.sample(300, tune=300, **options)
        steps = float(idata.sample_stats["n_steps"].sum())
        names = ("mean", "between", "rate", "sigma")
        fewest = min(float(az.ess(idata.posterior[p].values)) for p in names)
        per_gradient[kind] = 1000 * fewest / steps
        if kind == "guided":
            assert int(idata.sample_stats["diverging"].sum()) <= 2
    assert per_gradient["guided"] > 5 * per_gradient["free"]
    states = pds.sample_states(idata, model=model)["posterior"]["states"]
    assert states.sizes["time"] == n
