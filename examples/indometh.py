"""Indomethacin in six subjects: two compartments, and correlated random effects.

A dose is injected into the blood at time 0. Part of it passes into tissue and returns, so that the
concentration falls fast at first and slowly later, like a sum of two exponentials:

    d central    = (-(cl + q) / v1 central + q / v2 peripheral) dt + sigma central o dB
    d peripheral = (        q / v1 central - q / v2 peripheral) dt + sigma peripheral o dB
    log conc     = log(central / v1) + N(0, sd_measurement^2)

    central, peripheral, dose  mg
    conc                       mg/L, the concentration in plasma
    cl, q                      L/h, clearance and flow between the compartments
    v1, v2                     L, volumes of the compartments
    sigma                      1 per square root of an hour

The logarithms of cl, v1, q and v2 come from one population with a full covariance matrix, whose
prior is that of Lewandowski, Kurowicka and Joe (LKJ).

The measurement noise is proportional to the concentration, which falls from 2.7 to 0.05 mg/L: with
noise of constant size nlme reaches a log-likelihood of 58, with proportional noise one of 95. The
process noise is proportional as well: the rate at which the drug leaves the body fluctuates (in the
sense of Stratonovich, the o above). Both amounts are then the noiseless ones times exp(sigma B),
and the states below are written accordingly: a linear system, and an observation with the logarithm
of a state. The extended Kalman filter linearizes the logarithm, and is exact, as that state has no
noise.

The data set does not state the dose. Most analyses assume 25 mg; with another dose all clearances
and volumes would be multiplied by dose / 25 mg, and nothing else would change.

Run it with `uv run python examples/indometh.py`; the figures go to `examples/output`.
"""

import argparse
from dataclasses import dataclass
from itertools import combinations
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
from scipy import stats

HERE = Path(__file__).parent

DOSE = 25.0  # mg

PARAMETERS = ["log_cl", "log_v1", "log_q", "log_v2"]
PAIRS = [f"{one}, {other}" for one, other in combinations(PARAMETERS, 2)]
ETA = 2.0  # of the LKJ prior: 1 is flat over correlation matrices, more prefers small correlations

# Maximum likelihood, as printed by examples/nlme/indometh.R with nlme 3.1.162 in R 4.2.2: the same
# compartments, measurement noise and random effects, without process noise.
NLME = {
    "mean[log_cl]": 2.065,
    "mean[log_v1]": 2.172,
    "mean[log_q]": 1.725,
    "mean[log_v2]": 2.987,
    "sd[log_cl]": 0.183,
    "sd[log_v1]": 0.135,
    "sd[log_q]": 0.363,
    "sd[log_v2]": 0.252,
    "correlation[log_cl, log_v1]": 0.389,
    "correlation[log_cl, log_q]": 0.598,
    "correlation[log_cl, log_v2]": 0.788,
    "correlation[log_v1, log_q]": -0.506,
    "correlation[log_v1, log_v2]": 0.873,
    "correlation[log_q, log_v2]": -0.021,
    "sd_measurement": 0.134,
}


@dataclass(frozen=True)
class Effort:
    """How much to compute; the predictions use every `thin`-th draw."""

    draws: int
    tune: int
    chains: int
    thin: int


FULL = Effort(draws=900, tune=500, chains=2, thin=4)
SMOKE = Effort(draws=10, tune=10, chains=2, thin=1)


def read_panel() -> xr.Dataset:
    """Concentrations and their logarithms over (subject, time)."""
    table = pd.read_csv(HERE / "data" / "indometh.csv")
    panel = pds.panel(table, subject="Subject", time="time", observed="conc")
    return panel.assign(log_conc=np.log(panel["conc"]))


# The system: one subject, one instant


def exchange(central, peripheral, log_parameters):
    """Rates of change per hour, of the noiseless amounts and of the log factor."""
    cl, v1, q, v2 = jnp.exp(log_parameters)
    to_tissue = q / v1 * central - q / v2 * peripheral
    return -cl / v1 * central - to_tissue, to_tissue, 0.0


def measure(central, log_factor, log_parameters, sd_measurement):
    """Distribution of a measured log concentration."""
    log_v1 = log_parameters[1]
    return dist.Normal(jnp.log(central) + log_factor - log_v1, sd_measurement)


TWO_COMPARTMENTS = pds.SDE(
    states=("central", "peripheral", "log_factor"),
    drift=exchange,
    diffusion=lambda sigma: (0.0, 0.0, sigma),
    initial=(DOSE, 0.0, 0.0),
    observation=measure,
)


# The model


def build_model(panel: xr.Dataset, process_noise: bool) -> pm.Model:
    """Six subjects whose four correlated log parameters come from one population."""
    coords = {**pds.coords(panel), "parameter": PARAMETERS, "pair": PAIRS}
    with pm.Model(coords=coords) as model:
        mean = pm.Normal("mean", [2.0, 2.0, 2.0, 3.0], 1.0, dims="parameter")
        chol, correlation, sd = pm.LKJCholeskyCov(
            "covariance", n=4, eta=ETA, sd_dist=pm.HalfNormal.dist(0.5), store_in_trace=False
        )
        pm.Deterministic("sd", sd, dims="parameter")
        pm.Deterministic("correlation", correlation[np.triu_indices(4, 1)], dims="pair")
        z = pm.Normal("z", dims=("subject", "parameter"))
        # `subject` is the batch dim of the trajectories; their functions see the other dim.
        log_parameters = pm.Deterministic(
            "log_parameters", mean + z @ chol.T, dims=("subject", "parameter")
        )
        sd_measurement = pm.HalfNormal("sd_measurement", 0.5)
        # The density is highest at zero, where the model equals nlme's.
        sigma = pm.HalfNormal("sigma", 0.2) if process_noise else 0.0
        pds.Trajectory(
            "log_conc",
            TWO_COMPARTMENTS,
            params={
                "log_parameters": log_parameters,
                "sigma": sigma,
                "sd_measurement": sd_measurement,
            },
            observed=panel["log_conc"],
            t0=0.0,
            likelihood=pds.EKF(pds.Exact()),
        )
    return model


