"""Tables like R's Quinidine and Remifentanil: their log-likelihood against superposition."""

import numpy as np
import pandas as pd
import pymc as pm
import pytest
import scipy.stats as st
from numpyro import distributions as dist

import pymc_dynsys as pds

NAN = np.nan
K, V, KE0, SD = 0.25, 8.0, 0.7, 0.3

# Routine care: a weight that changes on dose rows, a steady state, and rows that are both.
QUINIDINE = pd.DataFrame(
    [
        (1, 0.0, 200.0, NAN, 70.0, 6.0, 1),
        (1, 6.0, 200.0, 9.1, 84.0, NAN, 0),
        (1, 9.0, NAN, 20.4, 84.0, NAN, 0),
        (1, 12.0, 150.0, 11.0, 56.0, NAN, 0),
        (1, 17.5, NAN, 9.3, 56.0, NAN, 0),
        (2, 3.0, 100.0, NAN, 60.0, NAN, 0),
        (2, 10.0, 100.0, NAN, 75.0, NAN, 0),
        (2, 10.0, NAN, 3.0, 75.0, NAN, 0),
        (2, 14.0, NAN, 7.1, 75.0, NAN, 0),
    ],
    columns=["Subject", "time", "dose", "conc", "Weight", "interval", "ss"],
)
ROLES = {"subject": "Subject", "time": "time", "observed": "conc", "inputs": "Weight"}
PARTS = {"amount": "dose", "interval": "interval", "steady_state": "ss"}


def eliminated(start, stop, rows):
    """Integral of the rate of elimination, for weights that hold from their rows on."""
    knots, weights = rows["time"].to_numpy(), rows["Weight"].to_numpy()
    ends = np.append(knots[1:], np.inf)
    held = np.clip(np.minimum(ends, stop) - np.maximum(knots, start), 0.0, None)
    held[0] += max(0.0, min(knots[0], stop) - start)
    return float((K * (weights / 70.0) ** 0.75 * held).sum())


def log_likelihoods(panel):
    system = pds.ODE(
        states=("A",),
        drift=lambda A, Weight: -K * (Weight / 70.0) ** 0.75 * A,
        initial=(0.0,),
        observation=lambda A, V: dist.Normal(A / V, SD),
    )
    with pm.Model(coords=pds.coords(panel)) as model:
        pds.Trajectory(
            "y",
            system,
            params={"V": pm.Flat("V", initval=V)},
            inputs={"Weight": panel["Weight"]},
            observed=panel["conc"],
            events=panel,
            likelihood=pds.Kalman(),
        )
    return model.compile_logp(model["y"], sum=False)({"V": np.array(V)})[0]


def test_a_table_like_quinidine():
    with pytest.raises(ValueError, match=r"\['interval'\]: .* holds 6 at subject 1, time 0"):
        pds.panel(QUINIDINE, **ROLES, events={"amount": "dose", "interval": "interval"})
    # The steady state, and written out: forty doses before, of the weight of then.
    steady = log_likelihoods(pds.panel(QUINIDINE, **ROLES, events=PARTS, ties="data"))
    before = QUINIDINE.iloc[[0] * 40].assign(time=-6.0 * np.arange(1, 41))
    table = pd.concat([QUINIDINE, before]).assign(interval=NAN, ss=0)
    with pytest.warns(UserWarning, match="dose of row 6 comes before the datum of row 7"):
        pds.panel(table, **ROLES, events=PARTS)
    panel = pds.panel(table, **ROLES, events=PARTS, ties="data")
    assert panel["Weight"].dims == ("subject", "record")
    found = log_likelihoods(panel)
    expected = []
    for _, rows in table.sort_values("time", kind="stable").groupby("Subject"):
        doses = rows[rows["dose"].notna()]
        data = rows[rows["conc"].notna()]
        mean = [
            sum(
                dose.dose * np.exp(-eliminated(dose.time, when, rows))
                for dose in doses.itertuples()
                if dose.time < when
            )
            / V
            for when in data["time"]
        ]
        expected.append(st.norm.logpdf(data["conc"], mean, SD).sum())
    np.testing.assert_allclose(found, expected, rtol=1e-10)
    np.testing.assert_allclose(steady, expected, rtol=1e-10)


