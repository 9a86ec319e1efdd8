"""Dropout on a common grid: the visits that are added, and that they change no likelihood."""

import warnings

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds

ROLES = {"subject": "id", "time": "t", "observed": "y"}
TABLE = pd.DataFrame(
    {
        "id": ["ann"] * 4 + ["bob"] * 2 + ["cas"] * 2,
        "t": [0.0, 1.0, 2.5, 4.0, 0.0, 1.0, 0.0, 2.5],
        "y": [0.3, 0.1, -0.4, 0.2, 1.1, 0.7, -0.2, -0.6],
    }
)


def test_every_subject_has_every_time():
    panel = pds.panel(TABLE.sample(frac=1.0, random_state=1), **ROLES, complete=True)
    assert panel["y"].dims == ("subject", "time")
    assert panel["time"].values.tolist() == [0.0, 1.0, 2.5, 4.0]
    expected = TABLE.pivot(index="id", columns="t", values="y").to_numpy()
    np.testing.assert_array_equal(panel["y"], expected)
    assert np.isnan(expected).sum() == 4


def test_a_complete_panel_stays_as_it_is():
    whole = TABLE[TABLE["id"] == "ann"]
    assert pds.panel(whole, **ROLES, complete=True).identical(pds.panel(whole, **ROLES))


def test_inputs_doses_and_limits_keep_their_rows():
    """As many visits are added as there are doses, which are rows and no visits."""
    doses = pd.DataFrame(
        {"id": ["ann", "bob", "cas", "cas"], "t": [0.0, 0.0, 0.0, 3.0], "amt": 5.0}
    )
    table = pd.concat([doses, TABLE], ignore_index=True)
    table["amt"], table["below"] = table["amt"].fillna(0.0), (table["y"] == -0.6) * 1
    table["w"] = np.arange(len(table), dtype=float)
    # A weight is said once at each time.
    table.loc[[0, 1, 2], "w"] = np.nan
    options = {**ROLES, "inputs": "w", "events": {"amount": "amt"}, "censored": "below"}
    panel = pds.panel(table, **options, ties="data", complete=True)
    assert panel["y"].sizes == {"subject": 3, "time": 4}
    ragged = pds.panel(table, **options, ties="data")
    for name in ("w", "record_time", "event_time", "event_amount"):
        np.testing.assert_array_equal(panel[name], ragged[name])
    assert panel["y"].attrs["censored"] == "lower"
    lower = np.full((3, 4), -np.inf)
    lower[2, 2] = -0.6
    np.testing.assert_array_equal(panel["y_lower"], lower)


def test_entry_later_than_others_is_said():
    late = pd.concat([TABLE, pd.DataFrame({"id": ["dot"], "t": [2.5], "y": [0.0]})])
    with pytest.warns(
        UserWarning, match="first row of subject 'dot' is at time 2.5, .* begins at 0"
    ):
        pds.panel(late, **ROLES, complete=True)
    told = pd.concat([late, pd.DataFrame({"id": ["dot"], "t": [0.0], "y": [np.nan]})])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panel = pds.panel(told, **ROLES, complete=True)
    np.testing.assert_array_equal(panel["y"].sel(subject="dot"), [np.nan, np.nan, 0.0, np.nan])


def test_replicates_are_refused():
    twice = pd.concat([TABLE, TABLE.iloc[[4]]])
    with pytest.raises(ValueError, match="subject 'bob' has two visits at time 0"):
        pds.panel(twice, **ROLES, ties="record", complete=True)


def test_the_likelihood_is_that_of_the_ragged_panel_and_there_is_a_common_future():
    walk = pds.SDE(
        states=("x",),
        drift=lambda x, a: -a * x,
        diffusion=0.5,
        initial=dist.Normal(0.0, 1.0),
        observation=lambda x: dist.Normal(x, 0.3),
    )
    found = []
    for complete in (False, True):
        panel = pds.panel(TABLE, **ROLES, complete=complete)
        with pm.Model(coords=pds.coords(panel)) as model:
            a = pm.HalfNormal("a")
            pds.Trajectory("y", walk, params={"a": a}, observed=panel["y"])
        found.append(model.compile_logp()({"a_log__": -0.2}))
    # The sum over visits has more terms, all of which are zero.
    assert found[0] == pytest.approx(found[1], rel=1e-14)
    pds.LeaveFutureOut(model)
