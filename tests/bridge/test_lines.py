"""Inputs that are straight lines: followed, whatever visits lie between their knots.

Referees: the matrix exponential with a column for the input and one for its slope, a scalar filter
in NumPy, loops over steps.
"""

import logging

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist
from scipy.linalg import expm

import pymc_dynsys as pds
from tests.dense import van_loan

NAN = np.nan
SUBJECTS = list("abc")
RATE, DIFFUSION, NOISE = 1.5, 0.3, 0.5

# The same two data; the second and third subject have empty visits between them.
TIMES = np.array([[0.0, 4.0, NAN, NAN, NAN], [0.0, 1.0, 4.0, NAN, NAN], [0.0, 0.3, 1.0, 2.2, 4.0]])
Y = np.full(TIMES.shape, NAN)
Y[:, 0] = 0.2
Y[[0, 1, 2], [1, 2, 4]] = 5.5

LINE = xr.DataArray([0.0, 10.0], dims="knot", coords={"time": ("knot", [0.0, 4.0])})
AT_VISITS = xr.DataArray(2.5 * TIMES, dims=("subject", "visit"))

SDE = pds.SDE(
    states=("a",),
    drift=lambda a, u, k: -k * a + u,
    diffusion=DIFFUSION,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda a: dist.Normal(a, NOISE),
)
ODE = pds.ODE(
    states=("a",),
    drift=lambda a, u, k: -k * a + u,
    initial=0.0,
    observation=lambda a: dist.Normal(a, NOISE),
)
BENT = pds.SDE(
    states=("a",),
    drift=lambda a, u, k: -k * a + u * u / 10,
    diffusion=DIFFUSION,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda a: dist.Normal(a, NOISE),
)


def ragged(system, u=LINE, likelihood=None):
    with pm.Model(coords={"subject": SUBJECTS, "visit": range(5)}) as model:
        pds.Trajectory(
            "y",
            system,
            params={"k": pm.LogNormal("k", 0.0, 1.0)},
            inputs={"u": pds.Input(u, "linear")},
            times=xr.DataArray(TIMES, dims=("subject", "visit")),
            observed=Y,
            dims=("subject", "visit"),
            likelihood=likelihood,
        )
    return model


def logps(model):
    return model.compile_logp(vars=[model["y"]], sum=False)({"k_log__": np.log(RATE)})[0]


def term(v, s):
    return -0.5 * (np.log(2 * np.pi * s) + v * v / s)


def response(until=4.0):
    """State that began at zero, by the exponential of slope, input and slope of the input."""
    M = np.array([[-RATE, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]])
    return (expm(M * until) @ [0.0, 0.0, 2.5])[0]


def exact_sde():
    """The two data of each subject, filtered."""
    F, _, Q = (M[0, 0] for M in van_loan(np.array([[-RATE]]), np.array([[DIFFUSION**2]]), 4.0))
    m, P, S = 0.2 / (1 + NOISE**2), NOISE**2 / (1 + NOISE**2), 1 + NOISE**2
    return term(0.2, S) + term(5.5 - F * m - response(), F * F * P + Q + NOISE**2)


def exact_ode():
    return term(0.2, NOISE**2) + term(5.5 - response(), NOISE**2)


@pytest.mark.parametrize(
    ("system", "likelihood", "expected", "tolerance"),
    [
        (SDE, None, exact_sde, 1e-12),
        (SDE, pds.EKF(), exact_sde, 1e-12),
        pytest.param(
            SDE, pds.EKF(pds.MomentODE(1e-10, 1e-12)), exact_sde, 1e-8, marks=pytest.mark.slow
        ),
        (ODE, None, exact_ode, 1e-6),
        (ODE, pds.Kalman(), exact_ode, 1e-12),
    ],
)
def test_a_visit_without_a_datum_changes_nothing(system, likelihood, expected, tolerance):
    found = logps(ragged(system, likelihood=likelihood))
    np.testing.assert_allclose(found, np.full(3, expected()), rtol=tolerance)


