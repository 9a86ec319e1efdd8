"""Forecasts: closed forms, coverage of simulated futures, other doses and inputs, new subjects."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

NAN = np.nan
THETA, SIGMA, NOISE = 0.7, 0.5, 0.2
OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu: -THETA * (level - mu),
    diffusion=SIGMA,
    initial=dist.Normal(0.5, 1.0),
    observation=lambda level: dist.Normal(level, NOISE),
)
SUBJECTS = ["a", "b"]
TIMES = np.array([[0.0, 1.0, 2.5], [0.5, 1.5, NAN]])
Y = np.array([[0.3, 0.7, NAN], [0.1, 0.9, NAN]])  # last data at 1 and 1.5
MU = np.array([2.0, -1.0])


@pytest.fixture(scope="module")
def model():
    with pm.Model(coords={"subject": SUBJECTS, "visit": np.arange(3)}) as model:
        mu = pm.Normal("mu", pm.Normal("centre"), 1.0, dims="subject")
        pds.Trajectory(
            "y", OU, params={"mu": mu}, observed=Y, times=TIMES, dims=("subject", "visit")
        )
    return model


def repeated(n: int) -> xr.DataTree:
    return posterior({"mu": (("subject",), MU), "centre": 5.0}, n, subject=SUBJECTS)


def test_joint_law_of_paths_is_that_of_the_gaussian(model):
    """Mean and covariance of the future given the last filtered state, in closed form."""
    n = 20_000
    future = np.array([1.2, 1.6, 4.0])
    out = pds.forecast(repeated(n), model=model, times=future, random_seed=2)
    assert out.predictions["y"].dims == ("chain", "draw", "subject", "time")
    assert out.predictions["states"].dims == ("chain", "draw", "subject", "time", "state")
    np.testing.assert_array_equal(out.predictions["time"], future)
    np.testing.assert_array_equal(out.predictions_constant_data["last_time"], [1.0, 1.5])
    now = pds.sample_states(repeated(1), model=model, given="past", moments=True).posterior
    stationary = SIGMA**2 / (2 * THETA)
    for i in range(2):
        m, P = (float(now[v].values[0, 0, i, 1].ravel()[0]) for v in ("mean", "covariance"))
        after = future > (1.0, 1.5)[i]
        h = future[after] - (1.0, 1.5)[i]
        mean = MU[i] + np.exp(-THETA * h) * (m - MU[i])
        sums, gaps = np.add.outer(h, h), np.abs(np.subtract.outer(h, h))
        cov = np.exp(-THETA * sums) * (P - stationary) + stationary * np.exp(-THETA * gaps)
        for name, noise in (("states", 0.0), ("y", NOISE**2)):
            draws = out.predictions[name].values[0, :, i].reshape(n, -1)
            assert np.isnan(draws[:, ~after]).all()
            draws, expected = draws[:, after], cov + noise * np.eye(after.sum())
            sd = np.sqrt(np.diag(expected))
            assert np.all(np.abs(draws.mean(0) - mean) < 4.5 * sd / n**0.5)
            error = np.abs(np.cov(draws.T) - expected) / np.outer(sd, sd)
            assert error.max() < 4.5 * 1.5 / n**0.5


def test_intervals_cover_simulated_futures_at_the_nominal_rate():
    """Parameters drawn as the posterior says are futures' parameters: coverage is exact."""
    n, times, cut = 400, np.linspace(0.0, 6.0, 13), 8
    rng = np.random.default_rng(0)
    mu = rng.normal(0.0, 1.0, size=n)
    labels = np.arange(n)
    truth = xr.DataArray(mu, dims="subject", coords={"subject": labels})
    whole = pds.simulate(OU, {"mu": truth}, times, random_seed=4)["observations"].values[0]
    y = whole[:, :cut].copy()
    y[rng.random(y.shape) < 0.2] = NAN
    with pm.Model(coords={"subject": labels, "time": times[:cut]}) as model:
        mu_i = pm.Normal("mu", 0.0, 1.0, dims="subject")
        pds.Trajectory("y", OU, params={"mu": mu_i}, observed=y, dims=("subject", "time"))
    # The posterior is a product of normals: two gradients tell which ones.
    slope = model.compile_dlogp()
    here, there = slope({"mu": np.zeros(n)}), slope({"mu": np.ones(n)})
    draws = here / (here - there) + rng.normal(size=(2, 500, n)) / (here - there) ** 0.5
    idata = xr.DataTree.from_dict(
        {
            "posterior": xr.Dataset(
                {"mu": (("chain", "draw", "subject"), draws)}, {"subject": labels}
            )
        }
    )
    out = pds.forecast(idata, model=model, times=times[cut:], random_seed=5)
    for level in (0.5, 0.9):
        low, high = out.predictions["y"].quantile(
            [(1 - level) / 2, (1 + level) / 2], ["chain", "draw"]
        )
        inside = (whole[:, cut:] >= low.values) & (whole[:, cut:] <= high.values)
        # The five times of a subject go together: count subjects at each time.
        assert np.all(np.abs(inside.mean(0) - level) < 4 * (level * (1 - level) / n) ** 0.5)


