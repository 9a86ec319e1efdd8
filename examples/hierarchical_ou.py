"""Ornstein-Uhlenbeck processes whose means come from one population, or from groups within it.

Every subject i follows

    dx = -0.5 (x - mu_i) dt + 0.1 dB,    x(0) ~ N(0, 0.5),    y_k = x(t_k) + N(0, 0.1^2),

and the means mu_i are what we want to learn. The first model draws them from one population; three
likelihoods fit it, so that the two approximate ones can be held against the exact one. The second
model puts a layer of groups between the population and the subjects.

Run it with `uv run python examples/hierarchical_ou.py`; pictures go to `examples/output`.
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
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpyro import distributions as dist

TIMES = np.linspace(0.0, 10.0, 100)

OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu: -0.5 * (level - mu),
    diffusion=0.1,
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


FULL = Effort(draws=1000, tune=500, chains=4, ensemble_size=100)
SMOKE = Effort(draws=30, tune=30, chains=2, ensemble_size=10)


# The data


def population(seed: int) -> xr.Dataset:
    """Draw ten subjects from one population."""
    rng = np.random.default_rng(seed)
    mu_global = rng.normal(0.0, 0.5)
    mu = xr.DataArray(rng.normal(mu_global, 1.0, size=10), {"subject": np.arange(1, 11)})
    return xr.Dataset({"mu_global": mu_global, "mu": mu})


def nested_population(seed: int) -> xr.Dataset:
    """Draw three groups from one population, and three subjects from each group."""
    rng = np.random.default_rng(seed)
    coords = {"group": ["A", "B", "C"], "subject": [1, 2, 3]}
    mu_global = rng.normal(0.0, 0.5)
    mu_group = rng.normal(mu_global, 2.0, size=3)
    mu = rng.normal(mu_group[:, None], 0.2, size=(3, 3))
    return xr.Dataset(
        {"mu_global": mu_global, "mu_group": ("group", mu_group), "mu": (("group", "subject"), mu)},
        coords,
    )


def measure(truth: xr.Dataset, seed: int) -> xr.DataArray:
    """Follow every subject of `truth` over `TIMES`."""
    paths = pds.simulate(OU, {"mu": truth["mu"]}, TIMES, random_seed=seed)
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
    """Subjects of groups of one population: one more line, one more dim."""
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


def likelihoods(effort: Effort) -> dict[str, object]:
    """Three ways to integrate the path out; only the last is exact for this system."""
    fine = pds.EulerMaruyama(dt=0.05)
    return {
        "EnKF": pds.EnKF(ensemble_size=effort.ensemble_size, discretization=fine),
        "EKF, one Euler step a gap": pds.EKF(discretization=pds.EulerMaruyama()),
        "Kalman": pds.Kalman(),
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


def shift_from(reference: str, fits: dict[str, xr.DataTree]) -> pd.DataFrame:
    """Distance of each posterior mean from that of `reference`, in its posterior sds."""
    sample_dims = ("chain", "draw")
    mean = fits[reference].posterior.dataset.mean(sample_dims)
    sd = fits[reference].posterior.dataset.std(sample_dims)
    shifts = {
        name: (idata.posterior.dataset.mean(sample_dims) - mean) / sd
        for name, idata in fits.items()
        if name != reference
    }
    rows = {
        name: {"mu_global": shift["mu_global"].item()}
        | {f"mu[{subject}]": value for subject, value in shift["mu"].to_series().items()}
        for name, shift in shifts.items()
    }
    return pd.DataFrame(rows).round(2)


# The pictures


def plot_data(y: xr.DataArray, truth: xr.Dataset) -> Figure:
    """Measured paths, and the mean that each of them is drawn to."""
    figure, ax = plt.subplots(figsize=(8, 4.5), layout="constrained")
    subjects = [dim for dim in y.dims if dim != "time"]
    paths = y.transpose("time", *subjects).values.reshape(len(TIMES), -1)
    for i, (path, mu) in enumerate(zip(paths.T, truth["mu"].values.ravel(), strict=True)):
        ax.plot(TIMES, path, color=f"C{i}", lw=1)
        ax.axhline(mu, color=f"C{i}", ls="--", lw=1)
    ax.set(xlabel="time", ylabel="y", title="Simulated paths; dashed: their true means")
    return figure


def violins(ax: Axes, draws: np.ndarray, at: np.ndarray, width: float, color: str, label: str):
    """One violin for each column of `draws`, and one entry in the legend."""
    parts = ax.violinplot(draws, positions=at, widths=width, showextrema=False, showmedians=True)
    for body in parts["bodies"]:
        body.set(facecolor=color, edgecolor=color, alpha=0.5)
    parts["cmedians"].set(color=color, lw=1)
    ax.plot([], [], color=color, lw=6, alpha=0.5, label=label)


def plot_likelihoods(fits: dict[str, xr.DataTree], truth: xr.Dataset) -> Figure:
    """Posteriors of the subject means under each likelihood, and their distance from the truth."""
    figure, (above, below) = plt.subplots(
        2, sharex=True, figsize=(10, 7), height_ratios=(1, 2), layout="constrained"
    )
    subject, true = truth["subject"].values, truth["mu"].values
    width = 0.8 / len(fits)
    for i, (name, idata) in enumerate(fits.items()):
        draws = az.extract(idata, var_names="mu").transpose("sample", "subject").values
        at = subject + width * (i - (len(fits) - 1) / 2)
        violins(above, draws, at, width, f"C{i}", name)
        violins(below, draws - true, at, width, f"C{i}", name)
    above.plot(subject, true, "kx", ms=8, label="truth")
    above.set(ylabel="mu", title="The same data under three likelihoods")
    above.legend(ncols=4, fontsize="small")
    below.axhline(0.0, color="black", lw=1)
    below.set(xlabel="subject", ylabel="mu - truth", xticks=subject)
    return figure


def plot_mu_global(idata: xr.DataTree, truth: xr.Dataset) -> Figure:
    """Posterior of the population mean."""
    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    ax.hist(idata.posterior["mu_global"].values.ravel(), bins=30, color="C0", alpha=0.6)
    ax.axvline(truth["mu_global"].item(), color="black", ls="--", label="truth")
    ax.set(xlabel="mu_global", ylabel="draws", title="Population mean")
    ax.legend()
    return figure


def plot_groups(idata: xr.DataTree, truth: xr.Dataset) -> Figure:
    """Posteriors of the subject means, group by group."""
    figure, ax = plt.subplots(figsize=(10, 5), layout="constrained")
    draws = az.extract(idata, var_names=["mu", "mu_group"])
    groups, subjects = truth["group"].values, truth["subject"].values
    places = np.arange(groups.size * subjects.size).reshape(groups.size, -1)
    for i, (group, at) in enumerate(zip(groups, places, strict=True)):
        color, ends = f"C{i}", (at[0] - 0.5, at[-1] + 0.5)
        mine, true = draws.sel(group=group), truth.sel(group=group)
        ax.axvspan(*ends, color=color, alpha=0.1)
        violins(ax, mine["mu"].transpose("sample", ...).values, at, 0.7, color, f"group {group}")
        ax.plot(at, true["mu"], "kx", ms=8)
        ax.hlines(mine["mu_group"].mean(), *ends, color=color, ls="--")
        ax.hlines(true["mu_group"], *ends, color=color)
    ax.plot([], [], "kx", label="true mean of the subject")
    ax.plot([], [], "k--", label="posterior mean of the group")
    ax.plot([], [], "k-", label="true mean of the group")
    ax.set_xticks(places.ravel(), [f"{group}{subject}" for group in groups for subject in subjects])
    ax.margins(x=0.0)
    ax.set(xlabel="subject", ylabel="mu", title="Two layers: subjects in groups")
    ax.legend(ncols=2, fontsize="small")
    return figure


def plot_group_densities(idata: xr.DataTree, truth: xr.Dataset) -> Figure:
    """Posterior densities of the group means and of the population mean."""
    figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    posterior = idata.posterior.dataset
    means = {"population": (posterior["mu_global"], truth["mu_global"])}
    for group in truth["group"].values:
        at = {"group": group}
        means[f"group {group}"] = posterior["mu_group"].sel(at), truth["mu_group"].sel(at)
    for i, (label, (draws, true)) in enumerate(means.items()):
        density = draws.azstats.kde(dim=["chain", "draw"])
        ax.plot(density.sel(plot_axis="x"), density.sel(plot_axis="y"), color=f"C{i}", label=label)
        ax.axvline(true.item(), color=f"C{i}", ls="--", lw=1)
    ax.set(xlabel="mean", ylabel="density", title="Posterior densities; dashed: the truth")
    ax.legend()
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write the picture."""
    figure.savefig(path, dpi=150)
    plt.close(figure)


