"""Phenobarbital in 59 neonates: doses from a tidy table, and a mixed-effects SDE.

A neonate gets a loading dose and then smaller ones for days; blood is drawn one to six times. The
drug is cleared from a single compartment:

    d amount = -(cl / v) amount dt + sigma weight dB,    amount += dose at every dose
    conc     = amount / v + N(0, sd_measurement^2)

    amount, dose  mg
    conc          mg/L, the concentration in serum
    cl, v         L/h and L, clearance and volume
    weight        kg, at birth
    sigma         mg per kg and square root of an hour

Clearance and volume differ between neonates: by powers of the weight, by the Apgar score (5 or
more: volume only), and by random effects:

    log cl_i = log_cl + cl_by_weight log(weight_i)                       + N(0, sd_log_cl^2)
    log v_i  = log_v  + v_by_weight  log(weight_i) + v_by_apgar apgar5_i + N(0, sd_log_v^2)

R's nlme fits this model without process noise. The example fits it both ways: without, to check
that the estimates agree, and with it, to see how much of the measurement noise the process noise
takes.

Run it with `uv run python examples/phenobarbital.py`; the figures go to `examples/output`.
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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpyro import distributions as dist

HERE = Path(__file__).parent

# Maximum likelihood, as printed by examples/nlme/phenobarbital.R with nlme 3.1.162 in R 4.2.2.
NLME = {
    "log_cl": -5.3933,
    "cl_by_weight": 1.1050,
    "log_v": 0.1397,
    "v_by_weight": 0.9408,
    "v_by_apgar": -0.1535,
    "sd_log_cl": 0.2034,
    "sd_log_v": 0.1725,
    "sd_measurement": 2.7224,
}


@dataclass(frozen=True)
class Effort:
    """How much to compute; the predictions use every `thin`-th draw."""

    draws: int
    tune: int
    chains: int
    thin: int


FULL = Effort(draws=1000, tune=500, chains=4, thin=8)
SMOKE = Effort(draws=10, tune=10, chains=2, thin=1)


def read_panel() -> xr.Dataset:
    """Concentrations over (subject, visit), doses over (subject, event), a weight per subject."""
    table = pds.load_data("phenobarb")
    return pds.panel(
        table,
        subject="Subject",
        time="time",
        observed="conc",
        covariates=["Wt", "Apgar"],
        events={"amount": "dose"},
    )


# The system: one subject, one instant


def clear(amount, log_cl, log_v):
    """Rate of change of the amount, in mg per hour."""
    return -jnp.exp(log_cl - log_v) * amount


def measure(amount, log_v, sd_measurement):
    """Distribution of a concentration in mg/L."""
    return dist.Normal(amount / jnp.exp(log_v), sd_measurement)


ONE_COMPARTMENT = pds.SDE(
    states=("amount",),
    drift=clear,
    diffusion=lambda sigma, weight: sigma * weight,
    initial=(0.0,),
    observation=measure,
    events="amount",
)


# The model


def build_model(panel: xr.Dataset, process_noise: bool) -> pm.Model:
    """Build the model; log_cl and log_v refer to a neonate of 1 kg with a low Apgar score."""
    log_weight = np.log(panel["Wt"].values)
    apgar5 = (panel["Apgar"].values >= 5).astype(float)
    with pm.Model(coords=pds.coords(panel)) as model:
        log_cl = pm.Normal("log_cl", -5.0, 1.0)
        log_v = pm.Normal("log_v", 0.0, 1.0)
        cl_by_weight = pm.Normal("cl_by_weight", 1.0, 0.5)
        v_by_weight = pm.Normal("v_by_weight", 1.0, 0.5)
        v_by_apgar = pm.Normal("v_by_apgar", 0.0, 0.5)
        sd_log_cl = pm.HalfNormal("sd_log_cl", 0.5)
        sd_log_v = pm.HalfNormal("sd_log_v", 0.5)
        sd_measurement = pm.HalfNormal("sd_measurement", 5.0)
        # The density is highest at zero, where the model equals nlme's.
        sigma = pm.HalfNormal("sigma", 0.5) if process_noise else 0.0
        typical_cl = log_cl + cl_by_weight * log_weight
        typical_v = log_v + v_by_weight * log_weight + v_by_apgar * apgar5
        z_cl = pm.Normal("z_cl", dims="subject")
        z_v = pm.Normal("z_v", dims="subject")
        pds.Trajectory(
            "conc",
            ONE_COMPARTMENT,
            params={
                "log_cl": pm.Deterministic(
                    "log_cl_subject", typical_cl + sd_log_cl * z_cl, dims="subject"
                ),
                "log_v": pm.Deterministic(
                    "log_v_subject", typical_v + sd_log_v * z_v, dims="subject"
                ),
                "sigma": sigma,
                "sd_measurement": sd_measurement,
                "weight": panel["Wt"],
            },
            events=panel,
            observed=panel["conc"],
            likelihood=pds.Kalman(),
        )
    return model


def fit(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample the posterior; the filter is compiled together with the sampler."""
    return pm.sample(
        draws=effort.draws,
        tune=effort.tune,
        chains=effort.chains,
        target_accept=0.9,
        nuts_sampler="numpyro",
        random_seed=seed,
        progressbar=False,
        model=model,
    )