PK = pds.SDE(
    states=("depot", "central"),
    drift=lambda depot, central, ka: (-ka * depot, ka * depot - 0.3 * central),
    diffusion=(0.0, 0.0),
    initial=(0.0, 0.0),
    observation=lambda central: dist.Normal(central, 0.5),
    events="depot",
)
KA = 1.1


def doses(*at_and_amounts: float) -> xr.Dataset:
    at, amounts = np.reshape(at_and_amounts, (-1, 2)).T
    return xr.Dataset({"event_time": ("event", at), "event_amount": ("event", amounts)})


def bateman(h: np.ndarray, dose: float) -> np.ndarray:
    curve = dose * KA / (KA - 0.3) * (np.exp(-0.3 * h) - np.exp(-KA * h))
    return np.where(h > 0, curve, 0.0)


@pytest.fixture(scope="module")
def dosed():
    with pm.Model(coords={"time": [0.5, 2.0]}) as model:
        params = {"ka": pm.Normal("ka", 1.0)}
        events = doses(0.0, 10.0, 2.0, 4.0, 5.0, 8.0)
        pds.Trajectory("y", PK, params=params, observed=[3.0, 4.0], events=events, dims="time")
    return model


FUTURE = np.array([2.0, 3.0, 5.0, 6.0, 9.0])


