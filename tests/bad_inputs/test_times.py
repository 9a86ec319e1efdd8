"""Times and starts of every kind, repeated, far apart and wrong."""

import datetime

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds
from tests.bad_inputs.models import (
    COORDS,
    DATES,
    SUBJECTS,
    TIMES,
    Y,
    build,
    cases,
    dense_ou,
    refused,
    slopes,
    terms,
)

UNSORTED = np.tile(TIMES, (3, 1))
UNSORTED[1] = 0, 2, 1, 3


@cases(
    {
        "unsorted": (
            ValueError,
            ("times", "subject='b'", "index 2", "is 1, before 2", "sort"),
            {"times": UNSORTED},
        ),
        "descending": (ValueError, ("times", "index 1", "sort"), {"times": TIMES[::-1]}),
        "too few": (ValueError, ("times", "3 times", "'time' has length 4"), {"times": TIMES[:3]}),
        "a number": (ValueError, ("times", "(subject, time)", "0 axes"), {"times": 1.0}),
        "too many axes": (ValueError, ("times", "3 axes"), {"times": np.zeros((3, 4, 1))}),
        "transposed": (
            ValueError,
            ("times", "4 along 'subject'", "length 3"),
            {"times": np.tile(TIMES, (3, 1)).T},
        ),
        "infinite": (ValueError, ("times", "finite"), {"times": [0, 1, 2, np.inf]}),
        "text": (TypeError, ("times", "'one'"), {"times": ["one", "two", "three", "four"]}),
        "labels instead of times": (
            TypeError,
            ("times", "numbers or dates", "'v1'"),
            {"coords": {**COORDS, "time": ["v1", "v2", "v3", "v4"]}},
        ),
        "complex": (TypeError, ("times", "numbers or dates"), {"times": TIMES + 0j}),
        "booleans": (TypeError, ("times", "numbers or dates"), {"times": TIMES > 1}),
        "random": (
            TypeError,
            ("times", "data", "random variable"),
            {"times": lambda _: pm.Normal.dist(TIMES, 1.0)},
        ),
        "an unknown dim": (
            ValueError,
            ("times", "'visit'", "('subject',)"),
            {"times": xr.DataArray(TIMES, dims="visit")},
        ),
        "dates without a unit": (ValueError, ("times", "unit='D'"), {"times": DATES}),
        "dates as coords without a unit": (
            ValueError,
            ("times", "unit='D'"),
            {"coords": {**COORDS, "time": DATES}},
        ),
        "dates as text": (
            TypeError,
            ("times", "'2024-03-01'"),
            {"times": DATES.strftime("%Y-%m-%d").to_numpy(str), "unit": "D"},
        ),
        "unknown unit": (
            ValueError,
            ("unit", "'days'", "'D'"),
            {"times": DATES, "unit": "days"},
        ),
        "months": (ValueError, ("unit", "'M'", "'W'"), {"times": DATES, "unit": "M"}),
        "no times at all": (
            ValueError,
            ("times", "none given", "times=..."),
            {"coords": {}, "dims": None, "observed": Y[0]},
        ),
        "a dim without labels": (
            ValueError,
            ("times", "'visit' has no coordinate values", "coords"),
            {
                "params": lambda model: model.add_coord("visit", length=4) or {"mu": model["mu"]},
                "dims": ("subject", "visit"),
            },
        ),
        "t0 after the first visit": (
            ValueError,
            ("t0", "subject='c'", "is 1, after the first observation at 0"),
            {"t0": [-1.0, 0.0, 1.0]},
        ),
        "t0 of another length": (ValueError, ("t0", "2 along 'subject'"), {"t0": [0.0, 0.0]}),
        "t0 infinite": (ValueError, ("t0", "finite"), {"t0": -np.inf}),
        "t0 as text": (TypeError, ("t0", "'first'"), {"t0": "first"}),
        "t0 random": (
            TypeError,
            ("t0", "random variable"),
            {"t0": lambda _: pm.Normal.dist(-1.0, 1.0)},
        ),
        "t0 a number among dates": (
            TypeError,
            ("t0", "must be a date"),
            {"times": DATES, "unit": "D", "t0": 0.0},
        ),
        "t0 a date among numbers": (
            TypeError,
            ("t0", "must be a number"),
            {"t0": pd.Timestamp("2024-02-29"), "unit": "D"},
        ),
        "t0 with unknown labels": (
            ValueError,
            ("t0", "'z'"),
            {"t0": xr.DataArray([0.0, 0, 0], coords={"subject": list("abz")})},
        ),
    }
)
def test_bad_times(case):
    kind, words, arguments = case
    refused(kind, *words, **arguments)


