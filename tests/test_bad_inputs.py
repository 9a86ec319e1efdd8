"""What a tired user gets wrong, and what the library says.

Mistakes are errors when the model is built, with a message that names the argument, the offender
and the mend, and without a long trace of other people's code. What cannot be a mistake is taken
for what it means, by name and label, never by position.
"""

import datetime
import functools
import math
import traceback
from types import FunctionType

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests import dense

SUBJECTS = ["a", "b", "c"]
TIMES = np.arange(4.0)
COORDS = {"subject": SUBJECTS, "time": TIMES}
Y = np.random.default_rng(0).normal(size=(3, 4))
HIGH = Y > 0.5
DATES = pd.date_range("2024-03-01", periods=4)
LONGEST_TRACE = 24


def ou(**changes):
    """A small linear system; any part may be replaced by something bad."""
    parts = {
        "states": ("level",),
        "drift": lambda level, mu: -0.5 * (level - mu),
        "diffusion": 0.3,
        "initial": dist.Normal(0.0, 1.0),
        "observation": lambda level: dist.Normal(level, 0.2),
    }
    return pds.SDE(**{**parts, **changes})


OU = ou()
"""The same object in most tests, so that it is compiled once."""


def two_states(**changes):
    parts = {
        "states": ("depot", "central"),
        "drift": lambda depot, central, mu: (-depot, depot - mu * central),
        "initial": dist.Normal(jnp.zeros(2), 1.0),
        "observation": lambda central: dist.Normal(central, 0.2),
    }
    return ou(**{**parts, **changes})


def decay(**changes):
    parts = {
        "states": ("amount",),
        "drift": lambda amount, mu: -mu * amount,
        "initial": 1.0,
        "observation": lambda amount: dist.Normal(amount, 0.2),
    }
    return pds.ODE(**{**parts, **changes})


def build(system=None, params=None, coords=None, **arguments) -> pm.Model:
    """The model as the user writes it."""
    with pm.Model(coords=COORDS if coords is None else coords) as model:
        mu = pm.Normal("mu", 0.0, 1.0)
        made = {k: v(model) for k, v in arguments.items() if isinstance(v, FunctionType)}
        arguments = {
            "observed": Y,
            "dims": ("subject", "time"),
            "params": {"mu": mu} if params is None else params(model),
            **arguments,
            **made,
        }
        pds.Trajectory("y", OU if system is None else system, **arguments)
    return model


def terms(model: pm.Model, mu: float = 0.3) -> np.ndarray:
    """Log-likelihood of each subject."""
    point = {**model.initial_point(), "mu": np.array(mu)}
    return model.compile_logp(vars=[model["y"]], sum=False, mode="FAST_COMPILE")(point)[0]


def slopes(model: pm.Model, mu: float = 0.3) -> np.ndarray:
    """Gradient of the likelihood in the common level, without its prior."""
    point = {**model.initial_point(), "mu": np.array(mu)}
    return model.compile_dlogp(vars=[model["mu"]], mode="FAST_COMPILE")(point) + mu


def refused(kind, *words, build=build, **arguments) -> None:
    """Raised at build, saying all the words, in few frames."""
    with pytest.raises(kind) as caught:
        build(**arguments)
    message = str(caught.value)
    for word in words:
        assert word in message, f"{word!r} is not in: {message}"
    assert len(traceback.extract_tb(caught.value.__traceback__)) < LONGEST_TRACE
    rendered = "".join(traceback.format_exception(caught.value))
    assert rendered.count("File ") < 2 * LONGEST_TRACE


def in_params(value):
    return {"params": lambda model: {"mu": value}}


def cases(table):
    """Parameters of a test from a mapping of name to case."""
    return pytest.mark.parametrize("case", list(table.values()), ids=list(table))


REFERENCE = {}


@pytest.fixture
def reference():
    """Likelihoods of the plain model, computed once."""
    if not REFERENCE:
        REFERENCE["terms"] = terms(build())
        REFERENCE["missing"] = terms(build(observed=np.where(HIGH, np.nan, Y)))
    return REFERENCE


# Data ----------------------------------------------------------------------------------------

UNSORTED = np.tile(TIMES, (3, 1))
UNSORTED[1] = 0, 2, 1, 3