SCENARIOS = {
    "the model's": (None, [(2.0, 4.0), (5.0, 8.0)]),
    "later ones": (doses(4.5, 2.0), [(2.0, 4.0), (4.5, 2.0)]),
    "earlier and later ones": (doses(1.0, 99.0, 4.5, 2.0), [(2.0, 4.0), (4.5, 2.0)]),
    "another at the last datum": (doses(2.0, 7.0, 4.5, 2.0), [(2.0, 7.0), (4.5, 2.0)]),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_doses_to_come_are_those_of_the_model_or_of_a_scenario(dosed, name):
    """A dose at the time of the last datum comes after it; earlier ones are in its state."""
    idata, (scenario, after) = posterior({"ka": KA}, 3), SCENARIOS[name]
    given = {"model": dosed, "times": FUTURE, "events": scenario, "random_seed": 1}
    if name == "another at the last datum":
        with pytest.warns(UserWarning, match="the model has a dose at time 2, the time"):
            out = pds.forecast(idata, **given)
    else:
        out = pds.forecast(idata, **given)
    central = out.predictions["states"].sel(state="central").values[0]
    expected = bateman(FUTURE, 10.0) + sum(bateman(FUTURE - at, dose) for at, dose in after)
    np.testing.assert_allclose(central, np.broadcast_to(expected, (3, 5)), rtol=1e-8)


def test_a_dose_before_the_last_datum_of_its_time_is_in_the_state(dosed):
    events = doses(0.0, 10.0, 2.0, 4.0).assign(event_order=("event", [np.nan, 0.0]))
    with pm.Model(coords={"time": [0.5, 2.0]}) as model:
        params = {"ka": pm.Normal("ka", 1.0)}
        pds.Trajectory("y", PK, params=params, observed=[3.0, 4.0], events=events, dims="time")
    expected = bateman(FUTURE, 10.0) + bateman(FUTURE - 2.0, 4.0)
    for scenario in (None, doses(30.0, 1.0)):
        given = {"model": model, "times": FUTURE, "events": scenario, "random_seed": 1}
        out = pds.forecast(posterior({"ka": KA}, 1), **given)
        got = out.predictions["states"].sel(state="central").values[0, 0]
        np.testing.assert_allclose(got, expected, rtol=1e-8)


def test_an_infusion_under_way_goes_on():
    events = doses(0.0, 12.0).assign(event_duration=("event", [4.0]))
    system = pds.SDE(
        states=("central",),
        drift=lambda central, k: -k * central,
        diffusion=0.0,
        initial=(0.0,),
        observation=lambda central: dist.Normal(central, 0.5),
        events="central",
    )
    with pm.Model(coords={"time": [0.5, 2.0]}) as model:
        params = {"k": pm.Normal("k", 0.5)}
        pds.Trajectory("y", system, params=params, observed=[3.0, 4.0], events=events, dims="time")
    out = pds.forecast(posterior({"k": 0.5}, 2), model=model, times=[3.0, 6.0], random_seed=1)
    rate = 12.0 / 4.0 / 0.5
    expected = [rate * (1 - np.exp(-1.5)), rate * (1 - np.exp(-2.0)) * np.exp(-1.0)]
    got = out.predictions["states"].values[0, :, :, 0]
    np.testing.assert_allclose(got, np.broadcast_to(expected, (2, 2)), rtol=1e-8)

    more = pds.forecast(
        posterior({"k": 0.5}, 1), model=model, times=[6.0], events=doses(5.0, 7.0), random_seed=1
    )
    extra = expected[1] + 7.0 * np.exp(-0.5)
    np.testing.assert_allclose(more.predictions["states"].values.ravel(), extra, rtol=1e-8)


def test_inputs_go_on_or_are_given():
    system = pds.SDE(
        states=("level",),
        drift=lambda level, heat, k: heat - k * level,
        diffusion=0.0,
        initial=(0.0,),
        observation=lambda level: dist.Normal(level, 0.5),
    )
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        params = {"k": pm.Normal("k", 1.0)}
        pds.Trajectory(
            "y",
            system,
            params=params,
            observed=[0.0, 0.5],
            inputs={"heat": [1.0, 3.0]},
            dims="time",
        )
    idata = posterior({"k": 1.0}, 1)
    start = 1 - np.exp(-1.0)
    going_on = pds.forecast(idata, model=model, times=[2.0], random_seed=0)
    expected = 3.0 + (start - 3.0) * np.exp(-1.0)
    np.testing.assert_allclose(going_on.predictions["states"].values.ravel(), expected, rtol=1e-9)
    heat = xr.DataArray([5.0], dims="time", coords={"time": [1.5]})
    given = pds.forecast(idata, model=model, times=[2.0], inputs={"heat": heat}, random_seed=0)
    # The last value of the model holds until the first one given.
    middle = 3.0 + (start - 3.0) * np.exp(-0.5)
    expected = 5.0 + (middle - 5.0) * np.exp(-0.5)
    np.testing.assert_allclose(given.predictions["states"].values.ravel(), expected, rtol=1e-9)
    constant, repeated = (
        pds.forecast(idata, model=model, times=[2.0, 4.0], inputs={"heat": heat}, random_seed=0)
        for heat in (5.0, np.array([5.0, 5.0]))
    )
    xr.testing.assert_equal(constant["predictions"].dataset, repeated["predictions"].dataset)
    with pytest.raises(ValueError, match="no input 'cold'; it has heat"):
        pds.forecast(idata, model=model, times=[2.0], inputs={"cold": heat})


def test_new_subjects_are_drawn_from_their_population():
    """Their random effects have the law of the population, given each draw of its parameters."""
    labels = ["p", "q", "r"]
    with pm.Model(coords={"subject": labels, "time": [0.0]}) as new:
        mu = pm.Normal("mu", pm.Normal("centre"), 0.5, dims="subject")
        double = pm.Deterministic("double", 2 * mu, dims="subject")
        with pytest.warns(UserWarning, match="no value observed"):
            pds.Trajectory(
                "y",
                OU,
                params={"mu": double},
                observed=np.full((3, 1), NAN),
                dims=("subject", "time"),
            )
    n = 4000
    centre = np.repeat([5.0, -5.0], n // 2)
    idata = posterior(
        {"mu": (("subject",), MU), "double": (("subject",), 2 * MU), "centre": centre},
        n,
        subject=SUBJECTS,
    )
    out = pds.forecast(idata, model=new, times=[30.0], random_seed=3).predictions
    assert out["subject"].values.tolist() == labels
    x = out["states"].values[0, :, :, 0, 0]
    sd = np.sqrt(4 * 0.5**2 + SIGMA**2 / (2 * THETA))
    for half, middle in ((slice(n // 2), 10.0), (slice(n // 2, None), -10.0)):
        assert np.all(np.abs(x[half].mean(0) - middle) < 4.5 * sd / (n / 2) ** 0.5)
        # Four and a half standard errors of the sd of 2,000 draws.
        np.testing.assert_allclose(x[half].std(0), sd, rtol=0.07)
    assert abs(np.corrcoef(x[: n // 2].T)[0, 1]) < 0.1  # each of them by itself


def test_a_mixture_of_old_and_new_subjects_is_refused(model):
    idata = posterior({"mu": (("subject",), MU), "centre": 0.0}, 2, subject=["a", "z"])
    with pytest.raises(ValueError, match="along 'subject' the model has 'a' of the draws"):
        pds.forecast(idata, model=model, times=[3.0])


def test_an_ode_goes_on_from_its_state():
    decay = pds.ODE(
        states=("level",),
        drift=lambda level, k: -k * level,
        initial=(2.0,),
        observation=lambda level: dist.Poisson(level),
    )
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        params = {"k": pm.HalfNormal("k")}
        pds.Trajectory("y", decay, params=params, observed=[2.0, 1.0], dims="time")
    out = pds.forecast(posterior({"k": 0.5}, 400), model=model, times=[2.0, 3.0], random_seed=0)
    states = 2 * np.exp(-0.5 * np.array([2.0, 3.0]))
    got = out.predictions["states"].values[0, :, :, 0]
    np.testing.assert_allclose(got, np.broadcast_to(states, (400, 2)), rtol=1e-6)
    counts = out.predictions["y"].values[0]
    assert np.all(counts == counts.round())
    assert np.all(np.abs(counts.mean(0) - states) < 4.5 * np.sqrt(states / 400))


def test_times_that_are_all_past_are_an_error(model):
    with pytest.raises(ValueError, match="all lie before the last data"):
        pds.forecast(repeated(2), model=model, times=[0.5, 0.8])