@cases(
    {
        "integers": {"times": [0, 1, 2, 3]},
        "objects": {"times": TIMES.astype(object)},
        "far from zero": {"times": TIMES + 1.7e9},
        "a series": {"times": pd.Series(TIMES)},
        "a frame in another order": {
            "times": pd.DataFrame(np.tile(TIMES, (3, 1)), SUBJECTS).loc[["c", "b", "a"]]
        },
        "days": {"times": DATES, "unit": "D"},
        "days as coords": {"coords": {**COORDS, "time": DATES}, "unit": "D"},
        "hours": {"times": pd.date_range("2024-03-01", periods=4, freq="h"), "unit": "h"},
        "across a change of the clock": {
            "times": pd.date_range("2024-03-30", periods=4, freq="24h", tz="Europe/Berlin"),
            "unit": "D",
        },
        "python dates": {
            "times": [datetime.date(2024, 3, day) for day in (1, 2, 3, 4)],
            "unit": "D",
        },
        "durations": {"times": pd.to_timedelta(TIMES, unit="D"), "unit": "D"},
        "t0 of its own": {"t0": 0.0},
        "t0 as a date": {"times": DATES, "unit": "D", "t0": DATES[0]},
        "t0 NaN": {"t0": [0.0, np.nan, 0.0]},
    }
)
def test_times_that_mean_the_same(case, reference):
    np.testing.assert_allclose(terms(build(**case)), reference["terms"], rtol=1e-9)


def test_labels_of_times_and_starts_count():
    rows = TIMES * np.array([[1.0], [2.0], [3.0]])
    starts = np.array([-1.0, -2.0, -3.0])
    plain = terms(build(times=rows, t0=starts))
    order = [2, 0, 1]
    labels = [SUBJECTS[i] for i in order]
    for times, t0 in (
        (
            xr.DataArray(rows[order], dims=("subject", "time"), coords={"subject": labels}),
            xr.DataArray(starts[order], coords={"subject": labels}),
        ),
        (pd.DataFrame(rows[order], labels), pd.Series(starts[order], labels)),
    ):
        np.testing.assert_allclose(terms(build(times=times, t0=t0)), plain, rtol=1e-12)


LIKELIHOODS = [pds.Kalman(), pds.EKF(), pds.EKF(pds.EulerMaruyama(dt=0.1)), pds.EnKF()]


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=repr)
def test_one_datum_needs_no_step(likelihood):
    model = build(
        observed=Y[:, :1], coords={"subject": SUBJECTS, "time": [5.0]}, likelihood=likelihood
    )
    expected = -0.5 * (Y[:, 0] ** 2 / 1.04 + np.log(2 * np.pi * 1.04))
    np.testing.assert_allclose(terms(model), expected, rtol=1e-10)


@pytest.mark.parametrize("likelihood", [pds.Kalman(), pds.EKF()], ids=repr)
@pytest.mark.parametrize("times", [[0, 1, 1, 3], [0, 0, 0, 0]], ids=str)
def test_repeated_times_are_two_data_at_one_instant(likelihood, times):
    model = build(times=times, likelihood=likelihood)
    np.testing.assert_allclose(terms(model), dense_ou(times), rtol=1e-10)
    assert np.isfinite(slopes(model)).all()


@pytest.mark.parametrize("likelihood", LIKELIHOODS[:2] + LIKELIHOODS[3:], ids=repr)
def test_a_gap_of_a_million_time_constants_forgets(likelihood):
    model = build(times=TIMES * 1e6, likelihood=likelihood)
    variance = 0.3**2 / (2 * 0.5) + 0.2**2
    first = -0.5 * (Y[:, 0] ** 2 / 1.04 + np.log(2 * np.pi * 1.04))
    later = -0.5 * ((Y[:, 1:] - 0.3) ** 2 / variance + np.log(2 * np.pi * variance))
    # An ensemble that has forgotten has the right moments, to the rounding of its normals, which
    # are kept in single precision.
    rtol = 1e-7 if isinstance(likelihood, pds.EnKF) else 1e-9
    np.testing.assert_allclose(terms(model), first + later.sum(1), rtol=rtol)
    slope = ((Y[:, 1:] - 0.3) / variance).sum()
    np.testing.assert_allclose(slopes(model), slope, rtol=rtol)
