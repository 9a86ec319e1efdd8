"""The US business cycle: one factor behind four quarterly series, 1959-2009.

Growth of output, consumption and disposable income, and the change of unemployment, each less its
mean and divided by its standard deviation, are loadings times a common factor, plus noise:

    y[k]        = loading factor[k] + N(0, diag(sd_noise^2))
    factor[k+1] = phi_1 factor[k] + phi_2 factor[k-1] + N(0, 1)

The state holds the factor and its value one quarter earlier, and its initial distribution is the
stationary one. The data have four components, more than there are states, so the filter first
reduces them to two.

Identification. The noise that drives the factor has variance 1, which fixes its scale. Changing
the signs of the factor and of all loadings leaves likelihood and prior the same, so the posterior
has two modes that are mirror images, and a chain stays in one of them. The signs of the draws are
aligned afterwards so that output loads positively: positive values are booms. A prior that keeps
output's loading positive is not a solution: it traps chains that start with the wrong sign at zero.

Investment is left out: with it, maximum likelihood puts the noise of output at zero, and the
factor is then the growth of output itself, of which consumption and investment are parts.

The last eight quarters, from 2007Q4 to 2009Q3, are held out of the fit and forecast. The model
forecasts ordinary growth; in fact the recession of 2007-2009 followed, whose worst quarters lie
outside the bands. The model can also be improved: the prediction errors of all series but output
are autocorrelated, so their noise is not white, as this model assumes.

Run it with `uv run python examples/business_cycle.py`; the figures go to `examples/output`.
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
import pytensor.tensor as pt
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

HERE = Path(__file__).parent

SERIES = ["output", "consumption", "income", "unemployment"]
HELD_OUT = 8  # quarters
QUARTER = 0.25  # years
TITLES = {
    "output": "output, growth (%)",
    "consumption": "consumption, growth (%)",
    "income": "disposable income, growth (%)",
    "unemployment": "unemployment, change (points)",
}

# Maximum likelihood by DynamicFactor(k_factors=1, factor_order=2) of statsmodels 0.15 on the same
# standardised data, rounded to four digits and with the signs aligned so that output loads
# positively; the log-likelihood is that of statsmodels at these rounded values.
STATSMODELS = {
    "loading[output]": 0.6848,
    "loading[consumption]": 0.5801,
    "loading[income]": 0.3980,
    "loading[unemployment]": -0.6366,
    "sd_noise[output]": 0.2993**0.5,
    "sd_noise[consumption]": 0.4958**0.5,
    "sd_noise[income]": 0.7599**0.5,
    "sd_noise[unemployment]": 0.3938**0.5,
    "phi[1]": 0.5619,
    "phi[2]": 0.0183,
}
STATSMODELS_LOGLIK = -949.944874

# Peaks and troughs by quarter, from the National Bureau of Economic Research, "US Business Cycle
# Expansions and Contractions", https://www.nber.org/research/data.
RECESSIONS = [
    ("1960Q2", "1961Q1"),
    ("1969Q4", "1970Q4"),
    ("1973Q4", "1975Q1"),
    ("1980Q1", "1980Q3"),
    ("1981Q3", "1982Q4"),
    ("1990Q3", "1991Q1"),
    ("2001Q1", "2001Q4"),
    ("2007Q4", "2009Q2"),
]


@dataclass(frozen=True)
class Effort:
    """How much to compute."""

    draws: int
    tune: int
    chains: int


FULL = Effort(draws=1000, tune=1000, chains=4)
SMOKE = Effort(draws=20, tune=20, chains=2)


def read_growth() -> xr.DataArray:
    """Growth in % per quarter, and the change of unemployment in points, over (time, series)."""
    table = pd.read_csv(HERE / "data" / "macro.csv")
    levels = table[["realgdp", "realcons", "realdpi"]]
    changes = pd.concat([100 * np.log(levels).diff(), table["unemp"].diff()], axis=1)
    times = table["year"] + QUARTER * (table["quarter"] - 1)  # where each quarter begins
    coords = {"time": times.to_numpy()[1:], "series": SERIES}
    return xr.DataArray(changes.to_numpy()[1:], coords, dims=("time", "series"))


def quarter(label: str) -> float:
    """The time at which a quarter such as 1960Q2 begins, in years."""
    year, number = label.split("Q")
    return int(year) + QUARTER * (int(number) - 1)


# The model


def one_factor(F, H, R) -> pds.LinearGaussian:
    """The system, from PyMC variables or from numbers."""
    return pds.linear_gaussian(
        F=F,
        Q=np.diag([1.0, 0.0]),
        H=H,
        R=R,
        initial=pds.Stationary(),
        states=("factor", "before"),
        step=QUARTER,
    )


def build_model(y: xr.DataArray) -> pm.Model:
    """One factor behind all the series of `y`."""
    coords = {"time": y["time"].values, "series": SERIES, "lag": [1, 2]}
    with pm.Model(coords=coords) as model:
        loading = pm.Normal("loading", 0.0, 1.0, dims="series")
        sd_noise = pm.HalfNormal("sd_noise", 1.0, dims="series")
        # With partial autocorrelations within (-1, 1), every such AR(2) is stationary.
        partial = pm.Uniform("partial", -1.0, 1.0, dims="lag")
        phi = pm.Deterministic(
            "phi", pt.stack([partial[0] * (1 - partial[1]), partial[1]]), dims="lag"
        )
        cycle = one_factor(
            F=pm.Deterministic("F", pt.stack([phi, [1.0, 0.0]])),
            H=pm.Deterministic("H", pt.stack([loading, pt.zeros_like(loading)], axis=1)),
            R=pm.Deterministic("R", sd_noise**2),
        )
        pds.Trajectory("y", cycle, observed=y, dims=("time", "series"))
    return model


def log_likelihood_of_statsmodels(y: xr.DataArray) -> float:
    """Our log-likelihood at statsmodels' estimate."""
    loading, sd_noise = (
        np.array([STATSMODELS[f"{kind}[{name}]"] for name in SERIES])
        for kind in ("loading", "sd_noise")
    )
    F = [[STATSMODELS["phi[1]"], STATSMODELS["phi[2]"]], [1.0, 0.0]]
    H = np.stack([loading, np.zeros_like(loading)], axis=1)
    with pm.Model(coords={"time": y["time"].values, "series": SERIES}) as model:
        pds.Trajectory("y", one_factor(F, H, sd_noise**2), observed=y, dims=("time", "series"))
    return float(model.compile_logp()({}))


