"""Inputs that once gave a silent wrong answer, half a model, or an error from elsewhere."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds
from pymc_dynsys import effects

COORDS = {"clinic": ["n", "s"], "subject": ["a", "b", "c"]}
OF = {"clinic": ["n", "s", "s"]}
WEIGHT = xr.DataArray([1.0, 2.0, 4.0], dims="subject", name="weight")
ONE = pm.HalfNormal.dist


@pytest.fixture
def model():
    with pm.Model(coords=COORDS) as model:
        pm.Normal("clinic_mean", 0.0, 1.0, dims="clinic")
        pm.Normal("mu", 0.0, 1.0)
        yield model


@pytest.fixture
def refuse(model):
    """The call raises the message and leaves the model as it was."""

    def check(message, function, *args, error=ValueError, **kwargs):
        before, coords = set(model.named_vars), dict(model.coords)
        with pytest.raises(error, match=message):
            function(*args, **kwargs)
        assert set(model.named_vars) == before
        assert dict(model.coords) == coords

    return check


@pytest.mark.parametrize("length", [1, 2, 4])
def test_constants_of_another_length(refuse, length):
    """Length one was repeated, and too long a vector of groups was cut at its end."""
    short = xr.DataArray(np.ones(length), dims="subject", name="x")
    message = f"has length {length} along 'subject', which has length 3"
    refuse(message, effects.varying, "x", short, 1.0, dims="subject")
    refuse(message, effects.varying, "x", 0.0, short, dims="subject")
    refuse(message, effects.combine, "x", short, dims="subject")
    refuse(message, effects.covariates, "x", 1.0, short, center=0.0)
    groups = xr.DataArray(np.ones(3), dims="clinic")
    refuse("length 3 along 'clinic'", effects.combine, "x", groups, dims="subject", within=OF)


@pytest.mark.parametrize("role", ["mean", "sd"])
def test_variables_of_no_or_another_model(refuse, role):
    with pm.Model(model=None):  # not inside the one of the fixture
        other = pm.HalfNormal("other", 1.0)
    for stranger in (other, pm.HalfNormal.dist(1.0), 2.0 * other):
        arguments = {"mean": 0.0, "sd": 1.0, role: stranger}
        message = f"{role} depends on a random variable that is not in this model"
        refuse(message, effects.varying, "x", **arguments, dims="subject")
    refuse("coefficients depends on", effects.covariates, "x", other, WEIGHT)


def test_data_that_no_term_can_be(model, refuse):
    negative = pm.Data("negative", [1.0, -2.0, 1.0], dims="subject")
    refuse(r"sd must be positive, got -2\.0", effects.varying, "x", 0.0, negative, dims="subject")
    missing = pds.data("missing", [1.0, np.nan, 2.0], dims="subject")
    refuse("terms is nan at subject='b'", effects.combine, "x", missing, dims="subject")
    refuse("missing is nan at subject='b'", effects.covariates, "x", model["mu"], missing)
    for sd in (None, "sd"):
        refuse("sd is", effects.varying, "x", 0.0, sd, dims="subject", error=TypeError)
    text = xr.DataArray(["1", "2", "3"], dims="subject")
    refuse("sd: expected numbers", effects.varying, "x", 0.0, text, dims="subject", error=TypeError)


@pytest.mark.parametrize("scale", [effects.Log, "log"])
def test_what_is_no_scale(refuse, scale):
    message = "must be a scale, such as effects.Log"
    refuse(message, effects.combine, "x", 0.0, dims="subject", scale=scale, error=TypeError)
    refuse(message, effects.varying, "x", 0.0, 1.0, dims="subject", scale=scale, error=TypeError)
    means, sd = {"a": 0.0, "b": 0.0}, ONE(1.0)
    for scales, said in (({"a": scale}, message), (scale, "scales must be a dict")):
        refuse(
            said,
            effects.correlated,
            "x",
            means,
            sd_dist=sd,
            dims="subject",
            scales=scales,
            error=TypeError,
        )


def test_bounds_that_are_no_numbers(model):
    with pytest.raises(TypeError, match="lower and upper must be numbers"):
        effects.Logit(0.0, model["mu"])


@pytest.mark.parametrize("dims", [None, 3, ("subject", None)])
def test_dims_that_are_no_names(refuse, dims):
    message = "dims must be the name of a dim"
    refuse(message, effects.varying, "x", 0.0, 1.0, dims=dims, error=TypeError)


def test_a_dim_twice(model, refuse):
    refuse("dims has a dim twice", effects.combine, "x", 0.0, dims=("subject", "subject"))
    square = pm.Normal("square", 0.0, 1.0, dims=("subject", "subject"))
    refuse("terms has a dim twice", effects.combine, "x", square, dims="subject")


def test_labels_that_do_not_tell_members_apart():
    with pm.Model(coords={"clinic": ["n", "s", "n"], "subject": ["a", "b"]}):
        mean = pm.Normal("mean", 0.0, 1.0, dims="clinic")
        with pytest.raises(ValueError, match="'clinic' has the label 'n' twice in the model"):
            effects.combine("x", mean, dims="subject", within={"clinic": ["n", "s"]})


@pytest.mark.parametrize(
    ("within", "message"),
    [
        ([pd.Series(OF["clinic"], name=n) for n in ("clinic", "clinic_of_subject")], "says twice"),
        (
            pd.Series(
                OF["clinic"],
                pd.MultiIndex.from_product([["v"], list("abc")], names=["ward", "subject"]),
                name="clinic",
            ),
            "index of several levels",
        ),
        ({"clinic": [OF["clinic"]]}, "1 labels along 'subject', which has length 3"),
    ],
)
def test_ambiguous_labels(model, refuse, within, message):
    refuse(message, effects.combine, "x", model["clinic_mean"], dims="subject", within=within)


@pytest.mark.parametrize("labels", ["n", {"a": "n"}, {"n", "s"}, np.array([["n", "s", "s"]])])
def test_what_is_no_sequence_of_labels(model, refuse, labels):
    refuse(
        "must be a labelled array or a sequence",
        effects.combine,
        "x",
        model["clinic_mean"],
        dims="subject",
        within={"clinic": labels},
        error=TypeError,
    )


def test_labels_may_be_tuples_dates_or_categories():
    dates = pd.to_datetime(["2020-01-01", "2020-02-01"])
    for labels, of in (
        ([("a", 1), ("a", 2)], [("a", 2), ("a", 1)]),
        (dates, dates[::-1]),
        (dates.values, xr.DataArray(dates.values[::-1], dims="subject")),
        (["n", "s"], pd.Categorical(["s", "n"], ["z", "s", "n"])),
        (np.array([1, 2]), np.array([2, 1], np.int8)),
    ):
        with pm.Model(coords={"clinic": labels, "subject": ["a", "b"]}):
            mean = pm.Data("mean", [10.0, 20.0], dims="clinic")
            x = effects.combine("x", mean, dims="subject", within={"clinic": of})
            np.testing.assert_array_equal(x.eval(), [20.0, 10.0])


@pytest.mark.parametrize(
    ("means", "more", "message"),
    [
        (("pk", "b"), {}, "'pk' has a name that the family needs"),
        (("pk_sd", "b"), {}, "'pk_sd' has a name that the family needs"),
        (("log_a", "a"), {"scales": {"a": effects.Log()}}, "would be labelled 'log_a'"),
        (("a", "b"), {"sd_dist": ONE([1.0, 1.0, 1.0])}, "3 standard deviations for 2"),
        (("a", "b"), {"eta": 0.0}, "eta must be positive"),
        (("a", "b"), {"eta": np.nan}, "eta must be positive"),
    ],
)
def test_families_that_cannot_be(refuse, means, more, message):
    options = {"sd_dist": ONE(1.0), "dims": "subject", **more}
    refuse(message, effects.correlated, "pk", dict.fromkeys(means, 0.0), **options)


def test_a_family_keeps_to_its_own(model, refuse):
    means = {"a": 0.0, "b": 0.0}
    for sd in (1.0, model["mu"], pm.HalfNormal):
        refuse(
            "sd_dist must be an unnamed distribution",
            effects.correlated,
            "pk",
            means,
            sd_dist=sd,
            dims="subject",
            error=TypeError,
        )
    model.add_coord("pk_parameter", ["x", "y"])
    refuse(r"taken, with \['x'", effects.correlated, "pk", means, sd_dist=ONE(1.0), dims="subject")


def test_centers(refuse, model):
    """By name, never by position: a Series in another order took each other's centre."""
    model.add_coord("covariate", ["h", "w"])
    slopes = pm.Normal("slopes", 0.0, 1.0, dims="covariate")
    table = {"w": WEIGHT, "h": 2.0 * WEIGHT}
    effects.covariates("x", slopes, table, center=pd.Series({"w": 1.0, "h": 2.0}))
    np.testing.assert_array_equal(model["x_center"].get_value(), [2.0, 1.0])
    message = "does not say which covariate"
    refuse(message, effects.covariates, "y", slopes, table, center=[1.0, 2.0])
    for center in (None, np.nan, {"w": 1.0, "h": np.inf}):
        refuse("it must be finite", effects.covariates, "y", slopes, table, center=center)
    effects.covariates("z", model["mu"], WEIGHT, center=np.True_)
    assert model["z_center"].get_value() == pytest.approx(7.0 / 3.0)


