"""Quinidine in 136 patients: from a clinical table to a fit and a forecast.

Patients took quinidine by mouth for weeks, and blood was drawn one to eleven times of each. Some
rows of the table say that doses like theirs had been taken for so long that it is a steady state,
and a protein of the blood that binds the drug (alpha-1-acid glycoprotein) differs from row to row,
on rows with doses too. The drug is absorbed from the gut and cleared from one compartment:

    d gut   = -ka gut dt,                          gut += dose at every dose
    d blood = (ka gut - cl / v blood) dt
    conc    = blood / v + N(0, sd_measurement^2)

    gut, blood, dose  mg
    conc              mg/L, the concentration in serum
    ka                1/h, absorption
    cl, v             L/h and L, clearance and volume

    log cl_i(t) = log_cl + cl_by_glyco (glyco_i(t) - 1.3) + N(0, sd_log_cl^2)

R's nlme fits this model (Pinheiro and Bates 2000, section 8.2.2) and finds no variation of the
volume between patients, so that there is none here.

Run it with `uv run python examples/quinidine.py`; the figures go to `examples/output`.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import arviz as az
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pymc as pm
import pymc_dynsys as pds
import xarray as xr
from matplotlib.figure import Figure
from numpyro import distributions as dist

HERE = Path(__file__).parent
TYPICAL = 1.3
"""mg/dL of glycoprotein to which log_cl refers, near the mean of the table."""

# Maximum likelihood, as printed by examples/nlme/quinidine.R with nlme 3.1.162 in R 4.2.2.
NLME = {
    "log_ka": -0.8436,
    "log_cl": 2.4728,
    "cl_by_glyco": -0.5015,
    "log_v": 5.2721,
    "sd_log_cl": 0.2711,
    "sd_measurement": 0.6511,
}


@dataclass(frozen=True)
class Effort:
    """How much to compute."""

    draws: int
    tune: int
    chains: int
    thin: int
    depth: int  # of the trees of NUTS, which are deep before it is tuned


FULL = Effort(draws=500, tune=500, chains=4, thin=10, depth=10)
SMOKE = Effort(draws=10, tune=10, chains=2, thin=1, depth=2)


def read_panel() -> xr.Dataset:
    """Concentrations over (subject, visit), doses over (subject, event), the protein over rows."""
    table = pds.load_data("quinidine")
    dose, datum = table["dose"].notna(), table["conc"].notna()
    table = table.assign(
        EVID=np.where(dose, 1, np.where(datum, 0, 2)),
        SS=table["interval"].notna().astype(int),
    )
    columns = {"kind": "EVID", "amount": "dose", "steady_state": "SS", "interval": "interval"}
    return pds.panel(
        table, subject="Subject", time="time", observed="conc", inputs="glyco", events=columns
    )


# The system: one patient, one instant


def absorb_and_clear(gut, blood, log_ka, log_cl, log_v, cl_by_glyco, glyco):
    """Rates of change of both amounts, in mg per hour."""
    absorbed = jnp.exp(log_ka) * gut
    cl = jnp.exp(log_cl + cl_by_glyco * (glyco - TYPICAL))
    return -absorbed, absorbed - cl / jnp.exp(log_v) * blood


SYSTEM = pds.ODE(
    states=("gut", "blood"),
    drift=absorb_and_clear,
    initial=(0.0, 0.0),
    observation=lambda blood, log_v, sd_measurement: dist.Normal(
        blood / jnp.exp(log_v), sd_measurement
    ),
    events="gut",
)


# The model


def build_model(panel: xr.Dataset) -> pm.Model:
    """Build the model; the protein of a row holds for the time that ends with it, as in nlme."""
    with pm.Model(coords=pds.coords(panel)) as model:
        log_cl = pm.Normal("log_cl", 2.5, 0.5)
        sd_log_cl = pm.HalfNormal("sd_log_cl", 0.5)
        pds.Trajectory(
            "conc",
            SYSTEM,
            params={
                "log_ka": pm.Normal("log_ka", -0.7, 0.7),
                "log_cl": pds.effects.varying("log_cl_subject", log_cl, sd_log_cl, dims="subject"),
                "log_v": pm.Normal("log_v", 5.3, 0.5),
                "cl_by_glyco": pm.Normal("cl_by_glyco", 0.0, 0.5),
                "sd_measurement": pm.HalfNormal("sd_measurement", 1.0),
            },
            inputs={"glyco": pds.Input(panel["glyco"], "next")},
            events=panel,
            observed=panel["conc"],
            likelihood=pds.Kalman(),
        )
    return model


def fit(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample the posterior."""
    return pm.sample(
        draws=effort.draws,
        tune=effort.tune,
        chains=effort.chains,
        nuts_sampler="numpyro",
        random_seed=seed,
        nuts={"max_tree_depth": effort.depth},
        progressbar=False,
        model=model,
    )


