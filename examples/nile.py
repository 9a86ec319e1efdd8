"""The Nile at Aswan, 1871-1970: a random-walk level, a gap, a forecast, and a step.

The annual flow is a level plus noise, and the level is a random walk:

    flow[k]    = level[k] + N(0, sd_noise^2)
    level[k+1] = level[k] + N(0, sd_level^2)

    flow, level, sd_noise, sd_level   10^8 cubic metres per year

The initial level has no prior information: its distribution is exactly diffuse. This is the first
example of Durbin and Koopman (2012), *Time Series Analysis by State Space Methods*, whose maximum
likelihood estimates are printed next to the posterior.

The example fits three models: the one above; the same with the years 1890-1910 treated as missing;
and one in which the flow falls by an unknown amount in 1899, when a dam was begun at Aswan. Cobb
(1978), *The problem of the Nile*, asks when the flow changed, and the data point to the years
around 1898. The third model takes that year as known, although it was picked from these data, so
the comparison favours this model. It shows how much of the random walk remains once there is a
step; it cannot tell the cause of the step.

Run it with `uv run python examples/nile.py`; the figure goes to `examples/output`.
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
from scipy import stats

HERE = Path(__file__).parent

# Maximum likelihood, Durbin and Koopman (2012), sec. 2.10, given there as variances.
PUBLISHED = {"sd_noise": 15099.0**0.5, "sd_level": 1469.1**0.5}
# The exactly diffuse log-likelihood there, by UnobservedComponents of statsmodels 0.15. It counts
# log(2 pi) / 2 for every year; the book omits this term for the diffuse state.
PUBLISHED_LOGLIK = -633.4646

PRIOR_SD = 200.0  # of both half-normals; the sd of the flow is 169
STEP_PRIOR_SD = 500.0
STEP = 1899  # first year after the step
GAP = slice(1890, 1910)
AHEAD = xr.DataArray(np.arange(1970, 1991), dims="year")


@dataclass(frozen=True)
class Effort:
    """How much to compute."""

    draws: int
    tune: int
    chains: int


FULL = Effort(draws=1000, tune=1000, chains=4)
SMOKE = Effort(draws=300, tune=200, chains=2)  # az.loo is unreliable with fewer draws


def read_flow() -> xr.DataArray:
    """Annual flow over the dim `year`."""
    table = pds.load_data("nile").set_index("year")
    return table["flow"].to_xarray()


# The models


def random_walk(flow: xr.DataArray) -> pm.Model:
    """A level that is a random walk; NaN in `flow` is missing."""
    with pm.Model(coords={"year": flow["year"].values}) as model:
        sd_noise = pm.HalfNormal("sd_noise", PRIOR_SD)
        sd_level = pm.HalfNormal("sd_level", PRIOR_SD)
        system = pds.local_level(sd_level) + pds.white_noise(sd_noise)
        pds.Trajectory("flow", system, observed=flow, dims="year")
    return model


# The same model written out, with an input: the step is the same in each year that is `after`.
LEVEL_AND_STEP = pds.DiscreteTime(
    states=("level",),
    transition=lambda level, sd_level: dist.Normal(level, sd_level),
    observation=lambda level, step, after, sd_noise: dist.Normal(level + step * after, sd_noise),
    initial=pds.Diffuse(),
)


def with_step(flow: xr.DataArray) -> pm.Model:
    """A random walk, and a step in 1899."""
    with pm.Model(coords={"year": flow["year"].values}) as model:
        params = {
            "sd_noise": pm.HalfNormal("sd_noise", PRIOR_SD),
            "sd_level": pm.HalfNormal("sd_level", PRIOR_SD),
            "step": pm.Normal("step", 0.0, STEP_PRIOR_SD),
        }
        after = (flow["year"] >= STEP).astype(float)
        pds.Trajectory(
            "flow", LEVEL_AND_STEP, params=params, inputs={"after": after}, observed=flow
        )
    return model


def log_likelihood_at(flow: xr.DataArray, sd_noise: float, sd_level: float) -> float:
    """Log-likelihood of the first model at given parameter values."""
    with pm.Model(coords={"year": flow["year"].values}) as model:
        system = pds.local_level(sd_level) + pds.white_noise(sd_noise)
        pds.Trajectory("flow", system, observed=flow, dims="year")
    return float(model.compile_logp()({}))


def fit(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample the posterior; the filter is compiled together with the sampler."""
    return pm.sample(
        draws=effort.draws,
        tune=effort.tune,
        chains=effort.chains,
        # With the step sd_level may be almost zero, which makes a narrow corner in the posterior.
        target_accept=0.95,
        nuts_sampler="numpyro",
        random_seed=seed,
        progressbar=False,
        model=model,
    )


# Results