def test_covariates_as_pandas_objects_and_numbers(refuse, model):
    index = pd.Index(["c", "a", "b"], name="subject")
    weight = pd.Series([4.0, 1.0, 2.0], index, name="weight")
    for i, table in enumerate([weight, weight.to_frame(), {"weight": weight}]):
        x = effects.covariates(f"x{i}", 2.0, table, center=False)
        np.testing.assert_array_equal(x.eval(), [2.0, 4.0, 8.0])
    unnamed = weight.rename_axis(None)
    refuse(
        "Series, whose rows have no name", effects.covariates, "y", 2.0, unnamed, error=TypeError
    )
    refuse("coefficients is nan", effects.covariates, "y", np.nan, weight)


def test_labels_of_coefficients_are_told_apart(refuse, model):
    model.add_coord("covariate", ["w", "w"])
    slopes = pm.Normal("slopes", 0.0, 1.0, dims="covariate")
    refuse("label twice along 'covariate'", effects.covariates, "y", slopes, {"w": WEIGHT})


def test_data_of_the_outer_model_and_of_a_named_one(model):
    model.add_coord("covariate", ["weight"])
    weight = pm.Data("weight", WEIGHT.values, dims="subject")
    with pm.Model(name="inner"):
        of_outer = effects.covariates("x", 2.0, weight, center=False)
        slopes = pm.Data("slopes", [3.0], dims="covariate")
        own = pm.Data("weight", 10.0 * WEIGHT.values, dims="subject")
        of_inner = effects.covariates("y", slopes, own, center=False)
    np.testing.assert_array_equal(of_outer.eval(), 2.0 * WEIGHT)
    np.testing.assert_array_equal(of_inner.eval(), 30.0 * WEIGHT)
