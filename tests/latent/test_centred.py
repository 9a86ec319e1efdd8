"""Paths whose variables are their states: densities against the other forms and plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist
from scipy import stats

import pymc_dynsys as pds
from tests.latent.evaluate import compiled, draw_point
from tests.latent.test_guided import random_guide, standard, step_model
from tests.latent.test_paths import TIMES, assert_gradient, events, ou_model

NAN = np.nan


@pytest.fixture(scope="module")
def panel():
    """A ragged panel with doses."""
    return ou_model(pds.Centred())


def ou_steps(point: dict) -> tuple[np.ndarray, np.ndarray, float]:
    """States after steps from normals in a panel with doses, the path, and log |dx/dz|."""
    noise, path, log_slope = point["x_noise"][..., 0], np.zeros((3, 4)), 3 * np.log(0.7)
    first, table = 1.0 + 0.7 * point["x_start"][:, 0], events()
    steps = noise.copy()
    for i in range(3):
        theta, mu = np.exp(point["log_theta"][i]), point["mu"]
        given = np.stack([table[k].values[i] for k in ("event_time", "event_amount")], -1)
        doses = [(t, 1, a) for t, a in given if np.isfinite(t)]
        visits = [(t, 0, k) for k, t in enumerate(TIMES[i]) if np.isfinite(t)]
        happenings = sorted([*doses, *visits])
        now, x, used = happenings[0][0], first[i], 0
        for t, kind, what in happenings:
            if t > now:
                decay = np.exp(-theta * (t - now))
                sd = 0.4 * np.sqrt((1 - decay**2) / (2 * theta))
                x = mu + (x - mu) * decay + sd * noise[i, used]
                steps[i, used] = x
                log_slope += np.log(sd)
                now, used = t, used + 1
            if kind == 1:
                x += what
            else:
                path[i, what:] = x
    return np.concatenate([first[:, None], steps], 1)[..., None], path, log_slope


def test_a_ragged_panel_with_doses_has_the_density_of_its_normals(panel):
    """log p(z) - log |dx/dz| by a loop, padding included, and the same path."""
    free = ou_model()
    point = draw_point(free, 11)
    steps, path, log_slope = ou_steps(point)
    here = {k: point[k] for k in ("log_theta", "mu", "noise")} | {"x_steps": steps}
    outputs = panel["x"], panel.logp([panel["x_steps"]])
    x, density = compiled(panel, *outputs)(here)
    np.testing.assert_allclose(x[..., 0], path, rtol=1e-12)
    assert abs(float(density) - standard(point) + log_slope) < 1e-11


def test_gradients_of_states_and_densities(panel):
    assert_gradient(panel, panel["x"].owner.inputs[0].owner.outputs)


def bent(parametrization) -> pm.Model:
    """Two states that bend each other, an input, two noises of which one depends on a state."""
    system = pds.SDE(
        states=("prey", "drive"),
        drift=lambda prey, drive, a, u: (prey - prey**3 + drive + u, -a * drive),
        diffusion=lambda prey, a: jnp.array([[0.3, 0.1], [0.0, a * (1 + 0.1 * prey**2)]]),
        initial=lambda a: dist.Normal(jnp.array([0.2, a]), jnp.array([0.3, 0.1])),
    )
    with pm.Model(coords={"time": [0.0, 0.2, 0.5]}) as model:
        a = pm.Normal("a", 1.0, 0.1)
        pds.Path(
            "x",
            system,
            params={"a": a},
            inputs={"u": np.array([0.1, -0.2, 0.3])},
            dims="time",
            discretization=pds.EulerMaruyama(dt=None),
            parametrization=parametrization,
        )
    return model


@pytest.mark.slow
@pytest.mark.parametrize("build", [bent, step_model])
@pytest.mark.parametrize("kind", ["free", "guided"])
def test_normals_and_their_jacobian_are_the_centred_density(build, kind):
    """Any guide; nonlinear steps with an input, and two states with one noise over exact gaps."""
    other = build(pds.Free() if kind == "free" else random_guide(1))
    centred = build(pds.Centred())
    point = draw_point(other, 1)
    f = compiled(other, other["x"], *other.potentials)
    shapes = {name: np.shape(point[name]) for name in ("x_start", "x_noise")}
    z = np.concatenate([point[name].ravel() for name in shapes])

    def states(z):
        start, noise = jnp.split(z, [len(point["x_start"])])
        moved = {"x_start": start, "x_noise": noise.reshape(shapes["x_noise"])}
        return f({**point, **moved})[0].ravel()

    x, *correction = f(point)
    jacobian = jax.jacobian(states)(jnp.asarray(z))
    density = standard(point) + sum(map(float, correction)) - np.linalg.slogdet(jacobian)[1]
    outputs = centred["x"], centred.logp([centred["x_steps"]])
    again, direct = compiled(centred, *outputs)({"a": point["a"], "x_steps": np.asarray(x)})
    np.testing.assert_array_equal(again, x)
    assert abs(float(direct) - density) < 1e-9


def heavy(parametrization=None, **options) -> pm.Model:
    """A level with steps of Student's t, over a gap of two steps, from a known start."""
    walk = pds.DiscreteTime(
        states=("level",),
        transition=lambda level, scale: dist.StudentT(3.0, 0.9 * level, scale),
        initial=(1.0,),
    )
    with pm.Model(coords={"subject": [0, 1], "time": [0.0, 1.0, 3.0]}) as model:
        scale = pm.LogNormal("scale", 0.0, 0.1, dims="subject")
        pds.Path(
            "x",
            walk,
            params={"scale": scale},
            dims=("subject", "time"),
            parametrization=parametrization or pds.Centred(),
            **options,
        )
    return model


