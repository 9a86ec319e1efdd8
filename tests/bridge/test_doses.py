"""Doses against closed forms: one compartment, boluses and infusions, ragged subjects."""

import warnings

import numpy as np
import pymc as pm
import pytest
import scipy.stats as st
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

KE, V, S_OBS = 0.3, 2.0, 0.5
POINT = {"ke_log__": np.log(KE), "V_log__": np.log(V)}

# (time, amount, duration) of doses, and visit times. The first subject has an infusion that
# spans a visit, two boluses at one instant, and a visit at the instant of a dose.
SUBJECTS = [
    ([(0.0, 10.0, 0.0), (3.3, 5.0, 2.5), (4.0, 3.0, 0.0), (4.0, 3.0, 0.0)], [0.5, 1, 3.3, 4, 5, 9]),
    ([(1.0, 7.0, 0.0), (40.0, 9.0, 0.0)], [1.0, 2.0, 30.0]),
    ([], [2.0, 4.0]),
]


def amount_in_body(t, doses):
    """Superposition of one-compartment solutions; a datum at a dose is taken before it."""
    x = np.zeros_like(t)
    for start, amount, duration in doses:
        since = np.maximum(t - start, 0)
        if duration == 0:
            x += np.where(t > start, amount * np.exp(-KE * since), 0)
        else:
            running = np.minimum(since, duration)
            x += (
                amount
                / duration
                / KE
                * (1 - np.exp(-KE * running))
                * np.exp(-KE * (since - running))
            )
    return x


def pad(rows, width):
    return np.array([list(row) + [np.nan] * (width - len(row)) for row in rows])


TIMES = pad([visits for _, visits in SUBJECTS], 6)
EVENTS = xr.Dataset(
    {
        name: (("subject", "event"), pad([[d[i] for d in doses] for doses, _ in SUBJECTS], 4))
        for i, name in enumerate(("event_time", "event_amount", "event_duration"))
    }
)
Y = np.where(np.isnan(TIMES), np.nan, 3 + np.random.default_rng(0).normal(size=TIMES.shape))


def one_compartment(sigma, **changes):
    parts = {
        "states": ("amount",),
        "drift": lambda amount, ke: -ke * amount,
        "initial": dist.Delta(0.0),
        "observation": lambda amount, V: dist.Normal(amount / V, S_OBS),
        "events": "amount",
    }
    parts.update(changes)
    return pds.ODE(**parts) if sigma is None else pds.SDE(diffusion=sigma, **parts)


def model_of(system, likelihood, events=EVENTS, params=(), **options):
    with pm.Model(coords={"subject": ["a", "b", "c"], "visit": np.arange(6)}) as model:
        ke = pm.LogNormal("ke", 0, 1)
        volume = pm.LogNormal("V", 0, 1)
        pds.Trajectory(
            "y",
            system,
            params={"ke": ke, "V": volume, **dict(params)},
            events=events,
            times=TIMES,
            t0=0.0,
            observed=Y,
            dims=("subject", "visit"),
            likelihood=likelihood,
            **options,
        )
    return model


def subject_logps(model):
    return model.compile_logp(vars=[model["y"]], sum=False)(POINT)[0]


def exact(sigma, scale=1.0):
    """Dense Gaussian log-likelihood of each subject."""
    totals = []
    for doses, visits in SUBJECTS:
        t = np.array(visits, float)
        scaled = [(start, scale * amount, duration) for start, amount, duration in doses]
        lag, total = np.abs(t[:, None] - t), t[:, None] + t
        cov = sigma**2 / (2 * KE) * (np.exp(-KE * lag) - np.exp(-KE * total)) / V**2
        cov += S_OBS**2 * np.eye(len(t))
        mean = amount_in_body(t, scaled) / V
        y = Y[len(totals), : len(t)]
        totals.append(st.multivariate_normal.logpdf(y, mean, cov))
    return np.array(totals)


@pytest.mark.parametrize(
    ("sigma", "likelihood", "tolerance"),
    [
        (None, pds.ODESolve(rtol=1e-10, atol=1e-10), 1e-8),
        (None, pds.Kalman(), 1e-10),
        (0.0, pds.EnKF(10, pds.Exact()), 1e-10),
        (0.4, pds.Kalman(), 1e-10),
        (0.4, pds.EKF(), 1e-10),
        pytest.param(
            0.4,
            pds.EKF(pds.MomentODE(rtol=1e-11, atol=1e-12)),
            1e-8,
            marks=pytest.mark.slow,
        ),
        pytest.param(0.0, pds.Kalman(), 1e-10, marks=pytest.mark.slow),
    ],
    ids=repr,
)
def test_boluses_and_infusions_equal_superposition(sigma, likelihood, tolerance):
    model = model_of(one_compartment(sigma), likelihood)
    np.testing.assert_allclose(subject_logps(model), exact(sigma or 0.0), rtol=tolerance)


