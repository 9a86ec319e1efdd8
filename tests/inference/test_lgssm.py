"""A linear-Gaussian system with unknown matrices: samplers agree, signals are calibrated."""

import arviz as az
import jax
import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds

N_VISITS, N_SENSORS = 60, 5
TIMES = np.arange(float(N_VISITS))


def truth(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Matrices as the priors of `model` have them."""
    return {
        "F": np.diag([0.9, 0.6]) + 0.1 * rng.normal(size=(2, 2)),
        "Q": np.diag([0.2, 0.3]),
        "H": rng.normal(size=(N_SENSORS, 2)),
        "R": np.abs(rng.normal(size=N_SENSORS)) ** 2 + 1e-3,
    }


def model(y: np.ndarray) -> pm.Model:
    """Unknown F, H and R; the scale of the states is known."""
    coords = {"time": TIMES, "sensor": np.arange(N_SENSORS), "latent": [0, 1]}
    with pm.Model(coords=coords) as built:
        F = pm.Normal("F", np.diag([0.9, 0.6]), 0.1, shape=(2, 2))
        H = pm.Normal("H", 0.0, 1.0, dims=("sensor", "latent"))
        sd = pm.HalfNormal("sd", 1.0, dims="sensor")
        R = pm.Deterministic("R", sd**2, dims="sensor")
        system = pds.linear_gaussian(
            F=F, Q=np.diag([0.2, 0.3]), H=H, R=R, m0=np.zeros(2), P0=np.eye(2)
        )
        pds.Trajectory("y", system, observed=y, dims=("time", "sensor"))
    return built


def simulated(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    matrices = truth(rng)
    system = pds.linear_gaussian(**matrices, m0=np.zeros(2), P0=np.eye(2))
    paths = pds.simulate(system, {}, TIMES, random_seed=rng).isel(sample=0)
    return paths["states"].values @ matrices["H"].T, paths["observations"].values


def signals(idata: xr.DataTree, built: pm.Model) -> xr.DataArray:
    states = pds.sample_states(idata, model=built, random_seed=0, progressbar=False).posterior
    H = idata.posterior["H"].values
    values = np.einsum("cdsi,cdti->cdts", H, states["states"].values)
    return xr.DataArray(values, dims=("chain", "draw", "time", "sensor"), name="signal")


@pytest.mark.slow
def test_hmc_and_nuts_agree():
    _, y = simulated(0)
    built = model(y)
    nuts = pm.sample(
        1000,
        tune=1000,
        chains=4,
        model=built,
        nuts_sampler="numpyro",
        random_seed=1,
        progressbar=False,
    )
    with jax.numpy_rank_promotion("allow"):
        hmc = pds.sample_blackjax(
            "hmc",
            num_integration_steps=5,
            draws=8000,
            tune=2000,
            model=built,
            random_seed=2,
            progressbar=False,
        )
    few = hmc.posterior.dataset.isel(draw=slice(None, None, 8))
    hmc = xr.DataTree.from_dict({"posterior": few})
    by_nuts, by_hmc = (signals(idata, built).to_dataset() for idata in (nuts, hmc))
    error = np.hypot(*(az.mcse(data)["signal"].values for data in (by_nuts, by_hmc)))
    sample = ("chain", "draw")
    gap = np.abs(by_nuts["signal"].mean(sample) - by_hmc["signal"].mean(sample)).values
    assert (gap / error).max() < 5.5  # of 300 that go together
    spread = by_hmc["signal"].std(sample) / by_nuts["signal"].std(sample)
    assert np.abs(spread - 1).max() < 0.15


@pytest.mark.slow
def test_smoothed_signals_cover_the_true_ones():
    """Over data sets from the prior, the rates are nominal."""
    inside = {0.5: [], 0.9: []}
    for seed in range(16):
        signal, y = simulated(100 + seed)
        built = model(y)
        idata = pm.sample(
            300,
            tune=400,
            chains=2,
            model=built,
            nuts_sampler="numpyro",
            random_seed=seed,
            progressbar=False,
        )
        draws = signals(idata, built)
        for rate, found in inside.items():
            tail = (1 - rate) / 2
            low, high = draws.quantile([tail, 1 - tail], dim=("chain", "draw")).values
            found.append(((low <= signal) & (signal <= high)).mean())
    for rate, found in inside.items():
        error = np.std(found, ddof=1) / len(found) ** 0.5
        assert abs(np.mean(found) - rate) < 4 * error, (rate, found)
        assert error < 0.04
