"""Theophylline in twelve subjects: a mixed-effects stochastic differential equation.

An oral dose enters a depot (the gut), is absorbed into the blood and is cleared from it:

    d depot   = -ka depot dt
    d central = (ka ke / cl depot - ke central) dt + sigma dB

    depot, dose   mg per kg of body weight
    central       mg/L, the concentration in serum
    ka, ke        1/h, rates of absorption and elimination
    cl            L/h per kg, clearance
    sigma         mg/L per square root of an hour

Subjects differ in absorption and clearance; all share one elimination rate. The process noise on
`central` represents what the compartments leave out, in addition to the measurement noise.

Run it with `uv run python examples/theophylline.py`; the figures go to `examples/output`.
"""

import argparse
import warnings
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

# Maximum likelihood with R's nlme: the same compartments without process noise, so that its
# residual sd accounts for both of our noises. See pds.load_data("theoph").attrs["about"].
NLME = {
    "log_ke": -2.4547,
    "log_ka": 0.4657,
    "log_cl": -3.2272,
    "sd_log_ka": 0.6436,
    "sd_log_cl": 0.1669,
    "sd_measurement": 0.7093,
}


@dataclass(frozen=True)
class Effort:
    """How much to compute; the predictions use every `thin`-th draw."""

    draws: int
    tune: int
    chains: int
    thin: int


FULL = Effort(draws=500, tune=500, chains=4, thin=2)
SMOKE = Effort(draws=20, tune=20, chains=2, thin=2)


def read_panel() -> xr.Dataset:
    """Concentrations and times with dims (subject, visit), and one dose per subject."""
    table = pds.load_data("theoph").rename(columns=str.lower)
    visit = table.groupby("subject").cumcount().rename("visit")
    panel = table.set_index(["subject", visit]).to_xarray()
    return panel.assign(dose=panel["dose"].isel(visit=0, drop=True))


# The system: one subject, one instant


def absorb_and_clear(depot, central, log_ka, log_ke, log_cl):
    """Rates of change per hour: of the depot in mg/kg, of the concentration in mg/L."""
    ka, ke, cl = jnp.exp(log_ka), jnp.exp(log_ke), jnp.exp(log_cl)
    volume = cl / ke  # L/kg
    return -ka * depot, ka * depot / volume - ke * central


def all_in_depot(dose):
    """The whole dose is in the depot, and none is in the blood."""
    return dist.Delta(jnp.stack([dose, jnp.zeros_like(dose)]), event_dim=1)


ONE_COMPARTMENT = pds.SDE(
    states=("depot", "central"),
    drift=absorb_and_clear,
    diffusion=lambda sigma: (0.0, sigma),
    initial=all_in_depot,
    observation=lambda central, sd_measurement: dist.Normal(central, sd_measurement),
    events="depot",  # where further doses would go
)


# The model


def build_model(panel: xr.Dataset) -> pm.Model:
    """Twelve subjects whose log rates come from one population."""
    coords = {"subject": panel["subject"].values, "visit": panel["visit"].values}
    with pm.Model(coords=coords) as model:
        log_ke = pm.Normal("log_ke", -2.5, 0.5)
        log_ka = pm.Normal("log_ka", 0.5, 1.0)
        log_cl = pm.Normal("log_cl", -3.2, 1.0)
        sd_log_ka = pm.HalfNormal("sd_log_ka", 1.0)
        sd_log_cl = pm.HalfNormal("sd_log_cl", 0.5)
        sigma = pm.HalfNormal("sigma", 1.0)
        sd_measurement = pm.HalfNormal("sd_measurement", 2.0)
        pds.Trajectory(
            "concentration",
            ONE_COMPARTMENT,
            params={
                "log_ka": pm.Normal("log_ka_subject", log_ka, sd_log_ka, dims="subject"),
                "log_cl": pm.Normal("log_cl_subject", log_cl, sd_log_cl, dims="subject"),
                "log_ke": log_ke,
                "sigma": sigma,
                "sd_measurement": sd_measurement,
                "dose": panel["dose"],
            },
            observed=panel["conc"],
            dims=("subject", "visit"),
            times=panel["time"],
            likelihood=pds.Kalman(),
        )
    return model


