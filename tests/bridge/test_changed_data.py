"""Data that change after the model is built: followed, or refused where and when they change."""

import cloudpickle
import jax
import numpy as np
import pymc as pm
import pytensor
import pytest
import xarray as xr
from numpyro import distributions as dist
from pymc.sampling.jax import get_jaxified_logp

import pymc_dynsys as pds
from pymc_dynsys.likelihoods import gradient
from tests import dense
from tests.inference.posteriors import posterior

NAN = np.nan
SUBJECTS, TIMES = ["a", "b"], np.array([0.0, 1.0, 3.0])
Y = np.array([[0.3, -0.2, 0.4], [0.1, NAN, 0.5]])
DIMS = ("subject", "time")
OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu: -0.5 * (level - mu),
    diffusion=0.3,
    initial=dist.Normal(0.0, 1.0),
    observation=lambda level: dist.Normal(level, 0.2),
)


def expected(y, times, mu=0.3):
    """Sum of dense normal log-densities; `times` are one row for all or one for each."""
    one = np.eye(1)
    system = dense.LinearSystem(
        A=-0.5 * one,
        c=np.array([0.5 * mu]),
        L=0.3 * one,
        H=one,
        d=np.zeros(1),
        R=0.04 * one,
        m0=np.zeros(1),
        P0=one,
    )
    rows = np.broadcast_to(times, y.shape)
    there = ~np.isnan(rows)
    return sum(
        dense.log_likelihood(system, row[keep][:, None], at[keep])
        for row, at, keep in zip(y, rows, there, strict=True)
    )


def build(observed=Y, times=None, t0=None, coords=None, system=OU, **more) -> pm.Model:
    """A model at a known parameter; functions make its data variables."""
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES} | (coords or {})) as model:
        given = {"observed": observed, "times": times, "t0": t0}
        given = {name: v() if callable(v) else v for name, v in given.items()}
        params = more.pop("params", {"mu": 0.3})
        pds.Trajectory("y", system, params=params, dims=DIMS, **given, **more)
    return model


def in_data(y=Y):
    return lambda: pds.data("y_data", y, dims=DIMS)


def times_in_data(times=TIMES):
    return lambda: pm.Data("times", times, dims=DIMS[2 - np.ndim(times) :])


READERS = {
    "logp": lambda model: model.compile_logp(mode="FAST_COMPILE")({}),
    "draws": lambda model: pm.draw(model["y"], mode="FAST_COMPILE"),
    "states": lambda model: pds.sample_states(None, model=model),
    "forecast": lambda model: pds.forecast(None, model=model, times=[9.0]),
    "innovations": lambda model: pds.innovations(None, model=model),
    "log_likelihood": lambda model: pds.log_likelihood(None, model=model),
    "check": lambda model: pds.check_likelihood(model),
    "leave future out": lambda model: pds.LeaveFutureOut(model),
}


def every_reader_refuses(model, match, leave_out=()):
    for name, read in READERS.items():
        if name not in leave_out:
            with pytest.raises(ValueError, match=match):
                read(model)


def test_times_out_of_order_are_refused_by_all_that_reads_them():
    model = build(in_data(), times_in_data())
    pm.set_data({"times": [0.0, 3.0, 1.0]}, model=model)
    every_reader_refuses(model, r"times: .*the time at index 2 is 1, before 3; sort")


@pytest.mark.filterwarnings("ignore:The RandomType SharedVariables")
def test_times_in_a_program_of_jax_give_no_number_where_they_are_out_of_order():
    """Such a program takes the times as arguments, at which it cannot look."""
    model = build(in_data(), times_in_data())
    logp = model.compile_logp(mode="JAX")
    np.testing.assert_allclose(logp({}), expected(Y, TIMES), rtol=1e-10)
    pm.set_data({"times": [0.0, 3.0, 1.0]}, model=model)
    assert logp({}) == -np.inf
    assert np.isnan(pm.draw(model["y"], mode="JAX")).any()


def test_times_before_t0_are_refused_by_all_that_reads_them():
    model = build(in_data(), times_in_data(), t0=lambda: pm.Data("start", 0.0))
    pm.set_data({"start": 0.5}, model=model)
    every_reader_refuses(model, r"t0: .*t0 is 0\.5, after the first observation at 0")


def test_an_observation_where_there_is_no_visit_is_refused():
    model = build(in_data(), lambda: pds.data("times", TIMES, dims="time"))
    pm.set_data({"times": [0.0, 1.0, NAN]}, model=model)
    every_reader_refuses(
        model, r"observed: .*has an observation, 0\.4, but its time is NaN", leave_out=["draws"]
    )