@cases(
    {
        "infinite": (
            ValueError,
            ("observed", "inf at subject='b', time=2.0", "NaN"),
            {"observed": np.where(Y == Y[1, 2], np.inf, Y)},
        ),
        "complex": (TypeError, ("observed", "real numbers", "complex"), {"observed": Y + 1j}),
        "text": (
            TypeError,
            ("observed", "'<0.1'", "(1, 2)", "NaN"),
            {"observed": np.where(Y == Y[1, 2], "<0.1", Y.astype(object))},
        ),
        "only text": (TypeError, ("observed", "'n/a'"), {"observed": np.full((3, 4), "n/a")}),
        "transposed": (
            ValueError,
            ("observed", "(4, 3)", "expected (3, 4)", "subject=3, time=4", "transposed?"),
            {"observed": Y.T},
        ),
        "one visit too few": (
            ValueError,
            ("observed", "(3, 3)", "(3, 4)"),
            {"observed": Y[:, :3]},
        ),
        "one subject only": (ValueError, ("observed", "(4,)", "(3, 4)"), {"observed": Y[0]}),
        "a number": (ValueError, ("observed", "()", "(3, 4)"), {"observed": 1.0}),
        "an axis too many": (ValueError, ("observed", "(3, 4, 1)"), {"observed": Y[..., None]}),
        "ragged lists": (
            ValueError,
            ("observed", "different lengths", "pad them with NaN"),
            {"observed": [[1.0, 2.0, 3.0, 4.0], [1.0], [1.0, 2.0]]},
        ),
        "a Dataset": (
            TypeError,
            ("observed", "Dataset", "choose one of its variables"),
            {"observed": xr.Dataset({"y": (("subject", "time"), Y)})},
        ),
        "other dims": (
            ValueError,
            ("observed", "('id', 'time')", "('subject', 'time')"),
            {"observed": xr.DataArray(Y, dims=("id", "time"))},
        ),
        "other labels": (
            ValueError,
            ("observed", "'subject'", "'d'", "model's coords"),
            {"observed": xr.DataArray(Y, coords={"subject": list("abd"), "time": TIMES})},
        ),
        "other times": (
            ValueError,
            ("observed", "'time'", "9.0"),
            {"observed": xr.DataArray(Y, coords={"subject": SUBJECTS, "time": [0, 1, 2, 9.0]})},
        ),
        "a label twice": (
            ValueError,
            ("observed", "'subject'", "'c'"),
            {"observed": xr.DataArray(Y, coords={"subject": list("aab"), "time": TIMES})},
        ),
        "a frame by visit": (
            ValueError,
            ("observed", "'subject'"),
            {"observed": pd.DataFrame(Y, SUBJECTS, TIMES).T},
        ),
        "a long column": (
            ValueError,
            ("observed", "(12,)", "(3, 4)"),
            {"observed": pd.DataFrame(Y, SUBJECTS, TIMES).stack()},
        ),
        "a data variable with the dims the other way round": (
            ValueError,
            ("observed", "'y_data'", "('time', 'subject')", "('subject', 'time')"),
            {"observed": lambda _: pm.Data("y_data", Y.T, dims=("time", "subject"))},
        ),
        "a data variable of other dims": (
            ValueError,
            ("observed", "'y_data'", "('id', 'time')"),
            {
                "observed": lambda _: pm.Data("y_data", Y, dims=("id", "time")),
                "coords": {**COORDS, "id": SUBJECTS},
            },
        ),
        "a data variable of another shape": (
            ValueError,
            ("observed", "(4, 3)", "(3, 4)"),
            {"observed": lambda _: pm.Data("y_data", Y.T)},
        ),
        "a random variable": (
            TypeError,
            ("observed data",),
            {"observed": lambda _: pm.Normal.dist(0.0, 1.0, shape=(3, 4))},
        ),
        "no visit": (
            ValueError,
            ("nothing to observe", "times"),
            {"observed": np.zeros((3, 0)), "coords": {"subject": SUBJECTS, "time": []}},
        ),
        "no subject": (
            ValueError,
            ("nothing to observe",),
            {"observed": np.zeros((0, 4)), "coords": {"subject": [], "time": TIMES}},
        ),
        "a datum where there is no visit": (
            ValueError,
            ("observed", "subject='a', time=2.0", "time is NaN"),
            {"times": [0.0, 1.0, np.nan, 3.0]},
        ),
    }
)
def test_bad_data(case):
    kind, words, arguments = case
    refused(kind, *words, **arguments)


@cases(
    {
        "masked array": np.ma.array(Y, mask=HIGH),
        "None among floats": np.where(HIGH, None, Y),
        "pandas' own missing value": pd.DataFrame(Y, SUBJECTS, TIMES).astype("Float64").mask(HIGH),
        "nested lists": np.where(HIGH, np.nan, Y).tolist(),
        "a jax array": jnp.where(HIGH, jnp.nan, Y),
        "a frame in another order": pd.DataFrame(np.where(HIGH, np.nan, Y), SUBJECTS, TIMES).loc[
            ["c", "a", "b"], TIMES[::-1]
        ],
        "a DataArray in another order": xr.DataArray(
            np.where(HIGH, np.nan, Y), coords={"subject": SUBJECTS, "time": TIMES}
        )
        .isel(subject=[2, 0, 1], time=[3, 1, 0, 2])
        .T,
    }
)
def test_every_way_to_say_missing_or_reorder_is_understood(case, reference):
    np.testing.assert_allclose(terms(build(observed=case)), reference["missing"], rtol=1e-12)


@cases(
    {
        "DataArray the other way round": lambda y: xr.DataArray(y, coords=COORDS).T,
        "DataArray in another order": lambda y: xr.DataArray(y, coords=COORDS).isel(
            subject=[1, 2, 0]
        ),
        "frame in another order": lambda y: pd.DataFrame(y, SUBJECTS, TIMES).loc[["b", "c", "a"]],
    }
)
def test_labels_of_a_data_variable_count(case, reference):
    dims = ("subject", "time")
    model = build(observed=lambda _: pds.data("y_data", case(Y), dims=dims))
    np.testing.assert_allclose(terms(model), reference["terms"], rtol=1e-12)


def test_integers_and_single_precision_are_the_same_numbers(reference):
    whole = np.round(3 * Y)
    np.testing.assert_allclose(
        terms(build(observed=whole.astype(int))), terms(build(observed=whole)), rtol=1e-12
    )
    np.testing.assert_allclose(
        terms(build(observed=Y.astype(np.float32))), reference["terms"], rtol=1e-4
    )


def test_booleans_are_zeros_and_ones():
    np.testing.assert_allclose(
        terms(build(observed=HIGH)), terms(build(observed=HIGH.astype(float))), rtol=1e-12
    )


