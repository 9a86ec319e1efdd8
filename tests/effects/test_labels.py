"""Labels decide, never positions; and lengths are those of the model."""

import numpy as np
import pandas as pd
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr

import pymc_dynsys as pds
from pymc_dynsys import effects


def value(variable):
    return variable.eval(mode="FAST_COMPILE")


@pytest.mark.parametrize("name", ["subject", None])
def test_a_default_index_of_the_models_labels_is_matched(name):
    index = pd.RangeIndex(3, name=name)
    of = pd.Series(list("nss"), index, name="clinic")
    weight = pd.Series([1.0, 2.0, 3.0], index)
    with pm.Model(coords={"clinic": ["n", "s"], "subject": [2, 0, 1]}) as model:
        clinic = pm.Data("clinic_mean", [10.0, 20.0], dims="clinic")
        by_clinic = effects.combine("by_clinic", clinic, dims="subject", within=of)
        held = pds.data("held", weight, dims="subject").get_value()
        sd = pm.HalfNormal("sd")
        pm.Normal("theta", 0.0, sd, dims="subject")
    assert value(by_clinic).tolist() == [20.0, 10.0, 20.0]
    assert held.tolist() == [3.0, 1.0, 2.0]
    new = pds.reparametrize(model, "theta", centeredness={"theta": weight / 10.0})
    assert new["theta_centeredness"].get_value().tolist() == [0.3, 0.1, 0.2]


def test_a_dim_without_labels_has_its_positions():
    index = pd.Index([2, 0, 1], name="subject")
    with pm.Model(coords={"clinic": ["n", "s"]}):
        pm.Data("y", [1.0, 2.0, 3.0], dims="subject")
        clinic = pm.Data("clinic_mean", [10.0, 20.0], dims="clinic")
        of = pd.Series(list("nss"), index, name="clinic")
        by_clinic = effects.combine("by_clinic", clinic, dims="subject", within=of)
        table = pd.DataFrame({"w": [3.0, 1.0, 2.0]}, index)
        by_weight = effects.covariates("by_weight", 1.0, table, center=False)
    assert value(by_clinic).tolist() == [20.0, 20.0, 10.0]
    assert value(by_weight).tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize(
    ("model", "own"),
    [
        ([("n", 1), ("s", 2)], [("s", 2), ("n", 1)]),
        ([1, "b"], ["b", 1]),
        ([0, 1], [True, False]),
    ],
)
def test_labels_of_any_kind_are_put_in_order(model, own):
    index = pd.Index(own, dtype=object, tupleize_cols=False)
    array = xr.DataArray([1.0, 2.0], {"subject": index}, dims="subject")
    with pm.Model(coords={"subject": model}):
        assert pds.data("y", array, dims="subject").get_value().tolist() == [2.0, 1.0]


@pytest.mark.parametrize("unit", ["s", "us", "ns"])
@pytest.mark.parametrize("plain", [False, True])
def test_dates_in_any_resolution_are_labels(unit, plain):
    dates = pd.to_datetime(["2020-01-01", "2020-02-01"]).as_unit(unit)
    other = dates.as_unit("us")[::-1]
    with pm.Model(coords={"wave": dates.values if plain else dates, "subject": ["a", "b"]}):
        wave = pm.Data("wave_mean", [10.0, 20.0], dims="wave")
        for i, labels in enumerate((list(other), other.values, pd.Series(dates[::-1]))):
            found = effects.combine(f"x{i}", wave, dims="subject", within={"wave": labels})
            assert value(found).tolist() == [20.0, 10.0]


def test_lengths_are_those_of_the_model():
    one, three = xr.DataArray([2.0], dims="subject"), xr.DataArray([1.0, 2.0, 3.0], dims="clinic")
    x = xr.DataArray([1.0, 2.0, 4.0], dims="subject")
    coords = {"clinic": ["n", "s"], "subject": list("abc"), "covariate": ["u", "v"]}
    within = {"clinic": list("nss")}
    with pm.Model(coords=coords):
        with pytest.raises(ValueError, match="coefficients has length 3 along 'clinic'"):
            effects.covariates("a", three, x, within=within, center=False)
        with pytest.raises(ValueError, match="coefficients has length 1 along 'subject'"):
            effects.covariates("b", one, x, center=False)
        with pytest.raises(ValueError, match="coefficients has length 3 along 'covariate'"):
            slopes = three.rename(clinic="covariate")
            effects.covariates("c", slopes, {"u": x, "v": x}, center=False)
        long = pm.Deterministic("long", pt.as_tensor(np.arange(3.0)), dims="clinic")
        with pytest.raises(ValueError, match="has length 3 along 'clinic', which has length 2"):
            effects.combine("d", long, dims="subject", within=within)
        short = pm.Deterministic("short", pt.as_tensor(np.ones(1)), dims="subject")
        with pytest.raises(ValueError, match="has length 1 along 'subject', which has length 3"):
            effects.combine("e", [short, 1.0], dims="subject")


def test_a_group_may_be_called_like_a_covariate():
    coords = {"clinic": ["u", "w"], "subject": list("abc"), "covariate": ["u", "v"]}
    u = xr.DataArray([1.0, 2.0, 3.0], dims="subject")
    with pm.Model(coords=coords):
        beta = pm.Data("beta", [[1.0, 2.0], [10.0, 20.0]], dims=("clinic", "covariate"))
        table = {"u": u, "v": xr.DataArray([0.0, 0.0, 1.0], dims="subject")}
        within = {"clinic": list("uww")}
        found = effects.covariates("x", beta, table, within=within, center=False)
    assert value(found).tolist() == [1.0, 20.0, 50.0]


def test_what_is_no_label_is_named():
    table = pd.DataFrame({1: [1.0, 2.0], "1": [7.0, 8.0]}, pd.Index(["a", "b"], name="subject"))
    with pm.Model(coords={"clinic": ["n", "s"], "subject": ["a", "b"], "covariate": [1]}):
        clinic = pm.Data("clinic_mean", [10.0, 20.0], dims="clinic")
        for labels in ([["n"], ["s"]], np.ma.array(["n", "s"], mask=[True, False])):
            with pytest.raises(ValueError, match=r"within\['clinic'\] says .* for subject='a'"):
                effects.combine("x", clinic, dims="subject", within={"clinic": labels})
        with pytest.raises(ValueError, match="two columns of one name"):
            beta = pm.Data("beta", [1.0], dims="covariate")
            effects.covariates("e", beta, table, center=False)


def test_an_effect_of_nobody_does_not_disturb_what_is_learnt():
    with pm.Model(coords={"subject": list("abc"), "nobody": []}) as model:
        sd = pm.HalfNormal("sd")
        pm.Normal("none", 0.0, sd, dims="nobody")
        theta = pm.Normal("theta", 0.0, sd, dims="subject")
        pm.Normal("y", theta, 1.0, observed=[1.0, 2.0, 3.0], dims="subject")
    new = pds.reparametrize(model, draws=20, tune=30, random_seed=1, progressbar=False)
    assert new["none_centeredness"].get_value().shape == (0,)
    assert (new["theta_centeredness"].get_value() < 0.7).all()
