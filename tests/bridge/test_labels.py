"""Labelled meets labelled by label: at every door, also where the model's dim has no labels.

The yardstick is a scalar Kalman filter in NumPy, which is handed what belongs to each subject.
"""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

SUBJECTS, ORDER = ["a", "b", "c"], [2, 0, 1]
RNG = np.random.default_rng(5)
TIMES = np.array([[0.0, 1.0, 2.5, 4.0], [0.5, 1.0, 2.0, 6.0], [1.0, 3.0, 3.5, 4.5]])
START = np.array([-1.0, -0.5, 0.25])
MU = np.array([1.0, -2.0, 3.0])
U = RNG.normal(size=(3, 4))
Y = RNG.normal(size=(3, 4))
KNOTS = np.array([[-2.0, 0.4, 2.2], [-1.5, 0.9, 3.0], [-1.0, 1.7, 4.0]])
AT_KNOTS = RNG.normal(size=(3, 3))
DOSES = np.array([[0.3, 2.6], [0.7, 1.5], [1.2, 3.1]])
AMOUNTS = np.array([[1.0, 0.5], [2.0, 0.7], [0.3, 1.4]])

OU = pds.SDE(
    states=("level",),
    drift=lambda level, u, mu: -0.5 * (level - mu) + u,
    diffusion=0.3,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level, u: dist.Normal(level + 0.5 * u, 0.2),
    events="level",
)


def held(knots, values, interpolation, start, end):
    """Value over a gap, and at its end, of an input that is known at `knots`."""
    if interpolation == "next":
        return (values[np.searchsorted(knots, end)],) * 2
    over, there = np.searchsorted(knots, [start, end], side="right") - 1
    return values[max(over, 0)], values[there]


def log_likelihood(i, times, knots, values, interpolation="previous"):
    """Of subject `i`: a scalar filter from knot to knot, dose to dose, datum to datum."""
    m, P, total, now = 0.0, 1.0, 0.0, START[i]
    stops = sorted({*times, *DOSES[i], *(k for k in knots if k > now)})
    for stop in stops:
        u, there = held(knots, values, interpolation, now, stop)
        F, level = np.exp(-0.5 * (stop - now)), MU[i] + 2 * u
        m, P, now = level + F * (m - level), F * F * P + 0.09 * (1 - F * F), stop
        if stop in times:
            k = list(times).index(stop)
            v, S = Y[i, k] - m - 0.5 * there, P + 0.04
            total += -0.5 * (np.log(2 * np.pi * S) + v * v / S)
            m, P = m + P / S * v, P - P * P / S
        if stop in DOSES[i]:
            m += AMOUNTS[i, list(DOSES[i]).index(stop)]
    return total


def over(values, *dims, **coords):
    return xr.DataArray(values, dims=("subject", *dims), coords={"subject": SUBJECTS, **coords})


INPUT = over(U, "visit", visit=np.arange(4))
EVENTS = xr.Dataset({"event_time": over(DOSES, "event"), "event_amount": over(AMOUNTS, "event")})
GIVEN = {
    "mu": over(MU),
    "times": over(TIMES, "visit"),
    "t0": over(START),
    "u": INPUT,
    "events": EVENTS,
    "observed": over(Y, "visit", visit=np.arange(4)),
}


def terms(labelled, **changes):
    """Log-likelihood of each subject, in the order of the model, and the model."""
    coords = {"subject": labelled} if labelled else {}
    with pm.Model(coords=coords) as model:
        pm.Data("age", np.zeros((3, 4)), dims=("subject", "visit"))
        given = {k: v() if callable(v) else v for k, v in {**GIVEN, **changes}.items()}
        pds.Trajectory(
            "y",
            OU,
            params={"mu": given["mu"]},
            inputs={"u": given["u"]},
            events=given["events"],
            times=given["times"],
            t0=given["t0"],
            observed=given["observed"],
            dims=("subject", "visit"),
        )
    return model.compile_logp(vars=[model["y"]], sum=False, mode="FAST_COMPILE")({})[0], model


@pytest.fixture(scope="module")
def expected():
    return np.array([log_likelihood(i, TIMES[i], TIMES[i], U[i]) for i in range(3)])


@pytest.mark.parametrize("door", [*GIVEN, "all"])
@pytest.mark.parametrize("labelled", [SUBJECTS, ["b", "c", "a"], None], ids=str)
def test_every_door_is_in_the_order_of_labels(door, labelled, expected):
    """In a model with labels, in another order, and without: then those of the data count."""
    permuted = {
        name: value.isel(subject=ORDER) for name, value in GIVEN.items() if door in (name, "all")
    }
    got, model = terms(labelled, **permuted)
    names = list(model.coords["subject"])
    if labelled is None:
        assert names == list(permuted.get("observed", GIVEN["observed"])["subject"])
    np.testing.assert_allclose(got, [expected[SUBJECTS.index(name)] for name in names], rtol=1e-9)