def test_a_line_over_the_visits_is_the_line_between_its_ends():
    np.testing.assert_allclose(logps(ragged(SDE, AT_VISITS)), np.full(3, exact_sde()), rtol=1e-12)


def test_euler_steps_hold_means_and_say_so(caplog):
    with caplog.at_level(logging.INFO, logger="pymc_dynsys"):
        model = ragged(SDE, likelihood=pds.Kalman(pds.EulerMaruyama(dt=0.1)))
    assert "of input 'u'" in caplog.text and "takes the mean over each step" in caplog.text
    F, h = 1 - RATE * 0.1, 0.1
    m, P = 0.2 / (1 + NOISE**2), NOISE**2 / (1 + NOISE**2)
    for i in range(40):
        m, P = F * m + h * 2.5 * (i + 0.5) * h, F * F * P + DIFFUSION**2 * h
    expected = term(0.2, 1 + NOISE**2) + term(5.5 - m, P + NOISE**2)
    np.testing.assert_allclose(logps(model), np.full(3, expected), rtol=1e-12)
    (said,) = [s for s in pds.check_likelihood(model)["check"].attrs["advice"] if "'u'" in s]
    assert "mean over each step" in said


def test_nothing_is_said_where_the_line_is_followed(caplog):
    with caplog.at_level(logging.INFO, logger="pymc_dynsys"):
        model = ragged(SDE)
    assert "mean" not in caplog.text
    advice = pds.check_likelihood(model)["check"].attrs["advice"]
    assert advice == ["Kalman(discretization=Exact()) is exact: there is nothing to choose"]


def test_a_line_that_bends_the_path_is_no_linear_system(caplog):
    with pytest.raises(ValueError, match=r"drift is not affine in 'u', a line .*Use EKF\(\)"):
        ragged(BENT, likelihood=pds.Kalman())
    with caplog.at_level(logging.INFO, logger="pymc_dynsys"):
        model = ragged(BENT)
    assert "approximation" in caplog.text and "takes the mean over each step" in caplog.text
    steps = np.linspace(0, 4, 400_001)
    path = np.exp(-RATE * (4.0 - steps)) * (2.5 * steps) ** 2 / 10
    area = ((path[1:] + path[:-1]) / 2 * np.diff(steps)).sum()
    F, _, Q = (M[0, 0] for M in van_loan(np.array([[-RATE]]), np.array([[DIFFUSION**2]]), 4.0))
    m, P, S = 0.2 / (1 + NOISE**2), NOISE**2 / (1 + NOISE**2), 1 + NOISE**2
    expected = term(0.2, S) + term(5.5 - F * m - area, F * F * P + Q + NOISE**2)
    followed = ragged(BENT, likelihood=pds.EKF(pds.MomentODE(1e-10, 1e-12)))
    np.testing.assert_allclose(logps(followed), np.full(3, expected), rtol=1e-8)
    # One step a gap: near where gaps are short, and the check says how far.
    assert abs(logps(model)[0] - expected) > 0.1


@pytest.mark.parametrize(
    ("drift", "diffusion", "reason"),
    [
        (lambda a, u, k: -k * u * a, 1.0, "the slope of drift or diffusion depends on 'u'"),
        (lambda a, u, k: -k * a, lambda u: u, "the slope of drift or diffusion depends on 'u'"),
    ],
)
def test_a_line_in_the_slope_or_the_noise_is_no_linear_system(drift, diffusion, reason):
    system = pds.SDE(drift, diffusion, SDE.observation, SDE.initial, ("a",))
    with pytest.raises(ValueError, match=reason):
        ragged(system, likelihood=pds.Kalman())


