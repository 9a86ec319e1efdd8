import numpy as np
import pandas as pd
import polars as pl
import pytest
import xarray as xr

from pymc_dynsys.panels import coords, panel

NAN = np.nan

RAGGED = {
    "id": ["bob", "ann", "bob", "ann", "bob", "cy"],
    "t": [0.0, 0.5, 4.0, 2.0, 1.0, 3.0],
    "y": [8.0, 9.1, 1.1, 4.2, None, 2.0],
    "z": [1, 2, 3, 4, 5, 6],
    "heat": [20.0, 21.0, 22.0, 23.0, 24.0, 25.0],
    "weight": [75.0, 61.0, None, 61.0, 75.0, 50.0],
    "sex": ["m", "f", "m", "f", "m", "m"],
    "clinic": ["south", "north", "south", "north", "south", "north"],
    "site": [30, 7, 30, 7, 30, 30],
}
ROLES = {"subject": "id", "time": "t", "observed": "y"}


def full(frame) -> xr.Dataset:
    return panel(
        frame,
        subject="id",
        time="t",
        observed=["y", "z"],
        inputs="heat",
        covariates=["weight", "sex"],
        groups=["clinic", "site"],
    )


def test_ragged_panel_has_a_clock_for_each_subject(table):
    got = panel(table(RAGGED), **ROLES)
    expected = xr.Dataset(
        {"y": (("subject", "visit"), [[9.1, 4.2, NAN], [8.0, NAN, 1.1], [2.0, NAN, NAN]])},
        {
            "subject": ["ann", "bob", "cy"],
            "visit": [0, 1, 2],
            "time": (("subject", "visit"), [[0.5, 2.0, NAN], [0.0, 1.0, 4.0], [3.0, NAN, NAN]]),
        },
    )
    xr.testing.assert_identical(got, expected)


def test_shared_times_become_the_time_dim(table):
    frame = table({"id": [2, 1, 2, 1], "t": [1, 0, 0, 1], "y": [4.0, 1.0, 3.0, 2.0]})
    expected = xr.Dataset(
        {"y": (("subject", "time"), [[1.0, 2.0], [3.0, 4.0]])},
        {"subject": [1, 2], "time": [0.0, 1.0]},
    )
    xr.testing.assert_identical(panel(frame, **ROLES), expected)
    assert coords(panel(frame, **ROLES)) == {"subject": [1, 2], "time": [0.0, 1.0]}


def test_every_role(table):
    got = full(table(RAGGED))
    expected = xr.Dataset(
        {
            "observed": (
                ("subject", "visit", "component"),
                [
                    [[9.1, 2], [4.2, 4], [NAN, NAN]],
                    [[8.0, 1], [NAN, 5], [1.1, 3]],
                    [[2.0, 6], [NAN, NAN], [NAN, NAN]],
                ],
            ),
            "heat": (("subject", "visit"), [[21.0, 23, NAN], [20, 24, 22], [25, NAN, NAN]]),
            "weight": ("subject", [61.0, 75.0, 50.0]),
            "sex": ("subject", ["f", "m", "m"]),
            "clinic_index": ("subject", [0, 1, 0]),
            "site_index": ("subject", [0, 1, 1]),
        },
        {
            "subject": ["ann", "bob", "cy"],
            "visit": [0, 1, 2],
            "time": (("subject", "visit"), [[0.5, 2.0, NAN], [0.0, 1.0, 4.0], [3.0, NAN, NAN]]),
            "component": ["y", "z"],
            "clinic": ["north", "south"],
            "clinic_of_subject": ("subject", ["north", "south", "north"]),
            "site": [7, 30],
            "site_of_subject": ("subject", [7, 30, 30]),
        },
    )
    xr.testing.assert_identical(got, expected)
    assert all(got[name].dtype == float for name in ("observed", "heat", "weight", "time"))
    assert got["clinic_index"].dtype == np.int64


def test_coords_are_lists_of_labels_with_subject_first(table):
    assert list(coords(full(table(RAGGED))).items()) == [
        ("subject", ["ann", "bob", "cy"]),
        ("visit", [0, 1, 2]),
        ("component", ["y", "z"]),
        ("clinic", ["north", "south"]),
        ("site", [7, 30]),
    ]


def test_coords_want_a_panel():
    with pytest.raises(TypeError, match=r"expected the Dataset .* got DataFrame"):
        coords(pd.DataFrame(RAGGED))
    with pytest.raises(ValueError, match=r"dim 'subject', got dims \('x',\)"):
        coords(xr.Dataset({"a": ("x", [1.0])}))


@pytest.mark.parametrize("seed", range(5))
def test_order_of_rows_does_not_matter(table, seed):
    order = np.random.default_rng(seed).permutation(6)
    shuffled = {name: [values[i] for i in order] for name, values in RAGGED.items()}
    xr.testing.assert_identical(full(table(shuffled)), full(table(RAGGED)))