def test_a_subject_without_data_adds_exactly_nothing_and_is_named(reference):
    y = np.where(np.arange(3)[:, None] == 1, np.nan, Y)
    with pytest.warns(UserWarning, match="no value observed for subject='b'"):
        model = build(observed=y)
    without = reference["terms"][[0, 2]]
    got = terms(model)
    assert got[1] == 0.0
    np.testing.assert_allclose(got[[0, 2]], without, rtol=1e-12)
    others = build(observed=Y[[0, 2]], coords={"subject": ["a", "c"], "time": TIMES})
    np.testing.assert_allclose(slopes(model), slopes(others), rtol=1e-12)


def test_a_label_without_rows_is_a_subject_without_data():
    panel = xr.DataArray(Y, coords=COORDS).reindex(subject=[*SUBJECTS, "ghost"])
    with pytest.warns(UserWarning, match="no value observed for subject='ghost'"):
        model = build(observed=panel, coords={**COORDS, "subject": [*SUBJECTS, "ghost"]})
    assert terms(model)[3] == 0.0


@pytest.mark.parametrize("labels", [[3, 17, 4], pd.Categorical(["u", "w", "v"]), [2.5, 1.5, 0.5]])
def test_subject_labels_may_be_anything(labels, reference):
    model = build(coords={"subject": labels, "time": TIMES})
    np.testing.assert_allclose(terms(model), reference["terms"], rtol=1e-12)


LIKELIHOODS = [pds.Kalman(), pds.EKF(), pds.EKF(pds.EulerMaruyama(dt=0.1)), pds.EnKF()]


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=repr)
def test_one_datum_needs_no_step(likelihood):
    model = build(
        observed=Y[:, :1], coords={"subject": SUBJECTS, "time": [5.0]}, likelihood=likelihood
    )
    expected = -0.5 * (Y[:, 0] ** 2 / 1.04 + np.log(2 * np.pi * 1.04))
    np.testing.assert_allclose(terms(model), expected, rtol=1e-10)


def dense_ou(times, noise=0.2, mu=0.3):
    one = np.eye(1)
    system = dense.LinearSystem(
        A=-0.5 * one,
        c=np.array([0.5 * mu]),
        L=0.3 * one,
        H=one,
        d=np.zeros(1),
        R=noise**2 * one,
        m0=np.zeros(1),
        P0=one,
    )
    return [dense.log_likelihood(system, row[:, None], np.asarray(times, float)) for row in Y]


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


# Times ---------------------------------------------------------------------------------------


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


# Parameters ----------------------------------------------------------------------------------

with pm.Model(coords=COORDS):
    OF_ANOTHER_MODEL = pm.Normal("mu", 0.0, 1.0)


@cases(
    {
        "misspelt": (
            ValueError,
            ("drift() asks for 'mu'", "did you mean 'mue'"),
            {"params": lambda _: {"mue": 1.0}},
        ),
        "left out": (
            ValueError,
            ("drift() asks for 'mu'", "params has nothing"),
            {"params": lambda _: {}},
        ),
        "None for the mapping": (
            ValueError,
            ("drift() asks for 'mu'", "params has nothing"),
            {"params": lambda _: None},
        ),
        "unused": (
            ValueError,
            ("params has 'sigma'", "none of", "'mu'"),
            {"params": lambda model: {"mu": model["mu"], "sigma": 1.0}},
        ),
        "not a mapping": (
            TypeError,
            ("params", "mapping", "list"),
            {"params": lambda model: [("mu", model["mu"])]},
        ),
        "reserved": (ValueError, ("params", "'x'", "reserved"), {"params": lambda _: {"x": 1.0}}),
        "a state's name": (
            ValueError,
            ("params", "'level'", "also a state"),
            {"params": lambda _: {"level": 1.0, "mu": 1.0}},
        ),
        "None": (ValueError, ("'mu'", "finite"), in_params(None)),
        "NaN": (ValueError, ("params", "'mu'", "nan", "finite"), in_params(np.nan)),
        "infinite": (ValueError, ("params", "'mu'", "inf", "finite"), in_params(np.inf)),
        "masked": (ValueError, ("'mu'", "finite"), in_params(np.ma.array(1.0, mask=True))),
        "NaN for one subject": (
            ValueError,
            ("params", "'mu'", "subject"),
            in_params(xr.DataArray([0.0, np.nan, 0.0], dims="subject")),
        ),
        "complex": (TypeError, ("mu", "complex"), in_params(1j)),
        "text": (TypeError, ("mu", "'1.0'"), in_params("1.0")),
        "a function": (TypeError, ("mu", "expected numbers"), in_params(math.sin)),
        "a numpyro distribution": (
            TypeError,
            ("mu", "expected numbers"),
            in_params(dist.Normal(0.0, 1.0)),
        ),
        "a distribution outside the model": (
            ValueError,
            ("params", "'mu'", "not in this model", "pm.Normal('mu', ...)"),
            {"params": lambda _: {"mu": pm.Normal.dist(0.0, 1.0)}},
        ),
        "a variable of another model": (
            ValueError,
            ("params", "'mu'", "not in this model"),
            in_params(OF_ANOTHER_MODEL),
        ),
        "an array as long as the panel": (
            ValueError,
            ("drift() returned shape (3,)", "'mu'", "xr.DataArray(mu, dims='subject')"),
            in_params(np.zeros(3)),
        ),
        "a series as long as the panel": (
            ValueError,
            ("'mu'", "xr.DataArray(mu, dims='subject')"),
            in_params(pd.Series([0.0, 1.0, 2.0], SUBJECTS)),
        ),
        "a variable without dims": (
            ValueError,
            ("'mu'", "dims='subject' where 'mu' is defined"),
            {"params": lambda _: {"mu": pm.Normal("mus", 0.0, 1.0, shape=3)}},
        ),
        "an expression without dims": (
            ValueError,
            ("'mu'", "no names", "mu = pm.Deterministic('mu', ..., dims='subject')"),
            {
                "params": lambda _: {
                    "mu": pm.Normal("groups", 0.0, 1.0, shape=2)[np.array([0, 1, 1])]
                }
            },
        ),
        "too long": (
            ValueError,
            ("params", "'mu'", "length 4 along 'subject'", "length 3"),
            in_params(xr.DataArray(np.zeros(4), dims="subject")),
        ),
        "unknown labels": (
            ValueError,
            ("mu", "'subject'", "'d'", "labels"),
            in_params(xr.DataArray(np.zeros(3), coords={"subject": list("abd")})),
        ),
        "numbers for names": (
            ValueError,
            ("mu", "'subject'", "labels"),
            in_params(xr.DataArray(np.zeros(3), coords={"subject": [0, 1, 2]})),
        ),
        "an unknown dim": (
            ValueError,
            ("'mu'", "('subj',)", "('subject',)"),
            in_params(xr.DataArray(np.zeros(3), dims="subj")),
        ),
        "varying in time": (
            ValueError,
            ("params", "'mu'", "'time'"),
            {"params": lambda _: {"mu": pm.Normal("mus", 0.0, 1.0, dims="time")}},
        ),
    }
)
def test_bad_params(case):
    kind, words, arguments = case
    refused(kind, *words, **arguments)