# The story


def study_one_layer(effort: Effort, seed: int, output: Path) -> None:
    """Fit one population of subjects with three likelihoods, and compare them."""
    truth = population(seed)
    y = measure(truth, seed)
    fits = {
        name: fit(one_layer(y, likelihood), effort, seed)
        for name, likelihood in likelihoods(effort).items()
    }
    for name, idata in fits.items():
        print(f"\nOne layer, {name}\n{az.summary(idata)}")
    print("\nDistance from Kalman's posterior mean, in its posterior sds")
    print(shift_from("Kalman", fits))
    save(plot_data(y, truth), output / "ou_data.png")
    save(plot_likelihoods(fits, truth), output / "ou_likelihoods.png")
    save(plot_mu_global(fits["Kalman"], truth), output / "ou_mu_global.png")


def study_two_layers(effort: Effort, seed: int, output: Path) -> None:
    """Fit groups of subjects with the exact likelihood."""
    truth = nested_population(seed)
    y = measure(truth, seed)
    idata = fit(two_layers(y, pds.Kalman()), effort, seed)
    print(f"\nTwo layers, Kalman\n{az.summary(idata)}")
    save(plot_data(y, truth), output / "ou_groups_data.png")
    save(plot_groups(idata, truth), output / "ou_groups.png")
    save(plot_group_densities(idata, truth), output / "ou_group_densities.png")


def main() -> None:
    """Read the command line and tell the story."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few draws, to see that it runs")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    effort = SMOKE if arguments.smoke else FULL
    study_one_layer(effort, arguments.seed, arguments.output)
    study_two_layers(effort, arguments.seed, arguments.output)
    print(f"\nPictures are in {arguments.output}")


if __name__ == "__main__":
    main()
