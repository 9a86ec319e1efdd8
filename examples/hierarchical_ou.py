"""Ornstein-Uhlenbeck processes whose means come from one population, or from groups within it.

Every subject i follows

    dx = -0.5 (x - mu_i) dt + 0.1 dB,    x(0) ~ N(0, 0.5),    y_k = x(t_k) + N(0, 0.1^2),

and the aim is to estimate the means mu_i. The unit of time is arbitrary: a deviation from mu_i is
halved in log(2) / 0.5 = 1.4 units, and x fluctuates around mu_i with a stationary SD of
0.1 / sqrt(2 * 0.5) = 0.1.

The first model draws the means from one population. The system is linear, so the Kalman filter
gives the exact likelihood. Two approximate likelihoods, which a nonlinear system would need, are
compared with it: by the error that `check_likelihood` reports, and by the change of the posterior.
The example then smooths and forecasts the paths, and predicts the last observations from those
before them. The second model puts a layer of groups between the population and the subjects.

Run it with `uv run python examples/hierarchical_ou.py`; the figures go to `examples/output`.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pymc as pm
import pymc_dynsys as pds
import xarray as xr
from arviz_plots import PlotCollection
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpyro import distributions as dist

TIMES = np.linspace(0.0, 10.0, 100)

OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu: -0.5 * (level - mu),  # 0.5 per unit of time
    diffusion=0.1,  # units of level per square root of a unit of time
    initial=dist.Normal(0.0, 0.5**0.5),
    observation=lambda level: dist.Normal(level, 0.1),
)


@dataclass(frozen=True)
class Effort:
    """How much to compute."""

    draws: int
    tune: int
    chains: int
    ensemble_size: int


PLOT = {"backend": "matplotlib"}

FULL = Effort(draws=1000, tune=300, chains=4, ensemble_size=100)
SMOKE = Effort(draws=30, tune=30, chains=2, ensemble_size=10)


# The data


def population(rng: np.random.Generator) -> xr.Dataset:
    """Draw ten subjects from one population."""
    mu_global = rng.normal(0.0, 0.5)
    mu = xr.DataArray(rng.normal(mu_global, 1.0, size=10), {"subject": np.arange(1, 11)})
    return xr.Dataset({"mu_global": mu_global, "mu": mu})


def nested_population(rng: np.random.Generator) -> xr.Dataset:
    """Draw three groups from one population, and three subjects from each group."""
    coords = {"group": ["A", "B", "C"], "subject": [1, 2, 3]}
    mu_global = rng.normal(0.0, 0.5)
    mu_group = rng.normal(mu_global, 2.0, size=3)
    mu = rng.normal(mu_group[:, None], 0.2, size=(3, 3))
    return xr.Dataset(
        {"mu_global": mu_global, "mu_group": ("group", mu_group), "mu": (("group", "subject"), mu)},
        coords,
    )


def measure(truth: xr.Dataset, rng: np.random.Generator) -> xr.DataArray:
    """Simulate measurements of every subject of `truth` at `TIMES`."""
    paths = pds.simulate(OU, {"mu": truth["mu"]}, TIMES, random_seed=rng)
    return paths["observations"].isel(sample=0)


# The models


def one_layer(y: xr.DataArray, likelihood) -> pm.Model:
    """Subjects of one population."""
    with pm.Model(coords={"subject": y["subject"].values, "time": TIMES}) as model:
        mu_global = pm.Normal("mu_global", 0.0, 0.5)
        mu = pm.Normal("mu", mu_global, 1.0, dims="subject")
        pds.Trajectory(
            "y",
            OU,
            params={"mu": mu},
            observed=y,
            dims=("subject", "time"),
            likelihood=likelihood,
        )
    return model


def two_layers(y: xr.DataArray, likelihood) -> pm.Model:
    """Subjects of groups of one population: the model has one more line and one more dim."""
    coords = {"group": y["group"].values, "subject": y["subject"].values, "time": TIMES}
    with pm.Model(coords=coords) as model:
        mu_global = pm.Normal("mu_global", 0.0, 0.5)
        mu_group = pm.Normal("mu_group", mu_global, 2.0, dims="group")
        mu = pm.Normal("mu", mu_group[:, None], 0.2, dims=("group", "subject"))
        pds.Trajectory(
            "y",
            OU,
            params={"mu": mu},
            observed=y,
            dims=("group", "subject", "time"),
            likelihood=likelihood,
        )
    return model


def likelihoods(effort: Effort) -> dict:
    """Three ways to integrate out the path; only the first is exact for this system."""
    fine = pds.EulerMaruyama(dt=0.05)  # three equal steps in each gap, as they are just over 0.1
    return {
        "Kalman": pds.Kalman(),
        f"EnKF, {effort.ensemble_size} members": pds.EnKF(effort.ensemble_size, fine),
        "EKF, one Euler step per gap": pds.EKF(pds.EulerMaruyama()),
    }


def fit(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample the posterior; the filter is compiled together with the sampler."""
    return pm.sample(
        draws=effort.draws,
        tune=effort.tune,
        chains=effort.chains,
        nuts_sampler="numpyro",
        random_seed=seed,
        progressbar=False,
        model=model,
    )