def compare_with_published(idata: xr.DataTree) -> pd.DataFrame:
    """Posterior summary next to maximum likelihood."""
    table = az.summary(idata, var_names=[*PUBLISHED])
    table.insert(0, "published", pd.Series(PUBLISHED).round(1))
    return table


def withheld(states: xr.DataTree, idata: xr.DataTree, flow: xr.DataArray, seed: int):
    """Check predictions of the withheld years: the levels drawn there, plus noise."""
    level = states.posterior["states"].sel(state="level")
    noise = xr.zeros_like(level) + np.random.default_rng(seed).normal(size=level.shape)
    predicted = (level + noise * idata.posterior["sd_noise"]).sel(year=GAP)
    low, high = predicted.quantile([0.05, 0.95], ["chain", "draw"])
    truth = flow.sel(year=GAP)
    inside = int(((truth > low) & (truth < high)).sum())
    return f"{inside} of {truth.size} withheld flows lie in their 90% intervals"


def judge(errors: xr.DataTree) -> pd.Series:
    """Share of the draws in which the prediction errors look wrong, at 5%."""
    names = {"ljung_box": "correlated errors", "nis": "errors of wrong size"}
    shares = {title: float((errors["tests"][name] < 0.05).mean()) for name, title in names.items()}
    return pd.Series(shares, name="share of draws, at 5%").round(3)


# The figure


def band(ax: Axes, draws: xr.DataArray, dim: str, label: str, color: str, **style) -> None:
    """Shade the central 90% of `draws` over the years."""
    low, high = draws.quantile([0.05, 0.95], ["chain", "draw"])
    ax.fill_between(draws[dim], low, high, color=color, lw=0, label=label, **style)


def level_of(states: xr.DataTree) -> xr.DataArray:
    """Draws of the level."""
    group = "posterior" if "posterior" in states.children else "predictions"
    return states[group]["states"].sel(state="level", drop=True)


def plot_level(
    ax: Axes, flow: xr.DataArray, level: xr.DataArray, ahead: xr.DataArray, future: xr.DataArray
) -> None:
    """Data, band of the level, and bands of level and flow after the data."""
    band(ax, future, "year", "future flow, 90%", "C1", alpha=0.2)
    band(ax, ahead, "year", "future level, 90%", "C1", alpha=0.45)
    band(ax, level, "year", "level, 90%", "C0", alpha=0.35)
    ax.plot(level["year"], level.median(["chain", "draw"]), "C0", label="its median")
    ax.plot(flow["year"], flow, "k.", ms=4, label="flow")
    ax.set(ylim=(300, 1600), ylabel="flow ($10^8$ m³ per year)")


def plot_gap(ax: Axes, flow: xr.DataArray, whole: xr.DataArray, gapped: xr.DataArray) -> None:
    """Levels with and without the years of the gap."""
    hidden = flow.sel(year=GAP)
    rest = flow.where(~flow["year"].isin(hidden["year"]))
    band(ax, gapped, "year", "level without these years, 90%", "C2", alpha=0.3)
    ax.plot(gapped["year"], gapped.median(["chain", "draw"]), "C2", label="its median")
    ax.plot(whole["year"], whole.median(["chain", "draw"]), "C0--", label="median with them")
    ax.plot(rest["year"], rest, "k.", ms=4)
    ax.plot(hidden["year"], hidden, "o", color="white", mec="black", ms=4, label="withheld")
    ax.set(ylim=(300, 1600), ylabel="flow ($10^8$ m³ per year)")


def plot_density(ax: Axes, draws: xr.DataArray, color: str, label: str) -> None:
    """Histogram of the draws."""
    options = {"bins": 40, "density": True, "histtype": "stepfilled"}
    ax.hist(np.ravel(draws), color=color, alpha=0.45, label=label, **options)


def plot_errors(ax: Axes, errors: xr.DataTree) -> None:
    """Standardised errors of predicting each year from those before, averaged over the draws."""
    z = errors["innovations"]["z"].mean(["chain", "draw"])
    ax.axhline(0.0, color="gray", lw=0.8)
    for edge in (-1.96, 1.96):
        ax.axhline(edge, color="gray", lw=0.8, ls="--")
    ax.vlines(z["year"], 0.0, z, color="C0", lw=1)
    ax.plot(z["year"], z, "C0.", ms=4)
    ax.annotate(
        "1899", (STEP, z.sel(year=STEP)), xytext=(0, -12), textcoords="offset points", ha="center"
    )
    ax.set(ylabel="standardised error", ylim=(-3.4, 3.4))


