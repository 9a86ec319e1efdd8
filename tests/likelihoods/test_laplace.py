"""Laplace's approximation: exact where it is, right gradients, and hard data."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy import stats

import pymc_dynsys as pds
from pymc_dynsys.likelihoods.laplace.proofs import has_second_order
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    as_arrays,
    assert_gradients_agree,
    finite_differences,
    likelihood_function,
    values_and_gradient,
)

NORMAL = dist.Normal(0.0, 1.0)
EXACT = pds.Laplace(discretization=pds.Exact())


def oscillator(observation):
    """Position and speed; noise drives the speed only."""
    return pds.SDE(
        states=("position", "speed"),
        drift=lambda position, speed, rate: (speed, -rate * position - 0.3 * speed),
        diffusion=lambda sigma: (0.0, sigma),
        initial=pds.Gaussian(np.array([0.3, 0.0]), np.diag([0.5, 0.0])),
        observation=observation,
    )


def chain(observation):
    """Three states, of which the first has no noise of its own."""
    A = jnp.array([[0.6, 0.3, 0.0], [0.0, 0.7, 0.2], [0.1, 0.0, 0.5]])
    return pds.DiscreteTime(
        states=("a", "b", "c"),
        transition=lambda x, rate, sigma: pds.Gaussian(
            rate * (A @ x), sigma**2 * jnp.diag(jnp.array([0.0, 1.0, 0.4]))
        ),
        initial=pds.Gaussian(np.zeros(3), np.diag([0.4, 0.0, 1.0])),
        observation=observation,
    )


def logistic(observation):
    """Logistic growth on the log scale, with a noise that depends on the state."""
    return pds.SDE(
        states="x",
        drift=lambda x, rate: rate * (1 - jnp.exp(x - 1.0)),
        diffusion=lambda x, sigma: sigma * (1 + 0.3 * jnp.tanh(x)),
        initial=dist.Normal(0.0, 0.5),
        observation=observation,
    )


def pendulum(observation):
    """Two states that move on a curve."""
    return pds.DiscreteTime(
        states=("angle", "speed"),
        transition=lambda angle, speed, rate, sigma: pds.Gaussian(
            jnp.stack([angle + 0.3 * speed, speed - rate * jnp.sin(angle)]),
            sigma**2 * jnp.diag(jnp.array([0.1, 1.0])),
        ),
        initial=pds.Gaussian(np.array([1.0, 0.0]), np.diag([0.3, 0.3])),
        observation=observation,
    )


def one_count(x):
    return dist.Poisson(jnp.exp(x[0] if jnp.ndim(x) else x))


def two_counts(x, loading):
    return dist.Poisson(jnp.exp(jnp.stack([x[0], loading * x[0] + x[1]]))).to_event(1)


def by_sum(x, t, loading):
    return dist.Poisson(jnp.exp(x[0] + loading * jnp.cos(t) * x[2]))


TIMES = np.array([0.0, 0.4, 1.0, 1.0, 2.5, 3.0])
STEPS = np.array([0.0, 1.0, 2.0, 3.0, 5.0, 6.0])
ONE = np.array([[1.0, np.nan, 3.0, 0.0, 2.0, 1.0], [0.0, 0.0, 1.0, 4.0, np.nan, 7.0]])
TWO = np.stack([ONE, np.array([[2.0, 1.0, np.nan, 0.0, 3.0, 0.0]] * 2)], axis=-1)
SHARED = {"rate": 0.7, "sigma": 0.6}
EULER = pds.Laplace(discretization=pds.EulerMaruyama(dt=0.5))
LOCAL = pds.Laplace(discretization=pds.LocalLinearization())

CASES = {
    "two states": (oscillator(one_count), EXACT, ONE, TIMES, SHARED),
    "two states, second order": (
        oscillator(one_count),
        pds.Laplace(discretization=pds.Exact(), order=2),
        ONE,
        TIMES,
        SHARED,
    ),
    "two states, two components": (
        oscillator(two_counts),
        EXACT,
        TWO,
        TIMES,
        {**SHARED, "loading": 0.4},
    ),
    "three states": (chain(two_counts), pds.Laplace(), TWO, STEPS, {**SHARED, "loading": 0.4}),
    "three states, second order": (chain(one_count), pds.Laplace(order=2), ONE, STEPS, SHARED),
    "three states, draws": (chain(one_count), pds.Laplace(draws=4), ONE, STEPS, SHARED),
    "three states, one predictor": (
        chain(by_sum),
        pds.Laplace(order=2),
        ONE,
        STEPS,
        {**SHARED, "loading": 0.4},
    ),
    "nonlinear, one predictor": (
        pendulum(lambda x, loading: dist.Poisson(jnp.exp(x[0] + loading * x[1]))),
        pds.Laplace(),
        ONE,
        STEPS,
        {**SHARED, "loading": 0.4},
    ),
    "nonlinear, Euler steps": (logistic(one_count), EULER, ONE, TIMES, SHARED),
    "nonlinear, local linearization": (logistic(one_count), LOCAL, ONE, TIMES, SHARED),
    "nonlinear, two states": (
        pendulum(two_counts),
        pds.Laplace(),
        TWO,
        STEPS,
        {**SHARED, "loading": 0.4},
    ),
}


THIN = ("two states, two components", "nonlinear, Euler steps")


@pytest.mark.parametrize(
    "name", [n if n in THIN else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
def test_gradients_are_those_of_differences(name):
    system, likelihood, y, times, params = CASES[name]
    function = likelihood_function(system, likelihood, y, times, dict.fromkeys(params, ()))
    values, gradient = values_and_gradient(function)(as_arrays(params))
    assert np.isfinite(values).all()
    expected = finite_differences(lambda p: float(function(as_arrays(p)).sum()), params)
    # Differences of fourth order with steps of 1e-3 leave 5e-9 here.
    assert_gradients_agree(gradient, expected, rtol=1e-7, atol=1e-7)


TURN = np.array([[1.0, 0.6], [-0.5, 1.0]])


def turned(basis, observation):
    """A process of two states in another basis, of which the first was ``x[0] + 0.6 x[1]``."""
    A, Q = np.array([[0.7, 0.2], [-0.3, 0.6]]), np.diag([0.3, 0.1])
    back = np.linalg.inv(basis)
    return pds.DiscreteTime(
        states=("level", "season"),
        transition=lambda x, rate: pds.Gaussian(rate * (basis @ A @ back @ x), basis @ Q @ basis.T),
        initial=pds.Gaussian(basis @ np.array([0.3, 0.1]), basis @ np.diag([0.5, 0.2]) @ basis.T),
        observation=observation,
    )


@pytest.mark.slow
def test_a_predictor_of_two_states_is_a_state_in_another_basis():
    """Gradients are compared with differences above."""

    def values(system):
        likelihood = pds.Laplace(order=2)
        function = likelihood_function(system, likelihood, ONE, STEPS, {"rate": ()})
        return function({"rate": jnp.asarray(0.9)})

    found = values(
        turned(np.eye(2), lambda level, season: dist.Poisson(jnp.exp(level + 0.6 * season)))
    )
    expected = values(turned(TURN, lambda level: dist.Poisson(jnp.exp(level))))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.slow
def test_the_second_order_of_a_predictor_beside_draws():
    system = turned(np.eye(2), lambda x, h: dist.Poisson(jnp.exp(h @ x)))
    params = as_arrays({"rate": 0.9, "h": TURN[0]})

    def values(**options):
        likelihood = pds.Laplace(**options)
        function = likelihood_function(system, likelihood, ONE, STEPS, {"rate": (), "h": (2,)})
        return np.asarray(function(params))

    draws = np.array([values(draws=20_000, seed=seed) for seed in range(4)])
    exact, error = draws.mean(0), draws.std(0, ddof=1) / 2
    first, second = values() - exact, values(order=2) - exact
    # The second order leaves 2e-4 and 7e-4 beside 0.017 and 0.010, about the error of the draws.
    assert (4 * error < 0.3 * np.abs(first)).all()
    assert (np.abs(second) < 4 * error).all()


def test_which_observations_see_one_predictor():
    """What is not proved is refused; a step or a wall to derivatives is never taken for a slope."""
    one = {
        "sum": lambda level, season: dist.Poisson(jnp.exp(level + season)),
        "product with a parameter": lambda x, h: dist.Bernoulli(logits=h @ x),
        "weights that depend on time": lambda x, t: dist.StudentT(3.0, x[0] + t * x[1], 1.0),
        "a vector of one": lambda x, h: dist.Poisson(jnp.exp(h[None] @ x)).to_event(1),
        "derivatives of its own": lambda level, season: dist.NegativeBinomial2(
            jnp.exp(level + season), 3.0
        ),
        "limits": lambda level, season: pds.censored(dist.Normal(level + season, 1.0), lower=0.0),
    }
    several = {
        "mean and noise": lambda level, season: dist.Normal(level, jnp.exp(season)),
        "product of states": lambda level, season: dist.Poisson(jnp.exp(level * season)),
        "square": lambda level, season: dist.Poisson(jnp.exp(level + season**2)),
        "two means": lambda x: dist.Poisson(jnp.exp(jnp.stack([x[0], x[0] + x[1]]))).to_event(1),
        "a fold": lambda level, season: dist.Poisson(
            jnp.exp(level + jnp.where(season > 0, season, 0.0))
        ),
        "a wall": lambda level, season: dist.Poisson(
            jnp.exp(level + jax.lax.stop_gradient(season))
        ),
    }
    for expected, laws in ((True, one), (False, several)):
        for name, law in laws.items():
            shapes = {"rate": ()}
            if "h" in inspect.signature(law).parameters:
                shapes["h"] = (2,)
            bound = bind_system(turned(np.eye(2), law), shapes)
            assert has_second_order(bound) is expected, name


def ornstein_uhlenbeck(observation, start=None):
    return pds.SDE(
        states="x",
        drift=lambda x, mu: mu - x,
        diffusion=lambda sigma: sigma,
        initial=start or pds.Stationary(),
        observation=observation,
    )


def rows(*values):
    """Series of 30 data; a number fills a series."""
    return np.stack([np.broadcast_to(np.asarray(v, float), 30) for v in values])


T = np.arange(30.0)
ALONE = np.where(T == 3, 1.0, np.nan)
HARD = {
    "counts": (one_count, rows(0, 1e6, np.nan, np.where(T == 3, 1e6, 0), 5 * ALONE)),
    "yes or no": (lambda x: dist.Bernoulli(logits=5 * x), rows(0, 1, T % 2, ALONE)),
    "outliers": (
        lambda x: dist.StudentT(3.0, x, 0.3),
        rows(np.where(T == 5, 1e4, 0.1), np.where(T == 5, -1e8, np.cos(T)), 10 * np.sin(7 * T)),
    ),
    "volatility": (
        lambda x: dist.Normal(0.0, jnp.exp(x / 2)),
        rows(0, np.where(T == 3, 50, 0), np.sin(T)),
    ),
    "far beyond a limit": (
        lambda x: pds.censored(dist.Normal(x, 0.1), lower=-4.0, upper=4.0),
        rows(-4, 4, np.where(T == 3, 4, -4), np.where(T % 2, np.nan, 0.0)),
    ),
}


@pytest.mark.parametrize("name", HARD)
def test_hard_data_have_finite_values_and_right_gradients(name):
    observation, y = HARD[name]
    system, params = ornstein_uhlenbeck(observation), {"mu": 0.0, "sigma": 1.0}
    function = likelihood_function(system, EXACT, y, T, dict.fromkeys(params, ()))
    values, gradient = values_and_gradient(function)(as_arrays(params))
    assert np.isfinite(values).all(), values
    expected = finite_differences(lambda p: float(function(as_arrays(p)).sum()), params)
    # Differences of values of 1e4 whose terms are 1e7 keep seven digits.
    assert_gradients_agree(gradient, expected, rtol=1e-7, atol=1e-7)


def test_zeros_and_ones_are_mirror_images():
    """With a mean of zero all states begin where numpyro's Bernoulli density has a kink."""
    system = ornstein_uhlenbeck(lambda x: dist.Bernoulli(logits=x))
    function = likelihood_function(system, EXACT, rows(0, 1), T, {"mu": (), "sigma": ()})
    zeros, ones = function(as_arrays({"mu": 0.0, "sigma": 4.0}))
    np.testing.assert_allclose(zeros, ones, rtol=1e-10)