def fit(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample the posterior, and change the signs of draws in which output loads negatively."""
    idata = pm.sample(
        draws=effort.draws,
        tune=effort.tune,
        chains=effort.chains,
        nuts_sampler="numpyro",
        random_seed=seed,
        progressbar=False,
        compute_convergence_checks=False,  # chains may sit in either mode; see the summary
        model=model,
    )
    posterior = idata.posterior.dataset
    sign = xr.ufuncs.sign(posterior["loading"].sel(series="output", drop=True))
    print(f"\nShare of draws with changed signs, by chain\n{(sign < 0).mean('draw').values}")
    aligned = {name: posterior[name] * sign for name in ("loading", "H")}
    return idata.assign(posterior=xr.DataTree(posterior.assign(aligned)))


# Results


def compare_with_statsmodels(idata: xr.DataTree) -> pd.DataFrame:
    """Posterior summary next to maximum likelihood."""
    table = az.summary(idata, var_names=["loading", "sd_noise", "phi"])
    table.insert(0, "statsmodels", pd.Series(STATSMODELS).round(3))
    return table


def explained(idata: xr.DataTree) -> pd.DataFrame:
    """Share of the variance of each series that the factor explains."""
    draws = idata.posterior.dataset
    of_factor = draws["loading"] ** 2 / (1 - draws["partial"] ** 2).prod("lag")
    shares = of_factor / (of_factor + draws["sd_noise"] ** 2)
    levels = shares.quantile([0.05, 0.5, 0.95], ["chain", "draw"])
    return levels.to_pandas().T.round(2)


def judge(errors: xr.DataTree) -> pd.Series:
    """Share of the draws in which one-step prediction errors look correlated, at 5%."""
    return (errors["tests"]["ljung_box"] < 0.05).mean(("chain", "draw")).to_pandas().round(2)


def in_recession(times: xr.DataArray) -> xr.DataArray:
    """Whether a quarter lies after a peak, up to the trough."""
    found = xr.zeros_like(times, dtype=bool)
    for peak, trough in RECESSIONS:
        found |= (times > quarter(peak)) & (times <= quarter(trough))
    return found


def count_recessions(factor: xr.DataArray) -> str:
    """Count quarters in which the median of the factor is below its mean of zero."""
    low, recession = factor.median(["chain", "draw"]) < 0, in_recession(factor["time"])
    return (
        f"below zero in {int((low & recession).sum())} of {int(recession.sum())} quarters of "
        f"recession and in {int((low & ~recession).sum())} of {int((~recession).sum())} others"
    )


def count_covered(growth: xr.DataArray, predicted: xr.DataArray) -> pd.Series:
    """How many held-out values of each series lie in their 90% intervals."""
    low, high = predicted.quantile([0.05, 0.95], ["chain", "draw"])
    truth = growth.sel(time=predicted["time"])
    return ((truth > low) & (truth < high)).sum("time").to_pandas()


# The figures


def band(ax: Axes, draws: xr.DataArray, **style) -> None:
    """Shade the central 90% of `draws`, each at the middle of its quarter."""
    low, high = draws.quantile([0.05, 0.95], ["chain", "draw"])
    ax.fill_between(draws["time"] + QUARTER / 2, low, high, lw=0, **style)


def shade_recessions(ax: Axes, begin: float, end: float) -> None:
    """Shade from the end of the quarter of a peak to the end of that of its trough."""
    for peak, trough in RECESSIONS:
        left, right = quarter(peak) + QUARTER, quarter(trough) + QUARTER
        if right > begin:
            ax.axvspan(left, right, color="black", alpha=0.12, lw=0)
    ax.set_xlim(begin, end)


def plot_cycle(ax: Axes, factor: xr.DataArray) -> None:
    """Plot the common cycle over all years."""
    shade_recessions(ax, 1959.0, 2010.0)
    band(ax, factor, color="C0", alpha=0.4, label="factor given all data, 90%")
    middle = factor.median(["chain", "draw"])
    ax.plot(middle["time"] + QUARTER / 2, middle, "C0", lw=1, label="its median")
    ax.axhline(0.0, color="gray", lw=0.8)
    ax.axvline(quarter("2007Q4"), color="black", ls=":", label="parameters are fitted to here")
    ax.set(ylabel="factor (sd of its noise)", ylim=(-6, 5))
    ax.set_title("The common cycle, and recessions as dated by the NBER (grey)")
    ax.legend(frameon=False, fontsize=8.5, loc="upper right", ncols=3, bbox_to_anchor=(0.94, 1))


def plot_forecast(ax: Axes, name: str, growth: xr.DataArray, predicted: xr.DataArray) -> None:
    """Plot one series: the data, the forecast from 2007Q3, and the held-out data."""
    begin, held_out = 2003.0, predicted["time"]
    shade_recessions(ax, begin, 2010.0)
    band(ax, predicted, color="C1", alpha=0.35, label="forecast, 90%")
    middle = predicted.median(["chain", "draw"])
    ax.plot(middle["time"] + QUARTER / 2, middle, "C1", label="its median")
    before = growth.sel(time=slice(begin, float(held_out[0]) - QUARTER))
    after = growth.sel(time=held_out)
    ax.plot(before["time"] + QUARTER / 2, before, "k.-", lw=0.6, ms=4, label="data")
    ax.plot(after["time"] + QUARTER / 2, after, "o", color="white", mec="k", ms=4, label="held out")
    ax.set(title=TITLES[name], xticks=[2004, 2006, 2008, 2010])


def plot_estimates(ax: Axes, idata: xr.DataTree) -> None:
    """Plot the posteriors of all parameters next to maximum likelihood."""
    draws = idata.posterior
    for row, (name, theirs) in enumerate(STATSMODELS.items()):
        kind, label = name.rstrip("]").split("[")
        one = draws[kind].sel({"lag": int(label)} if kind == "phi" else {"series": label})
        levels = one.quantile([0.05, 0.25, 0.5, 0.75, 0.95])
        ax.hlines(row, levels[0], levels[4], color="C0", lw=1)
        ax.hlines(row, levels[1], levels[3], color="C0", lw=4)
        first = row == 0
        look = {"color": "white", "mec": "C0", "label": "posterior, 50% and 90%" if first else None}
        ax.plot(levels[2], row, "o", **look)
        ax.plot(theirs, row, "kx", label="maximum likelihood (statsmodels)" if first else None)
    names = [name.replace("[", ", ").rstrip("]").replace("sd_", "") for name in STATSMODELS]
    ax.set_yticks(range(len(names)), names)
    ax.invert_yaxis()
    ax.axvline(0.0, color="gray", lw=0.8)
    ax.set(xlim=(-1, 1.5), title="Parameters, fitted to 1959Q2-2007Q3")
    ax.legend(frameon=False, fontsize=8.5, loc="upper left")


def plot_recession(ax: Axes, ahead, filtered, smoothed) -> None:
    """Plot the forecast, the filtered and the smoothed factor in the recession."""
    shade_recessions(ax, 2006.0, 2010.0)
    band(ax, ahead, color="C1", alpha=0.35, label="forecast from 2007Q3, 90%")
    band(ax, smoothed, color="C0", alpha=0.4, label="given all data, 90%")
    low, middle, high = filtered.quantile([0.05, 0.5, 0.95], ["chain", "draw"])
    x = filtered["time"] + QUARTER / 2
    ax.vlines(x, low, high, color="C3", lw=1.2)
    ax.plot(x, middle, "C3o", ms=4, label="given data up to then, 90%")
    ax.axhline(0.0, color="gray", lw=0.8)
    ax.set(xticks=range(2006, 2011), ylabel="factor (sd of its noise)")
    ax.set_title("The factor in 2008: forecast, filtered and smoothed")
    ax.legend(frameon=False, fontsize=8.5, loc="lower left")


def draw(idata, growth, predicted, factors) -> Figure:
    """The cycle; the forecasts; the parameters and the last recession."""
    figure = plt.figure(figsize=(13, 11.5), layout="constrained")
    upper, middle, lower = figure.subfigures(3, 1, height_ratios=[1, 0.9, 1.2])
    plot_cycle(upper.subplots(), factors["smoothed"])
    for ax, name in zip(middle.subplots(1, 4), SERIES, strict=True):
        plot_forecast(ax, name, growth.sel(series=name), predicted.sel(series=name))
    ax.legend(frameon=False, fontsize=8.5, loc="upper left")
    left, right = lower.subplots(1, 2)
    plot_estimates(left, idata)
    plot_recession(right, factors["ahead"], factors["filtered"], factors["late"])
    for ax in figure.axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.title.set_fontsize(11)
    return figure


def main() -> None:
    """Read the command line, fit the model, and report the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few draws, to see that it runs")
    parser.add_argument("--output", type=Path, default=HERE / "output")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    effort, seed = SMOKE if arguments.smoke else FULL, arguments.seed

    growth = read_growth()
    fitted, held_out = growth.isel(time=slice(-HELD_OUT)), growth["time"][-HELD_OUT:]
    mean, sd = fitted.mean("time"), fitted.std("time", ddof=1)
    y = (growth - mean) / sd
    then, now = build_model(y.sel(time=fitted["time"])), build_model(y)

    found = log_likelihood_of_statsmodels(y.sel(time=fitted["time"]))
    print(f"\nLog-likelihood at statsmodels' estimate\n{found:.6f}, theirs {STATSMODELS_LOGLIK}")
    idata = fit(then, effort, seed)
    print(f"\nThe parameters\n{compare_with_statsmodels(idata)}")
    print(f"\nShare of variance explained by the factor\n{explained(idata)}")

    options = {"random_seed": seed, "progressbar": False}
    future = pds.forecast(idata, model=then, times=held_out.values, **options)
    # The same draws of the parameters, and states that have seen the held-out quarters too.
    smoothed = pds.sample_states(idata, model=now, **options)
    filtered = pds.sample_states(idata, model=now, given="past", **options)
    factors = {
        "ahead": future.predictions["states"].sel(state="factor"),
        "smoothed": smoothed.posterior["states"].sel(state="factor"),
        "filtered": filtered.posterior["states"].sel(state="factor", time=slice(2006.0, None)),
    }
    factors["late"] = factors["smoothed"].sel(time=slice(2006.0, None))
    print(f"\nThe factor is {count_recessions(factors['smoothed'])}")

    predicted = future.predictions["y"] * sd + mean
    covered = count_covered(growth, predicted)
    print(f"\nHeld-out quarters, of {HELD_OUT}, within their 90% intervals\n{covered}")
    errors = pds.innovations(idata, model=then, progressbar=False)
    print(f"\nShare of the draws with correlated prediction errors, at 5%\n{judge(errors)}")

    figure = draw(idata, growth, predicted, factors)
    figure.savefig(arguments.output / "business_cycle.png", dpi=120)
    plt.close(figure)
    print(f"\nThe figure is in {arguments.output}")


if __name__ == "__main__":
    main()
