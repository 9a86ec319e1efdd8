"""What the toolbox refuses, and what it says."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds
from pymc_dynsys import effects

COORDS = {"clinic": ["n", "s"], "subject": ["a", "b", "c"]}


@pytest.fixture
def model():
    with pm.Model(coords=COORDS) as model:
        pm.Normal("clinic_mean", 0.0, 1.0, dims="clinic")
        pm.Normal("bare", 0.0, 1.0, shape=3)
        pm.Normal("mu", 0.0, 1.0)
        yield model


def refuse(message, function, *args, error=ValueError, **kwargs):
    with pytest.raises(error, match=message):
        function(*args, **kwargs)


def test_dims_without_labels(model):
    mean = model["clinic_mean"]
    refuse(
        "mean has the dim 'clinic'.*within={'clinic'",
        effects.varying,
        "x",
        mean,
        1.0,
        dims="subject",
    )
    refuse(
        "dims has 'person', which the model does not", effects.varying, "x", 0.0, 1.0, dims="person"
    )
    refuse("mean has 1 axes and no names", effects.varying, "x", model["bare"], 1.0, dims="subject")
    refuse("mean has 1 axes and no names", effects.varying, "x", np.zeros(3), 1.0, dims="subject")
    refuse(
        r"x: 'mean' is an expression with 1 axes.*pm\.Deterministic",
        effects.varying,
        "x",
        model["bare"] * 2.0,
        1.0,
        dims="subject",
    )


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ({"clinic": ["n", "s", "w"]}, r"says 'w' for subject='c'.*labels of 'clinic': 'n', 's'"),
        ({"clinic": ["n", None, "s"]}, r"says nan for subject='b'"),
        ({"clinic": ["n", "s"]}, r"has 2 labels along 'subject', which has length 3"),
        ({"ward": ["n", "s", "s"]}, r"a dim that the model does not have"),
        ({"subject": ["a", "b", "c"]}, r"is one of its own dims"),
        (pd.Series(["n", "s", "s"], name="ward"), r"named 'ward', and the model has no such dim"),
        (pd.Series(["n", "s", "s"], ["a", "b", "z"], name="clinic"), r"has 'z', which the model"),
        (xr.DataArray(["n"] * 4, dims="visit", name="clinic"), r"varies along 'visit'"),
    ],
)
def test_labels_that_do_not_fit(model, within, message):
    mean = model["clinic_mean"]
    refuse(message, effects.varying, "x", mean, 1.0, dims="subject", within=within)


def test_series_are_matched_by_label(model):
    who = pd.Index(["c", "a", "b"], name="patient")  # a table's own word for subjects
    shuffled = pd.Series(["s", "n", "s"], who, name="clinic")
    clinic = effects.combine("of", model["clinic_mean"], dims="subject", within=shuffled)
    value = clinic.eval({model["clinic_mean"]: [1.0, 2.0]})
    np.testing.assert_array_equal(value, [1.0, 2.0, 2.0])


def test_labels_of_a_dim_no_term_has(model):
    refuse(
        "no term has the dim 'clinic'",
        effects.combine,
        "x",
        [model["mu"]],
        dims="subject",
        within={"clinic": ["n", "s", "s"]},
    )


@pytest.mark.parametrize("sd", [0.0, -1.0, np.nan, xr.DataArray([1.0, 0.0, 1.0], dims="subject")])
def test_sd_must_be_positive(model, sd):
    refuse("sd must be positive", effects.varying, "x", 0.0, sd, dims="subject")


def test_a_missing_mean_says_where(model):
    mean = xr.DataArray([0.0, np.nan, 1.0], dims="subject")
    refuse("mean is nan at subject='b'", effects.varying, "x", mean, 1.0, dims="subject")


def test_taken_names(model):
    pm.Normal("log_x", 0.0, 1.0)
    refuse(
        "already has a variable 'log_x'.*'log_x_mean'",
        effects.varying,
        "x",
        0.0,
        1.0,
        dims="subject",
        scale=effects.Log(),
    )
    assert "x" not in model.named_vars and "x_offset" not in model.named_vars


def test_families(model):
    sd = pm.HalfNormal.dist(1.0)
    refuse(
        "1 parameter; correlations need two",
        effects.correlated,
        "f",
        {"a": 0.0},
        sd_dist=sd,
        dims="subject",
    )
    refuse(
        "means must be a dict",
        effects.correlated,
        "f",
        [0.0, 1.0],
        sd_dist=sd,
        dims="subject",
        error=TypeError,
    )
    refuse(
        "scales has 'c'",
        effects.correlated,
        "f",
        {"a": 0.0, "b": 0.0},
        sd_dist=sd,
        dims="subject",
        scales={"c": effects.Log()},
    )
    with pytest.raises(ValueError, match="lower < upper"):
        effects.Logit(1.0, 1.0)


def test_covariates(model):
    weight = xr.DataArray([1.0, 2.0, 4.0], dims="subject", name="weight")
    table = xr.Dataset({"weight": weight, "sex": ("subject", ["f", "m", "f"])})
    slope = model["mu"]
    model.add_coord("covariate", ["weight", "height"])
    several = pm.Normal("several", 0.0, 1.0, dims="covariate")
    refuse(
        "label 'height' along 'covariate', and the table has only 'weight', 'sex'",
        effects.covariates,
        "x",
        several,
        table,
    )
    refuse("none whose labels name them", effects.covariates, "x", slope, table)
    refuse(
        "expected numbers, got 'f'", effects.covariates, "x", slope, table["sex"], error=TypeError
    )
    refuse(
        "weight is nan at subject='b'", effects.covariates, "x", slope, weight.where(weight != 2.0)
    )
    refuse("center has no 'weight'", effects.covariates, "x", slope, weight, center={"age": 1.0})
    refuse(
        "has no names for its axes",
        effects.covariates,
        "x",
        slope,
        {"w": np.ones(3)},
        error=TypeError,
    )
    refuse(
        "rename_axis",
        effects.covariates,
        "x",
        slope,
        pd.DataFrame({"weight": [1, 2, 3]}),
        error=TypeError,
    )
    with pytest.warns(UserWarning, match="'weight' is 3.0 for all"):
        effects.covariates("x", slope, 0.0 * weight + 3.0)


def test_a_random_covariate_needs_a_centre_or_none(model):
    """Measured with error, it is a variable like any other."""
    weight = pm.Normal("weight", 60.0, 10.0, dims="subject")
    refuse("is itself random", effects.covariates, "x", model["mu"], weight)
    effect = effects.covariates("x", model["mu"], weight, center=False)
    values = {weight: [1.0, 2.0, 3.0], model["mu"]: 2.0}
    np.testing.assert_array_equal(effect.eval(values), [2.0, 4.0, 6.0])


def test_nothing_is_added_by_a_call_that_fails(model):
    before = set(model.named_vars)
    refuse(
        "is nan",
        effects.covariates,
        "x",
        model["mu"],
        xr.DataArray([1.0, np.nan, 2.0], dims="subject", name="weight"),
    )
    refuse("mean has the dim", effects.varying, "y", model["clinic_mean"], 1.0, dims="subject")
    assert set(model.named_vars) == before


def test_outside_a_model():
    with pytest.raises(TypeError, match="context"):
        effects.varying("x", 0.0, 1.0, dims="subject")
    with pytest.raises(TypeError, match="context"):
        pds.reparametrize()