def test_infinite_data_are_refused_when_they_are_set_or_read():
    model = build(in_data())
    with pytest.raises(ValueError, match=r"y_data: inf at axis 0=1, axis 1=0; a missing"):
        pm.set_data({"y_data": np.array([[0.0, 0.0, 0.0], [np.inf, 0.0, 0.0]])}, model=model)
    plain = build(lambda: pm.Data("y_data", np.zeros((2, 3)), dims=DIMS))
    pm.set_data({"y_data": np.full((2, 3), np.inf)}, model=plain)
    every_reader_refuses(plain, "observed: inf at", leave_out=["draws"])


def test_times_in_discrete_time_are_whole_steps_from_each_other():
    walk = pds.DiscreteTime(
        states=("level",),
        transition=lambda level, mu: dist.Normal(mu + level, 0.1),
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.2),
    )
    model = build(in_data(), times_in_data(), system=walk)
    pm.set_data({"times": [0.0, 1.0, 2.5]}, model=model)
    every_reader_refuses(model, "not a whole number of steps of 1")
    with pytest.raises(ValueError, match="not a whole number of steps of 1"):
        pds.simulate(walk, {"mu": 0.1}, [0.0, 1.0, 2.5])


def test_inputs_in_data_are_checked_when_built_and_ever_after():
    heated = pds.SDE(
        states=("level",),
        drift=lambda level, heat: heat - level,
        diffusion=0.3,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.2),
    )

    def model(heat):
        with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
            inputs = {"heat": pds.data("heat", heat, dims=DIMS)}
            pds.Trajectory("y", heated, inputs=inputs, observed=Y, dims=DIMS)
        return model

    with pytest.raises(ValueError, match=r"'heat' is missing for subject='b' over the gap before"):
        model(np.array([[1.0, 1.0, 1.0], [1.0, NAN, 1.0]]))
    changed = model(np.ones((2, 3)))
    pm.set_data({"heat": [[1.0, 1.0, 1.0], [1.0, NAN, 1.0]]}, model=changed)
    every_reader_refuses(changed, r"'heat' is missing for .* over the gap before time 3")
    pm.set_data({"heat": np.ones((2, 3))}, model=changed)
    assert np.isfinite(READERS["logp"](changed))


def test_parameters_in_data_are_finite():
    def model(weight):
        with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
            params = {"mu": pds.data("weight", weight, dims="subject")}
            pds.Trajectory("y", OU, params=params, observed=Y, dims=DIMS)
        return model

    with pytest.raises(ValueError, match="'mu' is nan for subject='b'; parameters must be finite"):
        model([0.1, NAN])
    changed = model([0.1, 0.2])
    pm.set_data({"weight": [0.1, NAN]}, model=changed)
    every_reader_refuses(changed, "'mu' is nan for subject='b'", leave_out=["logp", "draws"])
    assert READERS["logp"](changed) == -np.inf


# Labels ---------------------------------------------------------------------------------------


LATER = np.array([0.0, 2.0, 7.0])


@pytest.mark.parametrize("variant", [None, "do", "observe", "pickle"])
def test_labels_that_are_the_times_do_not_change_without_them(variant):
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
        mu = pm.Normal("mu")
        pds.Trajectory("y", OU, params={"mu": mu}, observed=in_data()(), dims=DIMS)
    if variant == "pickle":
        model = cloudpickle.loads(cloudpickle.dumps(model))
    elif variant is not None:
        model = getattr(pm, variant)(model, {"mu": 0.3})
    with pytest.raises(ValueError, match=r"'time' cannot change.*times of 'y'.*pm\.Data\('times'"):
        pm.set_data({"y_data": Y}, coords={"time": LATER}, model=model)
    np.testing.assert_array_equal(model.coords["time"], TIMES)
    pm.set_data({"y_data": Y}, coords={"time": TIMES.tolist()}, model=model)


@pytest.mark.parametrize("pickled", [False, True])
def test_new_data_are_matched_by_label(pickled):
    model = build(in_data(), times_in_data())
    if pickled:
        model = cloudpickle.loads(cloudpickle.dumps(model))
    new = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    labelled = xr.DataArray(new, coords={"subject": SUBJECTS, "time": TIMES})
    for shuffled in (labelled.isel(subject=[1, 0], time=[2, 0, 1]).T, labelled.to_pandas()[::-1]):
        pm.set_data({"y_data": np.zeros((2, 3))}, model=model)
        pm.set_data({"y_data": shuffled}, model=model)
        np.testing.assert_array_equal(model["y_data"].get_value(), new)
    with pytest.raises(ValueError, match=r"y_data: dim 'time' has 2\.0, which the model's"):
        pm.set_data({"y_data": labelled.assign_coords(time=LATER)}, model=model)
    later = {"y_data": labelled.assign_coords(time=LATER)[::-1], "times": LATER}
    pm.set_data(later, coords={"time": LATER}, model=model)
    np.testing.assert_array_equal(model["y_data"].get_value(), new)