@cases(
    {
        "an integer": 1,
        "a boolean": True,
        "a numpy scalar": np.float32(1.0),
        "a jax scalar": jnp.float32(1.0),
        "zero axes": np.array(1),
        "a DataArray": xr.DataArray(np.ones(3), dims="subject"),
        "a shared DataArray": xr.DataArray(1.0),
    }
)
def test_numbers_of_every_kind(case, reference):
    model = build(params=lambda _: {"mu": case})
    expected = terms(build(), mu=1.0)
    np.testing.assert_allclose(terms(model), expected, rtol=1e-7)


def test_labels_of_a_parameter_count():
    values = xr.DataArray([2.0, 0.0, 1.0], coords={"subject": ["c", "a", "b"]})
    together = terms(build(params=lambda _: {"mu": values}))
    apart = [terms(build(), mu=float(values.sel(subject=name)))[i] for i, name in enumerate("abc")]
    np.testing.assert_allclose(together, apart, rtol=1e-12)


def test_the_dim_of_an_expression_is_guessed_by_its_length():
    """A vector of components, whose dim is no batch dim, in a single series."""
    coords = {"year": np.arange(5.0), "animal": ["hare", "lynx"]}
    with pm.Model(coords=coords):
        log_rate = pm.Normal("log_rate", 0.0, 1.0, dims="animal")
        with pytest.raises(
            ValueError, match=r"no names.*Deterministic\('rate', ..., dims='animal'"
        ):
            pds.Trajectory(
                "y",
                two_states(),
                params={"rate": pm.math.exp(log_rate)},
                observed=np.zeros((5, 2)),
                dims=("year", "animal"),
            )


def test_variables_of_an_outer_model_are_known_in_an_inner_one(reference):
    with pm.Model(coords=COORDS) as outer:
        mu = pm.Normal("mu", 0.0, 1.0, dims="subject")
        with pm.Model(name="inner"):
            pds.Trajectory("y", ou(), params={"mu": mu}, observed=Y, dims=("subject", "time"))
    function = outer.compile_logp(vars=[outer["inner::y"]], sum=False, mode="FAST_COMPILE")
    np.testing.assert_allclose(function({"mu": np.full(3, 0.3)})[0], reference["terms"], rtol=1e-12)


# Dims and names ------------------------------------------------------------------------------


@cases(
    {
        "unknown": (
            ValueError,
            ("dims", "'id'", "'subject', 'time'", "coords={'id': ...}"),
            {"dims": ("id", "time")},
        ),
        "twice": (ValueError, ("dims", "('time', 'time')", "twice"), {"dims": ("time", "time")}),
        "time first": (
            ValueError,
            ("dims", "last dim must be time", "('time', 'subject')"),
            {"dims": ("time", "subject"), "observed": Y.T},
        ),
        "a number": (TypeError, ("dims", "3"), {"dims": 3}),
        "None among them": (TypeError, ("dims", "None"), {"dims": (None, "time")}),
        "an ellipsis": (TypeError, ("dims", "Ellipsis"), {"dims": (..., "time")}),
        "none for a panel": (
            ValueError,
            ("dims", "(3, 4)", "dims=('subject', 'time')"),
            {"dims": None},
        ),
        "one too few": (ValueError, ("observed", "(3, 4)", "(4,)"), {"dims": ("time",)}),
        "one too many": (
            ValueError,
            ("dims", "scalar law", "last dim must be time"),
            {
                "dims": ("subject", "time", "component"),
                "observed": Y[..., None],
                "coords": {**COORDS, "component": ["c"]},
            },
        ),
        "no component for a vector law": (
            ValueError,
            ("observation()", "(1,)", "level instead of x"),
            {"system": ou(observation=lambda x: dist.Normal(x, 0.2))},
        ),
    }
)
def test_bad_dims(case):
    kind, words, arguments = case
    refused(kind, *words, **arguments)


def test_a_trajectory_needs_a_model_and_a_mapping():
    with pytest.raises(TypeError, match="model"):
        pds.Trajectory("y", ou(), params={"mu": 0.0}, observed=Y)
    with pytest.raises(TypeError, match="positional"), pm.Model(coords=COORDS):
        pds.Trajectory("y", ou(), {"mu": 0.0}, observed=Y, dims=("subject", "time"))
    with pytest.raises(TypeError, match=r"unexpected.*shpae"):
        pds.Trajectory.dist(ou(), params={"mu": 0.0}, times=TIMES, shpae=3)
    with pytest.raises(TypeError, match=r"unexpected.*observed"):
        pds.Trajectory.dist(ou(), params={"mu": 0.0}, times=TIMES, observed=Y)