def draw(flow, fits, levels, futures, errors) -> Figure:
    """Six panels: level and forecast, gap, parameters, errors, step, its size."""
    figure, axes = plt.subplots(3, 2, figsize=(12, 12), layout="constrained")
    (first, second), (third, fourth), (fifth, sixth) = axes
    future = futures["random_walk"]
    plot_level(first, flow, levels["random_walk"], level_of(future), future.predictions["flow"])
    first.set_title("The random-walk level, and twenty years ahead")
    plot_gap(second, flow, levels["random_walk"], levels["gapped"])
    second.set_title("1890-1910 withheld: the level is interpolated, with more uncertainty")

    for name, color in (("sd_noise", "C3"), ("sd_level", "C0")):
        plot_density(third, fits["random_walk"].posterior[name], color, name)
        third.axvline(PUBLISHED[name], color=color, ls=":", label="its maximum likelihood")
    plot_density(third, fits["with_step"].posterior["sd_level"], "C4", "sd_level with the step")
    x = np.linspace(0.0, 200.0, 100)
    third.plot(x, stats.halfnorm(0.0, PRIOR_SD).pdf(x), "k-", lw=0.8, label="prior of each")
    third.set(xlim=(0, 200), xlabel="sd ($10^8$ m³ per year)", ylabel="density", yticks=[])
    third.set_title("Posteriors of the SDs: with the step in 1899 the level hardly moves")

    plot_errors(fourth, errors)
    fourth.set_title("One-step prediction errors of the first model")

    after = (levels["with_step"]["year"] >= STEP).astype(float)
    step = fits["with_step"].posterior["step"]
    future = futures["with_step"]
    ahead = level_of(future) + step
    plot_level(fifth, flow, levels["with_step"] + after * step, ahead, future.predictions["flow"])
    fifth.set_title("A step in 1899: almost two constants, and a narrower forecast")

    plot_density(sixth, step, "C4", "posterior")
    x = np.linspace(-500.0, 100.0, 100)
    sixth.plot(x, stats.norm(0.0, STEP_PRIOR_SD).pdf(x), "k-", lw=0.8, label="prior")
    sixth.axvline(0.0, color="gray", lw=0.8)
    sixth.set(xlim=(-500, 100), xlabel="step ($10^8$ m³ per year)", ylabel="density", yticks=[])
    sixth.set_title("Size of the step")

    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.title.set_fontsize(11)
        ncols = 1 if ax in (third, sixth) else 2
        if ax is not fourth:
            place = "upper left" if ax is sixth else "upper right"
            ax.legend(frameon=False, fontsize=8.5, loc=place, ncols=ncols)
    return figure


def after_the_first(results: xr.DataTree) -> xr.DataTree:
    """Without the first year, whose density is the same for all parameters: it places the level."""
    years = results["log_likelihood"].dataset.isel(datum=slice(1, None))
    return results.assign({"log_likelihood": xr.DataTree(years)})


def main() -> None:
    """Read the command line, fit the models, and report the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few draws, to see that it runs")
    parser.add_argument("--output", type=Path, default=HERE / "output")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    effort, seed = SMOKE if arguments.smoke else FULL, arguments.seed

    flow = read_flow()
    found = log_likelihood_at(flow, **PUBLISHED)
    print(f"\nLog-likelihood at the published estimates\n{found:.4f}, published {PUBLISHED_LOGLIK}")

    gapped = flow.where((flow["year"] < GAP.start) | (flow["year"] > GAP.stop))
    models = {
        "random_walk": random_walk(flow),
        "gapped": random_walk(gapped),
        "with_step": with_step(flow),
    }
    fits = {name: fit(model, effort, seed) for name, model in models.items()}
    print(f"\nRandom-walk level\n{compare_with_published(fits['random_walk'])}")
    print(f"\nWithout 1890-1910\n{compare_with_published(fits['gapped'])}")
    print(f"\nWith a step in 1899\n{az.summary(fits['with_step'])}")

    options = {"random_seed": seed, "progressbar": False}
    states = {
        name: pds.sample_states(fits[name], model=model, **options)
        for name, model in models.items()
    }
    print(f"\n{withheld(states['gapped'], fits['gapped'], flow, seed)}")
    futures = {
        name: pds.forecast(fits[name], model=models[name], times=AHEAD, **options)
        for name in ("random_walk", "with_step")
    }
    errors = pds.innovations(fits["random_walk"], model=models["random_walk"], progressbar=False)
    print(f"\nThe first model's prediction errors\n{judge(errors)}")
    by_year = {
        name: after_the_first(pds.log_likelihood(fits[name], model=models[name], progressbar=False))
        for name in ("random_walk", "with_step")
    }
    table = az.compare(by_year, round_to=2)[["elpd", "se", "elpd_diff", "dse", "p"]]
    print(f"\nPredicting each year from those before it\n{table}")

    levels = {name: level_of(tree) for name, tree in states.items()}
    figure = draw(flow, fits, levels, futures, errors)
    figure.savefig(arguments.output / "nile.png", dpi=120)
    plt.close(figure)
    print(f"\nThe figure is in {arguments.output}")


if __name__ == "__main__":
    main()