def test_one_visit_is_the_integral_over_one_state():
    """By Gauss and Hermite's rule, which the second order comes near to."""
    system = ornstein_uhlenbeck(one_count, dist.Normal(0.3, 0.5))
    likelihood = pds.Laplace(discretization=pds.Exact(), order=2)
    params = {"mu": 0.0, "sigma": 1.0}
    y = np.array([[0.0], [1.0], [3.0], [7.0]])
    function = likelihood_function(system, likelihood, y, T[:1], dict.fromkeys(params, ()))
    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    x = 0.3 + 0.5 * nodes
    terms = stats.poisson.pmf(y, np.exp(x)) @ (weights / weights.sum())
    # The second order leaves 8e-5 here, the first 3e-3.
    np.testing.assert_allclose(function(as_arrays(params)), np.log(terms), atol=2e-4)


def test_a_long_series_comes_to_rest():
    counts = np.random.default_rng(0).poisson(2.0, size=(1, 2000))
    system, params = ornstein_uhlenbeck(one_count), {"mu": 0.5, "sigma": 0.4}
    function = likelihood_function(
        system, EXACT, counts, np.arange(2000.0), dict.fromkeys(params, ())
    )
    assert np.isfinite(function(as_arrays(params))).all()


def test_where_the_search_does_not_end_the_value_is_minus_infinity_and_the_gradient_zero():
    system, params = ornstein_uhlenbeck(one_count), {"mu": 0.0, "sigma": 1.0}
    short = pds.Laplace(discretization=pds.Exact(), max_iterations=2)
    function = likelihood_function(system, short, rows(1e6, 1), T, dict.fromkeys(params, ()))
    values, gradient = values_and_gradient(function)(as_arrays(params))
    assert values[0] == -np.inf
    assert all(np.isfinite(slope) for slope in gradient.values())


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"order": 3}, ValueError, "order must be 1 or 2"),
        ({"order": 2, "draws": 10}, ValueError, "not both"),
        ({"draws": 5}, ValueError, "pairs"),
        ({"draws": -2}, ValueError, "at least 0"),
        ({"draws": 2.0}, TypeError, "must be an integer"),
        ({"max_iterations": 0}, ValueError, "at least 1"),
        ({"discretization": pds.MomentODE()}, ValueError, "EulerMaruyama"),
    ],
)
def test_options_out_of_range_are_refused(options, error, said):
    with pytest.raises(error, match=f"Laplace: .*{said}"):
        pds.Laplace(**options)


