"""Times and amounts of doses that are data of the model: they change, and nothing compiles anew."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.bridge.test_changed_data import compilations  # noqa: F401

NAN = np.nan
SUBJECTS, TIMES = ["a", "b"], np.array([1.0, 2.0, 6.0])
Y = np.array([[0.3, 0.2, 0.4], [0.1, NAN, 0.5]])
EVENT_TIMES = np.array([[0.0, 3.0], [0.5, NAN]])
AMOUNTS = np.array([[2.0, 1.0], [3.0, NAN]])
STILL = {"event_duration": xr.DataArray([0.0, 0.5], dims="event")}
ORAL = pds.ODE(
    states=("gut", "blood"),
    drift=lambda gut, blood, k: (-0.9 * gut, 0.9 * gut - jnp.exp(k) * blood),
    initial=(0.0, 0.0),
    observation=lambda blood: dist.Normal(blood, 0.3),
    events="gut",
)


def build(times=EVENT_TIMES, amounts=AMOUNTS, t0=0.0, more=STILL, dims=("subject", "event")):
    coords = {"subject": SUBJECTS, "time": TIMES, "event": [0, 1]}
    with pm.Model(coords=coords) as model:
        events = {
            "event_time": pds.data("at", times, dims=dims),
            "event_amount": pds.data("mg", amounts, dims=dims),
            **more,
        }
        pds.Trajectory(
            "y",
            ORAL,
            params={"k": pm.Normal("k")},
            events=events,
            observed=Y,
            dims=("subject", "time"),
            t0=t0,
            likelihood=pds.Kalman(),
        )
    return model


@pytest.fixture(scope="module")
def built():
    model = build()
    functions = model.compile_logp(), model.compile_dlogp()
    return model, lambda: [float(np.sum(f({"k": -0.4}))) for f in functions]


@pytest.fixture(autouse=True)
def as_it_was(built):
    yield
    pm.set_data({"at": EVENT_TIMES, "mg": AMOUNTS}, model=built[0])


def by_hand(times, amounts):
    """Log-density of the data and its slope: boluses, and an infusion over half an hour."""
    a, at = 0.9, jnp.asarray(TIMES)

    def bolus(s, k):
        s = jnp.maximum(s, 0.0)
        return a / (a - k) * (jnp.exp(-k * s) - jnp.exp(-a * s))

    def rise(s, k):
        s = jnp.maximum(s, 0.0)
        return a / (a - k) * (-jnp.expm1(-k * s) / k + jnp.expm1(-a * s) / a)

    def score(log_k):
        k, total = jnp.exp(log_k), -0.5 * log_k**2 - 0.5 * np.log(2 * np.pi)
        for y, when, mg in zip(Y, times, amounts, strict=True):
            x = mg[0] * bolus(at - when[0], k)
            if np.isfinite(when[1]):
                since = at - when[1]
                x = x + mg[1] / 0.5 * (rise(since, k) - rise(since - 0.5, k))
            seen = ~np.isnan(y)
            z = (y[seen] - x[seen]) / 0.3
            total = total - (0.5 * z**2 + np.log(0.3 * np.sqrt(2 * np.pi))).sum()
        return total

    return [float(part) for part in jax.value_and_grad(score)(-0.4)]


def test_new_amounts_and_times_compile_nothing(built, compilations):  # noqa: F811
    model, evaluate = built
    changed = [
        (EVENT_TIMES, AMOUNTS),
        (EVENT_TIMES, 2.0 * AMOUNTS),
        (EVENT_TIMES + np.array([[0.25, 0.5], [0.75, 0.0]]), AMOUNTS),
    ]
    expected = [by_hand(*values) for values in changed]
    found = [evaluate()]
    there = len(compilations)
    assert there  # so that the list is one of compilations
    for times, amounts in changed[1:]:
        pm.set_data({"at": times, "mg": amounts}, model=model)
        found.append(evaluate())
    assert len(compilations) == there
    # Closed forms on both sides.
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_results_see_the_new_doses(built):
    model, _ = built
    pm.set_data({"mg": 2.0 * AMOUNTS}, model=model)
    with pm.do(model, {"k": -0.4}) as known:
        pass
    states = pds.sample_states(None, model=known, progressbar=False).posterior["states"]
    blood = states.sel(state="blood", subject="b")[0, 0].values
    k = np.exp(-0.4)
    s = TIMES - 0.5
    np.testing.assert_allclose(
        blood, 6.0 * 0.9 / (0.9 - k) * (np.exp(-k * s) - np.exp(-0.9 * s)), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("name", "values", "match"),
    [
        (
            "mg",
            [[2.0, 1.0], [NAN, NAN]],
            r"amount of the event at time 0\.5 for .*is nan, expected",
        ),
        ("at", [[0.0, 3.0], [-0.5, NAN]], r"has an event at -0\.5, before t0 = 0"),
    ],
)
def test_what_a_build_refuses_is_refused_when_data_change(built, name, values, match):
    model, evaluate = built
    with pytest.raises(ValueError, match=match):
        build(**{"at": {"times": values}, "mg": {"amounts": values}}[name])
    pm.set_data({name: values}, model=model)
    with pytest.raises(ValueError, match=match):
        evaluate()
    with pytest.raises(ValueError, match=match):
        pds.sample_states(None, model=model)


@pytest.mark.slow
def test_a_program_of_jax_gives_no_number_where_a_dose_is_before_the_start(built):
    """Such a program takes the times as arguments, at which it cannot look."""
    model, _ = built
    logp = model.compile_logp(mode="JAX")
    expected = by_hand(EVENT_TIMES, AMOUNTS)[0]
    np.testing.assert_allclose(logp({"k": -0.4}), expected, rtol=1e-12)
    pm.set_data({"at": [[0.0, 3.0], [-0.5, NAN]]}, model=model)
    assert logp({"k": -0.4}) == -np.inf


def test_another_number_of_events_is_refused(built):
    model, evaluate = built
    more = np.full((2, 3), 1.0)
    pm.set_data({"at": more, "mg": more}, model=model, coords={"event": [0, 1, 2]})
    with pytest.raises(ValueError, match=r"number differs, 3 in event_time, .*2 in event_state"):
        evaluate()
    pm.set_data({"at": EVENT_TIMES, "mg": AMOUNTS}, model=model, coords={"event": [0, 1]})


def test_what_is_no_data_is_refused_by_name():
    for more, match in (
        ({"event_rate": xr.DataArray([0.0, 2.0], dims="event")}, "'event_rate' says what depends"),
        ({"event_duration": np.zeros(2)}, "'event_duration' is ndarray; expected a DataArray"),
    ):
        with pytest.raises((ValueError, TypeError), match=match):
            build(more=more)
    with pm.Model(coords={"event": [0, 1]}) as model:
        unknown = pm.Normal("unknown", dims="event")
        bare = pm.Data("bare", np.zeros(2))
        duration = pm.Data("lasts", np.zeros(2), dims="event")
        for name, value, match in (
            ("event_amount", unknown, "depends on random variables; it has to be data"),
            ("event_amount", bare, "no names for|has no dims"),
            ("event_duration", duration, "only event_time and event_amount may be"),
        ):
            events = {"event_time": xr.DataArray([0.0, 1.0], dims="event"), name: value}
            with pytest.raises(ValueError, match=match):
                pds.Trajectory.dist(ORAL, params={"k": 0.1}, events=events, times=TIMES)
    del model
