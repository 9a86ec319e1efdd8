"""Seconds of marginal fits from a built model to the table, beside lme4 and nlme.

    uv run python benchmarks/marginal.py --repeats 3 --only radon counts

Each fit is a process of its own, in which nothing was compiled before. Told are the least wall time
and CPU time of several, which on a busy machine are nearer to the truth than means. Where R has
lme4 and nlme, their calls are timed on the same data, in a process of their own.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
from numpyro import distributions as dist

import pymc_dynsys as pds

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
RADON = EXAMPLES / "data" / "radon.csv"

Model = tuple[pm.Model, str]


def radon() -> Model:
    """919 homes in 85 counties: 1 + floor + (1 | county)."""
    homes = radon_table()
    counties, index = np.unique(homes["county"], return_inverse=True)
    with pm.Model(coords={"county": counties}) as model:
        intercept, slope = pm.Normal("intercept", 0.0, 5.0), pm.Normal("slope", 0.0, 5.0)
        sd, sigma = pm.HalfNormal("sd", 1.0), pm.HalfNormal("sigma", 1.0)
        u = pm.Normal("u", 0.0, sd, dims="county")
        mean = intercept + slope * homes["floor"].to_numpy() + u[index]
        pm.Normal("y", mean, sigma, observed=homes["y"].to_numpy())
    return model, "county"


def radon_table() -> pd.DataFrame:
    """Logarithms of radon, floors and counties."""
    homes = pd.read_csv(RADON)
    found = {"y": homes["log.radon"], "floor": homes["basement"], "county": homes["county.name"]}
    return pd.DataFrame(found)


def phenobarbital() -> Model:
    """59 newborns, 155 concentrations after doses at any times; two effects of each."""
    sys.path.insert(0, str(EXAMPLES))
    import phenobarbital as example

    return example.build_model(example.read_panel(), process_noise=False), "subject"


def theophylline() -> Model:
    """Twelve subjects, two states, two effects of each."""
    table = pds.load_data("theoph")
    panel = pds.panel(table, subject="Subject", time="Time", observed="conc", covariates="Dose")

    def absorb_and_clear(depot, central, log_ka, log_ke, log_cl):
        ka, ke, cl = jnp.exp(log_ka), jnp.exp(log_ke), jnp.exp(log_cl)
        return -ka * depot, ka * depot * ke / cl - ke * central

    system = pds.SDE(
        states=("depot", "central"),
        drift=absorb_and_clear,
        diffusion=lambda sigma: (0.0, sigma),
        initial=lambda dose: dist.Delta(jnp.stack([dose, jnp.zeros_like(dose)]), event_dim=1),
        observation=lambda central, sd: dist.Normal(central, sd),
        events="depot",
    )
    with pm.Model(coords=pds.coords(panel)) as model:
        log_ka, log_cl = pm.Normal("log_ka", 0.5, 1.0), pm.Normal("log_cl", -3.2, 1.0)
        sd_ka, sd_cl = pm.HalfNormal("sd_ka", 1.0), pm.HalfNormal("sd_cl", 0.5)
        params = {
            "log_ka": pm.Normal("log_ka_subject", log_ka, sd_ka, dims="subject"),
            "log_cl": pm.Normal("log_cl_subject", log_cl, sd_cl, dims="subject"),
            "log_ke": pm.Normal("log_ke", -2.5, 0.5),
            "sigma": 0.0,
            "sd": pm.HalfNormal("sd", 2.0),
            "dose": panel["Dose"],
        }
        pds.Trajectory(
            "conc", system, params=params, observed=panel["conc"], likelihood=pds.Kalman()
        )
    return model, "subject"


def ornstein_uhlenbeck(n: int = 1000) -> Model:
    """A thousand ragged series of 10 to 30 visits; each has a rate and a mean of its own."""
    rng = np.random.default_rng(1)
    rows = []
    for subject in range(n):
        visits = int(rng.integers(10, 31))
        rate, mean = np.exp(np.log(0.5) + 0.3 * rng.normal()), 1.0 + 0.5 * rng.normal()
        times = np.cumsum(rng.uniform(0.2, 0.8, visits))
        x = rng.normal() / np.sqrt(2 * rate)
        for k in range(visits):
            if k:
                decay = np.exp(-rate * (times[k] - times[k - 1]))
                x = decay * x + np.sqrt((1 - decay**2) / (2 * rate)) * rng.normal()
            rows.append((subject, times[k], mean + x + 0.3 * rng.normal()))
    table = pd.DataFrame(rows, columns=["subject", "time", "y"])
    panel = pds.panel(table, subject="subject", time="time", observed="y")
    system = pds.SDE(
        states=("x",),
        drift=lambda x, log_rate: -jnp.exp(log_rate) * x,
        diffusion=lambda sigma: sigma,
        initial=pds.Stationary(),
        observation=lambda x, mean, noise: dist.Normal(mean + x, noise),
    )
    with pm.Model(coords=pds.coords(panel)) as model:
        log_rate, sd_rate = pm.Normal("log_rate"), pm.HalfNormal("sd_rate")
        mean, sd_mean = pm.Normal("mean"), pm.HalfNormal("sd_mean")
        params = {
            "log_rate": pm.Normal("log_rate_subject", log_rate, sd_rate, dims="subject"),
            "mean": pm.Normal("mean_subject", mean, sd_mean, dims="subject"),
            "sigma": pm.HalfNormal("sigma"),
            "noise": pm.HalfNormal("noise"),
        }
        pds.Trajectory("y", system, params=params, observed=panel["y"])
    return model, "subject"


def counts() -> Model:
    """40,000 counts of 10,000 subjects: x + (1 | subject)."""
    table = counts_table()
    with pm.Model(coords={"subject": table["subject"].unique()}) as model:
        intercept, slope = pm.Normal("intercept", 0.0, 2.0), pm.Normal("slope", 0.0, 2.0)
        sd = pm.HalfNormal("sd", 1.0)
        effect = sd * pm.Normal("z", dims="subject")
        log_rate = intercept + slope * table["x"].to_numpy()
        rate = pm.math.exp(log_rate + effect[table["subject"].to_numpy()])
        pm.Poisson("y", rate, observed=table["y"].to_numpy())
    return model, "subject"


def counts_table(n: int = 10_000) -> pd.DataFrame:
    """Simulated: an intercept of 0.5, a slope of 0.3, and an sd of 0.5 between subjects."""
    rng = np.random.default_rng(0)
    subject, x = np.repeat(np.arange(n), 4), rng.normal(size=4 * n)
    effect = 0.5 * rng.normal(size=n)
    y = rng.poisson(np.exp(0.5 + 0.3 * x + effect[subject]))
    return pd.DataFrame({"subject": subject, "x": x, "y": y})


CASES = {f.__name__: f for f in (radon, phenobarbital, theophylline, ornstein_uhlenbeck, counts)}
TABLES = {"radon": radon_table, "counts": counts_table}


def once(name: str) -> dict[str, float]:
    """Time one fit in this process."""
    model, over = CASES[name]()
    warnings.simplefilter("ignore")  # that Laplace's approximation is rough for some
    wall, cpu = time.perf_counter(), time.process_time()
    fit = pds.fit_marginal(model, over, progressbar=False)
    fit["summary"].to_dataframe()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    attrs = {key: fit.attrs[key] for key in ("gradients", "log_likelihood", "nats_left")}
    return {"wall": wall, "cpu": cpu, **attrs}


def in_r(name: str) -> str:
    """What R's call took, or nothing where it has no such model or is not there."""
    if not shutil.which("Rscript") or name == "ornstein_uhlenbeck":
        return ""
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        if name in TABLES:
            TABLES[name]().to_csv(file.name, index=False)
        command = ["Rscript", str(HERE / "competitors" / "with_lme4.R"), name, file.name]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or found.stderr.strip()[-200:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--once", choices=CASES, help="time this one here, as JSON")
    options = parser.parse_args()
    if options.once:
        print(json.dumps(once(options.once)))
        return
    for name in options.only:
        runs = []
        for _ in range(options.repeats):
            command = [sys.executable, __file__, "--once", name]
            out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            runs.append(json.loads(out.splitlines()[-1]))
        best = {key: min(run[key] for run in runs) for key in ("wall", "cpu")}
        last = runs[-1]
        print(
            f"{name:20s} wall {best['wall']:6.2f} s, cpu {best['cpu']:6.2f} s, "
            f"{last['gradients']:.0f} gradients, log-likelihood {last['log_likelihood']:.5f}, "
            f"{last['nats_left']:.0e} nats left; R: {in_r(name)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