@pytest.mark.parametrize(
    ("system", "likelihood", "said"),
    [
        (
            ornstein_uhlenbeck(one_count, dist.Gamma(2.0, 1.0)),
            pds.Laplace(),
            "Gaussian or exactly known initial state",
        ),
        (ornstein_uhlenbeck(one_count, pds.Diffuse()), pds.Laplace(), "exactly diffuse"),
        (pds.ODE(lambda x: -x, one_count, 1.0, states="x"), pds.Laplace(), "ODESolve"),
        (
            pds.DiscreteTime(lambda x: dist.StudentT(4.0, x, 1.0), one_count, NORMAL, "x"),
            pds.Laplace(),
            r"transition\(\) returns another.*ParticleFilter",
        ),
        (chain(two_counts), pds.Laplace(order=2), "sees a and b through more than one"),
        (logistic(one_count), pds.Laplace(order=2), "needs linear dynamics"),
    ],
    ids=["start", "diffuse", "known", "transition", "two states seen", "nonlinear"],
)
def test_systems_that_it_cannot_take_are_refused(system, likelihood, said):
    names = {"mu": (), "sigma": (), "rate": (), "loading": ()}
    asked = {name: shape for name, shape in names.items() if bind_asks(system, name)}
    with pytest.raises(ValueError, match=f"Laplace.*{said}"):
        likelihood.check(bind_system(system, asked))


def bind_asks(system, name):
    functions = vars(system).values()
    return any(name in inspect.signature(f).parameters for f in functions if inspect.isfunction(f))