# Systems -------------------------------------------------------------------------------------


class Reverting:
    """Callable objects and bound methods are functions too."""

    def __call__(self, level, mu):
        return -0.5 * (level - mu)

    def method(self, level, mu):
        return -0.5 * (level - mu)


HALF, SINGLE = jnp.asarray(0.5), jnp.float32(0.5)


@cases(
    {
        "defaults": lambda level, mu, rate=0.5: -rate * (level - mu),
        "keywords only": lambda level, *, mu: -0.5 * (level - mu),
        "positions only": lambda level, mu, /: -0.5 * (level - mu),
        "the whole state": lambda x, mu: -0.5 * (x - mu),
        "partial by name": functools.partial(
            lambda level, mu, rate: -rate * (level - mu), rate=0.5
        ),
        "partial by position": functools.partial(lambda rate, level, mu: -rate * (level - mu), 0.5),
        "an object": Reverting(),
        "a method": Reverting().method,
        "jitted": jax.jit(lambda level, mu: -0.5 * (level - mu)),
        "a jax constant in a closure": lambda level, mu: -HALF * (level - mu),
        "a single-precision constant in a closure": lambda level, mu: -SINGLE * (level - mu),
        "a list": lambda level, mu: [-0.5 * (level - mu)],
    }
)
def test_functions_of_every_kind(case, reference):
    np.testing.assert_allclose(terms(build(ou(drift=case))), reference["terms"], rtol=1e-12)


@cases(
    {
        "one name as text": "level",
        "a list": ["level"],
        "a generator": (name for name in ["level"]),
    }
)
def test_states_of_every_kind(case, reference):
    np.testing.assert_allclose(terms(build(ou(states=case))), reference["terms"], rtol=1e-12)


def test_nothing_need_be_a_parameter():
    model = build(ou(drift=lambda level: -0.5 * level), params=lambda _: {})
    np.testing.assert_allclose(terms(model), terms(build(), mu=0.0), rtol=1e-12)


def test_a_sign_of_the_diffusion_and_more_noises_than_states(reference):
    np.testing.assert_allclose(terms(build(ou(diffusion=-0.3))), reference["terms"], rtol=1e-12)
    three = jnp.array([[0.1, 0.2, 0.2]])
    np.testing.assert_allclose(terms(build(ou(diffusion=three))), reference["terms"], rtol=1e-12)


@cases(
    {
        "of arguments": (
            TypeError,
            ("drift() takes *args", "by name"),
            {"system": lambda: ou(drift=lambda *args: 0.0)},
        ),
        "of keywords": (
            TypeError,
            ("drift() takes *others", "by name"),
            {"system": lambda: ou(drift=lambda level, **others: 0.0)},
        ),
        "without a signature": (
            TypeError,
            ("drift", "by name"),
            {"system": lambda: ou(drift=jnp.negative)},
        ),
        "text": (ValueError, ("'mu'", "drift"), {"system": lambda: ou(drift="-level")}),
        "nothing returned": (
            TypeError,
            ("drift() must return", "NoneType"),
            {"system": lambda: ou(drift=lambda level, mu: None)},
        ),
        "a mapping returned": (
            TypeError,
            ("drift() must return", "dict"),
            {"system": lambda: ou(drift=lambda level, mu: {"level": mu})},
        ),
        "complex": (
            TypeError,
            ("drift()", "real numbers", "complex"),
            {"system": lambda: ou(drift=lambda level, mu: 1j * level + mu)},
        ),
        "boolean": (
            TypeError,
            ("drift()", "real numbers", "bool"),
            {"system": lambda: ou(drift=lambda level, mu: level > mu)},
        ),
        "(n, 1)": (
            ValueError,
            ("drift() returned shape (1, 1)", "expected (1,)"),
            {"system": lambda: ou(drift=lambda x, mu: -(x[:, None] - mu))},
        ),
        "(n + 1,)": (
            ValueError,
            ("drift() returned shape (3,)", "expected (2,)", "depot, central"),
            {"system": lambda: two_states(drift=lambda depot, mu: (depot, mu, mu))},
        ),
        "a scalar for two states": (
            ValueError,
            ("drift() returned shape ()", "expected (2,)", "depot, central"),
            {"system": lambda: two_states(drift=lambda depot, mu: mu - depot)},
        ),
        "uneven entries": (
            ValueError,
            ("drift()", "different shapes"),
            {"system": lambda: two_states(drift=lambda x, mu: (x, mu))},
        ),
        "if": (
            ValueError,
            ("drift()", "jnp.where"),
            {"system": lambda: ou(drift=lambda level, mu: -level if level > mu else mu)},
        ),
        "numpy": (
            ValueError,
            ("drift()", "jnp"),
            {"system": lambda: ou(drift=lambda level, mu: np.tanh(level) - mu)},
        ),
        "math": (
            ValueError,
            ("drift()", "jnp"),
            {"system": lambda: ou(drift=lambda level, mu: math.tanh(level) - mu)},
        ),
        "its own mistake": (
            ValueError,
            ("drift() failed", "'level' a scalar", "IndexError"),
            {"system": lambda: ou(drift=lambda level, mu: mu - [level][1])},
        ),
        "an unknown argument": (
            ValueError,
            ("drift() asks for 'lvl'", "'mu'", "'level'", "did you mean 'level'"),
            {"system": lambda: ou(drift=lambda lvl, mu: mu - lvl)},
        ),
    }
)
def test_bad_drift(case):
    kind, words, arguments = case
    refused(kind, *words, build=lambda system: build(system()), **arguments)