def test_times_in_data_follow_with_their_labels():
    model = build(in_data(), times_in_data())
    logp = model.compile_logp(mode="FAST_COMPILE")
    np.testing.assert_allclose(logp({}), expected(Y, TIMES), rtol=1e-10)
    pm.set_data({"times": LATER, "y_data": Y}, coords={"time": LATER}, model=model)
    np.testing.assert_allclose(logp({}), expected(Y, LATER), rtol=1e-10)
    each = pds.log_likelihood(None, model=model, by="trajectory").log_likelihood["y"]
    np.testing.assert_allclose(each.sum(), expected(Y, LATER), rtol=1e-10)


OWN_TIMES = np.array([[0.0, 1.0, 3.0], [0.5, 1.0, 2.0]])


@pytest.mark.parametrize(
    "fixed, what",
    [
        ({"times": OWN_TIMES}, "times of 'y'"),
        ({"t0": xr.DataArray([-1.0, 0.0], dims="subject")}, "t0 of 'y'"),
        ({"params": {"mu": xr.DataArray([0.1, 0.2], dims="subject")}}, "params: 'mu'"),
    ],
    ids=["times", "t0", "params"],
)
def test_labels_do_not_change_over_arrays_that_cannot_follow(fixed, what):
    model = build(in_data(), **fixed)
    with pytest.raises(ValueError, match=f"'subject' cannot change, since {what} lies along"):
        pm.set_data({"y_data": Y}, coords={"subject": ["b", "a"]}, model=model)


def test_covariates_and_groups_of_effects_keep_their_labels_as_well():
    coords = {"subject": SUBJECTS, "group": ["g", "h"]}
    of_group = xr.DataArray(["h", "g"], dims="subject", coords={"subject": SUBJECTS})
    weight = xr.DataArray([60.0, 80.0], dims="subject", coords={"subject": SUBJECTS}, name="weight")
    for make in (
        lambda: pds.effects.varying(
            "b", pm.Normal("mean", dims="group"), 1.0, within={"group": of_group}, dims="subject"
        ),
        lambda: pds.effects.covariates("b", pm.Normal("slope"), weight),
    ):
        with pm.Model(coords=coords) as model:
            pm.Data("other", np.zeros(2), dims="subject")
            make()
        with pytest.raises(ValueError, match="'subject' cannot change"):
            pm.set_data({"other": np.ones(2)}, coords={"subject": ["b", "a"]}, model=model)


def test_times_that_come_with_data_are_not_lost():
    labelled = xr.DataArray(
        np.zeros((2, 3)),
        dims=("subject", "occasion"),
        coords={"subject": SUBJECTS, "time": (("subject", "occasion"), OWN_TIMES)},
    )
    with pm.Model(coords={"subject": SUBJECTS, "occasion": [0, 1, 2]}):
        data = pds.data("y_data", labelled)
        with pytest.raises(ValueError, match=r"'y_data' .* coordinate 'time'.*times=panel"):
            pds.Trajectory("y", OU, params={"mu": 0.3}, observed=data, dims=("subject", "occasion"))


def test_data_of_other_labels_are_not_those_of_the_new_ones():
    """Predictions do without the data; what conditions on them does not."""
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
        weight = pm.Data("weight", [1.0, 2.0], dims="subject")
        mu = pm.Deterministic("mu", pm.Normal("b") * weight, dims="subject")
        pds.Trajectory("y", OU, params={"mu": mu}, observed=Y, dims=DIMS)
    pm.set_data({"weight": [5.0, 6.0]}, coords={"subject": ["c", "d"]}, model=model)
    assert pm.draw(model["y"], mode="FAST_COMPILE").shape == (2, 3)
    with pytest.raises(ValueError, match=r"'subject' have changed.*'y', given as an array"):
        pds.forecast(posterior({"b": 0.1}, 1), model=model, times=[9.0])


# As many rows as trajectories -----------------------------------------------------------------