# The tables


def shift_from_kalman(fits: dict[str, xr.DataTree]) -> pd.DataFrame:
    """Distance of the other posterior means from Kalman's, in posterior SDs of the latter."""
    tables = {name: az.summary(idata, round_to="none") for name, idata in fits.items()}
    exact = tables.pop("Kalman")
    shifts = {name: (table["mean"] - exact["mean"]) / exact["sd"] for name, table in tables.items()}
    monte_carlo_error = 2**0.5 * exact["mcse_mean"] / exact["sd"]
    return pd.DataFrame(shifts | {"Monte Carlo error": monte_carlo_error}).round(2)


# The figures


def by_subject(array: xr.DataArray) -> xr.DataArray:
    """Stack all subjects along one last axis, with or without groups."""
    return array.stack(each=[dim for dim in ("group", "subject") if dim in array.dims])


def name_subjects(ax: Axes, subjects: xr.DataArray) -> None:
    """Write the names of the subjects on the axis."""
    names = ["".join(map(str, each)) for each in subjects["each"].values]
    ax.set_xticks(range(len(names)), names)
    ax.set_xlabel("subject")


def colors_of(truth: xr.Dataset) -> np.ndarray:
    """One colour per group, or per subject without groups, ordered by their true means."""
    means = truth["mu_group"] if "mu_group" in truth else truth["mu"]
    rank = means.to_series().rank(pct=True).to_xarray()
    return plt.get_cmap("viridis")(0.85 * by_subject(rank.broadcast_like(truth["mu"])))


def plot_paths(ax: Axes, y: xr.DataArray, colors: np.ndarray) -> None:
    """Plot the measurements."""
    for path, color in zip(by_subject(y).transpose("each", "time").values, colors, strict=True):
        ax.plot(TIMES, path, color=color, lw=0.8)
    ax.set(xlabel="time", ylabel="level", title="Measurements")


def band(ax: Axes, ends: tuple[float, float], draws: xr.DataArray, true: xr.DataArray, **style):
    """Shade the central 90% of the mean of a population or group, across its subjects."""
    ax.fill_between(ends, *draws.quantile([0.05, 0.95]), alpha=0.25, lw=0, **style)
    ax.hlines(true, *ends, color="black", lw=1, ls="--")


def violins(ax: Axes, draws: xr.DataArray, true: xr.DataArray, colors: np.ndarray) -> None:
    """Plot the posterior density of each subject's mean."""
    at = np.arange(true.size)
    parts = ax.violinplot(draws, at, widths=0.7, showextrema=False)
    for body, color in zip(parts["bodies"], colors, strict=True):
        body.set(facecolor=color, edgecolor=color, alpha=0.8)
    ax.hlines(true, at - 0.35, at + 0.35, color="black", lw=1, label="truth (dashed: of a band)")


def plot_means(ax: Axes, idata: xr.DataTree, truth: xr.Dataset, colors: np.ndarray) -> None:
    """Plot the posteriors of the subjects' means over those of their group and population."""
    draws, true = az.extract(idata), by_subject(truth["mu"])
    everyone = (-0.5, true.size - 0.5)
    label = "mean of the population, 90%"
    band(ax, everyone, draws["mu_global"], truth["mu_global"], color="silver", label=label)
    for i, group in enumerate(truth.get("group", [])):
        first, last = i * truth.sizes["subject"], (i + 1) * truth.sizes["subject"] - 1
        mu, mu_true = draws["mu_group"].sel(group=group), truth["mu_group"].sel(group=group)
        label = f"of group {group.item()}"
        band(ax, (first - 0.5, last + 0.5), mu, mu_true, color=colors[first], label=label)
    violins(ax, by_subject(draws["mu"]), true, colors)
    name_subjects(ax, true)
    ax.set_title("Posteriors of the subjects' means (violins)")


def plot_study(y: xr.DataArray, truth: xr.Dataset, idata: xr.DataTree) -> Figure:
    """Plot the data, and next to them the posteriors of the means."""
    figure, axes = plt.subplots(1, 2, sharey=True, figsize=(10, 4.5), layout="constrained")
    colors = colors_of(truth)
    plot_paths(axes[0], y, colors)
    plot_means(axes[1], idata, truth, colors)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside lower center", ncols=5, frameon=False)
    return figure


