"""Batch axes: what is shared and what varies is said by names and shapes, and never guessed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.batching.mapping import map_batch
from pymc_dynsys.systems import bind_system
from tests.helpers import (
    as_arrays,
    compiled_log_likelihood,
    likelihood_function,
    prepare,
    program_of,
)

N = 3
RNG = np.random.default_rng(0)
TIMES = np.array([0.0, 0.4, 1.5])
Y = RNG.normal(size=(N, 3, N))
Y[1, 1, 2] = np.nan


def coupled(x, rate, target):
    """Three states relax to a target; as many as there are subjects, times and components."""
    return rate * (target - x)


SYSTEM = pds.SDE(
    drift=coupled,
    diffusion=0.4,
    initial=dist.Normal(jnp.zeros(N), 1.0).to_event(1),
    observation=lambda x: dist.Normal(x, 0.3).to_event(1),
)
RATES, TARGETS = np.array([0.5, 1.0, 2.0]), RNG.normal(size=(N, N))


def one(y, rate, target, times=TIMES, t0=np.nan, likelihood=None):
    """Value of one trajectory, each component by itself: a system of one state."""
    scalar = pds.SDE(
        states="level",
        drift=lambda level, rate, target: rate * (target - level),
        diffusion=0.4,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.3),
    )
    shapes = {"rate": (), "target": ()}
    likelihood = likelihood or pds.Kalman()
    # One compiled call for all components: they are independent trajectories of one state.
    function = likelihood_function(scalar, likelihood, y.T, times, shapes, t0, complete=False)
    params = {"rate": np.broadcast_to(rate, (N,)), "target": np.broadcast_to(target, (N,))}
    return float(function(as_arrays(params)).sum())


@pytest.mark.parametrize(
    ("rate", "target"),
    [
        (RATES, TARGETS),  # each subject has a rate and a vector
        (RATES, TARGETS[:1]),  # all subjects share the vector
        (np.array([0.7]), TARGETS),  # all subjects share the rate
        (np.array([0.7]), TARGETS[:1]),
    ],
    ids=["both vary", "shared vector", "shared rate", "all shared"],
)
def test_as_many_subjects_as_states_times_and_components(rate, target):
    """A vector shared by all and a number per subject have the same length here."""
    shapes = {"rate": (), "target": (N,)}
    values = likelihood_function(SYSTEM, pds.Kalman(), Y, TIMES, shapes)(
        as_arrays({"rate": rate, "target": target})
    )
    assert values.shape == (N,)
    rows = [(rate[i % len(rate)], target[i % len(target)]) for i in range(N)]
    expected = [one(Y[i], *rows[i]) for i in range(N)]
    np.testing.assert_allclose(values, expected, rtol=1e-10)


def test_a_rate_per_state_is_not_a_rate_per_subject():
    shapes = {"rate": (N,), "target": (N,)}
    function = likelihood_function(SYSTEM, pds.Kalman(), Y, TIMES, shapes)
    values = function(as_arrays({"rate": RATES, "target": TARGETS[0]}))
    expected = [one(Y[i], RATES, TARGETS[0]) for i in range(N)]
    np.testing.assert_allclose(values, expected, rtol=1e-10)


def test_two_batch_axes_with_parameters_of_either():
    y = RNG.normal(size=(2, N, 3))
    y[1, 0, 1] = np.nan
    scalar = pds.SDE(
        states="level",
        drift=lambda level, rate, target: rate * (target - level),
        diffusion=lambda scale: scale,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.3),
    )
    rate, target = np.array([[0.5], [1.5]]), RNG.normal(size=(1, N))
    times = np.sort(RNG.uniform(0, 3, size=(1, N, 3)), axis=-1)
    t0 = np.array([[-0.5], [-1.0]])
    shapes = dict.fromkeys(("rate", "target", "scale"), ())
    function = likelihood_function(scalar, pds.Kalman(), y, times, shapes, t0)
    values = function(as_arrays({"rate": rate, "target": target, "scale": 0.4}))
    assert values.shape == (2, N)
    alone = []
    for g in range(2):
        for i in range(N):
            single = likelihood_function(
                scalar, pds.Kalman(), y[g, i], times[0, i], shapes, t0[g, 0], complete=False
            )
            alone.append(
                single(as_arrays({"rate": rate[g, 0], "target": target[0, i], "scale": 0.4}))
            )
    np.testing.assert_allclose(values.ravel(), alone, rtol=1e-10)


def test_complete_data_are_the_same_with_and_without_a_mask():
    times = np.stack([TIMES, TIMES + 1.0, TIMES * 2])
    y = np.where(np.isnan(Y), 0.0, Y)
    shapes = {"rate": (), "target": (N,)}
    params = as_arrays({"rate": RATES, "target": TARGETS})
    for likelihood in (pds.Kalman(), pds.EnKF(10, discretization=pds.Exact())):
        masked, bare = (
            likelihood_function(SYSTEM, likelihood, y, times, shapes, complete=complete)(params)
            for complete in (False, True)
        )
        np.testing.assert_allclose(masked, bare, rtol=1e-12)


def test_integers_and_single_precision_are_read_as_numbers():
    bound = bind_system(SYSTEM, {"rate": (), "target": (N,)})
    program = program_of(bound, pds.Kalman(), True)
    y = np.round(np.where(np.isnan(Y), 0.0, 3 * Y))
    params = as_arrays({"rate": RATES, "target": TARGETS})
    grid = prepare(program, TIMES, np.nan)
    expected = compiled_log_likelihood(program, y, params, grid)
    for kind in (int, np.float32):
        values = compiled_log_likelihood(program, y.astype(kind), params, grid)
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_a_batch_axis_of_length_one_is_computed_once_and_kept():
    seen = []

    def function(a, b):
        seen.append((a.shape, b.shape))
        return a.sum() + b

    out = map_batch(function, (jnp.ones((1, 4, 2)), jnp.ones((5, 4))), (1, 0), 2)
    assert out.shape == (5, 4)
    assert seen == [((2,), ())]
    out = map_batch(function, (jnp.ones((1, 1, 2)), jnp.ones((1, 1))), (1, 0), 2)
    assert out.shape == (1, 1)
    shared = jax.make_jaxpr(
        lambda a, b: map_batch(lambda a, b: jnp.sin(a).sum() + b, (a, b), (1, 0), 1)
    )(jnp.ones((1, 7)), jnp.ones(5))
    sines = [e for e in shared.jaxpr.eqns if e.primitive.name == "sin"]
    assert [e.outvars[0].aval.shape for e in sines] == [(7,)]
