"""Resets and steady states in a model: what is refused, and likelihoods and paths agree."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

TIMES = [0.0, 2.0, 5.0, 7.0, 11.0, 14.0]


def events(**columns):
    given = {"time": [1.0, 6.0, 9.0], "amount": [10.0, 8.0, 5.0]} | columns
    return xr.Dataset({f"event_{name}": ("event", values) for name, values in given.items()})


REGIMEN = events(steady_state=[1, 0, 2], interval=[4.0, 0.0, 3.0], reset=[0, 1, 0])


def process(**changes):
    given = {
        "states": ("depot", "level"),
        "drift": lambda depot, level, ka, k: (-ka * depot, ka * depot - k * level),
        "diffusion": lambda s: (0.0, s),
        "initial": pds.Gaussian(np.array([0.0, 2.0]), np.diag([0.0, 0.5])),
        "observation": lambda level: dist.Normal(level, 0.4),
        "events": "depot",
    }
    return pds.SDE(**given | changes)


def ode(**changes):
    given = {
        "states": ("depot", "level"),
        "drift": lambda depot, level, ka, k: (-ka * depot, ka * depot - k * level),
        "initial": (0.0, 0.0),
        "observation": lambda level: dist.Normal(level, 0.4),
        "events": "depot",
    }
    return pds.ODE(**given | changes)


def build(system, table, params, **options):
    with pm.Model(coords={"time": TIMES}) as model:
        free = {name: pm.Flat(name, initval=value) for name, value in params.items()}
        pds.Trajectory(
            "y",
            system,
            params=free,
            observed=np.array([2.0, 6.0, 7.5, np.nan, 4.0, 5.5]),
            dims="time",
            events=table,
            **options,
        )
    return model


PARAMS = {"ka": 0.9, "k": 0.3, "s": 0.6}


def value_and_gradient(model, params):
    return model.compile_fn([model.logp(), model.dlogp()])(params)


@pytest.fixture(scope="module")
def kalman():
    return build(process(), REGIMEN, PARAMS)


@pytest.mark.parametrize(
    "likelihood",
    [pds.EKF(), pytest.param(pds.Laplace(discretization=pds.Exact()), marks=pytest.mark.slow)],
)
def test_likelihoods_agree_on_laws_with_a_covariance(kalman, likelihood):
    other = build(process(), REGIMEN, PARAMS, likelihood=likelihood)
    for found, expected in zip(
        value_and_gradient(other, PARAMS), value_and_gradient(kalman, PARAMS), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-8)


def test_the_gradient_is_that_of_differences(kalman):
    logp, (_, slope) = kalman.compile_logp(), value_and_gradient(kalman, PARAMS)
    for i, name in enumerate(PARAMS):
        ends = [logp(PARAMS | {name: PARAMS[name] + h}) for h in (-1e-5, 1e-5)]
        np.testing.assert_allclose(slope[i], (ends[1] - ends[0]) / 2e-5, rtol=1e-6)


def test_paths_have_the_moments_that_the_filter_predicts():
    """The only datum is forgotten at time 1; moments after it are those of simulated paths."""
    params = {**PARAMS, "k": 0.5}
    paths = pds.simulate(process(), params, TIMES, events=REGIMEN, n=4000, random_seed=3)
    y = np.array([2.0] + [np.nan] * 5)
    with pm.Model(coords={"time": TIMES}) as model:
        k = pm.Normal("k", 0.5, 1.0, initval=0.5)
        given = {**params, "k": k}
        pds.Trajectory("y", process(), params=given, observed=y, dims="time", events=REGIMEN)
    idata = posterior({"k": 0.5}, 1)
    found = pds.sample_states(idata, model=model, moments=True, progressbar=False).posterior
    mean, cov = (found[part].values[0, 0, 1:] for part in ("mean", "covariance"))
    states = paths["states"].values.reshape(-1, len(TIMES), 2)[:, 1:]
    # 4 standard errors of means and variances of 4,000 draws.
    error = 4 / np.sqrt(4000)
    sd = np.sqrt(cov[:, 1, 1])
    np.testing.assert_allclose(states[..., 1].mean(0), mean[:, 1], atol=error * sd.max())
    np.testing.assert_allclose(states[..., 1].var(0), cov[:, 1, 1], rtol=error * np.sqrt(2))
    # The depot has no noise; paths and filter round differently.
    np.testing.assert_allclose(states[..., 0], np.broadcast_to(mean[:, 0], (4000, 5)), atol=1e-10)


@pytest.mark.parametrize(
    "system, table, options, message",
    [
        (
            ode(
                states=("depot", "level", "area"),
                drift=lambda depot, level, ka, k: (-ka * depot, ka * depot - k * level, level),
                initial=(0.0, 0.0, 0.0),
            ),
            events(steady_state=[1, 0, 0], interval=[4.0, 0.0, 0.0]),
            {},
            "nothing ever leaves the state 'area'",
        ),
        (
            ode(drift=lambda depot, level, ka, k: (-ka * depot, 1.0 + ka * depot - k * level)),
            events(steady_state=[2, 0, 0], interval=[4.0, 0.0, 0.0]),
            {},
            "add up .* only where the drift is zero without doses",
        ),
        (
            ode(drift=lambda depot, level, t, ka, k: (-ka * depot, ka * depot - k * level * t)),
            events(steady_state=[1, 0, 0], interval=[4.0, 0.0, 0.0]),
            {},
            "depend on the time t",
        ),
        (
            ode(drift=lambda depot, level, ka, k: (-ka * depot, ka * depot - k * level**2)),
            events(steady_state=[2, 0, 0], interval=[4.0, 0.0, 0.0]),
            {},
            "in a nonlinear system there is only steady_state 1",
        ),
        (
            process(drift=lambda depot, level, ka, k: (-ka * depot, ka * depot - k * level**2)),
            events(steady_state=[1, 0, 0], interval=[4.0, 0.0, 0.0]),
            {},
            "the steady state of a nonlinear SDE",
        ),
        (process(), REGIMEN, {"likelihood": pds.EnKF()}, "cannot draw states anew"),
        (ode(initial=pds.Diffuse()), REGIMEN, {}, "Gaussian and not diffuse"),
        (
            ode(),
            events(steady_state=[1, 0, 0]),
            {},
            "the interval of the event at time 1 .* is 0, expected more than 0",
        ),
    ],
)
def test_what_is_refused(system, table, options, message):
    params = {name: PARAMS[name] for name in PARAMS if isinstance(system, pds.SDE) or name != "s"}
    with pytest.raises(ValueError, match=message):
        build(system, table, params, **options)


def test_an_infusion_since_ever_ends_at_its_record():
    """The steady state of a rate is rate / k, which then decays."""
    table = events(time=[1.0], amount=[0.0], rate=[3.0], steady_state=[1], interval=[0.0])
    system = ode(
        states=("level",),
        drift=lambda level, k: -k * level,
        initial=(0.0,),
        events="level",
    )
    paths = pds.simulate(system, {"k": 0.3}, [1.5, 4.0], events=table, t0=1.0, random_seed=1)
    expected = 10.0 * np.exp(-0.3 * np.array([0.5, 3.0]))
    np.testing.assert_allclose(paths["states"].values.ravel(), expected, rtol=1e-6)


def test_what_runs_where_a_state_is_forgotten_ends_there():
    table = events(time=[0.0, 3.0], amount=[20.0, 0.0], duration=[10.0, 0.0], reset=[0, 1])
    system = ode(
        states=("level",), drift=lambda level, k: -k * level, initial=(0.0,), events="level"
    )
    paths = pds.simulate(system, {"k": 0.3}, [3.0, 4.0], events=table, random_seed=1)
    before = 2.0 / 0.3 * (1 - np.exp(-0.9))
    np.testing.assert_allclose(paths["states"].values.ravel(), [before, 0.0], rtol=1e-6)


@pytest.mark.slow
def test_a_forecast_takes_resets_and_steady_states():
    """A reset forgets the last state, and a steady state of the new table is its periodic one."""
    system = ode(
        states=("level",),
        drift=lambda level, k: -k * level,
        initial=(1.0,),
        events="level",
        observation=lambda level: dist.Normal(level, 0.4),
    )
    with pm.Model(coords={"time": [1.0, 3.0]}) as model:
        k = pm.Normal("k", 0.3, initval=0.3)
        table = events(time=[0.0], amount=[20.0], duration=[10.0])
        y = np.array([2.0, 4.0])
        pds.Trajectory("y", system, params={"k": k}, observed=y, dims="time", events=table)
    new = events(
        time=[5.0, 7.0], amount=[0.0, 10.0], reset=[1, 0], steady_state=[0, 1], interval=[0, 4.0]
    )
    given = {"model": model, "times": [5.0, 5.5, 7.0, 9.0], "events": new}
    found = pds.forecast(posterior({"k": 0.3}, 1), random_seed=1, progressbar=False, **given)
    states = found.predictions["states"].values.ravel()
    at_rest = 2.0 / 0.3 * (1 - np.exp(-1.5)) + np.exp(-1.5)
    peak = 10.0 / (1 - np.exp(-1.2))
    expected = [at_rest, np.exp(-0.15), np.exp(-0.6), peak * np.exp(-0.6)]
    np.testing.assert_allclose(states, expected, rtol=1e-6)