def intervals(ax: Axes, at: np.ndarray, draws: xr.DataArray, color: str, label: str) -> None:
    """Median, 50% and 90% interval of each subject."""
    levels = draws.quantile([0.05, 0.25, 0.5, 0.75, 0.95], "sample")
    ax.vlines(at, levels[0], levels[4], color=color, lw=1)
    ax.vlines(at, levels[1], levels[3], color=color, lw=4)
    ax.plot(at, levels[2], "o", color="white", mec=color, label=label)


def plot_likelihoods(fits: dict[str, xr.DataTree], truth: xr.Dataset) -> Figure:
    """Plot the posteriors under each likelihood, standardised by the Kalman posterior."""
    figure, ax = plt.subplots(figsize=(10, 4.5), layout="constrained")
    draws = {name: by_subject(az.extract(idata)["mu"]) for name, idata in fits.items()}
    mean, sd = draws["Kalman"].mean("sample"), draws["Kalman"].std("sample")
    true = by_subject(truth["mu"])
    at = np.arange(true.size)
    ax.axhline(0.0, color="gray", lw=0.5)
    for i, (name, mu) in enumerate(draws.items()):
        intervals(ax, at + 0.18 * (i - 1.5), (mu - mean) / sd, f"C{i}", name)
    ax.plot(at + 0.27, (true - mean) / sd, "kx", label="truth")
    name_subjects(ax, true)
    ax.set_ylabel("distance from Kalman's mean\n(in its posterior SDs)")
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    return figure


def save(figure: Figure | PlotCollection, path: Path) -> None:
    """Write the figure."""
    figure.savefig(path, dpi=120)
    plt.close("all")


# The analysis


def study_one_layer(rng: np.random.Generator, effort: Effort, seed: int, output: Path) -> None:
    """Fit subjects of one population with each likelihood, and compare the posteriors."""
    truth = population(rng)
    y = measure(truth, rng)
    models = {name: one_layer(y, likelihood) for name, likelihood in likelihoods(effort).items()}
    fits = {name: fit(model, effort, seed) for name, model in models.items()}
    print(f"\nOne layer, Kalman\n{az.summary(fits['Kalman'])}")
    for name, model in models.items():
        advice = pds.check_likelihood(model, fits[name])["check"].attrs["advice"]
        print(f"\n{name}:", *advice, sep="\n  ")
    print("\nDistance of the other posterior means from Kalman's, in its posterior SDs")
    print(shift_from_kalman(fits))
    save(plot_study(y, truth, fits["Kalman"]), output / "ou_one_layer.png")
    save(plot_likelihoods(fits, truth), output / "ou_likelihoods.png")
    look_ahead(models["Kalman"], fits["Kalman"], effort, seed, output)


def look_ahead(
    model: pm.Model, idata: xr.DataTree, effort: Effort, seed: int, output: Path
) -> None:
    """Smooth and forecast the paths, and score predictions of the last observations."""
    quiet = {"model": model, "random_seed": seed, "progressbar": False}
    some = idata.isel(draw=slice(None, None, 5))
    states = pds.sample_states(some, times=np.linspace(0.0, 10.0, 201), **quiet)
    save(pds.plot_trajectories(states, col_wrap=5, **PLOT), output / "ou_states.png")
    future = pds.forecast(some, times=np.linspace(10.0, 14.0, 41), **quiet)
    save(pds.plot_forecast(future, col_wrap=5, **PLOT), output / "ou_forecast.png")

    by_time = pds.log_likelihood(idata, model=model, by="time", progressbar=False)
    refits = pds.LeaveFutureOut(
        model,
        draws=effort.draws,
        tune=effort.tune,
        chains=effort.chains,
        nuts_sampler="numpyro",
        random_seed=seed,
        progressbar=False,
    )
    score = az.lfo_cv(by_time, refits, min_observations=90, forecast_horizon=1)
    print(f"\nPredicting the last ten times, each from those before it\n{score}")


def study_two_layers(rng: np.random.Generator, effort: Effort, seed: int, output: Path) -> None:
    """Fit subjects of groups of one population with the exact likelihood."""
    truth = nested_population(rng)
    y = measure(truth, rng)
    idata = fit(two_layers(y, pds.Kalman()), effort, seed)
    print(f"\nTwo layers, Kalman\n{az.summary(idata)}")
    save(plot_study(y, truth, idata), output / "ou_two_layers.png")


def main() -> None:
    """Read the command line and run both studies."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few draws, to see that it runs")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
    parser.add_argument("--seed", type=int, default=2)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    effort = SMOKE if arguments.smoke else FULL

    rng = np.random.default_rng(arguments.seed)
    study_one_layer(rng, effort, arguments.seed, arguments.output)
    study_two_layers(rng, effort, arguments.seed, arguments.output)
    print(f"\nThe figures are in {arguments.output}")


if __name__ == "__main__":
    main()
