"""Large tables against a plain loop over subjects, and how long they take."""

import time

import numpy as np
import pandas as pd
import polars as pl
import pytest

from pymc_dynsys.panels import panel


def random_table(seed: int, n_rows: int = 10_000, n_subjects: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    who = rng.integers(0, n_subjects, n_rows)
    is_dose = rng.random(n_rows) < 0.2
    return pd.DataFrame(
        {
            "id": np.char.add("s", who.astype(str)),
            "t": rng.uniform(0, 100, n_rows),
            "y": np.where(is_dose | (rng.random(n_rows) < 0.1), np.nan, rng.normal(size=n_rows)),
            "u": rng.normal(size=n_rows),
            "w": rng.normal(size=n_subjects)[who],
            "clinic": np.char.add("c", (who % 7).astype(str)),
            "AMT": np.where(is_dose, rng.uniform(1, 9, n_rows), np.nan),
            "RATE": np.where(is_dose & (rng.random(n_rows) < 0.5), 2.0, np.nan),
            "ADDL": (more := np.where(is_dose, rng.integers(0, 4, n_rows), 0)),
            "II": np.where(more > 0, 6.0, 0.0),
            "EVID": is_dose.astype(int),
        }
    )


ROLES = {
    "subject": "id",
    "time": "t",
    "observed": "y",
    "inputs": "u",
    "covariates": "w",
    "groups": "clinic",
    "events": "nonmem",
}


@pytest.mark.parametrize("seed", range(2))
def test_against_a_loop_over_subjects(seed):
    frame = random_table(seed)
    got = panel(frame, **ROLES)
    assert got["subject"].values.tolist() == sorted(set(frame["id"]))
    for label, rows in frame.groupby("id"):
        one = got.sel(subject=label)
        visits = rows[rows["EVID"] == 0].sort_values("t")
        padding = [np.nan] * (got.sizes["visit"] - len(visits))
        for name, column in (("time", "t"), ("y", "y")):
            np.testing.assert_array_equal(one[name], [*visits[column], *padding])
        told, padding = rows.sort_values("t"), [np.nan] * (got.sizes["record"] - len(rows))
        for name, column in (("record_time", "t"), ("u", "u")):
            np.testing.assert_array_equal(one[name], [*told[column], *padding])
        assert one["w"] == rows["w"].iloc[0]
        assert one["clinic_of_subject"] == rows["clinic"].iloc[0]
        assert got["clinic"][one["clinic_index"]] == rows["clinic"].iloc[0]
        doses = sorted(
            (row.t + k * row.II, row.AMT, row.RATE if row.RATE > 0 else 0.0)
            for row in rows[rows["EVID"] == 1].itertuples()
            for k in range(int(row.ADDL) + 1)
        )
        events = one[["event_time", "event_amount", "event_rate", "event_duration"]]
        events = events.to_array().values.T
        assert np.isnan(events[len(doses) :]).all()
        np.testing.assert_array_equal(events[: len(doses), :3], np.reshape(doses, (-1, 3)))
        np.testing.assert_array_equal(events[: len(doses), 3], 0.0)


@pytest.mark.parametrize("library", [pd, pl])
def test_ten_thousand_rows_are_no_wait(library):
    frame = library.DataFrame(random_table(0).to_dict("list"))
    start = time.perf_counter()
    panel(frame, **ROLES)
    assert time.perf_counter() - start < 0.5
