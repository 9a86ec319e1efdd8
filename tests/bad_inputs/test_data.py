"""What may be handed over as data, and what is told of data that may not."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds
from tests.bad_inputs.models import (
    COORDS,
    HIGH,
    SUBJECTS,
    TIMES,
    Y,
    build,
    cases,
    refused,
    slopes,
    terms,
)


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


def test_booleans_are_no_gaussian_data():
    refused(TypeError, "observed", "booleans", ".astype(float)", observed=HIGH)


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