def test_two_lines_that_multiply_are_no_line():
    system = pds.SDE(lambda a, u, v, k: u * v - k * a, 1.0, SDE.observation, SDE.initial, ("a",))
    inputs = {name: pds.Input(LINE, "linear") for name in "uv"}
    with pytest.raises(ValueError, match="drift is not affine in 'u' and 'v'"), pm.Model():
        pds.Trajectory(
            "y",
            system,
            params={"k": 1.0},
            inputs=inputs,
            times=[0.0, 4.0],
            observed=[0.1, 0.2],
            likelihood=pds.Kalman(),
        )


# Two states, so that the ramp is a matrix; times that differ, a dose at a knot, a line that jumps.
A = np.array([[-0.8, 0.0], [0.8, -0.3]])
KNOTS, VALUES = np.array([0.0, 1.0, 1.0, 3.0]), np.array([1.0, 4.0, 0.0, -2.0])
CHAIN = pds.ODE(
    states=("gut", "blood"),
    drift=lambda gut, blood, u, v: (v * u - 0.8 * gut, 0.8 * gut - 0.3 * blood),
    initial=(0.5, 0.0),
    observation=lambda blood: dist.Normal(blood, 0.1),
    events="gut",
)
EVENTS = xr.Dataset({"event_time": ("event", [1.0]), "event_amount": ("event", [2.0])})
AT = np.array([0.0, 0.7, 2.0, 3.0])


def chain(v):
    """States at the visits, piece by piece."""

    def cross(x, u, slope, h):
        M = np.zeros((4, 4))
        M[:2, :2], M[0, 2], M[2, 3] = A, v, 1.0
        return (expm(M * h) @ [*x, u, slope])[:2]

    first = cross([0.5, 0.0], 1.0, 3.0, 0.7)
    dosed = cross(first, 1.0 + 3.0 * 0.7, 3.0, 0.3) + np.array([2.0, 0.0])
    second = cross(dosed, 0.0, -1.0, 1.0)
    return np.array([[0.5, 0.0], first, second, cross(second, -1.0, -1.0, 1.0)])


# By default a solver, whose tolerance is 1e-8 a step; the others are closed forms.
@pytest.mark.parametrize(
    ("simulator", "tolerance"),
    [(None, 1e-6), (pds.Exact(), 1e-12), (pds.LocalLinearization(dt=0.25), 1e-12)],
)
def test_paths_follow_lines_that_jump_beside_doses(simulator, tolerance):
    line = xr.DataArray(VALUES, dims="knot", coords={"time": ("knot", KNOTS)})
    found = pds.simulate(
        CHAIN,
        {"v": 0.7},
        AT,
        inputs={"u": pds.Input(line, "linear")},
        events=EVENTS,
        simulator=simulator,
        random_seed=1,
    )
    np.testing.assert_allclose(found.states[0], chain(0.7), rtol=tolerance)


@pytest.fixture(scope="module")
def varied():
    """A line whose values are parameters, over the visits."""
    with pm.Model(coords={"time": AT}) as model:
        u = pm.Normal("u", 0.0, 1.0, dims="time")
        pds.Trajectory(
            "y",
            CHAIN,
            params={"v": pm.LogNormal("v", 0.0, 1.0)},
            inputs={"u": pds.Input(u, "linear")},
            events=EVENTS,
            observed=[0.1, 0.4, 0.9, 1.1],
            dims="time",
            likelihood=pds.Kalman(),
        )
    return model


def test_gradients_reach_the_values_of_a_line(varied):
    point = {"u": np.array([1.0, 2.0, 0.5, -1.0]), "v_log__": np.array(-0.2)}
    both = varied.compile_fn([varied.logp(vars=[varied["y"]]), varied.dlogp()])

    def shifted(name, step):
        moved = {**point, name: point[name] + step}
        return both(moved)[0]

    prior = np.concatenate([-point["u"], [-point["v_log__"]]])
    found = both(point)[1] - prior
    steps = [("u", e) for e in np.eye(4) * 1e-4] + [("v_log__", 1e-4)]
    expected = [(shifted(n, s) - shifted(n, -s)) / 2e-4 for n, s in steps]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_the_future_of_a_line_of_parameters_is_not_known(varied):
    with varied:
        prior = pm.sample_prior_predictive(1, random_seed=1)
    with pytest.raises(ValueError, match=r"'u' is a PyMC variable .*'linear'.*not known after"):
        pds.forecast(prior, model=varied, group="prior", times=[4.0], progressbar=False)