def test_one_row_does_not_stand_for_all():
    with pytest.raises(ValueError, match=r"observed: shape \(1, 3\).*shape \(2,\)"):
        pm.observe(build(), {"y": Y[:1]}).compile_logp()
    with pytest.raises(ValueError, match=r"shape \(1, 3\), expected \(2, 3\) \(subject=2"):
        pds.sample_states(None, model=pm.observe(build(), {"y": Y[:1]}))
    unnamed = build(lambda: pm.Data("y_data", np.zeros((2, 3))))
    with pytest.raises(ValueError, match="new coord values for the subject dimension"):
        pm.set_data({"y_data": np.zeros((1, 3))}, model=unnamed)


def test_an_intervention_is_one_for_each_as_well():
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
        mu = pm.Normal("mu", dims="subject")
        pds.Trajectory("y", OU, params={"mu": mu}, observed=Y, dims=DIMS)
    model = pm.do(model, {"mu": np.array([0.1])})
    every_reader_refuses(
        model, "1 row for 2 trajectories|1 along 'subject', which has length 2", ["draws"]
    )


@pytest.mark.parametrize("role", ["observed", "times", "params"])
def test_minibatches_are_refused(role):
    def given(name, value):
        return {role: lambda: pm.Minibatch(value, batch_size=2)} if name == role else {}

    arguments = given("observed", np.zeros((2, 3))) | given("times", TIMES[:2])
    if role == "params":
        arguments = {"params": {"mu": pm.Minibatch(np.zeros(2), batch_size=2)}}
    with pytest.raises(TypeError, match=f"{role}.*pm.Minibatch"):
        build(**arguments)


# Precision ------------------------------------------------------------------------------------


def test_single_precision_is_an_error_and_never_a_wrong_number():
    """Data near 1e7 in single precision are off by one."""
    with pytensor.config.change_flags(floatX="float32"):
        with pytest.raises(RuntimeError, match="floatX is 'float32'"):
            build()
    model = build()
    for name in ("draws", "states", "forecast", "log_likelihood", "check", "logp"):
        with jax.enable_x64(False), pytest.raises(RuntimeError, match="jax_enable_x64"):
            READERS[name](model)
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="jax_enable_x64"):
        pds.simulate(OU, {"mu": 0.3}, TIMES)
    with jax.enable_x64(False), pytest.raises(RuntimeError, match="jax_enable_x64"):
        build()


@pytest.fixture
def compilations():
    """Names of what XLA compiles from now on."""
    events: list[str] = []

    def note(event: str, *_: object, **__: object) -> None:
        if "backend_compile" in event:
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(note)
    yield events
    jax.monitoring.unregister_event_duration_listener(note)


@pytest.mark.parametrize("name", ["heat", "seen"])
def test_new_values_compile_nothing(name, compilations):
    """Values and gradients follow, by the programs that are there."""
    heated = pds.SDE(
        states=("level",),
        drift=lambda level, mu, heat: -0.5 * (level - mu) + heat,
        diffusion=0.3,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 0.2),
    )
    values = {"heat": np.array([[1.0, 2.0, -1.0], [0.5, 0.0, 1.0]]), "seen": Y}

    def model_of(values):
        with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
            data = {name: pds.data(name, value, dims=DIMS) for name, value in values.items()}
            params, inputs = {"mu": pm.Normal("mu")}, {"heat": data["heat"]}
            pds.Trajectory(
                "y", heated, params=params, inputs=inputs, observed=data["seen"], dims=DIMS
            )
        functions = model.compile_logp(), model.compile_dlogp()
        return model, lambda: [float(np.sum(f({"mu": 0.4}))) for f in functions]

    model, evaluate = model_of(values)
    before, there = evaluate(), len(compilations)
    assert there  # so that the list is one of compilations
    changed = {name: -0.5 * values[name]}
    pm.set_data(changed, model=model)
    after = evaluate()
    assert len(compilations) == there
    np.testing.assert_allclose(after, model_of(values | changed)[1](), rtol=1e-13)
    assert not np.isclose(before, after).any()


def test_a_gradient_traces_the_likelihood_once(monkeypatch):
    """Neither a value that nobody asks for nor a second place in the program traces it again."""
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
        mu = pm.Normal("mu")
        pds.Trajectory("y", OU, params={"mu": mu}, observed=Y, dims=DIMS)
    traced, totals = [], gradient.totals

    def counted(*args):
        traced.append(args)
        return totals(*args)

    monkeypatch.setattr(gradient, "totals", counted)
    slope = jax.grad(get_jaxified_logp(model))

    def twice(mu):
        return slope([mu])[0] + slope([2.0 * mu])[0]

    jax.jit(twice).trace(0.3)
    assert len(traced) == 1