def test_ensemble_approaches_the_exact_likelihood():
    wrong = [
        np.abs(
            subject_logps(model_of(one_compartment(0.4), pds.EnKF(size, pds.Exact()))) - exact(0.4)
        ).max()
        for size in (50, 5000)
    ]
    assert wrong[1] < 0.2 * wrong[0]
    assert wrong[1] < 0.05


def test_gradient_equals_finite_differences():
    model = model_of(one_compartment(0.4), pds.Kalman())
    both = model.compile_fn([model.logp(), model.dlogp()])
    names = [v.name for v in model.value_vars]
    slopes = []
    for name in names:
        at = [both({**POINT, name: POINT[name] + h})[0] for h in (-2e-3, -1e-3, 1e-3, 2e-3)]
        slopes.append((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / 12e-3)
    np.testing.assert_allclose(both(POINT)[1], slopes, rtol=1e-7)


@pytest.mark.parametrize("bioavailability", ["F", 0.8, lambda F: F])
def test_bioavailability_scales_boluses_and_infusions(bioavailability):
    needs_parameter = bioavailability != 0.8
    system = one_compartment(0.4, events=pds.Dose("amount", bioavailability=bioavailability))
    model = model_of(system, pds.Kalman(), params={"F": 0.8} if needs_parameter else {})
    np.testing.assert_allclose(subject_logps(model), exact(0.4, scale=0.8), rtol=1e-10)


def test_jump_function_replaces_the_addition():
    boluses = EVENTS.copy()
    boluses["event_duration"] = xr.zeros_like(EVENTS["event_duration"])
    by_default = model_of(one_compartment(0.4), pds.Kalman(), boluses)
    by_function = model_of(
        one_compartment(
            0.4,
            events=lambda amount_, amount: amount_ + amount,
            states=("amount_",),
            drift=lambda amount_, ke: -ke * amount_,
            observation=lambda amount_, V: dist.Normal(amount_ / V, S_OBS),
        ),
        pds.Kalman(),
        boluses,
    )
    np.testing.assert_allclose(subject_logps(by_function), subject_logps(by_default), rtol=1e-12)


def test_jump_that_is_not_affine_is_refused_by_kalman():
    system = one_compartment(
        0.4,
        states=("a",),
        drift=lambda a, ke: -ke * a,
        observation=lambda a, V: dist.Normal(a / V, S_OBS),
        events=lambda a, amount: a * a + amount,
    )
    boluses = EVENTS.drop_vars("event_duration")
    with pytest.raises(ValueError, match="jump of events is not affine"):
        model_of(system, pds.Kalman(), boluses)


def test_simulated_mean_and_variance_are_exact():
    paths = pds.simulate(
        one_compartment(0.4),
        {"ke": KE, "V": V},
        xr.DataArray(TIMES, dims=("subject", "visit")),
        events=EVENTS,
        t0=0.0,
        n=4000,
        random_seed=3,
    )
    states = paths.states.isel(state=0)
    for i, (doses, visits) in enumerate(SUBJECTS):
        t = np.array(visits, float)
        variance = 0.4**2 / (2 * KE) * (1 - np.exp(-2 * KE * t))
        error = states[:, i, : len(t)].mean("sample") - amount_in_body(t, doses)
        assert np.all(np.abs(error) < 4.5 * np.sqrt(variance / 4000))
        spread = states[:, i, : len(t)].var("sample")
        np.testing.assert_allclose(spread, variance, rtol=4.5 * np.sqrt(2 / 4000))
    assert np.isnan(states[:, 2, 2:]).all()


def test_euler_simulation_honours_infusions():
    paths = pds.simulate(
        one_compartment(0.0),
        {"ke": KE, "V": V},
        xr.DataArray(TIMES, dims=("subject", "visit")),
        events=EVENTS,
        t0=0.0,
        simulator=pds.EulerMaruyama(dt=1e-3),
        random_seed=3,
    )
    doses, visits = SUBJECTS[0]
    found = paths.states[0, 0, : len(visits), 0]
    np.testing.assert_allclose(found, amount_in_body(np.array(visits, float), doses), rtol=2e-3)


def test_default_start_is_the_first_record():
    early = EVENTS.isel(subject=[1, 1, 1]).assign(
        event_time=(("subject", "event"), np.tile([0.5, np.nan, np.nan, np.nan], (3, 1)))
    )
    with_default = pds.simulate(
        one_compartment(0.0),
        {"ke": KE, "V": V},
        xr.DataArray(TIMES, dims=("subject", "visit")),
        events=early,
        random_seed=1,
    )
    # Subject b: first visit at 1, dose of 7 at 0.5.
    np.testing.assert_allclose(
        with_default.states[0, 1, :3, 0], 7 * np.exp(-KE * (np.array([1.0, 2, 30]) - 0.5))
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"event_time": EVENTS["event_time"] - 1}, "before t0 = 0"),
        ({"event_amount": (("subject", "event"), np.full((3, 4), np.nan))}, "amount of the event"),
        ({"event_state": (("subject", "event"), np.full((3, 4), 1.0))}, None),
        (
            {"event_rate": (("subject", "event"), np.full((3, 4), -2.0))},
            "rate .* is -2, expected 0",
        ),
        (
            {"event_rate": (("subject", "event"), np.full((3, 4), 3.0))},
            "rate .* is 3, expected the",
        ),
        ({"event_duration": EVENTS["event_duration"] - 1}, "duration .* is -1, expected 0"),
    ],
)
def test_bad_event_tables(change, message):
    events = EVENTS.assign(change)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        if message is None:
            model = model_of(one_compartment(0.4), pds.Kalman(), events)
            np.testing.assert_allclose(subject_logps(model), exact(0.4), rtol=1e-10)
        else:
            with pytest.raises(ValueError, match=message) as caught:
                model_of(one_compartment(0.4), pds.Kalman(), events)
            assert "subject='a'" in str(caught.value)