def test_in_discrete_time_each_step_sees_the_mean_of_the_line_over_it():
    system = pds.DiscreteTime(
        states=("a",),
        transition=lambda a, u: dist.Normal(0.6 * a + u * u, 0.4),
        observation=lambda a: dist.Normal(a, NOISE),
        initial=dist.Normal(0.0, 1.0),
    )
    line = xr.DataArray([0.0, 2.0], dims="knot", coords={"time": ("knot", [0.0, 4.0])})
    times = np.array([[0.0, 4.0, NAN], [0.0, 3.0, 4.0]])
    y = np.array([[0.2, 1.5, NAN], [0.2, NAN, 1.5]])
    with pm.Model(coords={"subject": ["a", "b"], "visit": range(3)}) as model:
        pds.Trajectory(
            "y",
            system,
            inputs={"u": pds.Input(line, "linear")},
            times=xr.DataArray(times, dims=("subject", "visit")),
            observed=y,
            dims=("subject", "visit"),
        )
    m, P = 0.2 / (1 + NOISE**2), NOISE**2 / (1 + NOISE**2)
    for k in range(4):
        m, P = 0.6 * m + (0.5 * (k + 0.5)) ** 2, 0.36 * P + 0.16
    expected = term(0.2, 1 + NOISE**2) + term(1.5 - m, P + NOISE**2)
    found = model.compile_logp(vars=[model["y"]], sum=False)({})[0]
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-12)


@pytest.fixture(scope="module")
def drawn():
    model = ragged(SDE)
    with model:
        return model, pm.sample_prior_predictive(2, random_seed=1)


def test_a_forecast_goes_on_along_the_line(drawn):
    """Draws of the mean: the future without noise is that of the referee, given the last state."""
    model, prior = drawn
    ahead = xr.DataArray([10.0, 4.0], dims="knot", coords={"time": ("knot", [4.0, 6.0])})
    futures = [
        pds.forecast(
            prior,
            model=model,
            group="prior",
            times=[4.0, *between, 6.0],
            inputs=given,
            random_seed=3,
            progressbar=False,
        )
        for between in ([], [5.0])
        for given in ({"u": ahead}, {"u": pds.Input(ahead, "linear")})
    ]
    for future in futures[:2]:
        x = future.predictions["states"].isel(state=0)
        assert np.isfinite(x).all()
    np.testing.assert_array_equal(
        futures[0].predictions["states"], futures[1].predictions["states"]
    )
    k = prior.prior["k"].values[0]
    step = futures[0].predictions["states"].isel(state=0, chain=0).values
    shift = step[:, :, 1] - np.exp(-2 * k)[:, None] * step[:, :, 0]
    M = [np.array([[-rate, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]) for rate in k]
    mean = np.array([(expm(2 * m) @ [0.0, 10.0, -3.0])[0] for m in M])
    sd = DIFFUSION * np.sqrt((1 - np.exp(-4 * k)) / (2 * k))
    assert (np.abs(shift - mean[:, None]) < 4.5 * sd[:, None]).all()


def test_a_forecast_does_not_change_how_an_input_is_read(drawn):
    model, prior = drawn
    ahead = xr.DataArray([1.0], dims="knot", coords={"time": ("knot", [5.0])})
    with pytest.raises(ValueError, match=r"'u' goes on .*'linear'; got 'previous'"):
        pds.forecast(prior, model=model, group="prior", times=[5.0], inputs={"u": pds.Input(ahead)})