def fit(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample the posterior; the filter is compiled together with the sampler."""
    return pm.sample(
        draws=effort.draws,
        tune=effort.tune,
        chains=effort.chains,
        # With six subjects the posterior of ten variances and correlations has narrow corners.
        target_accept=0.95,
        nuts_sampler="numpyro",
        random_seed=seed,
        progressbar=False,
        model=model,
    )


# Results


def compare(without: xr.DataTree, with_noise: xr.DataTree) -> pd.DataFrame:
    """Posterior summary of the population next to nlme's estimates."""
    names = ["mean", "sd", "correlation", "sd_measurement"]
    table = az.summary(with_noise, var_names=[*names, "sigma"])
    plain = az.summary(without, var_names=names)
    table.insert(0, "nlme", pd.Series(NLME))
    table.insert(1, "no noise", plain["mean"].round(3))
    table.insert(2, "its sd", plain["sd"].round(3))
    return table


def predict(idata: xr.DataTree, times: np.ndarray, thin: int, seed: int) -> xr.Dataset:
    """Simulate the same subjects again, once for every `thin`-th draw."""
    some = idata.posterior.dataset.isel(draw=slice(None, None, thin))
    params = {name: some[name] for name in ("log_parameters", "sigma", "sd_measurement")}
    paths = pds.simulate(
        TWO_COMPARTMENTS,
        params,
        times,
        t0=0.0,
        dims=("chain", "draw", "subject"),
        random_seed=seed,
    ).isel(sample=0)
    amount = paths["states"].sel(state="central") * np.exp(paths["states"].sel(state="log_factor"))
    level = amount / np.exp(some["log_parameters"].sel(parameter="log_v1"))
    return xr.Dataset({"level": level, "measured": np.exp(paths["observations"])})


# The figures


def band(ax: Axes, draws: xr.DataArray, **style) -> None:
    """Shade the central 90% of `draws` over time."""
    low, high = draws.quantile([0.05, 0.95], ["chain", "draw"])
    ax.fill_between(draws["time"], low, high, color="C0", lw=0, **style)


def plot_fit(panel: xr.Dataset, predicted: xr.Dataset) -> Figure:
    """Data and posterior predictive bands, one panel per subject."""
    figure, axes = plt.subplots(
        2, 3, sharex=True, sharey=True, figsize=(10, 6), layout="constrained"
    )
    for ax, subject in zip(axes.flat, panel["subject"].values, strict=True):
        data, paths = panel.sel(subject=subject), predicted.sel(subject=subject)
        band(ax, paths["measured"], alpha=0.2, label="measurements, 90%")
        band(ax, paths["level"], alpha=0.45, label="concentration, 90%")
        middle = paths["level"].median(["chain", "draw"])
        ax.plot(middle["time"], middle, "C0", label="its median")
        ax.plot(data["time"], data["conc"], "ko", ms=3.5, label="data")
        ax.text(0.95, 0.92, f"subject {subject}", ha="right", va="top", transform=ax.transAxes)
        ax.spines[["top", "right"]].set_visible(False)
    ax.set(yscale="log", xticks=range(0, 9, 2))
    ax.set_yticks([0.05, 0.1, 0.2, 0.5, 1, 2, 5], ["0.05", "0.1", "0.2", "0.5", "1", "2", "5"])
    ax.minorticks_off()
    entries = ax.get_legend_handles_labels()
    figure.legend(*entries, loc="outside upper center", ncols=4, frameon=False)
    figure.supxlabel("hours since the injection")
    figure.supylabel("indomethacin in plasma (mg/L)")
    return figure


def plot_correlations(idata: xr.DataTree) -> Figure:
    """Prior and posterior of the correlations of the random effects."""
    figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
    rows = np.arange(len(PAIRS))
    shape = ETA - 1 + len(PARAMETERS) / 2  # each correlation alone is Beta(shape, shape) on (-1, 1)
    edge = 2 * stats.beta(shape, shape).ppf(0.95) - 1
    ax.axvspan(-edge, edge, color="black", alpha=0.07, lw=0, label="prior, 90%")
    draws = idata.posterior["correlation"]
    levels = draws.quantile([0.05, 0.25, 0.5, 0.75, 0.95], ["chain", "draw"])
    ax.hlines(rows, levels[0], levels[4], color="C0", lw=1)
    ax.hlines(rows, levels[1], levels[3], color="C0", lw=4)
    ax.plot(levels[2], rows, "o", color="white", mec="C0", label="posterior, 50% and 90%")
    ax.plot([NLME[f"correlation[{pair}]"] for pair in PAIRS], rows, "kx", label="nlme")
    ax.set(xlim=(-1, 1), xlabel="correlation between subjects")
    ax.set_yticks(rows, PAIRS)
    ax.invert_yaxis()
    ax.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
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
    print(f"\nThe subjects\n{az.summary(idata, var_names=['log_parameters'])}")

    hours = 8.5 * np.linspace(0.0, 1.0, 60) ** 2  # dense while the concentration falls fast
    predicted = predict(idata, hours, effort.thin, arguments.seed)
    save(plot_fit(panel, predicted), arguments.output / "indometh_fit.png")
    save(plot_correlations(idata), arguments.output / "indometh_correlations.png")
    print(f"\nThe figures are in {arguments.output}")


if __name__ == "__main__":
    main()