def test_pandas_brings_labels_too(expected):
    visits = range(4)
    frames = {
        "mu": pd.Series(MU, pd.Index(SUBJECTS, name="subject")),
        "times": pd.DataFrame(TIMES, SUBJECTS, visits),
        "t0": pd.Series(START, SUBJECTS),
        "u": pd.DataFrame(U, SUBJECTS, visits),
        "observed": pd.DataFrame(Y, SUBJECTS, visits),
    }
    frames = {
        name: value.iloc[[1, 2, 0] if name == "u" else ORDER] for name, value in frames.items()
    }
    frames["observed"] = frames["observed"].rename_axis(index="subject", columns="visit").T
    got, model = terms(None, **frames)
    assert list(model.coords["subject"]) == ["c", "a", "b"]
    np.testing.assert_allclose(got, expected[ORDER], rtol=1e-9)


@pytest.mark.parametrize("name", ["mu", "times", "t0", "u", "events"])
def test_labels_with_nothing_to_match_them_are_an_error(name):
    plain = {key: value.drop_vars("subject") for key, value in GIVEN.items()}
    with pytest.raises(ValueError, match=r"'subject' has 'a'.*pm\.Model\(coords=\{'subject'"):
        terms(None, **{**plain, name: GIVEN[name]})


def test_positions_are_the_labels_of_a_dim_without_any(expected):
    plain = {key: value.drop_vars("subject") for key, value in GIVEN.items()}
    numbered = plain["mu"].assign_coords(subject=[0, 1, 2])[::-1]
    got, model = terms(None, **{**plain, "mu": numbered})
    assert model.coords["subject"] is None
    np.testing.assert_allclose(got, expected, rtol=1e-9)


@pytest.mark.parametrize(
    ("interpolation", "values", "times", "coord"),
    [
        ("previous", U, TIMES, "time"),
        ("next", U, TIMES, "time"),
        ("previous", AT_KNOTS, KNOTS, "time"),
        ("previous", AT_KNOTS, KNOTS, "knot_time"),
    ],
)
def test_times_of_an_input_are_its_subjects(interpolation, values, times, coord):
    """Whether they are those of the visits or others; the datum reads the input too."""
    dim = "visit" if values is U else "knot"
    given = over(values, dim, **{coord: (("subject", dim), times)}).isel(subject=[1, 2, 0])
    got, _ = terms(SUBJECTS, u=pds.Input(given, interpolation))
    want = [log_likelihood(i, TIMES[i], times[i], values[i], interpolation) for i in range(3)]
    np.testing.assert_allclose(got, want, rtol=1e-9)


def test_a_data_variable_brings_labels_along(expected):
    data = over(Y, "visit").isel(subject=ORDER)
    of = {"observed": lambda: pds.data("z", data, dims=("subject", "visit"))}
    for labelled, order in ((SUBJECTS, [0, 1, 2]), (None, ORDER)):
        got, model = terms(labelled, **of)
        assert list(model.coords["subject"]) == [SUBJECTS[i] for i in order]
        np.testing.assert_allclose(got, expected[order], rtol=1e-9)


def test_numbers_of_visits_are_no_times():
    numbered = GIVEN["observed"].assign_coords(visit=[1, 2, 3, 4])
    for observed, reason in ((GIVEN["observed"], "none given"), (numbered, "number the visits")):
        with pytest.raises(ValueError, match=f"times: .*{reason}.*pass times="):
            terms(SUBJECTS, times=None, observed=observed)


def test_outside_of_a_model_the_first_labels_count():
    plain = {"times": TIMES, "t0": START}
    permuted = {name: GIVEN[name].isel(subject=ORDER) for name in ("times", "t0", "u", "events")}
    first, second = (
        pds.Trajectory.dist(
            OU,
            params={"mu": GIVEN["mu"]},
            inputs={"u": given.get("u", INPUT)},
            events=given.get("events", EVENTS),
            times=given["times"],
            t0=given["t0"],
            dims=("subject", "visit"),
        )
        for given in (plain, permuted)
    )
    for ours, theirs in zip(first.owner.inputs[1:], second.owner.inputs[1:], strict=True):
        if ours.name is None and hasattr(ours, "data"):
            np.testing.assert_array_equal(ours.data, theirs.data)