def test_a_system_of_several_states_must_say_where_doses_go():
    system = pds.SDE(
        states=("depot", "central"),
        drift=lambda depot, central, ke: (-depot, depot - ke * central),
        diffusion=0.1,
        initial=dist.Delta(np.zeros(2)),
        observation=lambda central, V: dist.Normal(central / V, S_OBS),
    )
    with pytest.raises(ValueError, match="which of the states"):
        model_of(system, pds.Kalman())
    numbered = EVENTS.assign(event_state=(("subject", "event"), np.full((3, 4), 1.0)))
    named = EVENTS.assign(event_state=(("subject", "event"), np.full((3, 4), "depot")))
    np.testing.assert_array_equal(
        subject_logps(model_of(system, pds.Kalman(), numbered)),
        subject_logps(model_of(system, pds.Kalman(), named)),
    )
    wrong = EVENTS.assign(event_state=(("subject", "event"), np.full((3, 4), "gut")))
    with pytest.raises(ValueError, match="'gut'"):
        model_of(system, pds.Kalman(), wrong)
    with pytest.raises(ValueError, match="'gut' is not a state"):
        one_compartment(0.1, events="gut")


def test_table_and_system_may_not_disagree_about_the_state():
    options = {
        "states": ("depot", "central"),
        "drift": lambda depot, central, ke: (-depot, depot - ke * central),
        "initial": dist.Delta(np.zeros(2)),
        "observation": lambda central, V: dist.Normal(central / V, S_OBS),
    }
    second = EVENTS.assign(event_state=(("subject", "event"), np.full((3, 4), 2.0)))
    message = "event at time 0 for subject='a' enters 'central', but the system says 'depot'"
    with pytest.raises(ValueError, match=message):
        model_of(one_compartment(0.4, **{**options, "events": "depot"}), pds.Kalman(), second)
    mixed = second.assign(event_state=second["event_state"].where(EVENTS["event_time"] > 0, 1.0))
    jump = {**options, "events": lambda depot, central, amount: (depot + amount, central)}
    with pytest.raises(ValueError, match="names several states, but the jump function"):
        model_of(one_compartment(0.4, **jump), pds.Kalman(), mixed)
    lagged = EVENTS.assign(event_lag=EVENTS["event_duration"])
    with pytest.raises(ValueError, match="'event_lag' is not known, expected event_time"):
        model_of(one_compartment(0.4), pds.Kalman(), lagged)
