"""Effective draws of each parametrization of a path, on data that say little, more and much of it.

    uv run python benchmarks/paths.py --only sparse --forms Free Guided

Each case is a panel of Ornstein-Uhlenbeck paths with unknown mean of the population, sd between
subjects, rate and noise. NUTS of numpyro runs four chains of 500 draws. Told are the effective
draws of the parameter with the fewest for 1,000 gradients, the steps of a trajectory, divergences,
the largest R-hat, and the time of one gradient inside a compiled loop, the least of several.
"""

import argparse
import json
import time
import warnings
from collections.abc import Callable

import arviz as az
import jax
import numpy as np
import pymc as pm
from pymc.sampling.jax import get_jaxified_logp

import pymc_dynsys as pds

DIMS = ("subject", "time")
PARAMETERS = ("mean", "between", "rate", "sigma")
ERROR = 0.1
OU = pds.SDE(
    states="x",
    drift=lambda x, rate, mu: rate * (mu - x),
    diffusion=lambda sigma: sigma,
    initial=pds.Stationary(),
)


def counts(n_subjects: int, n_times: int, mean: float) -> np.ndarray:
    """Counts around a rate whose logarithm is the path."""
    return np.random.default_rng(2).poisson(np.exp(paths(n_subjects, n_times, mean))).astype(float)


def readings(n_subjects: int, n_times: int) -> np.ndarray:
    """Paths read with a small error."""
    x = paths(n_subjects, n_times, 0.0)
    return x + ERROR * np.random.default_rng(2).normal(size=x.shape)


def paths(n_subjects: int, n_times: int, mean: float) -> np.ndarray:
    """Paths with a rate of 0.5, a noise of 0.6, and means that vary with an sd of 0.5."""
    rng = np.random.default_rng(1)
    mu = mean + 0.5 * rng.normal(size=(n_subjects, 1))
    decay, sd = np.exp(-0.5), 0.6
    x = [mu + sd * rng.normal(size=mu.shape)]
    for _ in range(n_times - 1):
        noise = sd * np.sqrt(1 - decay**2) * rng.normal(size=mu.shape)
        x.append(mu + decay * (x[-1] - mu) + noise)
    return np.concatenate(x, axis=1)


CASES: dict[str, Callable[[], np.ndarray]] = {
    "sparse": lambda: counts(20, 8, -0.3),
    "mixed": lambda: counts(20, 50, 0.8),
    "dense": lambda: readings(5, 60),
    "many": lambda: counts(5, 100, 5.8),
}
"""20 x 8 counts of about 1, 20 x 50 of about 3, 5 x 60 readings, 5 x 100 counts of about 400."""


def form_of(form: str, case: str, y: np.ndarray) -> pds.Free | pds.Guided | pds.Centred:
    """A parametrization by name; one that is guided by hand takes the data."""
    if form == "by hand":
        if case == "dense":
            return pds.Guided(y, ERROR)
        return pds.Guided(np.log(y + 0.5), np.sqrt(1 / (y + 0.5)))
    known = {"Free": pds.Free, "Centred": pds.Centred, "Guided": pds.Guided}
    return known[form]()


def build(case: str, form: str) -> pm.Model:
    """The model of a case."""
    y = CASES[case]()
    coords = {"subject": np.arange(len(y)), "time": np.arange(float(y.shape[1]))}
    with pm.Model(coords=coords) as model:
        mean, between = pm.Normal("mean", 0.0, 5.0), pm.HalfNormal("between", 1.0)
        mu = mean + between * pm.Normal("of_subject", dims="subject")
        mu = pm.Deterministic("mu", mu, dims="subject")
        rate, sigma = pm.LogNormal("rate", -0.7, 0.7), pm.HalfNormal("sigma", 1.0)
        params = {"mu": mu, "rate": rate, "sigma": sigma}
        x = pds.Path("x", OU, params=params, dims=DIMS, parametrization=form_of(form, case, y))
        if case == "dense":
            pm.Normal("y", x[..., 0], ERROR, observed=y, dims=DIMS)
        else:
            pm.Poisson("y", pm.math.exp(x[..., 0]), observed=y, dims=DIMS)
    return pds.reparametrize(model, random_seed=1, progressbar=False) if form == "Guided" else model


def gradient_us(model: pm.Model) -> float:
    """Microseconds of a gradient, one after the other in a compiled loop."""
    logp = get_jaxified_logp(model, negative_logp=False)
    start = [np.asarray(v, float) for v in model.initial_point().values()]
    slope = jax.value_and_grad(lambda point: logp(point))

    @jax.jit
    def loop(point: list[jax.Array]) -> list[jax.Array]:
        def step(_: int, at: list[jax.Array]) -> list[jax.Array]:
            return [v + 1e-9 * g for v, g in zip(at, slope(at)[1], strict=True)]

        return jax.lax.fori_loop(0, 300, step, point)

    jax.block_until_ready(loop(start))
    seconds = []
    for _ in range(7):
        begun = time.perf_counter()
        jax.block_until_ready(loop(start))
        seconds.append(time.perf_counter() - begun)
    return 1e6 * min(seconds) / 300


def measure(case: str, form: str, draws: int, seed: int) -> dict[str, object]:
    """Figures of one run."""
    begun = time.process_time()
    model = build(case, form)
    built = time.process_time() - begun
    idata = pm.sample(
        draws,
        tune=draws,
        chains=4,
        random_seed=seed,
        progressbar=False,
        nuts_sampler="numpyro",
        nuts={"chain_method": "sequential"},
        var_names=list(PARAMETERS),
        compute_convergence_checks=False,
        model=model,
    )
    stats, posterior = idata["sample_stats"], idata["posterior"]
    ess = {p: float(az.ess(posterior[p].values)) for p in PARAMETERS}
    fewest = min(ess, key=ess.__getitem__)
    per_gradient = 1000 * ess[fewest] / float(stats["n_steps"].sum())
    us = gradient_us(model)
    return {
        "case": case,
        "form": form,
        "per 1,000 gradients": round(per_gradient, 2),
        "fewest": f"{fewest} {ess[fewest]:.0f}",
        "per second": round(1e3 * per_gradient / us),
        "steps": float(np.median(stats["n_steps"])),
        "divergences": int(stats["diverging"].sum()),
        "rhat": round(max(float(az.rhat(posterior[p].values)) for p in PARAMETERS), 3),
        "gradient us": round(us, 1),
        "build s": round(built, 1),
        "means": {p: round(float(posterior[p].mean()), 3) for p in PARAMETERS},
    }


def main() -> None:
    """Print the figures of each case and form as they come."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    forms = ["Free", "by hand", "Guided", "Centred"]
    parser.add_argument("--forms", nargs="+", choices=forms, default=forms)
    parser.add_argument("--draws", type=int, default=500, help="of each chain (default: 500)")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    for case in options.only:
        for form in options.forms:
            print(json.dumps(measure(case, form, options.draws, options.seed)), flush=True)


if __name__ == "__main__":
    main()
