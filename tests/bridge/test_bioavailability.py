"""A fraction of a dose that arrives: at a given rate it lasts shorter, else its rate is lower.

The referee is superposition of doses in closed form, with a dense normal for the noise of the
dynamics.
"""

import numpy as np
import pymc as pm
import pytest
import scipy.stats as st
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

KE, V, S_OBS, SIGMA = 0.3, 2.0, 0.5, 0.4
NAN = np.nan
SUBJECTS = ["a", "b"]
TIMES = np.array([[0.5, 2.0, 4.0, 7.0, 9.0, 20.0], [1.0, 3.0, 6.0, 8.0, NAN, NAN]])
Y = np.array([[3.0, 8.0, 9.0, 7.0, 6.0, 0.5], [2.0, 9.0, 8.0, 3.0, NAN, NAN]])
F = np.array([0.55, 0.83])
# Times, amounts, rates and durations: two infusions that overlap and a bolus; one infusion.
DOSES = [
    [(0.0, 60.0, 20.0, 0.0), (3.0, 40.0, 0.0, 4.0), (1.0, 5.0, 0.0, 0.0)],
    [(0.5, 80.0, 16.0, 0.0), (NAN, NAN, NAN, NAN), (NAN, NAN, NAN, NAN)],
]
EVENTS = xr.Dataset(
    {
        f"event_{part}": (("subject", "event"), np.array(DOSES)[..., i])
        for i, part in enumerate(("time", "amount", "rate", "duration"))
    }
)


def amount_in_body(t, doses, fraction):
    """Superposition, where rates are kept and durations are kept, as each dose says."""
    x = np.zeros_like(t)
    for start, amount, rate, duration in doses:
        if np.isnan(start):
            continue
        since = np.maximum(t - start, 0.0)
        if rate == duration == 0:
            x += np.where(t > start, fraction * amount * np.exp(-KE * since), 0.0)
            continue
        rate = rate or fraction * amount / duration
        running = np.minimum(since, fraction * amount / rate)
        x += rate / KE * (1 - np.exp(-KE * running)) * np.exp(-KE * (since - running))
    return x


def exact(fractions, sigma):
    totals = []
    for doses, times, y, fraction in zip(DOSES, TIMES, Y, fractions, strict=True):
        t, y = times[np.isfinite(times)], y[np.isfinite(times)]
        since = t - doses[0][0]
        lag, total = np.abs(since[:, None] - since), since[:, None] + since
        cov = sigma**2 / (2 * KE) * (np.exp(-KE * lag) - np.exp(-KE * total)) / V**2
        mean = amount_in_body(t, doses, fraction) / V
        totals.append(st.multivariate_normal.logpdf(y, mean, cov + S_OBS**2 * np.eye(len(t))))
    return np.array(totals)


def slopes(sigma):
    steps = 1e-4 * np.eye(2)
    at = [[exact(F + k * step, sigma).sum() for step in steps] for k in (-2, -1, 1, 2)]
    return (at[0] - 8 * np.array(at[1]) + 8 * np.array(at[2]) - at[3]) / 12e-4


def system(sigma, bioavailability="F"):
    parts = {
        "states": ("x",),
        "drift": lambda x, ke: -ke * x,
        "initial": (0.0,),
        "observation": lambda x: dist.Normal(x / V, S_OBS),
        "events": pds.Dose("x", bioavailability=bioavailability),
    }
    return pds.ODE(**parts) if sigma == 0 else pds.SDE(diffusion=sigma, **parts)


def model_of(dynamics, likelihood, params=None, events=EVENTS, inputs=None):
    """A model whose fraction is a variable by subject, unless other parameters are given."""
    with pm.Model(coords={"subject": SUBJECTS, "visit": np.arange(6)}) as model:
        ke = pm.Flat("ke", initval=KE)
        if params is None:
            params = {"F": pm.Flat("F", dims="subject", initval=np.full(2, 0.7))}
        pds.Trajectory(
            "y",
            dynamics,
            params={"ke": ke, **params},
            events=events,
            inputs=inputs,
            times=TIMES,
            observed=Y,
            dims=("subject", "visit"),
            likelihood=likelihood,
        )
    return model


def logps(model, point):
    return model.compile_logp(model["y"], sum=False)(point)[0]