# Results


def compare(idata: xr.DataTree) -> pd.DataFrame:
    """Posterior summary of the population next to nlme's estimates."""
    table = az.summary(idata, var_names=list(NLME))
    table.insert(0, "nlme", pd.Series(NLME))
    return table


def forecast(idata: xr.DataTree, model: pm.Model, panel: xr.Dataset, dose: float, seed: int):
    """Two days ahead from the last datum of each patient, a dose (mg) every six hours."""
    last = panel["time"].max("visit")
    each = 6.0 * xr.DataArray(np.arange(8.0), dims="event")
    times, amounts = xr.broadcast(last + each, dose + 0.0 * last)
    future = xr.Dataset({"event_time": times, "event_amount": amounts})
    rows = panel["glyco"].notnull().sum("record")
    protein = panel["glyco"].isel(record=rows - 1, drop=True)
    hours = last + xr.DataArray(np.linspace(0.0, 48.0, 97), dims="ahead")
    return pds.forecast(
        idata,
        model=model,
        times=hours,
        events=future.transpose("subject", "event"),
        inputs={"glyco": protein.broadcast_like(hours)},
        random_seed=seed,
        progressbar=False,
    )


# The figures


def plot_population(idata: xr.DataTree, panel: xr.Dataset) -> Figure:
    """Clearance against the protein: the population's curve, and each patient's at their mean."""
    figure, ax = plt.subplots(figsize=(7, 4.5), layout="constrained")
    post = idata.posterior
    protein = xr.DataArray(np.linspace(0.4, 3.5, 50), dims="glyco")
    curve = np.exp(post["log_cl"] + post["cl_by_glyco"] * (protein - TYPICAL))
    low, middle, high = curve.quantile([0.05, 0.5, 0.95], ["chain", "draw"])
    ax.fill_between(protein, low, high, color="C0", alpha=0.2, lw=0, label="population, 90%")
    ax.plot(protein, middle, "C0--", label="its median")
    of_subject = panel["glyco"].mean("record")
    draws = np.exp(post["log_cl_subject"] + post["cl_by_glyco"] * (of_subject - TYPICAL))
    low, middle, high = draws.quantile([0.25, 0.5, 0.75], ["chain", "draw"])
    ax.vlines(of_subject, low, high, color="C1", lw=1)
    ax.plot(of_subject, middle, "C1o", ms=3, label="patients, 50%")
    ax.set(yscale="log", xlabel="alpha-1-acid glycoprotein (mg/dL)", ylabel="clearance (L/h)")
    ax.set_yticks([3, 5, 10, 20], ["3", "5", "10", "20"])
    ax.minorticks_off()
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False)
    return figure


def plot_forecast(future: xr.DataTree, panel: xr.Dataset, subjects: list[int]) -> Figure:
    """Data to come of some patients, after what has been measured."""
    figure, axes = plt.subplots(1, len(subjects), sharey=True, figsize=(10, 3.5))
    ahead = np.linspace(0.0, 48.0, 97)
    for ax, subject in zip(axes, subjects, strict=True):
        draws = future.predictions["conc"].sel(subject=subject)
        low, middle, high = draws.quantile([0.05, 0.5, 0.95], ["chain", "draw"])
        ax.fill_between(ahead, low, high, color="C0", alpha=0.2, lw=0)
        ax.plot(ahead, middle, "C0")
        data = panel.sel(subject=subject)
        since = data["time"] - data["time"].max()
        ax.plot(since, data["conc"], "ko", ms=4)
        ax.set(title=f"patient {subject}", xlabel="hours from the last sample", xlim=(-4, 48))
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set(ylabel="quinidine (mg/L)", ylim=0)
    figure.tight_layout()
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the figure."""
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Read the command line, fit the model, and report the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few draws, to see that it runs")
    parser.add_argument("--output", type=Path, default=HERE / "output")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    effort = SMOKE if arguments.smoke else FULL

    panel = read_panel()
    model = build_model(panel)
    idata = fit(model, effort, arguments.seed)
    print(f"\nThe population\n{compare(idata)}")

    save(plot_population(idata, panel), arguments.output / "quinidine_clearance.png")
    thinned = idata.isel(draw=slice(None, None, effort.thin))
    future = forecast(thinned, model, panel, 200.0, arguments.seed)
    shown = [1, 3, 26]
    save(plot_forecast(future, panel, shown), arguments.output / "quinidine_forecast.png")
    print(f"\nThe figures are in {arguments.output}")


if __name__ == "__main__":
    main()