# Results


def compare(without: xr.DataTree, with_noise: xr.DataTree) -> pd.DataFrame:
    """Posterior summary of the population next to nlme's estimates."""
    table = az.summary(with_noise, var_names=[*NLME, "sigma"])
    plain = az.summary(without, var_names=list(NLME))
    table.insert(0, "nlme", pd.Series(NLME))
    table.insert(1, "no noise", plain["mean"].round(3))
    table.insert(2, "its sd", plain["sd"].round(3))
    return table


def before_and_after_doses(panel: xr.Dataset) -> xr.DataArray:
    """Times of the curves: evenly spaced, and just after each dose, up to the last observation."""
    last = panel["time"].max("visit")
    even = last * xr.DataArray(np.linspace(0.0, 1.0, 60), dims="point")
    at = panel["event_time"].where(panel["event_time"] < last).rename(event="point")
    times = xr.concat([even, at, at + 1e-6], "point").transpose("subject", "point")
    return times.copy(data=np.sort(times.values)).rename("time")


def predict(idata: xr.DataTree, panel: xr.Dataset, thin: int, seed: int) -> xr.Dataset:
    """Simulate the subjects of `panel` again, once for every `thin`-th draw."""
    some = idata.posterior.dataset.isel(draw=slice(None, None, thin)).sel(subject=panel["subject"])
    params = {
        "log_cl": some["log_cl_subject"],
        "log_v": some["log_v_subject"],
        "sigma": some["sigma"],
        "sd_measurement": some["sd_measurement"],
        "weight": panel["Wt"],
    }
    times = before_and_after_doses(panel)
    paths = pds.simulate(ONE_COMPARTMENT, params, times, events=panel, random_seed=seed)
    level = paths["states"].sel(state="amount") / np.exp(params["log_v"])
    return paths.assign(level=level).isel(sample=0)


# The figures


def band(ax: Axes, times: xr.DataArray, draws: xr.DataArray, **style) -> None:
    """Shade the central 90% of `draws` over time."""
    low, high = draws.quantile([0.05, 0.95], ["chain", "draw"])
    ax.fill_between(times, low, high, color="C0", lw=0, **style)


def plot_fit(panel: xr.Dataset, predicted: xr.Dataset) -> Figure:
    """Data, doses and posterior predictive bands, one panel per subject."""
    figure, axes = plt.subplots(3, 4, sharey=True, figsize=(10, 7), layout="constrained")
    for ax, subject in zip(axes.flat, panel["subject"].values, strict=True):
        data = panel.sel(subject=subject)
        paths = predicted.sel(subject=subject).dropna("point", subset=["time"])
        days = paths["time"] / 24
        band(ax, days, paths["observations"], alpha=0.2, label="measurements, 90%")
        band(ax, days, paths["level"], alpha=0.45, label="concentration, 90%")
        ax.plot(days, paths["level"].median(["chain", "draw"]), "C0", label="its median")
        ax.plot(data["time"] / 24, data["conc"], "ko", ms=4, label="data", zorder=3)
        ax.vlines(
            data["event_time"].where(data["event_time"] < data["time"].max()) / 24,
            0,
            data["event_amount"] / data["Wt"],
            color="C1",
            lw=2,
            label="doses (mg per kg)",
        )
        title = f"subject {subject}, {data['Wt'].item():g} kg"
        ax.text(0.97, 0.96, title, ha="right", va="top", transform=ax.transAxes)
        ax.spines[["top", "right"]].set_visible(False)
    ax.set_ylim(0)
    entries = ax.get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=5, frameon=False)
    figure.supxlabel("days since the first dose")
    figure.supylabel("phenobarbital in serum (mg/L)")
    return figure