@cases(
    {
        "diffusion transposed": (
            ValueError,
            ("diffusion() returned shape (3, 2)", "(2, noises)", "depot, central"),
            lambda: two_states(diffusion=jnp.ones((3, 2))),
        ),
        "diffusion of another length": (
            ValueError,
            ("diffusion() returned shape (3,)", "(2,)"),
            lambda: two_states(diffusion=jnp.ones(3)),
        ),
        "diffusion None": (TypeError, ("diffusion() must return",), lambda: ou(diffusion=None)),
        "diffusion a law": (
            TypeError,
            ("diffusion() must return", "Normal"),
            lambda: ou(diffusion=dist.Normal(0.0, 1.0)),
        ),
        "initial of another length": (
            ValueError,
            ("initial", "(3,)", "2 states", "depot, central"),
            lambda: two_states(initial=dist.Normal(jnp.zeros(3), 1.0)),
        ),
        "initial a scalar for two": (
            ValueError,
            ("initial", "()", "2 states", "depot, central"),
            lambda: two_states(initial=dist.Normal(0.0, 1.0)),
        ),
        "initial of the state": (
            ValueError,
            ("initial() asks for 'level'", "parameters only"),
            lambda: ou(initial=lambda level: dist.Normal(level, 1.0)),
        ),
        "initial of time": (
            ValueError,
            ("initial() asks for 't'", "parameters only"),
            lambda: ou(initial=lambda t: dist.Normal(t, 1.0)),
        ),
        "initial None": (TypeError, ("initial", "NoneType"), lambda: ou(initial=None)),
        "initial a mapping": (
            TypeError,
            ("initial", "dict"),
            lambda: two_states(initial={"depot": 1.0, "central": 0.0}),
        ),
        "initial a tuple with a law that is not Gaussian": (
            ValueError,
            ("initial", "entry 1", "LogNormal"),
            lambda: two_states(initial=(dist.Normal(0.0, 1.0), dist.LogNormal(0.0, 1.0))),
        ),
        "initial a tuple with a law of several": (
            ValueError,
            ("initial", "entry 0", "(2,)"),
            lambda: two_states(initial=(dist.Normal(0.0, 1.0).expand([2]), 1.0)),
        ),
        "initial not Gaussian": (
            ValueError,
            ("initial", "Gaussian"),
            lambda: ou(initial=dist.LogNormal(0.0, 1.0)),
        ),
        "observation a number": (
            TypeError,
            ("observation() must return a numpyro distribution", "dist.Normal(mean, s)"),
            lambda: ou(observation=lambda level: level),
        ),
        "observation a pair": (
            TypeError,
            ("observation() must return a numpyro distribution", "tuple"),
            lambda: ou(observation=lambda level: (level, 0.2)),
        ),
        "observation of PyMC": (
            ValueError,
            ("observation()",),
            lambda: ou(observation=lambda level: pm.Normal.dist(level, 0.2)),
        ),
        "observation a class": (
            TypeError,
            ("observation", "dist.Normal(mean, s)"),
            lambda: ou(observation=dist.Normal),
        ),
        "observation a matrix": (
            ValueError,
            ("observation()", "(1, 1)"),
            lambda: ou(observation=lambda x: dist.Normal(x[:, None], 0.2)),
        ),
        "observation matrix of another width": (
            ValueError,
            ("observation() failed", "x of shape (2,)", "2 states"),
            lambda: two_states(observation=lambda x: dist.Normal(jnp.ones((2, 3)) @ x, 0.2)),
        ),
        "noise negative": (
            ValueError,
            ("observation()", "scale"),
            lambda: ou(observation=lambda level: dist.Normal(level, -0.2)),
        ),
        "noise negative at the start": (
            ValueError,
            ("observation()", "noise covariance", "initial point"),
            lambda: ou(observation=lambda level, mu: dist.Normal(level, mu - 0.2)),
        ),
        "initial covariance not semi-definite": (
            ValueError,
            ("initial()", "covariance", "smallest eigenvalue -1"),
            lambda: two_states(
                initial=lambda mu: pds.Gaussian(
                    jnp.zeros(2) + 0 * mu, jnp.array([[1.0, 2.0], [2.0, 1.0]])
                )
            ),
        ),
        "not a system": (TypeError, ("system", "SDE, ODE or DiscreteTime", "str"), lambda: "ou"),
        "a class": (TypeError, ("system", "SDE, ODE or DiscreteTime"), lambda: pds.SDE),
        "a PyMC variable from outside": (
            ValueError,
            ("drift()", "params"),
            lambda: ou(drift=lambda level, mu: OF_ANOTHER_MODEL - level),
        ),
    }
)
def test_bad_systems(case):
    kind, words, system = case
    refused(kind, *words, build=lambda: build(system()))


@cases(
    {
        "empty": (ValueError, ("states", "empty"), ()),
        "twice": (ValueError, ("states", "('a', 'a')", "twice"), ("a", "a")),
        "several in one text": (ValueError, ("states", "'depot central'"), "depot central"),
        "reserved": (ValueError, ("states", "'t'", "reserved"), ("level", "t")),
        "numbers": (ValueError, ("states", "1"), (1, 2)),
        "a number": (TypeError, ("states", "1"), 1),
    }
)
def test_bad_states(case):
    kind, words, states = case
    refused(kind, *words, build=ou, states=states)


