"""Quinidine in 136 patients: concentrations by nlme's own closed form, from the table as it is."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from numpyro import distributions as dist
from scipy.linalg import expm

import pymc_dynsys as pds
from tests.oracles.cases import load


def read():
    table = pds.load_data("quinidine")
    dose, datum = table["dose"].notna(), table["conc"].notna()
    table = table.assign(
        EVID=np.where(dose, 1, np.where(datum, 0, 2)), SS=table["interval"].notna().astype(float)
    )
    columns = {"kind": "EVID", "amount": "dose", "steady_state": "SS", "interval": "interval"}
    panel = pds.panel(
        table, subject="Subject", time="time", observed="conc", inputs="glyco", events=columns
    )
    return table, panel


def drift(gut, blood, log_ka, log_cl, log_v, by_glyco, glyco):
    absorbed = jnp.exp(log_ka) * gut
    return -absorbed, absorbed - jnp.exp(log_cl + by_glyco * glyco - log_v) * blood


def row_by_row(table, case, from_dose):
    """Concentrations by a loop over rows; a row says the clearance of the time that ends with it.

    That time begins at the row before, or at the last dose.
    """
    of_subject = dict(zip(case.subject, zip(case.log_cl, case.log_v, strict=True), strict=True))
    ka, found = np.exp(case.log_ka), []
    for subject, rows in table.sort_values(["Subject", "time"]).groupby("Subject"):
        log_cl, log_v = of_subject[subject]
        x, then = np.zeros(2), rows["time"].iloc[0]
        for row in rows.itertuples():
            k = np.exp(log_cl + case.by_glyco * row.glyco - log_v)
            A, dose = np.array([[-ka, 0.0], [ka, -k]]), np.array([row.dose, 0.0])
            now = expm(A * (row.time - then)) @ x
            if row.conc > 0:
                found.append(now[1] / np.exp(log_v))
            is_dose = row.dose > 0
            if row.interval > 0:
                E = expm(A * row.interval)
                now = np.linalg.solve(np.eye(2) - E, E @ dose)
            if is_dose:
                now = now + dose
            if is_dose or not from_dose:
                x, then = now, row.time
    return np.array(found)


def test_each_of_the_concentrations_is_that_of_nlme():
    """`quinModel` at given numbers: doses, steady states, and a clearance that differs by row.

    It takes the clearance of a row for all of the time since the last dose, where ours changes
    at each row that says so: a loop by hand takes both.
    """
    case, (table, panel) = load("quinidine"), read()
    system = pds.ODE(
        states=("gut", "blood"),
        drift=drift,
        initial=(0.0, 0.0),
        observation=lambda blood, log_v: dist.Normal(blood / jnp.exp(log_v), 1.0),
        events="gut",
    )
    assert panel["subject"].values.tolist() == case.subject.tolist()
    log_v = xr.DataArray(case.log_v, dims="subject")
    with pm.Model(coords=pds.coords(panel)) as model:
        pds.Trajectory(
            "conc",
            system,
            params={
                "log_ka": case.log_ka,
                "log_cl": xr.DataArray(case.log_cl, dims="subject"),
                "log_v": log_v,
                "by_glyco": pm.Data("by_glyco", 0.0),
            },
            inputs={"glyco": pds.Input(panel["glyco"], "next")},
            observed=panel["conc"],
            events=panel,
            likelihood=pds.Kalman(),
        )

    def found():
        tree = pds.sample_states(None, model=model, random_seed=1, progressbar=False)
        blood = tree.posterior["states"].sel(state="blood")[0, 0]
        return (blood / np.exp(log_v)).values[panel["conc"].notnull().values]

    # Rows of a subject ascend in time in the table, and so do those of the archive.
    order = np.argsort(case.ID, kind="stable")
    # Sums of up to forty exponentials on both sides.
    np.testing.assert_allclose(found(), case.out.conc[order], rtol=2e-13)

    with model:
        pm.set_data({"by_glyco": case.by_glyco})
    by_hand = row_by_row(table, case, from_dose=False), row_by_row(table, case, from_dose=True)
    # Exponentials by scipy; sums of up to forty of them on both sides.
    np.testing.assert_allclose(by_hand[1], case.out.conc_by_row[order], rtol=1e-11)
    np.testing.assert_allclose(found(), by_hand[0], rtol=1e-11)
    assert np.abs(by_hand[0] / by_hand[1] - 1).max() > 0.2
