"""Simulated panels: their laws, their labels, what is drawn anew and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.simulation import default_simulator
from pymc_dynsys.simulation.paths import check_simulator
from pymc_dynsys.systems import bind_system
from tests.dense import joint_law
from tests.linear import as_source, random_system

TIMES = np.array([0.0, 0.4, 0.4, 1.5])
OU = pds.SDE(
    states="level",
    drift=lambda level, mu: 0.7 * (mu - level),
    diffusion=0.5,
    initial=dist.Normal(0.0, 0.3),
    observation=lambda level: dist.Normal(level, 0.1),
)
WELL = pds.SDE(
    states="place",
    drift=lambda place: place - place**3,
    diffusion=0.5,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda place: dist.Poisson(jnp.exp(place)),
)
DECAY = pds.ODE(
    states="level",
    drift=lambda level, rate: -rate * level,
    initial=dist.Normal(2.0, 0.5),
    observation=lambda level: dist.Normal(level, 0.1),
)


@pytest.fixture(scope="module")
def ou_paths():
    mu = xr.DataArray([0.0, 5.0], dims="subject", coords={"subject": ["a", "b"]})
    return pds.simulate(OU, {"mu": mu}, TIMES, n=3, random_seed=1)


# Laws


@pytest.mark.parametrize(
    "scheme",
    [None, pytest.param(pds.EulerMaruyama(dt=0.01), marks=pytest.mark.slow)],
    ids=["exact", "Euler"],
)
def test_data_of_a_linear_system_have_the_joint_law_of_dense_algebra(scheme):
    n = 30_000
    system = random_system(2, 2, full_noise=True)
    source = as_source(system, full_noise=True)
    params = {"c": system.c, "gain": 1.0}
    y = pds.simulate(
        source, params, TIMES, n=n, t0=-0.5, simulator=scheme, random_seed=2
    ).observations
    mean, cov = joint_law(system, TIMES, -0.5)
    flat = y.values.reshape(n, -1)
    variances = np.diag(cov)
    error = np.sqrt((cov**2 + np.outer(variances, variances)) / n)
    bias = 0.0 if scheme is None else 0.02 * variances.max()
    assert np.all(np.abs(flat.mean(0) - mean) <= 4 * np.sqrt(variances / n) + bias)
    assert np.all(np.abs(np.cov(flat, rowvar=False) - cov) <= 4.5 * error + bias)


def test_the_start_of_an_ode_is_drawn_too():
    n = 20_000
    paths = pds.simulate(DECAY, {"rate": 0.8}, TIMES, n=n, random_seed=3)
    x = paths.states.values[..., 0]
    assert abs(x[:, 0].mean() - 2.0) < 4 * 0.5 / np.sqrt(n)
    assert abs(x[:, 0].std() / 0.5 - 1) < 4 / np.sqrt(2 * n)
    np.testing.assert_allclose(x, x[:, :1] * np.exp(-0.8 * TIMES), rtol=1e-6)
    residual = paths.observations - paths.states.isel(state=0)
    assert abs(residual.std() / 0.1 - 1) < 4 / np.sqrt(8 * n)


def test_a_start_of_any_law():
    gamma = pds.ODE(
        states="level",
        drift=0.0,
        initial=dist.Gamma(2.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.1),
    )
    paths = pds.simulate(gamma, {}, np.array([0.0]), n=20_000, random_seed=4)
    assert abs(paths.states.mean() - 2.0) < 4 * np.sqrt(2 / 20_000)
    assert abs((paths.states**2).mean() - 6.0) < 4 * np.sqrt(84 / 20_000)


def test_two_visits_at_one_time_see_one_state(ou_paths):
    first, second = (ou_paths.states.isel(time=k).values for k in (1, 2))
    np.testing.assert_array_equal(first, second)
    assert np.all(
        ou_paths.observations.isel(time=1).values != ou_paths.observations.isel(time=2).values
    )


def test_an_earlier_start_lets_the_state_move_before_the_first_visit():
    late = np.array([10.0, 11.0])
    at_start = pds.simulate(OU, {"mu": 5.0}, late, n=4000, random_seed=5)
    earlier = pds.simulate(OU, {"mu": 5.0}, late, n=4000, t0=0.0, random_seed=5)
    assert abs(at_start.states.isel(time=0).mean()) < 0.1
    assert abs(earlier.states.isel(time=0).mean() - 5.0 * (1 - np.exp(-7.0))) < 0.1


# Seeds


def test_the_same_seed_gives_the_same_paths(ou_paths):
    mu = xr.DataArray([0.0, 5.0], dims="subject", coords={"subject": ["a", "b"]})
    again = pds.simulate(OU, {"mu": mu}, TIMES, n=3, random_seed=1)
    xr.testing.assert_identical(again, ou_paths)
    other = pds.simulate(OU, {"mu": mu}, TIMES, n=3, random_seed=2)
    assert np.all(other.states.values != ou_paths.states.values)


def test_samples_and_subjects_are_independent(ou_paths):
    starts = ou_paths.states.isel(time=0).values.ravel()
    assert np.unique(starts).size == starts.size


# Labels


def test_dims_and_labels(ou_paths):
    assert ou_paths.states.dims == ("sample", "subject", "time", "state")
    assert ou_paths.observations.dims == ("sample", "subject", "time")
    assert list(ou_paths.subject.values) == ["a", "b"] and list(ou_paths.state.values) == ["level"]
    np.testing.assert_array_equal(ou_paths.time, TIMES)
    assert ou_paths.attrs["simulator"] == "Exact()"


def test_each_subject_has_its_own_parameter():
    mu = xr.DataArray([0.0, 50.0], dims="subject")
    paths = pds.simulate(OU, {"mu": mu}, np.array([0.0, 20.0]), random_seed=1)
    np.testing.assert_allclose(paths.states.isel(sample=0, time=1, state=0), [0.0, 50.0], atol=3.0)


def test_a_plain_array_is_seen_whole_by_every_trajectory():
    """Two subjects, two states and an array of two: names decide, not lengths."""
    system = pds.ODE(
        states=("a", "b"),
        drift=lambda x, rates, k: -k * rates * x,
        initial=(1.0, 1.0),
        observation=lambda x: dist.Normal(x, 0.1).to_event(1),
    )
    k = xr.DataArray([1.0, 2.0], dims="subject")
    paths = pds.simulate(system, {"rates": np.array([1.0, 3.0]), "k": k}, np.array([0.0, 1.0]))
    expected = np.exp(-np.outer([1.0, 2.0], [1.0, 3.0]))
    np.testing.assert_allclose(paths.states.isel(sample=0, time=1), expected, rtol=1e-6)
    assert paths.observations.dims == ("sample", "subject", "time", "component")


def test_draws_of_a_posterior_are_batch_dims():
    rng = np.random.default_rng(0)
    mu = xr.DataArray(rng.normal(size=(2, 3, 4)), dims=("chain", "draw", "subject"))
    paths = pds.simulate(OU, {"mu": mu}, TIMES, random_seed=1)
    assert paths.states.dims == ("sample", "chain", "draw", "subject", "time", "state")
    assert paths.states.shape == (1, 2, 3, 4, 4, 1)


def test_dims_that_belong_to_one_trajectory_are_told_apart():
    rates = xr.DataArray([[1.0, 3.0], [2.0, 0.5]], dims=("subject", "state_of_rate"))
    system = pds.ODE(
        states=("a", "b"),
        drift=lambda x, rates: -rates * x,
        initial=(1.0, 1.0),
        observation=lambda x: dist.Normal(x[0], 0.1),
    )
    paths = pds.simulate(system, {"rates": rates}, np.array([0.0, 1.0]), dims="subject")
    np.testing.assert_allclose(
        paths.states.isel(sample=0, time=1), np.exp(-rates.values), rtol=1e-6
    )


def test_ragged_times_give_no_visit_where_there_is_none():
    times = xr.DataArray([[0.0, 1.0, np.nan], [0.5, 2.0, 4.0]], dims=("subject", "visit"))
    for system, params in ((OU, {"mu": 1.0}), (WELL, {})):
        paths = pds.simulate(system, params, times, n=2, random_seed=1)
        gone = np.isnan(np.broadcast_to(times, (2, 2, 3)))
        np.testing.assert_array_equal(np.isnan(paths.observations), gone)
        np.testing.assert_array_equal(np.isnan(paths.states[..., 0]), gone)
        np.testing.assert_array_equal(paths.time, times)
    counts = paths.observations.values[~gone]
    assert np.all(counts % 1 == 0)


# Simulators


def test_the_default_simulator():
    linear = bind_system(OU, {"mu": ()})
    gaps = np.array([0.0, 1.0, 2.0, 6.0])
    assert default_simulator(linear, gaps) == (pds.Exact(), "the dynamics are linear")
    assert default_simulator(bind_system(WELL, {}), gaps)[0] == pds.EulerMaruyama(dt=0.1)
    assert default_simulator(bind_system(DECAY, {"rate": ()}), gaps)[0] == pds.ODESolve()
    assert default_simulator(bind_system(WELL, {}), np.zeros(1))[0] == pds.EulerMaruyama()


def test_simulators_that_do_not_suit():
    with pytest.raises(ValueError, match=r"ODESolve\(\) solves ODEs"):
        check_simulator(pds.ODESolve(), bind_system(OU, {"mu": ()}))
    with pytest.raises(TypeError, match="expected EulerMaruyama"):
        check_simulator(pds.MomentODE(), bind_system(OU, {"mu": ()}))
    with pytest.raises(TypeError, match="got 'euler'"):
        pds.simulate(OU, {"mu": 0.0}, TIMES, simulator="euler")
    with pytest.raises(ValueError, match="needs linear dynamics"):
        pds.simulate(WELL, {}, TIMES, simulator=pds.Exact())


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"n": 0}, ValueError, "n: expected a positive integer, got 0"),
        ({"n": 2.0}, ValueError, "n: expected a positive integer, got 2.0"),
        ({"times": np.zeros((2, 3))}, ValueError, r"times: expected shape \(time\).*, got 2 axes"),
        ({"times": np.array([0.0, 2.0, 1.0])}, ValueError, "index 2 is 1, before 2; sort"),
        ({"t0": 0.5}, ValueError, "t0 is 0.5, after the first observation at 0"),
        ({"t0": np.zeros(2)}, ValueError, "t0: expected a number.*an xr.DataArray"),
        ({"dims": ("group",)}, ValueError, "no parameter or time has 'group'"),
        ({"params": {"nu": 0.0}}, ValueError, "asks for 'mu'"),
    ],
)
def test_arguments_that_do_not_fit(changes, error, message):
    arguments = {"params": {"mu": 0.0}, "times": TIMES, **changes}
    with pytest.raises(error, match=message):
        pds.simulate(OU, arguments.pop("params"), arguments.pop("times"), **arguments)


def test_labels_that_disagree():
    mu = xr.DataArray([0.0, 1.0], dims="subject", coords={"subject": ["a", "b"]})
    three = xr.DataArray(np.zeros((3, 2)), dims=("subject", "visit"))
    with pytest.raises(ValueError, match="length 3 along 'subject', others have 2"):
        pds.simulate(OU, {"mu": mu}, three + np.arange(2.0))
    others = xr.DataArray(
        np.zeros((2, 1)), dims=("subject", "visit"), coords={"subject": ["b", "z"]}
    )
    with pytest.raises(ValueError, match="times: dim 'subject' has 'z'"):
        pds.simulate(OU, {"mu": mu}, others)


def test_linear_dynamics_whose_slope_an_input_changes_in_exact_steps():
    """Local linearization with a step is exact here: products of exponentials."""
    system = pds.ODE(
        states=("a",),
        drift=lambda a, u: -u * a,
        initial=1.0,
        observation=lambda a: dist.Normal(a, 0.1),
    )
    u = np.array([1.0, 0.5, 2.0])
    found = pds.simulate(
        system,
        {},
        np.array([0.0, 1.0, 3.0]),
        inputs={"u": u},
        simulator=pds.LocalLinearization(dt=0.25),
        random_seed=1,
    )
    expected = [1.0, np.exp(-1.0), np.exp(-2.0)]
    np.testing.assert_allclose(found.states[0, :, 0], expected, rtol=1e-12)


def test_labelled_values_align_whatever_their_order():
    """The same seed gives the same paths; a subject keeps its own mean, times and start."""
    coords = {"subject": ["a", "b", "c"]}
    mu = xr.DataArray([0.0, 30.0, -30.0], coords)
    times = xr.DataArray(np.arange(6.0).reshape(3, 2), dims=("subject", "visit"), coords=coords)
    start = xr.DataArray([0.0, 1.0, 3.5], coords)
    plain = pds.simulate(OU, {"mu": mu}, times, t0=start, random_seed=1)
    shuffled = pds.simulate(OU, {"mu": mu}, times[[2, 0, 1]], t0=start[::-1], random_seed=1)
    xr.testing.assert_equal(plain, shuffled)
    np.testing.assert_array_equal(shuffled["time"], times)
