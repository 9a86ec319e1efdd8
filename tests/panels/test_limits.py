"""Columns CENS and LIMIT: bounds with the dims of the data; what says nothing is refused."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds

NAN, INF = np.nan, np.inf
TABLE = pd.DataFrame(
    [
        ("ann", 0.0, NAN, 50.0, 0, NAN),
        ("ann", 1.0, 4.0, 0.0, 0, NAN),
        ("ann", 2.0, 1.0, 0.0, 1, 0.0),
        ("ann", 3.0, 1.0, 0.0, 1, NAN),
        ("bob", 0.0, NAN, 50.0, 0, NAN),
        ("bob", 1.0, 9.0, 0.0, -1, 20.0),
        ("bob", 2.0, NAN, 0.0, 0, NAN),
    ],
    columns=["ID", "TIME", "DV", "AMT", "CENS", "LIMIT"],
)
ROLES = {"subject": "ID", "time": "TIME", "observed": "DV", "events": "nonmem"}


def test_bounds_have_the_dims_of_the_data():
    panel = pds.panel(TABLE, **ROLES, censored="CENS", limit="LIMIT")
    expected = {
        "DV": [[4.0, 1.0, 1.0], [9.0, NAN, NAN]],
        "DV_lower": [[-INF, 1.0, 1.0], [-INF, -INF, NAN]],
        "DV_upper": [[INF, INF, INF], [9.0, INF, NAN]],
        "DV_limit": [[INF, 0.0, -INF], [20.0, INF, NAN]],
    }
    for name, values in expected.items():
        assert panel[name].dims == ("subject", "visit")
        np.testing.assert_array_equal(panel[name], values)
    assert panel["DV"].attrs["censored"] == "lower, upper, limit"
    assert "DV_limit" not in pds.panel(TABLE, **ROLES, censored="CENS")


def test_bounds_of_endpoints_have_components():
    table = TABLE.assign(DVID=[1, 1, 2, 1, 1, 1, 1], CENS=[0, 0, 1, 0, 0, 0, 0])
    panel = pds.panel(table, **ROLES, endpoint="DVID", censored="CENS")
    assert panel["observed_lower"].dims == panel["observed"].dims
    np.testing.assert_array_equal(
        panel["observed_lower"].sel(subject="ann"), [[-INF, -INF], [-INF, 1.0], [-INF, -INF]]
    )


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({}, {}, "'CENS' holds 1 at subject 'ann', time 2, row 2; .*would be read as a value"),
        ({}, {"limit": "LIMIT"}, "say which are, with censored='CENS'"),
        ({"CENS": 2}, {"censored": "CENS"}, "holds 2 at .*row 1; expected 1"),
        (
            {"CENS": [0, 0, 1, 1, 0, -1, 1]},
            {"censored": "CENS"},
            "'CENS' holds 1 at subject 'bob', time 2.*no datum to be the limit",
        ),
        (
            {"LIMIT": 3.0},
            {"censored": "CENS", "limit": "LIMIT"},
            "limit: column 'LIMIT' holds 3 at subject 'ann', time 2.*far end",
        ),
        ({"CENS": "yes"}, {"censored": "CENS"}, "censored: column 'CENS' holds 'yes'"),
        ({}, {"censored": "BLQ"}, "censored: the frame has no column 'BLQ'"),
    ],
)
def test_what_makes_no_sense_is_refused(changes, more, message):
    with pytest.raises((ValueError, TypeError), match=message):
        pds.panel(TABLE.assign(**changes), **ROLES, **more)


def test_several_columns_are_refused():
    roles = {**ROLES, "observed": ["DV", "TWO"], "censored": "CENS"}
    with pytest.raises(ValueError, match="tells of one column of data, but observed names 2"):
        pds.panel(TABLE.assign(TWO=1.0), **roles)


def test_limits_are_not_read_as_values():
    panel = pds.panel(TABLE, **ROLES, censored="CENS")
    system = pds.ODE(
        states="amount",
        drift=lambda amount: -amount,
        initial=0.0,
        observation=lambda amount: dist.Normal(amount, 1.0),
        events="amount",
    )
    with pm.Model(coords=pds.coords(panel)):
        with pytest.raises(ValueError, match=r"are limits \(lower, upper\).*pds\.censored"):
            pds.Trajectory("y", system, observed=panel["DV"], events=panel)
