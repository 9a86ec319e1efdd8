"""Time-varying inputs against a plain loop, and every way to give them."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds

TIMES = np.array([0.0, 1.0, 2.5, 3.0])
SUBJECTS = ["p", "q"]
U = np.array([[1.0, 2.0, 0.5, 3.0], [0.1, 0.2, 0.3, 0.4]])
Y = np.array([[0.1, 0.2, 0.3, np.nan], [1.0, 2.0, 3.0, 4.0]])
RATE = 0.7


def panel(values, times=TIMES):
    return xr.DataArray(
        values, dims=("subject", "time"), coords={"subject": SUBJECTS, "time": times}
    )


# The input drives both the rate and the level, and shifts the datum.
SYSTEM = pds.SDE(
    states=("a",),
    drift=lambda a, u, k: -k * u * a + u,
    diffusion=0.3,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda a, u: dist.Normal(a + u, 0.5),
)
DRIVEN = pds.SDE(
    states=("a",),
    drift=lambda a, u, k: -k * a + u,
    diffusion=0.3,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda a: dist.Normal(a, 0.5),
)

LOOKED_AT = pds.SDE(
    states=("a",),
    drift=lambda a, k: -k * a,
    diffusion=0.3,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda a, u: dist.Normal(a + u, 0.5),
)


def logps(u, system=SYSTEM, likelihood=None, times=TIMES):
    with pm.Model(coords={"subject": SUBJECTS, "time": times}) as model:
        k = pm.LogNormal("k", 0, 1)
        pds.Trajectory(
            "y",
            system,
            params={"k": k},
            inputs={"u": u},
            observed=Y,
            dims=("subject", "time"),
            likelihood=likelihood,
        )
    return model.compile_logp(vars=[model["y"]], sum=False)({"k_log__": np.log(RATE)})[0]


def loop(held, there, rate_of, offset_of):
    """Scalar Kalman filter of each subject, written out."""
    totals = []
    for i in range(2):
        m, P, total, last = 0.0, 1.0, 0.0, TIMES[0]
        for j, t in enumerate(TIMES):
            h, a = t - last, -rate_of(held[i][j])
            F = np.exp(a * h)
            m = F * m + (F - 1) / a * held[i][j]
            P = F * F * P + 0.09 * (np.exp(2 * a * h) - 1) / (2 * a)
            last = t
            if np.isfinite(Y[i, j]):
                v, s = Y[i, j] - m - offset_of(there[i][j]), P + 0.25
                total += -0.5 * (np.log(2 * np.pi * s) + v * v / s)
                m, P = m + P / s * v, P - P * P / s
        totals.append(total)
    return totals


def before(u):
    """Value at the visit before, which holds over the gap."""
    return np.concatenate([u[:, :1], u[:, :-1]], axis=1)


@pytest.mark.parametrize(
    ("likelihood", "tolerance"),
    [(None, 1e-12), (pds.EKF(), 1e-12), (pds.EKF(pds.MomentODE(1e-10, 1e-12)), 1e-8)],
)
def test_held_inputs_equal_a_loop(likelihood, tolerance):
    expected = loop(before(U), U, lambda u: RATE * u, lambda u: u)
    np.testing.assert_allclose(logps(panel(U), likelihood=likelihood), expected, rtol=tolerance)


def test_inputs_align_by_label():
    np.testing.assert_array_equal(logps(panel(U)), logps(panel(U)[::-1]))


def test_plain_array_and_dims_in_another_order():
    np.testing.assert_array_equal(logps(panel(U)), logps(U))
    np.testing.assert_array_equal(logps(panel(U)), logps(panel(U).T))


def test_an_input_shared_by_all():
    shared = xr.DataArray(U[0], dims="time", coords={"time": TIMES})
    np.testing.assert_allclose(logps(shared), logps(panel(np.tile(U[0], (2, 1)))), rtol=1e-13)


def test_next_value():
    expected = loop(U, U, lambda u: RATE, lambda u: 0.0)
    found = logps(pds.Input(panel(U), "next"), DRIVEN)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_finer_table_changes_between_visits():
    """Held at 1 until 0.5 and at 2 from there: the exact flow of both pieces."""
    fine = xr.DataArray([1.0, 2.0], dims="knot", coords={"time": ("knot", [0.0, 0.5])})
    paths = pds.simulate(
        pds.ODE(
            states=("a",),
            drift=lambda a, u: u - a,
            initial=0.0,
            observation=lambda a: dist.Normal(a, 0.1),
        ),
        {},
        np.array([0.0, 1.0, 2.0]),
        inputs={"u": fine},
        random_seed=1,
    )
    half = 1 - np.exp(-0.5)
    one = 2 + (half - 2) * np.exp(-0.5)
    two = 2 + (one - 2) * np.exp(-1.0)
    np.testing.assert_allclose(paths.states[0, :, 0], [0.0, one, two], rtol=1e-6, atol=1e-12)


def test_missing_input_names_subject_and_time():
    u = U.copy()
    u[1, 2] = np.nan
    with pytest.raises(ValueError, match=r"'u' is missing for subject='q'.*time 3"):
        logps(panel(u), DRIVEN)
    with pytest.raises(ValueError, match=r"subject='q' .*at time 2\.5|over the gap before time 3"):
        logps(panel(u))


@pytest.mark.parametrize("gaps", ["previous", "linear"])
def test_gaps_are_filled_as_the_user_says(gaps):
    u, whole = U.copy(), U.copy()
    u[1, 1] = np.nan
    whole[1, 1] = 0.1 if gaps == "previous" else 0.1 + (0.3 - 0.1) * (1.0 / 2.5)
    np.testing.assert_allclose(logps(pds.Input(u, gaps=gaps)), logps(whole), rtol=1e-14)
    with pytest.raises(ValueError, match=r"at time 1; .*gaps='previous'.*where all of y is"):
        logps(panel(u), LOOKED_AT)


def test_gaps_are_filled_from_what_comes_before_only():
    u = np.where(np.arange(4) == 0, np.nan, U)
    for gaps in ("previous", "linear"):
        with pytest.raises(ValueError, match=r"'u' is missing for subject='p' over .* time 1"):
            logps(pds.Input(u, gaps=gaps), DRIVEN)
    with pytest.raises(ValueError, match="gaps must be 'previous'"):
        pds.Input(u, gaps="next")
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}):
        free = pm.Normal("u", dims=("subject", "time"))
        with pytest.raises(ValueError, match=r"'u' is a PyMC variable, .*leave gaps='linear' out"):
            pds.Trajectory(
                "y",
                DRIVEN,
                params={"k": 1.0},
                inputs={"u": pds.Input(free, gaps="linear")},
                observed=Y,
                dims=("subject", "time"),
            )


def records(times, values):
    """An input with times of its own, as ``panel`` makes it where rows are no visits."""
    coords = {"subject": SUBJECTS, "record_time": (("subject", "record"), times)}
    return xr.DataArray(values, dims=("subject", "record"), coords=coords)


def test_a_value_does_not_hold_before_its_time():
    late = records([[0.5, 1.0], [0.0, 1.0]], [[1.0, 2.0], [1.0, 2.0]])
    message = "'u' is missing for subject='p' over the gap before time 0.5; .*begin later"
    with pytest.raises(ValueError, match=message):
        logps(late, DRIVEN)


def test_two_values_at_once():
    """The last one holds from there on, but a datum of that time might mean either."""
    u = records([[0.0, 1.0, 1.0, 2.5, 3.0]] * 2, np.repeat([[1.0, 7.0, 2.0, 0.5, 3.0]], 2, 0))
    np.testing.assert_array_equal(logps(u, DRIVEN), logps(panel(U[[0, 0]]), DRIVEN))
    with pytest.raises(ValueError, match="'u' has two values at time 1 for subject='p', and obs"):
        logps(u, LOOKED_AT)


def test_an_unknown_input_after_the_last_visit_does_not_matter():
    u = U.copy()
    u[:, -1] = np.nan
    np.testing.assert_array_equal(logps(panel(u), DRIVEN), logps(panel(U), DRIVEN))


@pytest.mark.parametrize(
    ("u", "error", "message"),
    [
        (U[:, :3], ValueError, "3 values along 'time'"),
        (xr.DataArray(U[:, 0], dims="subject"), ValueError, "goes into params"),
        (np.where(U > 2, np.inf, U), ValueError, "infinite"),
        (np.full(U.shape, "hot"), TypeError, "'hot'"),
    ],
)
def test_bad_inputs(u, error, message):
    with pytest.raises(error, match=message) as caught:
        logps(u)
    assert "'u'" in str(caught.value)


def test_names():
    with pytest.raises(ValueError, match="'u' is also in params"):
        with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}):
            pds.Trajectory(
                "y",
                SYSTEM,
                params={"k": 1.0, "u": 1.0},
                inputs={"u": U},
                observed=Y,
                dims=("subject", "time"),
            )
    with pytest.raises(ValueError, match="interpolation must be one of"):
        pds.Input(U, "cubic")


def test_a_number_is_an_input_that_does_not_change():
    np.testing.assert_array_equal(logps(0.7), logps(np.full(4, 0.7)))


def test_a_name_that_nobody_knows_may_be_an_input():
    with pytest.raises(ValueError, match=r"asks for 'u'; .*give it with inputs=\{'u': ...\}"):
        with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}):
            pds.Trajectory("y", DRIVEN, params={"k": 1.0}, observed=Y, dims=("subject", "time"))
    with pytest.raises(ValueError, match=r"inputs has 'age', .*leave it out"):
        with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}):
            pds.Trajectory(
                "y",
                DRIVEN,
                params={"k": 1.0},
                inputs={"u": panel(U), "age": panel(U)},
                observed=Y,
                dims=("subject", "time"),
            )


@pytest.mark.parametrize("dim", ["visit", "time"])
@pytest.mark.parametrize("times", ["shared", "ragged"])
@pytest.mark.parametrize("named", [True, False])
def test_labels_of_the_time_dim_are_matched_and_never_times(dim, times, named):
    """Visits are numbered, and the times are said apart: the input at visit k is u[k]."""
    numbers = np.arange(4)
    coords = {"subject": SUBJECTS, **({dim: numbers} if named else {})}
    u = xr.DataArray(U, dims=("subject", dim), coords={"subject": SUBJECTS, dim: numbers})
    own = xr.DataArray(np.tile(TIMES, (2, 1)), dims=("subject", dim), coords={"subject": SUBJECTS})
    with pm.Model(coords=coords) as model:
        pm.Data("any", U, dims=("subject", dim))
        pds.Trajectory(
            "y",
            SYSTEM,
            params={"k": RATE},
            inputs={"u": u.isel({dim: [3, 0, 2, 1]})},
            times=TIMES if times == "shared" else own,
            observed=Y,
            dims=("subject", dim),
        )
    found = model.compile_logp(sum=False, mode="FAST_COMPILE")({})[0]
    expected = loop(before(U), U, lambda u: RATE * u, lambda u: u)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_other_labels_than_those_of_the_time_dim_say_where_times_go():
    u = xr.DataArray(U, dims=("subject", "day"), coords={"day": [0.0, 0.5, 1.0, 1.5]})
    with pm.Model(coords={"subject": SUBJECTS, "day": TIMES}):
        with pytest.raises(ValueError, match=r"'day' has 0\.5, which.*coordinate 'time', along"):
            pds.Trajectory(
                "y",
                SYSTEM,
                params={"k": RATE},
                inputs={"u": u},
                observed=Y,
                dims=("subject", "day"),
            )
    with pytest.raises(ValueError, match="'u' are not ascending for subject='q'; sort"):
        late = {"time": (("subject", "knot"), [[0.0, 1.0], [1.0, 0.0]])}
        logps(xr.DataArray(U[:, :2], dims=("subject", "knot"), coords=late))


CHANNELS = pds.ODE(
    states=("a",),
    drift=lambda a, u, weight: (u * weight).sum() - a,
    initial=0.0,
    observation=lambda a: dist.Normal(a, 0.1),
)
WEIGHT = xr.DataArray([2.0, -3.0], dims="channel", coords={"channel": ["l", "r"]})
TWO = xr.DataArray(
    [[[1.0, 0.5], [0.2, 0.4]], [[0.0, 2.0], [1.0, -1.0]]],
    dims=("subject", "time", "channel"),
    coords={"subject": SUBJECTS, "time": [0.0, 1.0], "channel": ["l", "r"]},
)
SHUFFLED = TWO.isel(channel=[1, 0], subject=[1, 0])


def two_steps(start):
    """States at the times 1 and 2 of each subject, from the solution of ``a' = c - a``."""
    a, found = np.asarray(start), []
    for c in (TWO.values @ WEIGHT.values).T:
        a = c + (a - c) * np.exp(-1.0)
        found.append(a)
    return np.stack(found, axis=1)


