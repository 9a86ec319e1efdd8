"""A linear-Gaussian state-space model whose matrices are all unknown, by HMC and by NUTS.

Two latent states rotate by 18 degrees per step and shrink by a hundredth, ten sensors measure
mixtures of them, and the data are a hundred visits:

    x[k+1] = F x[k] + b + N(0, Q),    y[k] = H x[k] + d + N(0, R),    x[0] ~ N(m0, P0).

F, b, Q, H, d, R, m0 and P0 get priors, 99 numbers in all, and the path is integrated out exactly.
HMC takes five steps per trajectory, and NUTS chooses their number; both use the same log-density.

The data do not identify the basis of the states: transforming the states by any invertible matrix
S, and F, H, Q, m0 and P0 with them, leaves the distribution of the data unchanged. Only the priors
determine the entries of these matrices. So the example reports quantities that do not depend on S:
the eigenvalues of F, the noise of the sensors, the noiseless signals H x + d, and future data, all
compared with those of the true model.

The second model fixes F, b, H and d at their true values and estimates only the covariances. To
fix a parameter, pass a number.

Run it with `uv run python examples/lgssm_hmc.py`; the figures go to `examples/output`.
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
from pymc.initial_point import make_initial_point_fn

N_VISITS, N_AHEAD, N_SENSORS = 100, 50, 10
VISITS, AHEAD = (
    np.arange(N_VISITS, dtype=float),
    np.arange(N_VISITS, N_VISITS + N_AHEAD, dtype=float),
)
SPACING = 5.0  # between the curves of two sensors in the figures
MATRICES = ("F", "b", "Q", "H", "d", "R", "m0", "P0")


@dataclass(frozen=True)
class Effort:
    """How much to compute; `kept` draws of each chain are smoothed and continued."""

    hmc: dict
    nuts: dict
    kept: int


FULL = Effort(
    hmc={"draws": 2000, "tune": 1000, "chains": 4},
    nuts={"draws": 400, "tune": 500, "chains": 2},
    kept=100,
)
SMOKE = Effort(
    hmc={"draws": 30, "tune": 30, "chains": 2}, nuts={"draws": 30, "tune": 30, "chains": 2}, kept=10
)


# The data


def true_matrices(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Settings of the published analysis, which also drew H from a standard normal."""
    angle = np.pi / 10
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return {
        "F": 0.99 * turn,
        "b": np.zeros(2),
        "Q": 0.01 * np.eye(2),
        "H": rng.normal(size=(N_SENSORS, 2)),
        "d": np.zeros(N_SENSORS),
        "R": 0.1 * np.eye(N_SENSORS),
        "m0": np.zeros(2),
        "P0": np.eye(2),
    }


def simulate(truth: dict[str, np.ndarray], rng: np.random.Generator) -> xr.Dataset:
    """States, noiseless signals and data of all visits, future visits included."""
    times = np.concatenate([VISITS, AHEAD])
    paths = pds.simulate(pds.linear_gaussian(**truth), {}, times, random_seed=rng).isel(sample=0)
    signal = paths["states"].values @ truth["H"].T + truth["d"]
    paths = paths.rename(component="sensor").assign_coords(sensor=np.arange(N_SENSORS))
    return paths.assign(signal=(("time", "sensor"), signal))


# The models


def state_space(y: xr.DataArray, frozen: dict[str, np.ndarray]) -> pm.Model:
    """Priors for all matrices but those that are `frozen`."""
    coords = {
        "time": y["time"].values,
        "sensor": y["sensor"].values,
        "latent": ["x0", "x1"],
        "from": ["x0", "x1"],
    }
    with pm.Model(coords=coords) as model:
        matrices = {
            "F": lambda: pm.Normal("F", 0.8 * np.eye(2), 0.4, dims=("latent", "from")),
            "b": lambda: pm.Normal("b", 0.0, 0.1, dims="latent"),
            "Q": lambda: covariance("Q", 2, 0.2),
            "H": lambda: pm.Normal("H", 0.0, 1.5, dims=("sensor", "latent")),
            "d": lambda: pm.Normal("d", 0.0, 0.5, dims="sensor"),
            "R": lambda: covariance("R", N_SENSORS, 0.5),
            "m0": lambda: pm.Normal("m0", 0.0, 1.0, dims="latent"),
            "P0": lambda: covariance("P0", 2, 1.0),
        }
        values = {name: frozen.get(name) for name in MATRICES}
        for name in MATRICES:
            if values[name] is None:
                values[name] = matrices[name]()
        system = pds.linear_gaussian(**values)
        pds.Trajectory("y", system, observed=y, dims=("time", "sensor"))
    return model