def plot_covariates(panel: xr.Dataset, idata: xr.DataTree) -> Figure:
    """Clearance and volume of every neonate against weight, with the population's curve."""
    figure, axes = plt.subplots(1, 2, figsize=(10, 4.5), layout="constrained")
    post = idata.posterior
    grid = xr.DataArray(np.linspace(0.55, 3.7, 50), dims="kg")
    curves = {
        "cl": post["log_cl"] + post["cl_by_weight"] * np.log(grid),
        "v": post["log_v"] + post["v_by_weight"] * np.log(grid) + post["v_by_apgar"],
    }
    nlme = {
        "cl": NLME["log_cl"] + NLME["cl_by_weight"] * np.log(grid),
        "v": NLME["log_v"] + NLME["v_by_weight"] * np.log(grid) + NLME["v_by_apgar"],
    }
    healthy = panel["Apgar"].values >= 5
    for ax, name in zip(axes, curves, strict=True):
        low, middle, high = np.exp(curves[name]).quantile([0.05, 0.5, 0.95], ["chain", "draw"])
        ax.fill_between(grid, low, high, color="C0", alpha=0.2, lw=0, label="population, 90%")
        ax.plot(grid, middle, "C0--", label="its median")
        ax.plot(grid, np.exp(nlme[name]), "k:", label="population by nlme")
        draws = np.exp(post[f"log_{name}_subject"])
        levels = draws.quantile([0.25, 0.5, 0.75], ["chain", "draw"]).values
        for group, color, label in ((healthy, "C0", "5 or more"), (~healthy, "C1", "below 5")):
            weight = panel["Wt"].values[group]
            ax.vlines(weight, levels[0, group], levels[2, group], color=color, lw=1)
            ax.plot(weight, levels[1, group], "o", color=color, ms=4, label=f"Apgar {label}, 50%")
        ax.set(xscale="log", yscale="log", xlabel="weight at birth (kg)")
        ax.set_xticks([0.6, 1, 2, 3], ["0.6", "1", "2", "3"])
        ax.spines[["top", "right"]].set_visible(False)
        ax.minorticks_off()
    axes[0].set_ylabel("clearance (L/h)")
    axes[0].set_yticks([0.003, 0.005, 0.01, 0.02], ["0.003", "0.005", "0.01", "0.02"])
    axes[1].set_ylabel("volume (L)")
    axes[1].set_yticks([0.5, 1, 2, 4], ["0.5", "1", "2", "4"])
    entries = axes[1].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=5, frameon=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the figure."""
    figure.savefig(path, dpi=120)
    plt.close(figure)


def main() -> None:
    """Read the command line, fit both models, and report the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few draws, to see that it runs")
    parser.add_argument("--output", type=Path, default=HERE / "output")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    effort = SMOKE if arguments.smoke else FULL

    panel = read_panel()
    without = fit(build_model(panel, process_noise=False), effort, arguments.seed)
    idata = fit(build_model(panel, process_noise=True), effort, arguments.seed)
    print(f"\nThe population\n{compare(without, idata)}")

    most = panel["conc"].count("visit").argsort()[::-1][:12]
    some = panel.isel(subject=np.sort(most))
    predicted = predict(idata, some, effort.thin, arguments.seed)
    save(plot_fit(some, predicted), arguments.output / "phenobarbital_fit.png")
    save(plot_covariates(panel, idata), arguments.output / "phenobarbital_covariates.png")
    print(f"\nThe figures are in {arguments.output}")


if __name__ == "__main__":
    main()