INDEFINITE = ((1.0, 2.0), (2.0, 1.0))


@cases(
    {
        "made inside": (
            lambda level: dist.MultivariateNormal(
                jnp.stack([level, level]), jnp.array(INDEFINITE) + 0 * level
            ),
            ("noise covariance", "smallest eigenvalue -1"),
        ),
        "made outside": (
            lambda level: pds.Gaussian(jnp.stack([level, level]), np.array(INDEFINITE)),
            ("not positive semi-definite", "smallest eigenvalue -1"),
        ),
        "made outside for numpyro": (
            lambda level: dist.MultivariateNormal(jnp.stack([level, level]), np.array(INDEFINITE)),
            ("covariance_matrix",),
        ),
    }
)
def test_a_noise_covariance_that_is_not_semi_definite_is_told(case):
    observation, words = case
    refused(
        ValueError,
        "observation()",
        *words,
        system=ou(observation=observation),
        observed=np.stack([Y, Y], -1),
        coords={**COORDS, "component": [0, 1]},
        dims=("subject", "time", "component"),
    )


def test_covariances_are_checked_where_they_are_known():
    with pytest.raises(ValueError, match=r"not positive semi-definite.*-1"):
        pds.Gaussian(jnp.zeros(2), jnp.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="symmetric"):
        pds.Gaussian(jnp.zeros(2), jnp.array([[1.0, 0.5], [0.2, 1.0]]))
    with pytest.raises(ValueError, match=r"\(2,\) needs a cov of shape \(2, 2\)"):
        pds.Gaussian(jnp.zeros(2), jnp.ones(2))


# Likelihoods and their options ---------------------------------------------------------------


@cases(
    {
        "particles none": (ValueError, ("EnKF", "ensemble_size", "2", "0"), lambda: pds.EnKF(0)),
        "particles one": (ValueError, ("EnKF", "ensemble_size", "at least 2"), lambda: pds.EnKF(1)),
        "particles negative": (ValueError, ("EnKF", "-5"), lambda: pds.EnKF(-5)),
        "particles a float": (TypeError, ("EnKF", "integer", "100.0"), lambda: pds.EnKF(100.0)),
        "particles a boolean": (TypeError, ("EnKF", "integer", "True"), lambda: pds.EnKF(True)),
        "seed text": (TypeError, ("EnKF", "seed", "'a'"), lambda: pds.EnKF(seed="a")),
        "seed a generator": (
            TypeError,
            ("EnKF", "seed"),
            lambda: pds.EnKF(seed=np.random.default_rng()),
        ),
        "variant": (
            ValueError,
            ("EnKF", "'etkf'", "'square_root'"),
            lambda: pds.EnKF(variant="etkf"),
        ),
        "a step for a scheme": (
            ValueError,
            ("EnKF", "EulerMaruyama(dt=...)", "0.05"),
            lambda: pds.EnKF(discretization=0.05),
        ),
        "a class for a scheme": (
            TypeError,
            ("EKF", "discretization"),
            lambda: pds.EKF(pds.EulerMaruyama),
        ),
        "step zero": (ValueError, ("dt", "positive", "0"), lambda: pds.EulerMaruyama(dt=0)),
        "step negative": (ValueError, ("dt", "-0.1"), lambda: pds.EulerMaruyama(dt=-0.1)),
        "step NaN": (ValueError, ("dt", "nan"), lambda: pds.EulerMaruyama(dt=np.nan)),
        "step infinite": (ValueError, ("dt", "inf"), lambda: pds.EulerMaruyama(dt=np.inf)),
        "step text": (
            (TypeError, ValueError),
            ("dt", "'0.1'"),
            lambda: pds.EulerMaruyama(dt="0.1"),
        ),
        "step boolean": (
            (TypeError, ValueError),
            ("dt", "True"),
            lambda: pds.EulerMaruyama(dt=True),
        ),
        "tolerance": (ValueError, ("rtol", "-1"), lambda: pds.MomentODE(rtol=-1)),
        "solver steps": (ValueError, ("max_steps", "0"), lambda: pds.ODESolve(max_steps=0)),
    }
)
def test_bad_options(case):
    kind, words, make = case
    refused(kind, *words, build=make)


@cases(
    {
        "a class": (TypeError, ("likelihood", "Kalman()"), {"likelihood": pds.Kalman}),
        "text": (TypeError, ("likelihood", "'kalman'"), {"likelihood": "kalman"}),
        "Kalman of a cubic": (
            ValueError,
            ("Kalman()", "drift is not affine", "EKF()"),
            {
                "system": ou(drift=lambda level, mu: mu - level**3),
                "likelihood": pds.Kalman(),
            },
        ),
        "counts": (
            ValueError,
            ("Gaussian observation", "observation()", "ODESolve()"),
            {"system": ou(observation=lambda level: dist.Poisson(jnp.exp(level)))},
        ),
        "counts in an ensemble": (
            ValueError,
            ("EnKF", "Gaussian observation"),
            {
                "system": ou(observation=lambda level: dist.Poisson(jnp.exp(level))),
                "likelihood": pds.EnKF(),
            },
        ),
        "heavy tails": (
            ValueError,
            ("EKF", "Gaussian observation"),
            {
                "system": ou(observation=lambda level: dist.StudentT(4.0, level, 0.2)),
                "likelihood": pds.EKF(),
            },
        ),
        "an SDE as an ODE": (
            ValueError,
            ("ODESolve()", "SDE", "Kalman()"),
            {"likelihood": pds.ODESolve()},
        ),
        "an uncertain start": (
            ValueError,
            ("ODESolve()", "initial", "Kalman()"),
            {"system": decay(initial=dist.Normal(1.0, 0.1)), "likelihood": pds.ODESolve()},
        ),
        "simulator text": (TypeError, ("simulator", "'euler'"), {"simulator": "euler"}),
        "simulator a filter": (TypeError, ("simulator", "EnKF"), {"simulator": pds.EnKF()}),
        "simulator of an ODE": (ValueError, ("simulator", "SDE"), {"simulator": pds.ODESolve()}),
    }
)
def test_bad_likelihoods(case):
    kind, words, arguments = case
    refused(kind, *words, **arguments)