def test_simulated_inputs_align_along_all_dims():
    paths = pds.simulate(
        CHANNELS,
        {"weight": WEIGHT},
        np.array([0.0, 1.0, 2.0]),
        inputs={"u": SHUFFLED},
        t0=xr.DataArray([0.0, 0.0], coords={"subject": SUBJECTS}),
        dims="subject",
        random_seed=1,
    )
    np.testing.assert_allclose(paths["states"][0, :, 1:, 0], two_steps([0, 0]), rtol=1e-6)


def test_future_inputs_align_along_all_dims_also_those_the_model_does_not_have():
    now = TWO.isel(time=[0]) * 0
    with pm.Model(coords={"subject": SUBJECTS, "time": [0.0]}) as model:
        pm.Normal("nothing")
        pds.Trajectory(
            "y",
            CHANNELS,
            params={"weight": WEIGHT},
            inputs={"u": now},
            observed=np.zeros((2, 1)),
            dims=("subject", "time"),
        )
        idata = pm.sample_prior_predictive(1, random_seed=1, var_names=["nothing"])
    future = pds.forecast(
        idata,
        model=model,
        group="prior",
        times=[1.0, 2.0],
        inputs={"u": SHUFFLED},
        random_seed=1,
    )
    states = future["predictions"]["states"].values[0, 0, ..., 0]
    np.testing.assert_allclose(states, two_steps([0, 0]), rtol=1e-6)
    with pytest.raises(ValueError, match="'channel' has 'm'"):
        strange = SHUFFLED.assign_coords(channel=["l", "m"])
        pds.forecast(idata, model=model, group="prior", times=[1.0, 2.0], inputs={"u": strange})