def fit(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample the posterior; the filter is compiled together with the sampler."""
    return pm.sample(
        draws=effort.draws,
        tune=effort.tune,
        chains=effort.chains,
        nuts_sampler="numpyro",
        # Each clearance is correlated with the shared elimination rate.
        nuts={"dense_mass": True},
        random_seed=seed,
        progressbar=False,
        model=model,
    )


# Results


def compare_with_nlme(idata: xr.DataTree) -> pd.DataFrame:
    """Posterior summary of the population next to the published estimates."""
    table = az.summary(idata, var_names=[*NLME, "sigma"])
    table.insert(0, "nlme", pd.Series(NLME))
    return table


def predict(idata: xr.DataTree, dose: xr.DataArray, times: np.ndarray, thin: int, seed: int):
    """Simulate the same subjects again, once for every `thin`-th draw."""
    some = idata.posterior.dataset.isel(draw=slice(None, None, thin))
    params = {
        "log_ka": some["log_ka_subject"],
        "log_cl": some["log_cl_subject"],
        "log_ke": some["log_ke"],
        "sigma": some["sigma"],
        "sd_measurement": some["sd_measurement"],
        "dose": dose,
    }
    paths = pds.simulate(ONE_COMPARTMENT, params, times, random_seed=seed)
    return paths.isel(sample=0)


def judge(errors: xr.DataTree) -> pd.DataFrame:
    """Share of the draws in which each subject's prediction errors look wrong, at 5%."""
    names = {"ljung_box": "correlated errors", "nis": "errors of wrong size"}
    shares = (errors["tests"].dataset < 0.05).mean(("chain", "draw")).rename(names)
    return shares.to_dataframe().round(2)


def dose_again(
    idata: xr.DataTree, model: pm.Model, panel: xr.Dataset, thin: int, seed: int
) -> xr.DataTree:
    """Forecast another day, after a second, equal dose at the time of the last sample."""
    last = panel["time"].max("visit")
    again = xr.Dataset({"event_time": last, "event_amount": panel["dose"]}).expand_dims("event", -1)
    hours = last + xr.DataArray(24.0 * np.linspace(0.0, 1.0, 50) ** 2, dims="ahead")
    some = idata.isel(draw=slice(None, None, thin))
    return pds.forecast(
        some, model=model, times=hours, events=again, random_seed=seed, progressbar=False
    )


def forecast_new_subjects(idata: xr.DataTree, thin: int, seed: int) -> xr.DataTree:
    """Forecast people who have not been measured, and whose dose alone is known."""
    new_subjects = xr.Dataset(
        {
            "dose": ("subject", [3.0, 6.0]),
            "conc": (("subject", "visit"), np.full((2, 1), np.nan)),
            "time": (("subject", "visit"), np.zeros((2, 1))),
        },
        coords={"subject": ["3 mg/kg", "6 mg/kg"], "visit": [0]},
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*no value observed")
        model = build_model(new_subjects)
    some = idata.isel(draw=slice(None, None, thin))
    hours = np.linspace(0.0, 24.0, 73)
    return pds.forecast(some, model=model, times=hours, random_seed=seed, progressbar=False)


# The figures


def band(ax: Axes, draws: xr.DataArray, **style) -> None:
    """Shade the central 90% of `draws` over time."""
    low, high = draws.quantile([0.05, 0.95], ["chain", "draw"])
    ax.fill_between(draws["time"], low, high, color="C0", lw=0, **style)


def plot_fit(panel: xr.Dataset, predicted: xr.Dataset) -> Figure:
    """Data and posterior predictive bands, one panel per subject."""
    figure, axes = plt.subplots(
        3, 4, sharex=True, sharey=True, figsize=(10, 6.5), layout="constrained"
    )
    for ax, subject in zip(axes.flat, panel["subject"].values, strict=True):
        data, paths = panel.sel(subject=subject), predicted.sel(subject=subject)
        central = paths["states"].sel(state="central")
        band(ax, paths["observations"], alpha=0.2, label="measurements, 90%")
        band(ax, central, alpha=0.45, label="concentration, 90%")
        ax.plot(central["time"], central.median(["chain", "draw"]), "C0", label="its median")
        ax.plot(data["time"], data["conc"], "ko", ms=3.5, label="data")
        ax.text(0.95, 0.92, f"subject {subject}", ha="right", va="top", transform=ax.transAxes)
        ax.spines[["top", "right"]].set_visible(False)
    ax.set(xticks=range(0, 25, 6), yticks=range(0, 13, 4))
    entries = ax.get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=4, frameon=False)
    figure.supxlabel("hours since the dose")
    figure.supylabel("theophylline in serum (mg/L)")
    return figure


def plot_effect(ax: Axes, idata: xr.DataTree, name: str) -> None:
    """Intervals of one rate in each subject, and in the population."""
    subjects = np.exp(idata.posterior[f"{name}_subject"])
    rows = subjects["subject"].values
    levels = subjects.quantile([0.05, 0.25, 0.5, 0.75, 0.95], ["chain", "draw"])
    low, middle, high = np.exp(idata.posterior[name].quantile([0.05, 0.5, 0.95]))
    ax.axvspan(low, high, color="C0", alpha=0.1, lw=0, label="population, 90%")
    ax.axvline(middle, color="C0", ls="--", label="its median")
    ax.axvline(np.exp(NLME[name]), color="black", ls=":", label="population by nlme")
    ax.hlines(rows, levels[0], levels[4], color="C0", lw=1)
    ax.hlines(rows, levels[1], levels[3], color="C0", lw=4)
    ax.plot(levels[2], rows, "o", color="white", mec="C0", label="subjects, 50% and 90%")


def plot_subjects(idata: xr.DataTree) -> Figure:
    """Show what differs between subjects, on logarithmic scales."""
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(10, 5), layout="constrained")
    ticks = {"log_ka": [0.5, 1, 2, 5, 10], "log_cl": [0.025, 0.03, 0.04, 0.05, 0.06]}
    for ax, name in zip(axes, ticks, strict=True):
        plot_effect(ax, idata, name)
        ax.set_xscale("log")
        ax.set_xticks(ticks[name], ticks[name])
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set(xlabel="absorption rate (1/h)", ylabel="subject", yticks=range(1, 13))
    axes[1].set(xlabel="clearance (L/h per kg)")
    axes[0].invert_yaxis()
    entries = axes[0].get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=4, frameon=False)
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
    print(f"\nThe population\n{compare_with_nlme(idata)}")
    print(f"\nThe subjects\n{az.summary(idata, var_names=['log_ka_subject', 'log_cl_subject'])}")

    errors = pds.innovations(idata, model=model, progressbar=False)
    print(f"\nShare of the draws at which a test rejects at 5%\n{judge(errors)}")
    plots = pds.plot_innovations(errors, backend="matplotlib")
    plots.savefig(arguments.output / "theophylline_innovations.png", dpi=120)
    by_observation = pds.log_likelihood(idata, model=model, by="datum", progressbar=False)
    print(f"\nPredicting each observation from those before it\n{az.loo(by_observation)}")

    hours = 25.0 * np.linspace(0.0, 1.0, 60) ** 2  # dense while the dose is being absorbed
    predicted = predict(idata, panel["dose"], hours, effort.thin, arguments.seed)
    save(plot_fit(panel, predicted), arguments.output / "theophylline_fit.png")
    save(plot_subjects(idata), arguments.output / "theophylline_subjects.png")

    again = dose_again(idata, model, panel, effort.thin, arguments.seed)
    some = {"subject": [1, 5, 9, 12]}
    plots = pds.plot_forecast(again, coords=some, backend="matplotlib")
    plots.savefig(arguments.output / "theophylline_second_dose.png", dpi=120)
    predictions = forecast_new_subjects(idata, effort.thin, arguments.seed)
    plots = pds.plot_forecast(predictions, backend="matplotlib", visuals={"last_time": False})
    plots.savefig(arguments.output / "theophylline_new_subjects.png", dpi=120)
    print(f"\nThe figures are in {arguments.output}")


if __name__ == "__main__":
    main()