@pytest.fixture(scope="module")
def student():
    return heavy()


def test_steps_of_any_distribution_on_the_line(student):
    assert [v.name for v in student.free_RVs] == ["scale", "x_steps"]
    assert student.named_vars_to_dims["x_steps"] == ("subject", "x_step", "x_state")
    point = draw_point(student, 3)
    outputs = student["x"], student.logp([student["x_steps"]])
    x, density = compiled(student, *outputs)(point)
    steps, scale = point["x_steps"][..., 0], np.exp(point["scale_log__"])
    before = np.concatenate([np.ones((2, 1)), steps[:, :-1]], axis=1)
    expected = stats.t(3.0, 0.9 * before, scale[:, None]).logpdf(steps).sum()
    assert abs(float(density) - expected) < 1e-11
    np.testing.assert_array_equal(x[..., 0], np.c_[np.ones(2), steps[:, 0], steps[:, 2]])
    with student:
        x, steps = pm.draw([student["x"], student["x_steps"]], random_seed=1)
    np.testing.assert_array_equal(x[:, 1:, 0], steps[:, [0, 2], 0])


@pytest.mark.slow
def test_paths_are_drawn_from_it_go_on_and_begin_where_it_allows(student):
    with student:
        prior = pm.sample_prior_predictive(4000, random_seed=1)
    x, scale = (prior.prior[name].values[0] for name in ("x", "scale"))
    first = (x[:, :, 1, 0] - 0.9) / scale
    # Quartiles of 8,000 draws, each within four of its standard errors.
    for share, expected in zip((0.25, 0.5, 0.75), stats.t(3.0).ppf((0.25, 0.5, 0.75)), strict=True):
        error = np.sqrt(share * (1 - share) / first.size) / stats.t(3.0).pdf(expected)
        assert abs(np.quantile(first, share) - expected) < 4 * error
    future = pds.forecast(prior, model=student, group="prior", times=[3.0, 4.0], random_seed=1)
    ahead = future.predictions["x"].values[0]
    np.testing.assert_array_equal(ahead[:, :, 0], x[:, :, 2])
    z = np.median(np.abs(ahead[:, :, 1, 0] - 0.9 * x[:, :, 2, 0]) / scale)
    assert abs(z - stats.t(3.0).ppf(0.75)) < 4 * 0.5 / np.sqrt(x[:, :, 0].size) / 0.5
    assert np.isfinite(student.point_logps()["x_steps"])


@pytest.mark.slow
def test_the_posterior_of_student_steps_is_that_of_a_grid():
    """Two steps and a Gaussian datum after each: means within four Monte Carlo errors."""
    import arviz as az

    y, sd = np.array([2.5, 0.2]), 0.5
    walk = pds.DiscreteTime(
        states=("level",),
        transition=lambda level: dist.StudentT(3.0, level, 0.4),
        initial=(0.0,),
    )
    with pm.Model(coords={"time": [1.0, 2.0]}):
        x = pds.Path("x", walk, dims="time", t0=0.0, parametrization=pds.Centred())
        pm.Normal("y", x[..., 0], sd, observed=y, dims="time")
        idata = pm.sample(2000, chains=2, nuts_sampler="numpyro", random_seed=1, progressbar=False)
    grid = np.linspace(-6, 8, 1401)
    one, two = grid[:, None], grid[None, :]
    log = stats.t(3.0, 0.0, 0.4).logpdf(one) + stats.t(3.0, one, 0.4).logpdf(two)
    log = log + stats.norm(y[0], sd).logpdf(one) + stats.norm(y[1], sd).logpdf(two)
    weight = np.exp(log - log.max())
    weight /= weight.sum()
    for k, expected in enumerate(((weight * one).sum(), (weight * two).sum())):
        draws = idata.posterior["x"].values[..., k, 0]
        error = draws.std() / np.sqrt(float(az.ess(draws)))
        assert abs(draws.mean() - expected) < 4 * error


def walk_of(transition, **options) -> pds.DiscreteTime:
    return pds.DiscreteTime(states=options.pop("states", ("a",)), transition=transition, **options)


@pytest.mark.parametrize(
    "system, words",
    [
        (
            walk_of(
                lambda a, b: (dist.Normal(a + b, 0.1), 0.9 * b),
                states=("a", "b"),
                initial=dist.Normal(jnp.zeros(2), 1.0),
            ),
            r"noise of a step or of the start is singular.*pds.Free\(\)",
        ),
        (
            walk_of(
                lambda a, b: dist.Normal(jnp.stack([a, b]), 0.1),
                states=("a", "b"),
                initial=(0.0, dist.Normal(0.0, 1.0)),
            ),
            "start is singular",
        ),
        (walk_of(lambda a: dist.Gamma(2.0, 1.0), initial=(1.0,)), "Gamma.*discrete or bounded"),
        (walk_of(lambda a: dist.Poisson(2.0), initial=(1.0,)), "Poisson.*discrete or bounded"),
        (pds.ODE(states=("a",), drift=lambda a: -a, initial=(1.0,)), "no density; leave it out"),
    ],
)
def test_what_has_no_density_on_the_whole_space_is_refused(system, words):
    with pm.Model(coords={"time": [0.0, 1.0, 2.0]}):
        with pytest.raises(ValueError, match=words):
            pds.Path("x", system, dims="time", parametrization=pds.Centred())


def test_a_known_start_without_a_step_has_no_variable():
    system = walk_of(lambda a: dist.Normal(a, 0.1), initial=(1.0,))
    with pm.Model(coords={"time": [0.0]}):
        with pytest.raises(ValueError, match="no variable; leave it out"):
            pds.Path("x", system, dims="time", parametrization=pds.Centred())
