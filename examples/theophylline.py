"""Theophylline in twelve subjects: a mixed-effects stochastic differential equation.

A swallowed dose sits in a depot (the gut), is absorbed into the blood and cleared from it:

    d depot   = -ka depot dt
    d central = (ka ke / cl depot - ke central) dt + sigma dB

`central` is a concentration and `depot` a dose per body weight, so the clearance `cl` is per body
weight too. Subjects differ in their absorption rate and clearance; all share one elimination rate.
The noise on `central` stands for what the compartments leave out, and the noise of measurement
comes on top of it.

Run it with `uv run python examples/theophylline.py`; pictures go to `examples/output`.
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

# Maximum likelihood with R's nlme: the same compartments without process noise, so that its
# residual sd answers for both of our noises. See examples/data/README.md.
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
    """How much to compute."""

    draws: int
    tune: int
    chains: int
    paths: int


FULL = Effort(draws=500, tune=500, chains=4, paths=500)
SMOKE = Effort(draws=20, tune=20, chains=2, paths=10)


def read_panel() -> xr.Dataset:
    """Concentrations and times with dims (subject, visit), and one dose per subject."""
    table = pd.read_csv(HERE / "data" / "theoph.csv").rename(columns=str.lower)
    visit = table.groupby("subject").cumcount().rename("visit")
    panel = table.set_index(["subject", visit]).to_xarray()
    return panel.assign(dose=panel["dose"].isel(visit=0, drop=True))


# The system: one subject, one instant


def absorb_and_clear(depot, central, log_ka, log_ke, log_cl):
    """Rates of change of the depot and of the concentration in blood."""
    ka, ke, cl = jnp.exp(log_ka), jnp.exp(log_ke), jnp.exp(log_cl)
    return -ka * depot, ka * ke / cl * depot - ke * central


def just_swallowed(dose):
    """All of the dose in the depot, none in the blood."""
    return dist.Delta(jnp.stack([dose, jnp.zeros_like(dose)]), event_dim=1)


ONE_COMPARTMENT = pds.SDE(
    states=("depot", "central"),
    drift=absorb_and_clear,
    diffusion=lambda sigma: (0.0, sigma),
    initial=just_swallowed,
    observation=lambda central, sd_measurement: dist.Normal(central, sd_measurement),
)


# The model


def random_effect(name: str, mean, sd):
    """Give each subject a value around the population's, in the non-centred form."""
    z = pm.Normal(f"z_{name}", dims="subject")
    return pm.Deterministic(f"{name}_subject", mean + sd * z, dims="subject")


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
                "log_ka": random_effect("log_ka", log_ka, sd_log_ka),
                "log_cl": random_effect("log_cl", log_cl, sd_log_cl),
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
        nuts={"target_accept": 0.9},
        random_seed=seed,
        progressbar=False,
        model=model,
    )


# What it says


def compare_with_nlme(idata: xr.DataTree) -> pd.DataFrame:
    """Posterior summary of the population beside the published estimates."""
    table = az.summary(idata, var_names=[*NLME, "sigma"])
    table.insert(0, "nlme", pd.Series(NLME))
    return table


def predict(idata: xr.DataTree, dose: xr.DataArray, times: np.ndarray, effort: Effort, seed: int):
    """Simulate the same subjects anew, once for each of some posterior draws."""
    posterior = idata.posterior.dataset
    step = max(1, posterior.sizes["draw"] * posterior.sizes["chain"] // effort.paths)
    some = posterior.isel(draw=slice(None, None, step))
    params = {
        "log_ka": some["log_ka_subject"],
        "log_cl": some["log_cl_subject"],
        "log_ke": some["log_ke"],
        "sigma": some["sigma"],
        "sd_measurement": some["sd_measurement"],
        "dose": dose,
    }
    return pds.simulate(ONE_COMPARTMENT, params, times, random_seed=seed)


# The pictures


def band(ax: Axes, draws: xr.DataArray, probability: float, **style) -> None:
    """Shade the central interval of `draws` over time."""
    tail = (1.0 - probability) / 2.0
    low, high = draws.quantile([tail, 1.0 - tail], ["sample", "chain", "draw"])
    ax.fill_between(draws["time"], low, high, lw=0, **style)


def plot_fit(panel: xr.Dataset, predicted: xr.Dataset) -> Figure:
    """Data and posterior predictive bands, one small picture a subject."""
    figure, axes = plt.subplots(
        3, 4, sharex=True, sharey=True, figsize=(11, 7), layout="constrained"
    )
    for ax, subject in zip(axes.flat, panel["subject"].values, strict=True):
        data, paths = panel.sel(subject=subject), predicted.sel(subject=subject)
        central = paths["states"].sel(state="central")
        band(ax, paths["observations"], 0.9, color="C0", alpha=0.2, label="measurement, 90%")
        band(ax, central, 0.5, color="C0", alpha=0.4, label="concentration, 50%")
        ax.plot(data["time"], data["conc"], "k.", ms=6, label="data")
        ax.set_title(f"subject {subject}", fontsize="medium")
    axes[0, 0].set_ylim(bottom=0.0)
    axes[0, -1].legend(fontsize="small")
    figure.supxlabel("hours since the dose")
    figure.supylabel("theophylline in serum, mg/L")
    return figure


def plot_subjects(idata: xr.DataTree) -> Figure:
    """Intervals of what differs between subjects, around the population's value."""
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(9, 5), layout="constrained")
    labels = {"log_ka": "log absorption rate", "log_cl": "log clearance"}
    for ax, (name, label) in zip(axes, labels.items(), strict=True):
        draws = idata.posterior[f"{name}_subject"]
        levels = draws.quantile([0.05, 0.25, 0.5, 0.75, 0.95], ["chain", "draw"])
        ax.hlines(draws["subject"], levels[0], levels[4], color="C0", lw=1)
        ax.hlines(draws["subject"], levels[1], levels[3], color="C0", lw=4)
        ax.plot(levels[2], draws["subject"], "o", color="white", mec="C0")
        ax.axvline(idata.posterior[name].mean(), color="C0", ls="--", label="population mean")
        ax.axvline(NLME[name], color="black", ls=":", label="nlme")
        ax.set(xlabel=label, yticks=draws["subject"])
    axes[0].set_ylabel("subject")
    axes[0].invert_yaxis()
    axes[1].legend(fontsize="small")
    figure.suptitle("Subjects: medians, 50% and 90% intervals")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the picture."""
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    """Read the command line, fit the model, show what it says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few draws, to see that it runs")
    parser.add_argument("--output", type=Path, default=HERE / "output")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    effort = SMOKE if arguments.smoke else FULL

    panel = read_panel()
    idata = fit(build_model(panel), effort, arguments.seed)
    print(f"\nThe population\n{compare_with_nlme(idata)}")
    print(f"\nThe subjects\n{az.summary(idata, var_names=['log_ka_subject', 'log_cl_subject'])}")

    hours = np.linspace(0.0, 25.0, 101)
    predicted = predict(idata, panel["dose"], hours, effort, arguments.seed)
    save(plot_fit(panel, predicted), arguments.output / "theophylline_fit.png")
    save(plot_subjects(idata), arguments.output / "theophylline_subjects.png")
    print(f"\nPictures are in {arguments.output}")


if __name__ == "__main__":
    main()
