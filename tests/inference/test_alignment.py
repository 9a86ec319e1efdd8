"""Draws and models that differ: interventions, other data, other orders, dates, names."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

NAN = np.nan
SETTLING = pds.SDE(
    states=("level",),
    drift=lambda level, mu: mu - level,
    diffusion=1e-6,
    initial=(0.0,),
    observation=lambda level: dist.Normal(level, 0.1),
)
"""Far ahead its state is mu."""


def trajectory(mu, labels, **options):
    y = np.zeros((len(labels), 2))
    pds.Trajectory(
        "y", SETTLING, params={"mu": mu}, observed=y, **{"dims": ("subject", "time"), **options}
    )


def far_ahead(idata, model, **options):
    """Mean state at 60, where of the start exp(-60) is left: mu, to the sd of 1e-6 of its noise."""
    out = pds.forecast(idata, model=model, times=[60.0], random_seed=1, **options)
    return out.predictions["states"].mean(("chain", "draw")).squeeze(("time", "state"))


def coords(labels, **more):
    return {"subject": labels, "time": [0.0, 1.0], **more}


def test_interventions_count():
    with pm.Model(coords=coords(["a", "b"])) as model:
        trajectory(pm.Normal("mu"), "ab")
    idata = posterior({"mu": 5.0}, 2)
    np.testing.assert_allclose(far_ahead(idata, model), 5.0, atol=1e-3)
    np.testing.assert_allclose(far_ahead(idata, pm.do(model, {"mu": -50.0})), -50.0, atol=1e-3)


def test_deterministic_variables_are_computed_with_the_data_of_now():
    with pm.Model(coords=coords(["a", "b"])) as model:
        weight = pm.Data("weight", [1.0, 2.0], dims="subject")
        trajectory(pm.Deterministic("mu", pm.Normal("b") * weight, dims="subject"), "ab")
    stale = {"b": 5.0, "mu": (("subject",), np.array([5.0, 10.0]))}
    idata = posterior(stale, 2, subject=["a", "b"])
    np.testing.assert_allclose(far_ahead(idata, model), [5.0, 10.0], atol=1e-3)
    pm.set_data({"weight": [100.0, 200.0]}, model=model)
    np.testing.assert_allclose(far_ahead(idata, model), [500.0, 1000.0], rtol=1e-4)
    only_stale = posterior({"mu": stale["mu"]}, 2, subject=["a", "b"])
    with pytest.raises(ValueError, match="do not hold b"):
        far_ahead(only_stale, model)


def test_labels_decide_and_not_positions():
    with pm.Model(coords=coords(["a", "b"])) as model:
        trajectory(pm.Normal("mu", dims="subject"), "ab")
    swapped = posterior({"mu": (("subject",), np.array([1.0, 2.0]))}, 2, subject=["b", "a"])
    np.testing.assert_allclose(far_ahead(swapped, model), [2.0, 1.0], atol=1e-3)
    transposed = swapped.copy()
    transposed["posterior"] = swapped["posterior"].dataset.transpose("subject", "draw", "chain")
    np.testing.assert_allclose(far_ahead(transposed, model), [2.0, 1.0], atol=1e-3)


def test_new_subjects_find_their_population_by_label():
    labels = ["p", "q"]
    with pm.Model(coords=coords(labels, arm=["ctl", "trt"])) as model:
        of_arm = pm.Normal("of_arm", dims="arm")
        trajectory(pm.Normal("mu", of_arm, 1e-3, dims="subject"), labels)
    idata = posterior(
        {"of_arm": (("arm",), np.array([100.0, -100.0])), "mu": (("subject",), np.zeros(2))},
        50,
        arm=["trt", "ctl"],
        subject=["a", "b"],
    )
    np.testing.assert_allclose(far_ahead(idata, model), [-100.0, 100.0], atol=0.1)


def test_new_subjects_of_old_groups_keep_all_the_groups():
    labels = ["p", "q"]
    with pm.Model(coords=coords(labels, arm=["trt"])) as model:
        of_arm = pm.Normal("of_arm", dims="arm")
        trajectory(pm.Normal("mu", of_arm[0], 1e-3, dims="subject"), labels)
    idata = posterior(
        {"of_arm": (("arm",), np.array([1.0, 2.0])), "mu": (("subject",), np.zeros(2))},
        2,
        arm=["ctl", "trt"],
        subject=["a", "b"],
    )
    message = r"coords=pds\.coords\(new\) \| \{'arm': \['ctl', 'trt'\]\}"
    with pytest.raises(ValueError, match=message):
        far_ahead(idata, model)


def test_new_subjects_need_the_whole_population():
    with pm.Model(coords=coords(["p", "q"])) as model:
        mu = pm.Normal("mu", pm.Normal("centre"), pm.HalfNormal("tau"), dims="subject")
        trajectory(mu, "pq")
    draws = {"centre": 1.0, "mu": (("subject",), np.zeros(2))}
    idata = posterior(draws, 2, subject=["a", "b"])
    with pytest.raises(ValueError, match="do not hold tau, on which the new mu depend"):
        far_ahead(idata, model)


def test_new_subjects_without_random_effects():
    with pm.Model(coords=coords(["p", "q"])) as model:
        weight = xr.DataArray([3.0, 4.0], dims="subject")
        slope = pm.Normal("slope")
        trajectory(pm.Deterministic("mu", slope * weight.values, dims="subject"), "pq")
    draws = {"slope": 2.0, "mu": (("subject",), np.array([1.0, 1.0]))}
    idata = posterior(draws, 2, subject=["a", "b"])
    np.testing.assert_allclose(far_ahead(idata, model), [6.0, 8.0], atol=1e-3)


def test_effects_without_named_dims_are_nobodys():
    with pm.Model(coords=coords(["p", "q"])) as model:
        shift = pm.Normal("shift", shape=2)
        scale = pm.Normal("scale", pm.Normal("centre"), dims="subject")
        trajectory(pm.Deterministic("mu", shift + scale, dims="subject"), "pq")
    draws = {
        "shift": (("shift_dim_0",), np.array([50.0, -50.0])),
        "scale": (("subject",), np.zeros(2)),
        "centre": 0.0,
    }
    idata = posterior(draws, 2, subject=["a", "b"])
    with pytest.raises(ValueError, match="shift has no named dims and an axis of length 2"):
        far_ahead(idata, model)


def test_shapes_must_agree_where_no_dim_says_so():
    with pm.Model(coords=coords(["a", "b"])) as model:
        z = pm.Normal("z", shape=3)
        trajectory(pm.Deterministic("mu", z[:2], dims="subject"), "ab")
    idata = posterior({"z": (("z_dim_0",), np.zeros(1))}, 2)
    with pytest.raises(
        ValueError, match=r"z has shape \(1,\) in the draws and \(3,\) in the model"
    ):
        far_ahead(idata, model)


@pytest.mark.parametrize(
    "labels",
    [
        np.array(["2024-01-01", "2024-01-02"], "datetime64[ns]"),
        np.array(["2024-01-01", "2024-01-02"], "datetime64[D]"),
        pd.date_range("2024-01-01", periods=2),
        [11, 5],
        [0.5, 0.25],
    ],
    ids=["ns", "D", "pandas", "integers", "floats"],
)
def test_labels_of_every_kind(labels):
    with pm.Model(coords=coords(labels)) as model:
        mu = pm.Normal("mu", pm.Normal("centre"), dims="subject")
        trajectory(mu, labels)
    given = np.asarray(labels)
    given = given.astype("datetime64[ns]") if given.dtype.kind == "M" else given
    draws = {"mu": (("subject",), np.array([7.0, 8.0])), "centre": 0.0}
    idata = posterior(draws, 2, subject=given)
    np.testing.assert_allclose(far_ahead(idata, model), [7.0, 8.0], atol=1e-3)
    assert pds.sample_states(idata, model=model, random_seed=1).posterior.sizes["subject"] == 2


def test_dates_come_in_and_go_out():
    days = np.array(["2024-03-01", "2024-03-02", "2024-03-04"], "datetime64[D]")
    with pm.Model(coords={"time": days}) as model:
        params = {"mu": pm.Normal("mu")}
        pds.Trajectory(
            "y",
            SETTLING,
            params=params,
            observed=[0.0, 0.5, 0.9],
            unit="D",
            dims="time",
            times=days,
        )
    idata = posterior({"mu": 1.0}, 2)
    states = pds.sample_states(idata, model=model, random_seed=1)
    np.testing.assert_array_equal(states.posterior["time"], days.astype("datetime64[ns]"))
    ahead = np.array(["2024-03-04T12", "2024-03-05"], "datetime64[h]")
    future = pds.forecast(idata, model=model, times=ahead, random_seed=1)
    np.testing.assert_array_equal(future.predictions["time"], ahead.astype("datetime64[ns]"))
    expected = 1 - np.exp(-np.array([3.5, 4.0]))
    got = future.predictions["states"].values[0, 0, :, 0]
    np.testing.assert_allclose(got, expected, atol=1e-4)
    with pytest.raises(TypeError, match="times are dates, so times must be a date too"):
        pds.forecast(idata, model=model, times=[5.0])


def test_systems_and_models_without_parameters():
    still = pds.SDE(
        states=("level",),
        drift=lambda level: 3.0 - level,
        diffusion=1e-6,
        initial=(0.0,),
        observation=lambda level: dist.Normal(level, 0.1),
    )
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        pm.Normal("unrelated")
        pds.Trajectory("y", still, observed=[0.0, 1.0], dims="time")
    idata = posterior({"unrelated": 0.0}, 3)
    out = pds.forecast(idata, model=model, times=[60.0], random_seed=1).predictions["states"]
    np.testing.assert_allclose(out, np.full((1, 3, 1, 1), 3.0), atol=1e-3)
    assert pds.sample_states(idata, model=model, moments=True).posterior["mean"].shape == (
        1,
        3,
        2,
        1,
    )
    assert pds.log_likelihood(idata, model=model).log_likelihood["y"].shape == (1, 3, 2)
    assert pds.check_likelihood(model, idata)["check"].sizes["draw"] == 3
    with pm.Model(coords=coords(["a"])) as constant:
        trajectory(2.0, "a")
    assert pds.check_likelihood(constant)["check"].sizes == {"draw": 1, "subject": 1}


def test_times_of_a_forecast_are_checked():
    with pm.Model(coords=coords(["a"])) as model:
        trajectory(pm.Normal("mu"), "a")
    idata = posterior({"mu": 1.0}, 1)
    for times, message in (
        ([10.0, 3.5], "sort the rows by time"),
        ([2.0, np.inf], "must be finite"),
        ([], "times is empty"),
    ):
        with pytest.raises(ValueError, match=message):
            pds.forecast(idata, model=model, times=times)
    hidden = xr.DataArray([[NAN, -50.0]], dims=("subject", "when"), coords={"subject": ["a"]})
    with pytest.raises(ValueError, match="lies before the start"):
        pds.sample_states(idata, model=model, times=hidden)


def test_names_that_results_need():
    for name in ("state", "state_2", "datum"):
        with pm.Model(coords={name: ["a"], "time": [0.0, 1.0]}):
            with pytest.raises(ValueError, match=f"dims: '{name}' is a dim that results have"):
                trajectory(pm.Normal("mu"), "a", dims=(name, "time"))
    with pm.Model(coords={"time": [0.0, 1.0]}) as model:
        params = {"mu": pm.Normal("mu")}
        pds.Trajectory("states", SETTLING, params=params, observed=[0.0, 1.0], dims="time")
    with pytest.raises(ValueError, match="called 'states'"):
        pds.forecast(posterior({"mu": 0.0}, 1), model=model, times=[2.0])


def test_times_of_another_panel_bring_their_own_length():
    with pm.Model(coords={"subject": ["a", "b"], "visit": [0, 1]}) as model:
        trajectory(
            pm.Normal("mu"),
            "ab",
            times=np.array([[0.0, 1.0], [0.5, 2.0]]),
            dims=("subject", "visit"),
        )
    times = xr.DataArray(
        [[3.0, 4.0, 5.0], [2.5, 6.0, NAN]],
        dims=("subject", "visit"),
        coords={"subject": ["a", "b"]},
    )
    out = pds.forecast(posterior({"mu": 1.0}, 2), model=model, times=times, random_seed=1)
    np.testing.assert_array_equal(out.predictions["time"], times)
    assert np.isnan(out.predictions["states"].values[:, :, 1, 2]).all()


def test_likelihood_that_fails_is_not_the_best_of_all():
    with pm.Model(coords=coords(["a", "b"])) as model:
        trajectory(pm.Normal("mu", dims="subject"), "ab")
    idata = posterior({"mu": (("subject",), np.array([0.0, np.inf]))}, 1, subject=["a", "b"])
    for by in ("trajectory", "time"):
        out = pds.log_likelihood(idata, model=model, by=by).log_likelihood["y"]
        assert np.isneginf(out.values.sum())


def test_two_trajectories_of_one_model_keep_their_log_likelihoods():
    with pm.Model(coords=coords(["a", "b"])) as model:
        mu = pm.Normal("mu")
        for name in ("y", "z"):
            pds.Trajectory(
                name,
                SETTLING,
                params={"mu": mu},
                observed=np.zeros((2, 2)),
                dims=("subject", "time"),
            )
    idata = posterior({"mu": 0.1}, 2)
    for name in ("y", "z"):
        idata = pds.log_likelihood(idata, model=model, by="trajectory", var_name=name)
    assert set(idata["log_likelihood"].dataset.data_vars) == {"y", "z"}
    with pytest.raises(ValueError, match="several trajectories, y, z"):
        pds.sample_states(idata, model=model)


def test_log_likelihoods_of_two_trajectories_have_labels_of_their_own():
    """Each is what it is alone, though other data are missing and other subjects are seen."""
    y = {"y": np.array([[0.1, NAN], [0.2, 0.3]]), "z": np.array([[NAN, 0.4], [0.5, NAN]])}
    with pm.Model(coords=coords(["a", "b"])) as model:
        mu = pm.Normal("mu")
        for name, values in y.items():
            pds.Trajectory(
                name, SETTLING, params={"mu": mu}, observed=values, dims=("subject", "time")
            )
    idata = posterior({"mu": 0.1}, 2)
    alone, both = {}, idata
    for name in y:
        alone[name] = pds.log_likelihood(idata, model=model, var_name=name).log_likelihood
        both = pds.log_likelihood(both, model=model, var_name=name)
    found = both["log_likelihood"].dataset
    for name, dim in (("y", "datum"), ("z", "datum_of_z")):
        np.testing.assert_array_equal(found[name], alone[name][name])
        for own in ("subject", "time"):
            label = own if name == "y" else f"{own}_of_z"
            assert found[label].dims == (dim,)
            np.testing.assert_array_equal(found[label], alone[name][own])
    fewer = both.isel(draw=[0])
    fewer["log_likelihood"] = both["log_likelihood"]
    with pytest.raises(ValueError, match=r"other draws \(along 'draw'\); delete its"):
        pds.log_likelihood(fewer, model=model, var_name="z")


def test_no_draws_are_an_error():
    with pm.Model(coords=coords(["a"])) as model:
        trajectory(pm.Normal("mu"), "a")
    none = posterior({"mu": 1.0}, 3).isel(draw=[])
    for ask in (pds.sample_states, pds.innovations, pds.log_likelihood):
        with pytest.raises(ValueError, match="idata: there are no draws"):
            ask(none, model=model)


def test_filtered_members_of_an_ensemble_are_drawn_one_by_one():
    walk = pds.SDE(
        states=("level",),
        drift=lambda level, mu: mu - level,
        diffusion=0.3,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda level: dist.Normal(level, 5.0),
    )
    with pm.Model(coords={"time": np.linspace(0.0, 0.2, 3)}) as model:
        params = {"mu": pm.Normal("mu")}
        ensemble = pds.EnKF(50, pds.Exact())
        pds.Trajectory(
            "y", walk, params=params, observed=np.zeros(3), dims="time", likelihood=ensemble
        )
    idata = posterior({"mu": 0.0}, 2000)
    for given, low, high in (("past", -0.15, 0.15), ("all", 0.9, 1.0)):
        x = pds.sample_states(idata, model=model, given=given, random_seed=1).posterior["states"]
        assert low < np.corrcoef(x.values[0, :, :2, 0].T)[0, 1] < high


def test_step_halves_in_every_gap():
    """A long gap must not set the step of the short ones."""
    logistic = pds.SDE(
        states=("a",),
        drift=lambda a, k: k * a * (1 - a),
        diffusion=0.05,
        initial=dist.Normal(0.05, 0.02),
        observation=lambda a: dist.Normal(a, 0.05),
    )
    times = np.array([0.0, 2.0, 4.0, 6.0, 8.0, 100.0])
    with pm.Model(coords={"time": times}) as model:
        params = {"k": pm.Normal("k", 1.0, initval=1.0)}
        y = np.array([0.05, 0.25, 0.7, 0.95, 1.0, 1.0])
        likelihood = pds.EKF(pds.LocalLinearization())
        pds.Trajectory("y", logistic, params=params, observed=y, dims="time", likelihood=likelihood)
    report = pds.check_likelihood(model, n_seeds=2)["check"]
    assert float(abs(report["step_change"]).max()) > 0.5
    assert any("take shorter steps" in sentence for sentence in report.attrs["advice"])
