"""The direct likelihood of an ODE: closed forms, any observation law, missing data, gradients."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist
from scipy import stats

import pymc_dynsys as pds
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    as_arrays,
    assert_gradients_agree,
    finite_differences,
    likelihood_function,
    values_and_gradient,
)
from tests.likelihoods import everywhere

TIMES = np.array([[0.5, 0.5, 2.0, 7.0], [0.1, 1.0, np.nan, 4.0], [1.0, np.nan, np.nan, np.nan]])
T0 = np.array([0.0, 0.1, -1.0])
PARAMS = {"rate": np.array([0.3, 0.6, 0.9]), "sd": 0.2}
LAWS = {
    "Normal": lambda level, sd: dist.Normal(level, sd),
    "LogNormal": lambda level, sd: dist.LogNormal(jnp.log(level), sd),
    "Poisson": lambda level, sd: dist.Poisson(level / sd),
}
DENSITIES = {
    "LogNormal": lambda y, level, sd: stats.lognorm(sd, scale=level).logpdf(y),
    "Poisson": lambda y, level, sd: stats.poisson(level / sd).logpmf(y),
}


def decay(law):
    return pds.ODE(
        states="level",
        drift=lambda level, rate: -rate * level,
        initial=2.0,
        observation=law,
    )


def data():
    y = np.array(
        [[3.0, 1.0, np.nan, 1.0], [2.0, np.nan, np.nan, 1.0], [4.0, np.nan, np.nan, np.nan]]
    )
    return np.where(np.isnan(TIMES), np.nan, y)


def closed_form(name, params):
    level = 2.0 * np.exp(-np.asarray(params["rate"])[:, None] * (TIMES - T0[:, None]))
    with np.errstate(invalid="ignore"):
        density = DENSITIES[name](data(), level, params["sd"])
    return np.where(np.isnan(data()), 0.0, density).sum(-1)


@pytest.mark.parametrize("name", DENSITIES)
def test_ragged_panels_with_any_law(name):
    function = likelihood_function(
        decay(LAWS[name]),
        pds.ODESolve(rtol=1e-10, atol=1e-12),
        data(),
        TIMES,
        {"rate": (), "sd": ()},
        T0,
    )
    values, gradient = values_and_gradient(function)(as_arrays(PARAMS))
    np.testing.assert_allclose(values, closed_form(name, PARAMS), rtol=1e-8)
    expected = finite_differences(lambda p: closed_form(name, p).sum(), PARAMS)
    assert_gradients_agree(gradient, expected, rtol=1e-6, atol=1e-7)


def test_a_stiff_system_is_solved_with_few_steps():
    """Rates nine orders apart, where an explicit solver would need a billion steps."""
    system = pds.ODE(
        states=("fast", "slow"),
        drift=lambda fast, slow, rate: (-1e6 * (fast - slow), -rate * slow),
        initial=(2.0, 1.0),
        observation=lambda fast, sd: dist.Normal(fast, sd),
    )
    times, y = np.array([0.0, 1.0, 1.0, 300.0]), np.array([np.nan, 0.8, 0.9, 0.5])
    shapes = {"rate": (), "sd": ()}
    likelihood = pds.ODESolve(stiff=True, rtol=1e-9, atol=1e-9, max_steps=1000)
    function = likelihood_function(system, likelihood, y, times, shapes)
    values, gradient = values_and_gradient(function)(as_arrays({"rate": 1e-3, "sd": 0.1}))

    def exact(p):
        slow = np.exp(-p["rate"] * times[1:])
        return stats.norm(slow / (1 - p["rate"] / 1e6), p["sd"]).logpdf(y[1:]).sum()

    point = {"rate": 1e-3, "sd": 0.1}
    np.testing.assert_allclose(values, exact(point), rtol=1e-6)
    expected = finite_differences(exact, point, step=1e-5)
    assert_gradients_agree(gradient, expected, rtol=1e-4, atol=1e-4)
    explicit = likelihood_function(system, pds.ODESolve(max_steps=1000), y, times, shapes)
    assert explicit(as_arrays(point)) == -np.inf


def test_gradients_of_a_stiff_solver_with_doses_and_inputs():
    """Two solvers agree on value and gradient of a model with boluses, infusions and an input."""
    found = []
    for likelihood in (pds.ODESolve(), pds.ODESolve(stiff=True)):
        model = everywhere.build(likelihood)
        function = model.compile_fn([model.logp(), model.dlogp()], inputs=model.value_vars)
        found.append(function({"mu": everywhere.MU}))
    (value, slope), (stiff_value, stiff_slope) = found
    np.testing.assert_allclose(stiff_value, value, rtol=1e-6)
    np.testing.assert_allclose(stiff_slope, slope, rtol=1e-5)


def test_vectors_with_missing_components():
    means = jnp.array([1.0, -1.0])
    laws = {
        "independent": lambda x: dist.Normal(x * means, 0.3).to_event(1),
        "correlated": lambda x: pds.Gaussian(x * means, np.array([[0.2, 0.1], [0.1, 0.3]])),
        "heavy": lambda x: dist.StudentT(3.0, x * means, 0.3).to_event(1),
    }
    y = np.array([[0.9, np.nan], [np.nan, np.nan], [0.2, -0.4]])
    times = np.array([0.0, 0.5, 2.0])
    level = np.exp(-0.5 * times)[:, None] * np.array([1.0, -1.0])
    cov = np.array([[0.2, 0.1], [0.1, 0.3]])
    expected = {
        "independent": stats.norm(level, 0.3).logpdf(y)[~np.isnan(y)].sum(),
        "correlated": stats.norm(level[0, 0], 0.2**0.5).logpdf(0.9)
        + stats.multivariate_normal(level[2], cov).logpdf(y[2]),
        "heavy": stats.t(3.0, level, 0.3).logpdf(y)[~np.isnan(y)].sum(),
    }
    for name, law in laws.items():
        system = pds.ODE(drift=lambda x, rate: -rate * x, initial=np.ones(1), observation=law)
        likelihood = pds.ODESolve(rtol=1e-10, atol=1e-12)
        value = likelihood_function(system, likelihood, y, times, {"rate": ()})(
            as_arrays({"rate": 0.5})
        )
        np.testing.assert_allclose(value, expected[name], rtol=1e-8, err_msg=name)


def test_part_of_a_joint_law_has_no_number():
    """A joint law without marginals cannot be evaluated at part of a datum."""
    system = pds.ODE(
        drift=lambda x, rate: -rate * x,
        initial=np.ones(2),
        observation=lambda x: dist.MultivariateStudentT(4.0, x, jnp.eye(2)),
    )
    times = np.array([0.0, 1.0])
    for y, finite in (([[1.0, np.nan], [0.5, 0.5]], False), ([[np.nan, np.nan], [0.5, 0.5]], True)):
        function = likelihood_function(system, pds.ODESolve(), np.array(y), times, {"rate": ()})
        assert np.isfinite(function(as_arrays({"rate": 0.5}))) == finite


def test_one_visit_at_the_start():
    function = likelihood_function(
        decay(LAWS["Normal"]),
        pds.ODESolve(),
        np.array([1.7]),
        np.array([3.0]),
        {"rate": (), "sd": ()},
    )
    value = function(as_arrays({"rate": 0.3, "sd": 0.2}))
    np.testing.assert_allclose(value, stats.norm(2.0, 0.2).logpdf(1.7), rtol=1e-12)


def test_time_in_the_drift_is_that_of_the_data():
    system = pds.ODE(
        states="level",
        drift=lambda t, rate: rate * jnp.cos(t),
        initial=0.0,
        observation=lambda level: dist.Normal(level, 0.1),
    )
    times, y = np.array([2.0, 5.0]), np.array([0.1, -0.9])
    likelihood = pds.ODESolve(rtol=1e-10, atol=1e-12)
    value = likelihood_function(system, likelihood, y, times, {"rate": ()}, t0=1.0)(
        as_arrays({"rate": 0.7})
    )
    level = 0.7 * (np.sin(times) - np.sin(1.0))
    np.testing.assert_allclose(value, stats.norm(level, 0.1).logpdf(y).sum(), rtol=1e-8)


def test_systems_it_is_not_for():
    noisy = pds.SDE(
        states="level", drift=0.0, diffusion=1.0, initial=0.0, observation=LAWS["Normal"]
    )
    with pytest.raises(ValueError, match="an SDE needs a filter"):
        pds.ODESolve().check(bind_system(noisy, {"sd": ()}))
    uncertain = pds.ODE(
        states="level", drift=0.0, initial=dist.Normal(0.0, 1.0), observation=LAWS["Normal"]
    )
    with pytest.raises(ValueError, match="needs a known initial state"):
        pds.ODESolve().check(bind_system(uncertain, {"sd": ()}))


@pytest.mark.parametrize("name", ["rtol", "atol", "max_steps"])
def test_options_that_make_no_sense(name):
    with pytest.raises(ValueError, match=f"{name} must be a positive number"):
        pds.ODESolve(**{name: 0})


@pytest.mark.parametrize(
    "likelihood",
    [pds.ODESolve(), pytest.param(pds.EKF(pds.MomentODE()), marks=pytest.mark.slow)],
)
def test_chains_in_parallel(likelihood):
    """A solver's loop compiles for several devices at once, as for one."""
    decay = pds.ODE(
        states=("amount",),
        drift=lambda amount, rate: -rate * amount,
        initial=lambda start: start,
        observation=lambda amount: dist.Normal(amount, 0.1),
    )
    with pm.Model(coords={"time": np.arange(5.0)}) as model:
        pds.Trajectory(
            "y",
            decay,
            params={"rate": pm.LogNormal("rate"), "start": pm.LogNormal("start")},
            observed=np.exp(-np.arange(5.0)),
            dims="time",
            likelihood=likelihood,
        )
    idata = pm.sample(
        draws=5,
        tune=5,
        chains=2,
        nuts_sampler="numpyro",
        nuts={"chain_method": "parallel"},
        progressbar=False,
        compute_convergence_checks=False,
        random_seed=1,
        model=model,
    )
    assert np.isfinite(idata["posterior"]["rate"]).all()