def covariance(name: str, n: int, scale: float):
    """A covariance matrix by its Cholesky factor, with a prior that favours small correlations."""
    root, _, _ = pm.LKJCholeskyCov(
        f"{name}_root", n=n, eta=2.0, sd_dist=pm.HalfNormal.dist(scale, shape=n)
    )
    return pm.Deterministic(name, root @ root.T)


def by_hmc(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample with trajectories of five steps."""
    return pds.sample_blackjax(
        "hmc",
        num_integration_steps=5,
        **effort.hmc,
        model=model,
        random_seed=seed,
        progressbar=False,
    )


def by_nuts(model: pm.Model, effort: Effort, seed: int) -> xr.DataTree:
    """Sample with trajectories that end at a U-turn."""
    return pm.sample(
        **effort.nuts,
        model=model,
        nuts_sampler="numpyro",
        random_seed=seed,
        progressbar=False,
    )


# Quantities that do not depend on the basis of the states


def thinned(idata: xr.DataTree, n: int) -> xr.DataTree:
    """About `n` draws of each chain, evenly spread."""
    step = max(1, idata.posterior.sizes["draw"] // n)
    posterior = idata.posterior.dataset.isel(draw=slice(None, None, step))
    return xr.DataTree.from_dict({"posterior": posterior})


def identified(
    idata: xr.DataTree, model: pm.Model, frozen: dict[str, np.ndarray], seed: int
) -> xr.Dataset:
    """Signals at the visits (mean and variance per draw), future data, eigenvalues, noises."""
    posterior = idata.posterior.dataset
    states = pds.sample_states(idata, model=model, moments=True, progressbar=False).posterior
    H, d, R, F = (matrix(posterior, frozen, name) for name in ("H", "d", "R", "F"))
    m, P = states["mean"].values, states["covariance"].values
    sample = ("chain", "draw")
    future = pds.forecast(idata, model=model, times=AHEAD, random_seed=seed, progressbar=False)
    eigenvalues = np.linalg.eigvals(F)
    return xr.Dataset(
        {
            "signal": (
                (*sample, "time", "sensor"),
                np.einsum("...si,...ti->...ts", H, m) + d[..., None, :],
            ),
            "signal_var": (
                (*sample, "time", "sensor"),
                np.einsum("...si,...tij,...sj->...ts", H, P, H),
            ),
            "future": ((*sample, "ahead", "sensor"), future.predictions["y"].values),
            "modulus": (sample, np.abs(eigenvalues).max(-1)),
            "angle": (sample, np.abs(np.angle(eigenvalues)).max(-1)),
            "noise": ((*sample, "sensor"), np.sqrt(np.diagonal(R, axis1=-2, axis2=-1))),
        },
        coords={name: posterior[name].values for name in sample},
    )


def matrix(posterior: xr.Dataset, frozen: dict[str, np.ndarray], name: str) -> np.ndarray:
    """Draws of a matrix, or its frozen value for each of them."""
    if name not in frozen:
        return posterior[name].values
    lead = (posterior.sizes["chain"], posterior.sizes["draw"])
    return np.broadcast_to(frozen[name], (*lead, *frozen[name].shape))


def log_density(truth: dict[str, np.ndarray], model: pm.Model) -> float:
    """Log posterior of the transformed parameters, as the samplers use it, at the truth."""
    values = {}
    for rv in model.free_RVs:
        value = truth[rv.name.removesuffix("_root")]
        if rv.name.endswith("_root"):
            value = np.linalg.cholesky(value)[np.tril_indices(len(value))]
        values[rv] = value
    point = make_initial_point_fn(model=model, overrides=values)(0)
    return float(model.compile_logp(mode="JAX")(point))


# Tables


def summary(found: dict[str, xr.Dataset], truth: dict[str, np.ndarray]) -> pd.DataFrame:
    """Identified parameters by both samplers, next to the truth."""
    eigenvalues = np.linalg.eigvals(truth["F"])
    true = {"modulus": np.abs(eigenvalues).max(), "angle": np.abs(np.angle(eigenvalues)).max()}
    rows = {}
    for name in ("modulus", "angle"):
        rows[name] = {"true": true[name]}
        for sampler, data in found.items():
            low, middle, high = data[name].quantile([0.05, 0.5, 0.95]).values
            rows[name][sampler] = f"{middle:.3f} ({low:.3f}, {high:.3f})"
    rows["mean noise sd"] = {"true": np.sqrt(np.diag(truth["R"])).mean()}
    for sampler, data in found.items():
        low, middle, high = data["noise"].mean("sensor").quantile([0.05, 0.5, 0.95]).values
        rows["mean noise sd"][sampler] = f"{middle:.3f} ({low:.3f}, {high:.3f})"
    return pd.DataFrame(rows).T


def band(data: xr.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of the signals by the law of total variance over the draws."""
    sample = ("chain", "draw")
    mean = data["signal"].mean(sample).values
    spread = data["signal"].var(sample).values + data["signal_var"].mean(sample).values
    return mean, np.sqrt(spread)


def coverage(data: xr.Dataset, signal: np.ndarray) -> dict[str, float]:
    """Share of the true signals in central intervals of the smoothed ones."""
    mean, sd = band(data)
    off = np.abs(signal - mean) / sd
    return {"50%": float((off < 0.674).mean()), "90%": float((off < 1.645).mean())}


def disagreement(found: dict[str, xr.Dataset]) -> tuple[float, float]:
    """Largest distance of the mean signals of two samplers: in SDs, and in Monte Carlo errors."""
    one, two = found.values()
    (m1, sd), (m2, _) = band(one), band(two)
    errors = [np.asarray(az.mcse(data[["signal"]], method="mean")["signal"]) for data in (one, two)]
    gap = np.abs(m1 - m2)
    return float((gap / sd).max()), float((gap / np.hypot(*errors)).max())


# Figures


def draw_signals(
    ax: Axes, data: xr.Dataset, truth: xr.Dataset, sensors: list[int], best: dict
) -> None:
    """Plot data, smoothed signals and forecasts with 95% bands; grey lines: the true model."""
    mean, sd = band(data)
    future = data["future"]
    ahead, spread = future.mean(("chain", "draw")).values, future.std(("chain", "draw")).values
    times = truth["time"].values
    for row, j in enumerate(sensors):
        up, color = SPACING * row, f"C{row}"
        y = truth["observations"].values[:, j] + up
        ax.plot(VISITS, y[:N_VISITS], ".", ms=3, color="0.3", label=None if row else "data")
        ax.plot(AHEAD, y[N_VISITS:], ".", ms=3, color="0.7", label=None if row else "future data")
        for x, m, s, style in ((VISITS, mean, sd, "-"), (AHEAD, ahead, spread, ":")):
            middle, off = m[:, j] + up, 1.96 * s[:, j]
            ax.fill_between(x, middle - off, middle + off, alpha=0.25, color=color, lw=0)
            ax.plot(x, middle, style, color=color, lw=1.2)
        known, off = best["future_mean"][:, j] + up, 1.96 * best["future_sd"][:, j]
        ax.plot(AHEAD, known - off, color="0.35", lw=0.7)
        ax.plot(AHEAD, known + off, color="0.35", lw=0.7, label=None if row else "95%, true model")
    ax.axvline(N_VISITS - 0.5, color="0.2", lw=0.8)
    ax.set(
        xlabel="visit",
        xlim=(0, times[-1]),
        yticks=SPACING * np.arange(len(sensors)),
        yticklabels=[f"sensor {j}" for j in sensors],
    )
    ax.legend(loc="lower left", fontsize=8, ncols=3)


def best_possible(y: np.ndarray, truth: dict[str, np.ndarray]) -> dict:
    """Smoothed signals and, in closed form, the future data under the true model."""
    with pm.Model(coords={"time": VISITS, "sensor": np.arange(N_SENSORS)}) as model:
        pm.Flat("nothing")
        pds.Trajectory("y", pds.linear_gaussian(**truth), observed=y, dims=("time", "sensor"))
    draw = xr.Dataset({"nothing": (("chain", "draw"), np.zeros((1, 1)))})
    idata = xr.DataTree.from_dict({"posterior": draw})
    smoothed = identified(idata, model, truth, 0)
    states = pds.sample_states(idata, model=model, moments=True).posterior
    m, P = states["mean"].values[0, 0, -1], states["covariance"].values[0, 0, -1]
    means, sds = [], []
    for _ in AHEAD:
        m = truth["F"] @ m + truth["b"]
        P = truth["F"] @ P @ truth["F"].T + truth["Q"]
        means.append(truth["H"] @ m + truth["d"])
        sds.append(np.sqrt(np.diag(truth["H"] @ P @ truth["H"].T + truth["R"])))
    return {"smoothed": smoothed, "future_mean": np.array(means), "future_sd": np.array(sds)}


def draw_trace(ax: Axes, hmc: xr.DataTree, at_truth: float, title: str) -> None:
    """Plot the log-density at the draws of every chain against that of the truth."""
    for chain, values in enumerate(hmc.sample_stats["lp"].values):
        ax.plot(values, lw=0.5, label=f"chain {chain}")
    ax.axhline(at_truth, color="black", ls="--", lw=1, label="true parameters")
    ax.set(xlabel="draw", ylabel="log posterior density", title=title)
    ax.legend(fontsize=8, ncols=2)


def study(
    name: str,
    model: pm.Model,
    frozen: dict,
    data: xr.Dataset,
    truth: dict,
    best: dict,
    effort: Effort,
    seed: int,
) -> tuple[dict[str, xr.Dataset], xr.DataTree]:
    """Fit one model with both samplers, and print the results."""
    fits = {"HMC": by_hmc(model, effort, seed), "NUTS": by_nuts(model, effort, seed)}
    found = {}
    print(f"\n{name}")
    for sampler, idata in fits.items():
        divergent = int(idata.sample_stats["diverging"].sum())
        print(f"{sampler}: {idata.posterior.sizes['draw']} draws per chain, {divergent} divergent")
        found[sampler] = identified(thinned(idata, effort.kept), model, frozen, seed)
    print(summary(found, truth).to_string())
    signal = data["signal"].values[:N_VISITS]
    for maker, of in {**found, "true matrices": best["smoothed"]}.items():
        rates = coverage(of, signal)
        print(
            f"{maker}: true signals in the 50% and 90% intervals of the smoothed ones: "
            f"{rates['50%']:.0%}, {rates['90%']:.0%}"
        )
    in_sds, in_errors = disagreement(found)
    print(
        f"mean signals of HMC and NUTS differ by at most {in_sds:.2f} posterior SDs, "
        f"{in_errors:.1f} Monte Carlo errors"
    )
    return found, fits["HMC"]


def save(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure as PNG."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=110)
    plt.close(figure)


def main() -> None:
    """Run the analysis."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="a few draws, to see that it runs")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "output")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    effort = SMOKE if arguments.smoke else FULL

    rng = np.random.default_rng(arguments.seed)
    truth = true_matrices(rng)
    data = simulate(truth, rng)
    y = data["observations"].isel(time=slice(N_VISITS))
    frozen = {name: truth[name] for name in ("F", "b", "H", "d")}
    best = best_possible(y.values, truth)

    figure, axes = plt.subplots(1, 2, figsize=(11, 3.6), layout="constrained")
    models = {"All matrices unknown": {}, "F, b, H and d known": frozen}
    for ax, (name, known) in zip(axes, models.items(), strict=True):
        model = state_space(y, known)
        found, hmc = study(name, model, known, data, truth, best, effort, arguments.seed)
        draw_trace(ax, hmc, log_density(truth, model), name)
        signals, one = plt.subplots(figsize=(11, 7), layout="constrained")
        draw_signals(one, found["HMC"], data, list(range(N_SENSORS)), best)
        one.set_title(f"{name}: smoothed signals and {N_AHEAD} visits ahead, by HMC")
        save(signals, arguments.output, f"lgssm_{'frozen' if known else 'free'}")
    save(figure, arguments.output, "lgssm_log_posterior")


if __name__ == "__main__":
    main()