@pytest.mark.parametrize(
    ("sigma", "likelihood", "tolerance"),
    [
        (SIGMA, pds.Kalman(), 1e-10),
        pytest.param(SIGMA, pds.EKF(), 1e-10, marks=pytest.mark.slow),
        # The error of a solution adds up over the steps: some times the tolerance of one.
        (0.0, pds.ODESolve(rtol=1e-10, atol=1e-10), 1e-8),
    ],
    ids=repr,
)
def test_a_fraction_that_is_a_variable_moves_the_end_of_an_infusion(sigma, likelihood, tolerance):
    model = model_of(system(sigma), likelihood)
    point = {"F": F, "ke": np.array(KE)}
    (term,) = model.logp(vars=[model["y"]], sum=False)
    value, slope = model.compile_fn([term, model.dlogp([model["F"]])])(point)
    np.testing.assert_allclose(value, exact(F, sigma), rtol=tolerance)
    np.testing.assert_allclose(slope, slopes(sigma), rtol=1e-6)


@pytest.mark.parametrize("given", ["constant", "number", "function"])
def test_a_fraction_that_is_known(given):
    """What is known when the model is built needs no moving rows."""
    fractions = F if given == "constant" else np.full(2, 0.55)
    kinds = {"constant": "F", "number": 0.55, "function": lambda G: G / 2}
    params = {
        "constant": {"F": xr.DataArray(F, dims="subject", coords={"subject": SUBJECTS})},
        "number": {},
        "function": {"G": 1.1},
    }
    model = model_of(system(SIGMA, kinds[given]), pds.Kalman(), params[given])
    found = logps(model, {"ke": np.array(KE)})
    np.testing.assert_allclose(found, exact(fractions, SIGMA), rtol=1e-10)
    assert not model["y"].owner.op.spec.program.design.moving


def test_data_may_change_the_fraction():
    with pm.Model(coords={"subject": SUBJECTS, "visit": np.arange(6)}) as model:
        fraction = pm.Data("F", np.array([0.7, 0.7]), dims="subject")
        pds.Trajectory(
            "y",
            system(0.0),
            params={"ke": KE, "F": fraction},
            events=EVENTS,
            times=TIMES,
            observed=Y,
            dims=("subject", "visit"),
            likelihood=pds.Kalman(),
        )
        pm.set_data({"F": F})
    np.testing.assert_allclose(logps(model, {}), exact(F, 0.0), rtol=1e-10)


def test_states_forecasts_and_paths_know_the_end_too():
    model = model_of(system(0.0), pds.Kalman())
    draws = posterior({"F": (("subject",), F), "ke": KE}, 1, subject=SUBJECTS)
    expected = [amount_in_body(TIMES[i], DOSES[i], F[i])[np.isfinite(TIMES[i])] for i in range(2)]
    states = pds.sample_states(draws, model=model, moments=True).posterior["mean"].values[0, 0]
    paths = pds.simulate(
        system(0.0),
        {"ke": KE, "F": xr.DataArray(F, dims="subject")},
        xr.DataArray(TIMES, dims=("subject", "visit")),
        events=EVENTS,
        random_seed=1,
    )
    for i, x in enumerate(expected):
        np.testing.assert_allclose(states[i, : len(x), 0], x, rtol=1e-9)
        np.testing.assert_allclose(paths["states"].values[0, i, : len(x), 0], x, rtol=1e-6)
    more = EVENTS.assign(
        event_time=(("subject", "event"), [[21.0, NAN, NAN], [9.0, NAN, NAN]]),
        event_amount=(("subject", "event"), [[60.0, NAN, NAN], [80.0, NAN, NAN]]),
    )
    ahead = np.array([22.0, 23.5, 26.0])
    future = pds.forecast(draws, model=model, times=ahead, events=more, random_seed=1)
    for i, start in enumerate((21.0, 9.0)):
        later = [*DOSES[i], (start, *DOSES[i][0][1:])]
        x = amount_in_body(ahead, later, F[i])
        found = future.predictions["states"].values[0, 0, i, :, 0]
        np.testing.assert_allclose(found, x, rtol=1e-6)


def test_what_does_not_go_together():
    both = EVENTS.assign(
        event_duration=EVENTS["event_amount"] / EVENTS["event_rate"].where(EVENTS["event_rate"] > 0)
    ).fillna({"event_duration": 0.0})
    message = "event at time 0 for subject='a' has a rate and a duration, but with"
    with pytest.raises(ValueError, match=message):
        model_of(system(SIGMA), pds.Kalman(), events=both)
    with pytest.raises(
        ValueError, match=r"MomentODE.* has no slope in the times .* choose EKF\(\)"
    ):
        model_of(system(SIGMA), pds.EKF(pds.MomentODE()))
    with pytest.raises(ValueError, match="depends on the input 'form', and so would the duration"):
        model_of(system(SIGMA, lambda form, F: form * F), pds.Kalman(), inputs={"form": np.ones(6)})