# Anaesthesia: an infusion by its rate, a bolus at the time of two data, two endpoints.
REMIFENTANIL = pd.DataFrame(
    [
        (1, 0.0, 1, 72.0, 9.0, 1, NAN),
        (1, 2.0, 0, 0.0, 0.0, 1, 1.8),
        (1, 2.0, 0, 0.0, 0.0, 2, 0.9),
        (1, 8.0, 0, 0.0, 0.0, 1, 4.2),
        (1, 9.0, 0, 0.0, 0.0, 2, 2.9),
        (1, 9.0, 1, 40.0, 0.0, 1, NAN),
        (1, 9.0, 0, 0.0, 0.0, 1, 7.4),
        (1, 15.0, 0, 0.0, 0.0, 2, 2.8),
        (2, 0.0, 0, 0.0, 0.0, 1, 0.1),
        (2, 1.0, 1, 30.0, 10.0, 1, NAN),
        (2, 3.0, 0, 0.0, 0.0, 2, 1.2),
        (2, 5.0, 0, 0.0, 0.0, 2, 1.9),
        (2, 5.0, 0, 0.0, 0.0, 1, 1.6),
    ],
    columns=["ID", "TIME", "EVID", "AMT", "RATE", "CMT", "DV"],
)


def step(since):
    """Concentration and effect of a constant rate of one that began `since` ago."""
    since = max(since, 0.0)
    lasting = (KE0 * np.exp(-K * since) - K * np.exp(-KE0 * since)) / (KE0 - K)
    return np.array([1 - np.exp(-K * since), 1 - lasting]) / (K * V)


def kick(since):
    effect = KE0 / (KE0 - K) * (np.exp(-K * since) - np.exp(-KE0 * since))
    return np.array([np.exp(-K * since), effect]) / V


def test_a_table_like_remifentanil():
    roles = {"subject": "ID", "time": "TIME", "observed": "DV", "events": "nonmem"}
    with pytest.raises(ValueError, match=r"column 'CMT' holds 1 at .*, and 2 at .*endpoint='CMT'"):
        pds.panel(REMIFENTANIL, **roles)
    panel = pds.panel(
        REMIFENTANIL, **roles, endpoint={"CMT": {1: "conc", 2: "effect"}}, ties="record"
    )
    assert panel["time"].sel(subject=1).values.tolist() == [2.0, 8.0, 9.0, 9.0, 15.0]
    system = pds.ODE(
        states=("A", "E"),
        drift=lambda A, E, V: (-K * A, KE0 * (A / V - E)),
        initial=(0.0, 0.0),
        observation=lambda A, E, V: {
            "effect": dist.Normal(E, SD),
            "conc": dist.Normal(A / V, SD),
        },
    )
    with pm.Model(coords=pds.coords(panel)) as model:
        pds.Trajectory(
            "y",
            system,
            params={"V": pm.Flat("V", initval=V)},
            observed=panel["observed"],
            events=panel,
            likelihood=pds.Kalman(),
        )
    expected = []
    for _, rows in REMIFENTANIL.groupby("ID"):
        total = 0.0
        for number, row in rows[rows["EVID"] == 0].iterrows():
            mean = np.zeros(2)
            for above, dose in rows[rows["EVID"] == 1].iterrows():
                since = row.TIME - dose.TIME
                if dose.RATE > 0:
                    mean += dose.RATE * (step(since) - step(since - dose.AMT / dose.RATE))
                elif since > 0 or (since == 0 and above < number):
                    mean += dose.AMT * kick(since)
            total += st.norm.logpdf(row.DV, mean[int(row.CMT) - 1], SD)
        expected.append(total)
    found = model.compile_logp(model["y"], sum=False)({"V": np.array(V)})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-10)
