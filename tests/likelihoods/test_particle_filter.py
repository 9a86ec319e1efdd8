"""The particle filter against grids, closed forms and filters that are exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from pymc.sampling.jax import get_jaxified_logp
from scipy import stats

import pymc_dynsys as pds
from tests.helpers import as_arrays, likelihood_function

GRID = np.linspace(-12, 14, 2601)
Y = np.array([0.4, np.nan, 1.9, -0.7, 3.1, 2.4])
TIMES = np.array([0.0, 1.0, 2.0, 4.0, 5.0, 6.0])  # two steps over one gap
PHI, DF, SCALE, NOISE = 0.8, 3.0, 0.7, 0.9


def values(system, likelihood, y, times, params=None, runs=1, t0=np.nan):
    """Log-likelihoods of the same data, one run a trajectory."""
    params = {} if params is None else params
    y = np.tile(np.asarray(y, float), (runs, *[1] * np.ndim(y)))
    function = likelihood_function(
        system, likelihood, y, times, {k: np.shape(v) for k, v in params.items()}, t0
    )
    return np.asarray(function(as_arrays(params)))


def assert_estimates(found, exact):
    """The mean of the exponentials is that of the exact value, within its error."""
    ratio = np.exp(found - exact)
    assert abs(ratio.mean() - 1) < 4 * ratio.std(ddof=1) / ratio.size**0.5
    assert 0 < found.std(ddof=1) < 0.5


# Transitions that are not Gaussian, against a grid


def jumps(observation):
    """A level that moves by Student noise from a start that is a mixture."""
    return pds.DiscreteTime(
        states=("level",),
        transition=lambda level: dist.StudentT(DF, PHI * level, SCALE),
        observation=observation,
        initial=dist.Laplace(0.5, 1.2),
    )


def grid_log_likelihood(y, steps, datum):
    """Sum over a grid of states, step by step."""
    width = GRID[1] - GRID[0]
    move = stats.t.pdf(GRID[:, None], DF, PHI * GRID[None, :], SCALE) * width
    p = stats.laplace.pdf(GRID, 0.5, 1.2)
    total = 0.0
    for value, n in zip(y, steps, strict=True):
        for _ in range(n):
            p = move @ p
        if not np.isnan(value):
            p = p * datum(value, GRID)
        weight = p.sum() * width
        total, p = total + np.log(weight), p / weight
    return total


STEPS = np.array([0, 1, 1, 2, 1, 1])
LAWS = {
    "normal": (lambda level: dist.Normal(level, NOISE), lambda y, x: stats.norm.pdf(y, x, NOISE)),
    "counts": (
        lambda level: dist.Poisson(jnp.exp(0.5 * level)),
        lambda y, x: stats.poisson.pmf(y, np.exp(0.5 * x)),
    ),
}


@pytest.mark.parametrize("law", LAWS)
def test_a_student_transition_has_the_likelihood_of_a_grid(law):
    observation, datum = LAWS[law]
    y = Y if law == "normal" else np.array([1.0, np.nan, 3.0, 0.0, 6.0, 2.0])
    found = values(jumps(observation), pds.ParticleFilter(1000), y, TIMES, runs=60)
    assert_estimates(found, grid_log_likelihood(y, STEPS, datum))


def steady(initial):
    """A local level."""
    return pds.DiscreteTime(
        states=("level",),
        transition=lambda level: dist.Normal(level, 0.5),
        observation=lambda level: dist.Normal(level, 0.3),
        initial=initial,
    )


# The optimal proposal, doses, inputs and several components, against the Kalman filter


def relax(position, speed, u):
    return jnp.stack([speed, -0.5 * position - 0.6 * speed + u])


def two_components(position, speed):
    noise = jnp.array([[0.09, 0.03], [0.03, 0.16]])
    return dist.MultivariateNormal(jnp.stack([position, position + speed]), noise)


OSCILLATOR = pds.SDE(
    states=("position", "speed"),
    drift=relax,
    diffusion=jnp.array([[0.0], [0.5]]),  # one noise drives two states
    observation=two_components,
    initial=dist.MultivariateNormal(jnp.zeros(2), jnp.eye(2)),
    events="position",
)
VISITS = np.array([0.0, 0.4, 1.5, 2.0])
DATA = np.array([[0.3, 0.2], [np.nan, 0.9], [np.nan, np.nan], [0.4, -0.1]])
EVENTS = xr.Dataset(
    {"event_time": ("event", [0.4, 1.2]), "event_amount": ("event", [0.7, 0.5])},
)


def oscillators(likelihood, runs):
    """The same subject many times, each with its own random numbers."""
    subjects = np.arange(runs)
    events = EVENTS.expand_dims(subject=subjects)
    with pm.Model(coords={"subject": subjects, "time": VISITS, "part": ["a", "b"]}) as model:
        pds.Trajectory(
            "y",
            OSCILLATOR,
            params={},
            inputs={"u": xr.DataArray([0.2, 1.0, -0.5, 0.0], dims="time")},
            events=events,
            observed=np.tile(DATA, (runs, 1, 1)),
            dims=("subject", "time", "part"),
            likelihood=likelihood,
        )
    return model


def factors(model):
    (logp,) = model.logp(vars=[model["y"]], sum=False)
    return np.broadcast_to(logp.eval(mode="FAST_COMPILE"), len(model.coords["subject"]))


@pytest.fixture(scope="module")
def oscillator_runs():
    return oscillators(pds.ParticleFilter(600), 60)


def test_doses_inputs_missing_parts_and_singular_noise(oscillator_runs):
    exact = factors(oscillators(pds.Kalman(), 1))
    assert_estimates(factors(oscillator_runs), exact)


def test_states_and_innovations_are_those_of_kalman(oscillator_runs):
    """Paths along lineages, as the noise is singular; averaged over the runs."""
    exact = oscillators(pds.Kalman(), 1)
    for given in ("all", "past"):
        options = {"given": given, "moments": True, "progressbar": False}
        states = pds.sample_states(None, model=oscillator_runs, **options)["posterior"]
        known = pds.sample_states(None, model=exact, **options)["posterior"]
        sd = np.sqrt(np.diagonal(known["covariance"].values[0, 0, 0], axis1=-2, axis2=-1))
        error = (states["mean"].values[0, 0] - known["mean"].values[0, 0]) / sd
        # After the last datum, a surprise, a twentieth of the particles are worth something.
        assert (abs(error.mean(0)) < 0.05 + 4 * error.std(0, ddof=1) / 60**0.5).all(), given
        assert error.std(0).max() < 0.4, given
    z = pds.innovations(None, model=oscillator_runs)["innovations"]["z"].values[0, 0]
    expected = pds.innovations(None, model=exact)["innovations"]["z"].values[0, 0, 0]
    np.testing.assert_array_equal(np.isnan(z), np.broadcast_to(np.isnan(DATA), z.shape))
    np.testing.assert_allclose(z.mean(0), expected, atol=0.05)


def test_the_optimal_proposal_begins_as_widely_as_it_likes():
    """A bootstrap filter has no particle near the first datum."""
    level = steady(pds.Diffuse(kappa=1e8))
    y = [40.0, 40.3, 39.9]
    exact = values(level, pds.Kalman(), y, np.arange(3.0))
    found = values(
        level, pds.ParticleFilter(500, proposal=pds.Optimal()), y, np.arange(3.0), runs=30
    )
    assert_estimates(found, exact)


# Nonlinear dynamics in steps, and solutions of ODEs


def logistic(log_n):
    return 1.2 * (1 - jnp.exp(log_n))


def test_steps_between_visits_and_the_last_one_guided():
    """Optimal and bootstrap estimate the same, within their errors."""
    system = pds.SDE(
        states=("log_n",),
        drift=logistic,
        diffusion=0.4,
        observation=lambda log_n: dist.Normal(log_n, 0.15),
        initial=dist.Normal(-1.0, 0.5),
    )
    times, y = np.array([0.0, 1.0, 1.5, 3.0]), [-1.2, -0.1, np.nan, 0.3]
    scheme = pds.EulerMaruyama(dt=0.25)
    found = [
        values(system, pds.ParticleFilter(500, scheme, proposal=p), y, times, runs=60)
        for p in (pds.Bootstrap(), pds.Optimal())
    ]
    ratios = [np.exp(v - found[0].mean()) for v in found]
    means = [r.mean() for r in ratios]
    errors = [r.std(ddof=1) / r.size**0.5 for r in ratios]
    assert abs(means[0] - means[1]) < 4 * np.hypot(*errors)
    assert errors[1] < errors[0]


def test_an_ode_with_an_uncertain_start_is_an_integral_over_starts():
    system = pds.ODE(
        states=("level",),
        drift=lambda level: -0.7 * level,
        observation=lambda level: dist.Poisson(level),
        initial=dist.Gamma(4.0, 1.0),
    )
    times, y = np.array([0.0, 1.0, 2.0]), [5.0, 3.0, 0.0]
    starts = np.linspace(1e-3, 40, 20001)
    density = stats.gamma.pdf(starts, 4.0)
    for t, value in zip(times, y, strict=True):
        density = density * stats.poisson.pmf(value, starts * np.exp(-0.7 * t))
    exact = np.log(np.trapezoid(density, starts))
    found = values(system, pds.ParticleFilter(500, pds.Exact()), y, times, runs=60)
    assert_estimates(found, exact)


# States given the data


def test_drawn_paths_of_a_student_transition_are_those_of_a_grid():
    """Backward simulation: mean, spread and lag-one products of paths from many runs."""
    observation, datum = LAWS["normal"]
    x = GRID[::4]
    width = x[1] - x[0]
    move = stats.t.pdf(x[:, None], DF, PHI * x[None, :], SCALE) * width
    y = np.array([0.4, 1.9, -2.0])
    first = stats.laplace.pdf(x, 0.5, 1.2) * datum(y[0], x)
    joint = first[None, :] * move * datum(y[1], x)[:, None]  # second, first
    last = move.T @ (datum(y[2], x))
    joint = joint * last[:, None]
    joint /= joint.sum()
    mean = np.array([joint.sum(0) @ x, joint.sum(1) @ x])
    second = np.array([joint.sum(0) @ x**2, joint.sum(1) @ x**2])
    product = x @ joint @ x
    subjects = np.arange(400)
    with pm.Model(coords={"subject": subjects, "time": np.arange(3)}) as model:
        pds.Trajectory(
            "y",
            jumps(observation),
            params={},
            observed=np.tile(y, (400, 1)),
            dims=("subject", "time"),
            likelihood=pds.ParticleFilter(100),
        )
    drawn = pds.sample_states(None, model=model, random_seed=1, progressbar=False)
    paths = drawn["posterior"]["states"].values[0, 0, ..., 0]
    for found, expected in (
        (paths[:, :2], mean),
        (paths[:, :2] ** 2, second),
        (paths[:, 0] * paths[:, 1], product),
    ):
        error = found.std(0, ddof=1) / 20
        assert (abs(found.mean(0) - expected) < 4 * error).all()


# Innovations of counts


def test_counts_have_normal_innovations_that_a_seed_draws():
    """Exact probabilities of a count at one visit; those of data from the model are uniform."""
    observation, _ = LAWS["counts"]
    rng = np.random.default_rng(4)
    level = rng.laplace(0.5, 1.2, 250)
    y = rng.poisson(np.exp(0.5 * level)).astype(float)[:, None]
    y = np.concatenate([y, np.full_like(y, np.nan)], axis=1)
    with pm.Model(coords={"subject": np.arange(250), "time": [0, 1]}) as model:
        pds.Trajectory(
            "y",
            jumps(observation),
            params={},
            observed=y,
            dims=("subject", "time"),
            likelihood=pds.ParticleFilter(200),
        )
    options = {"model": model, "progressbar": False}
    found = pds.innovations(None, random_seed=1, **options)["innovations"]
    again = pds.innovations(None, random_seed=1, **options)["innovations"]
    other = pds.innovations(None, random_seed=2, **options)["innovations"]
    pit = found["pit"].values[0, 0]
    assert np.isnan(pit[:, 1]).all() and np.isnan(found["nis"]).all()
    pit = pit[:, 0]
    np.testing.assert_array_equal(found["z"], again["z"])
    assert (found["z"] != other["z"])[0, 0, :, 0].all()
    assert stats.kstest(pit, "uniform").pvalue > 0.001
    width = GRID[1] - GRID[0]
    weights = stats.laplace.pdf(GRID, 0.5, 1.2) * width
    edges = [
        (weights[:, None] * stats.poisson.cdf(y[:, 0] - k, np.exp(0.5 * GRID)[:, None])).sum(0)
        for k in (1, 0)
    ]
    assert (pit > edges[0] - 0.15).all() and (pit < edges[1] + 0.15).all()


# What is refused and announced


def test_a_gradient_is_refused_with_what_to_do():
    with pm.Model(coords={"time": np.arange(3)}) as model:
        phi = pm.Uniform("phi", 0, 1)
        system = pds.DiscreteTime(
            states=("level",),
            transition=lambda level, phi: dist.StudentT(3.0, phi * level, 1.0),
            observation=lambda level: dist.Normal(level, 1.0),
            initial=dist.Normal(0.0, 1.0),
        )
        likelihood = pds.ParticleFilter(10)
        pds.Trajectory(
            "y",
            system,
            params={"phi": phi},
            observed=[0.1, 0.2, 0.4],
            dims="time",
            likelihood=likelihood,
        )
    message = r"ParticleFilter\(.*\) has no gradient; it jumps.*pds.sample_pmmh\(\).*Laplace\(\)"
    with pytest.raises(TypeError, match=message):
        model.compile_dlogp()
    with pytest.raises(TypeError, match=message):
        jax.grad(get_jaxified_logp(model, negative_logp=False))([np.zeros(())])


def build(system, likelihood, **params):
    with pm.Model(coords={"time": np.arange(2.0)}):
        return pds.Trajectory(
            "y", system, params=params, observed=[1.0, 2.0], dims="time", likelihood=likelihood
        )


def test_no_likelihood_is_chosen_for_a_transition_that_is_not_gaussian():
    with pytest.raises(ValueError, match=r"not Gaussian.*only likelihood=ParticleFilter\(\)"):
        build(jumps(LAWS["normal"][0]), None)


@pytest.mark.parametrize(
    ("system", "proposal", "message"),
    [
        (jumps(LAWS["normal"][0]), pds.Optimal(), r"Optimal\(\) needs a Gaussian transition"),
        (
            pds.DiscreteTime(
                lambda x: dist.Normal(x[0], 1.0),
                lambda x: dist.Poisson(jnp.exp(x[0])),
                dist.Normal(0.0, 1.0),
            ),
            pds.Optimal(),
            r"Optimal\(\) needs a Gaussian observation",
        ),
        (
            pds.DiscreteTime(
                lambda x: dist.Normal(x[0], 1.0),
                lambda x: dist.Normal(x[0] ** 2, 1.0),
                dist.Normal(0.0, 1.0),
            ),
            pds.Optimal(),
            r"Optimal\(\) needs an observation whose mean is affine",
        ),
        (
            steady(pds.Diffuse()),
            None,
            r"cannot begin with exactly diffuse states \(level\)",
        ),
    ],
)
def test_what_does_not_suit_a_system_is_refused(system, proposal, message):
    with pytest.raises(ValueError, match=message):
        build(system, pds.ParticleFilter(10, proposal=proposal))


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"particles": 1}, ValueError, "at least 2, got 1"),
        ({"particles": 10.0}, TypeError, "must be an integer, got 10.0"),
        ({"seed": -1}, ValueError, "got -1"),
        ({"seed": 0.5}, TypeError, "got 0.5"),
        ({"proposal": "optimal"}, TypeError, "got 'optimal'"),
        ({"discretization": pds.MomentODE()}, ValueError, r"got MomentODE\("),
    ],
)
def test_options_that_make_no_sense_are_refused(options, kind, message):
    with pytest.raises(kind, match=f"ParticleFilter: .*{message}"):
        pds.ParticleFilter(**options)


def test_the_proposal_is_chosen_and_announced(caplog):
    caplog.set_level("INFO", "pymc_dynsys")
    rv = build(
        steady(dist.Normal(0.0, 1.0)),
        pds.ParticleFilter(10),
    )
    assert rv.owner.op.spec.likelihood.proposal == pds.Optimal()
    assert "ParticleFilter moves particles by Optimal(), since it can" in caplog.text
    rv = build(jumps(LAWS["normal"][0]), pds.ParticleFilter(10))
    assert rv.owner.op.spec.likelihood.proposal == pds.Bootstrap()
    assert "by Bootstrap(), since Optimal() needs a Gaussian transition" in caplog.text


# Two modes


@pytest.mark.slow
@pytest.mark.parametrize("particles", [1000, 10_000])
def test_a_bimodal_growth_model_is_estimated_without_bias(particles):
    """Data see the square of the state, so that there is one mode of each sign (200 seeds)."""
    times = np.arange(60.0)
    rng = np.random.default_rng(0)

    def mean(x, k, cos):
        return x / 2 + 25 * x / (1 + x * x) + 8 * cos(1.2 * k)

    x, y = rng.normal(0, 5**0.5), []
    for k in range(60):
        x = mean(x, k, np.cos) + rng.normal(0, 10**0.5) if k else x
        y.append(x * x / 20 + rng.normal())
    grid = np.linspace(-45, 45, 2001)
    width, p, exact = grid[1] - grid[0], stats.norm.pdf(grid, 0, 5**0.5), 0.0
    for k in range(60):
        if k:
            means = mean(grid, k, np.cos)
            p = stats.norm.pdf(grid[:, None], means[None, :], 10**0.5) @ p * width
        p = p * stats.norm.pdf(y[k], grid**2 / 20, 1)
        weight = p.sum() * width
        exact, p = exact + np.log(weight), p / weight
    system = pds.DiscreteTime(
        states=("x",),
        transition=lambda x, t: dist.Normal(mean(x, t + 1, jnp.cos), 10**0.5),
        observation=lambda x: dist.Normal(x * x / 20, 1.0),
        initial=dist.Normal(0.0, 5**0.5),
    )
    error = values(system, pds.ParticleFilter(particles), y, times, runs=200) - exact
    ratio = np.exp(error)
    assert abs(ratio.mean() - 1) < 4 * ratio.std(ddof=1) / 200**0.5
    assert error.std(ddof=1) < 30 / particles**0.5