def test_pandas_and_polars_agree():
    xr.testing.assert_identical(full(pd.DataFrame(RAGGED)), full(pl.DataFrame(RAGGED)))


def test_frame_is_left_alone():
    frame = pd.DataFrame(RAGGED)
    before = frame.copy(deep=True)
    full(frame)["observed"][:] = 0.0
    pd.testing.assert_frame_equal(frame, before)


def test_row_labels_of_pandas_play_no_part():
    frame = pd.DataFrame(RAGGED)
    odd = frame.set_axis([5, 5, 1, 0, 3, 2])
    xr.testing.assert_identical(full(odd), full(frame))


def test_a_row_without_a_value_is_a_visit(table):
    frame = table({"id": [1, 1, 2], "t": [0.0, 1.0, 0.0], "y": [None, None, 1.0]})
    got = panel(frame, **ROLES)
    assert got["time"].values[0].tolist() == [0.0, 1.0]
    assert np.isnan(got["y"].values[0]).all()


def test_one_subject_one_visit(table):
    got = panel(table({"id": ["a"], "t": [3.0], "y": [1.0]}), **ROLES)
    assert dict(got.sizes) == {"subject": 1, "time": 1}


def test_one_column_in_a_list_keeps_its_name(table):
    one = panel(table(RAGGED), subject="id", time="t", observed=["y"])
    xr.testing.assert_identical(one, panel(table(RAGGED), **ROLES))


@pytest.mark.parametrize(
    "ids",
    [
        pd.Categorical(["lo", "hi", "lo"], categories=["lo", "hi"]),
        pd.Categorical(["lo", "hi", "lo"], categories=["lo", "hi"], ordered=True),
        pl.Series(["lo", "hi", "lo"], dtype=pl.Enum(["lo", "hi"])),
    ],
)
def test_declared_levels_keep_their_order(ids):
    library = pl if isinstance(ids, pl.Series) else pd
    frame = library.DataFrame({"id": ids, "t": [0.0, 0.0, 1.0], "y": [1.0, 2.0, 3.0], "g": ids})
    got = panel(frame, **ROLES, groups="g")
    assert got["subject"].values.tolist() == ["lo", "hi"]
    assert got["y"].values[:, 0].tolist() == [1.0, 2.0]
    assert got["g"].values.tolist() == ["lo", "hi"]
    assert got["g_index"].values.tolist() == [0, 1]


def test_categories_of_polars_are_text():
    ids = pl.Series(["lo", "hi", "lo"], dtype=pl.Categorical)
    frame = pl.DataFrame({"id": ids, "t": [0.0, 0.0, 1.0], "y": [1.0, 2.0, 3.0]})
    assert panel(frame, **ROLES)["subject"].values.tolist() == ["hi", "lo"]


def test_integer_categories_stay_integers():
    frame = pd.DataFrame({"id": pd.Categorical([9, 3, 9]), "t": [0.0, 0.0, 1.0], "y": [1.0, 2, 3]})
    assert panel(frame, **ROLES)["subject"].values.tolist() == [3, 9]


@pytest.mark.parametrize(
    "levels, role",
    [(["a", "b", "gone"], "subject"), (["a", "gone", "b"], "groups")],
)
@pytest.mark.parametrize("library", [pd, pl])
def test_level_without_rows_is_named(levels, role, library):
    texts = ["a", "b", "a"]
    column = (
        pd.Categorical(texts, categories=levels)
        if library is pd
        else pl.Series(texts, dtype=pl.Enum(levels))
    )
    key = "id" if role == "subject" else "g"
    columns = {"id": texts, "t": [0.0, 0.0, 1.0], "y": [1.0, 2.0, 3.0], "g": texts, key: column}
    with pytest.raises(ValueError, match=rf"{role}: column '{key}' has the level 'gone'.*Drop"):
        panel(library.DataFrame(columns), **ROLES, groups="g")


def test_gapped_integer_labels_are_kept(table):
    frame = table({"id": [100, 7, 100], "t": [0, 0, 1], "y": [1.0, 2.0, 3.0]})
    assert panel(frame, **ROLES)["subject"].values.tolist() == [7, 100]


def test_missing_labels_of_a_static_column_come_from_other_rows(table):
    frame = table({"id": [1, 1, 2], "t": [0, 1, 0], "y": [1.0, 2, 3], "g": [None, 5, 4]})
    got = panel(frame, **ROLES, groups="g")
    assert got["g"].values.tolist() == [4, 5]
    assert got["g"].dtype == np.int64
    assert got["g_of_subject"].values.tolist() == [5, 4]


def test_covariate_without_any_value_is_nan(table):
    frame = table({"id": [1, 1, 2], "t": [0, 1, 0], "y": [1.0, 2, 3], "w": [None, None, 4.0]})
    np.testing.assert_array_equal(panel(frame, **ROLES, covariates="w")["w"], [NAN, 4.0])