def test_a_step_longer_than_the_gaps_is_one_step_a_gap():
    one, long = (terms(build(likelihood=pds.EKF(pds.EulerMaruyama(dt=dt)))) for dt in (None, 100.0))
    np.testing.assert_array_equal(one, long)


@pytest.mark.parametrize("role", ["likelihood", "simulator"])
def test_unstable_steps_are_a_warning(role):
    scheme = pds.EulerMaruyama(dt=1.0)
    arguments = {role: pds.EKF(scheme) if role == "likelihood" else scheme}
    with pytest.warns(
        UserWarning, match=rf"Euler steps of 1 in the {role} are unstable.*below 0.4"
    ):
        build(ou(drift=lambda level, mu: -5 * (level - mu)), **arguments)


# Domains -------------------------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [pds.EKF(), pds.EnKF()], ids=repr)
def test_a_square_root_of_a_negative_state_is_told_and_has_no_likelihood(likelihood):
    cir = ou(diffusion=lambda level: 0.3 * jnp.sqrt(level), initial=dist.Normal(-0.5, 0.1))
    with pytest.warns(UserWarning, match="diffusion.. is not finite.*jnp.where"):
        model = build(cir, likelihood=likelihood)
    np.testing.assert_array_equal(terms(model), -np.inf)
    assert np.isfinite(slopes(model)).all()


@cases(
    {
        "square root": lambda level, mu: jnp.sqrt(mu * mu) - level,
        "power": lambda level, mu: (mu * mu) ** 0.5 - level,
        "norm": lambda level, mu: jnp.linalg.norm(jnp.stack([mu, mu])) - level,
    }
)
def test_a_gradient_that_is_not_finite_at_the_start_is_told(case):
    with pytest.warns(UserWarning, match=r"drift\(\) is finite, but its gradient .* mu is not"):
        build(ou(drift=case))


def test_a_gradient_in_the_state_that_is_not_finite_at_the_start_is_told():
    with pytest.warns(UserWarning, match=r"diffusion\(\) is finite, but its gradient .* the state"):
        build(ou(diffusion=lambda level: 0.3 * jnp.sqrt(level)))


@pytest.mark.parametrize("likelihood", [pds.Kalman(), pds.EKF(), pds.EnKF()], ids=repr)
def test_a_negative_scale_met_while_sampling_is_minus_infinity_with_a_finite_gradient(likelihood):
    with pm.Model(coords=COORDS) as model:
        mu = pm.Normal("mu", 1.0, 1.0)
        system = ou(
            drift=lambda level: -0.5 * level,
            observation=lambda level, mu: dist.Normal(level, mu),
        )
        pds.Trajectory(
            "y",
            system,
            params={"mu": mu},
            observed=Y,
            dims=("subject", "time"),
            likelihood=likelihood,
        )
    value = model.compile_logp(mode="FAST_COMPILE")
    slope = model.compile_dlogp(mode="FAST_COMPILE")
    assert np.isfinite(value({"mu": np.array(0.2)}))
    assert value({"mu": np.array(-0.2)}) == -np.inf
    assert np.isfinite(slope({"mu": np.array(-0.2)})).all()


@pytest.mark.parametrize("law", [pds.Gaussian, dist.MultivariateNormal])
def test_an_indefinite_noise_met_while_sampling_is_minus_infinity_with_a_finite_gradient(law):
    def observation(level, mu):
        return law(
            jnp.stack([level, level]), jnp.stack([jnp.stack([1.0, mu]), jnp.stack([mu, 1.0])])
        )

    model = build(
        ou(drift=lambda level: -0.5 * level, observation=observation),
        observed=np.stack([Y, Y + 0.1], -1),
        coords={**COORDS, "component": [0, 1]},
        dims=("subject", "time", "component"),
    )
    assert np.isfinite(terms(model, 0.5)).all()
    np.testing.assert_array_equal(terms(model, 1.5), -np.inf)
    assert np.isfinite(slopes(model, 1.5)).all()


def test_no_observation_noise_is_a_likelihood_unless_it_contradicts_itself():
    exact = ou(observation=lambda level: pds.Gaussian(level, 0.0))
    np.testing.assert_allclose(terms(build(exact)), dense_ou(TIMES, noise=0.0), rtol=1e-10)
    twice = build(exact, times=[0, 1, 1, 3])
    np.testing.assert_array_equal(terms(twice), -np.inf)
    assert np.isfinite(slopes(twice)).all()


@cases(
    {
        "a negative count": (lambda amount: dist.Poisson(amount), np.full((3, 4), -1.0)),
        "a negative concentration": (
            lambda amount: dist.LogNormal(jnp.log(amount), 0.2),
            np.full((3, 4), -1.0),
        ),
    }
)
def test_data_outside_the_support_have_no_likelihood(case):
    observation, y = case
    model = build(decay(observation=observation), observed=y)
    function = model.compile_fn([model.logp(), model.dlogp()], mode="FAST_COMPILE")
    value, slope = function({"mu": np.array(0.3)})
    assert value == -np.inf
    assert np.isfinite(slope).all()
