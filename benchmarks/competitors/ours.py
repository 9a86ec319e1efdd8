"""This package, through the log-density that `pm.sample` compiles."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pymc as pm
from cases import Case
from data import COUPLING, INITIAL_VARIANCE, KICK, NOISE, RATE, SIGMA, Arrays
from numpyro import distributions as dist
from pymc.sampling.jax import get_jaxified_logp

import pymc_dynsys as pds

OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu, rate: -rate * (level - mu),
    diffusion=lambda sigma: sigma,
    initial=dist.Normal(0.0, INITIAL_VARIANCE**0.5),
    observation=lambda level, noise: dist.Normal(level, noise),
)


def build(case: Case, data: Arrays) -> Callable:
    """Value and gradient of the joint log-density at a dict of parameters."""
    model = make_model(case, data)
    # Despite the name of its option this is the log-density itself, not its negative.
    log_density = get_jaxified_logp(model)
    names = [value.name for value in model.value_vars]
    return jax.value_and_grad(lambda point: log_density([point[name] for name in names]))


def sample(case: Case, data: Arrays, seed: int) -> Arrays:
    """Draws by parameter."""
    idata = pm.sample(
        model=make_model(case, data),
        nuts_sampler="numpyro",
        tune=case.draws,
        draws=case.draws,
        chains=1,
        random_seed=seed,
        progressbar=False,
    )
    return {name: idata["posterior"][name].values[0] for name in ("mu_global", "mu")}


def make_model(case: Case, data: Arrays) -> pm.Model:
    """The PyMC model of a case."""
    make = {"ou": ou, "two-layer": two_layer, "ragged": ragged}
    make |= {"nonlinear": oscillators, "lgssm": lgssm, "counts": counts, "volatility": volatility}
    return make[case.family](case, data)


def likelihood(case: Case) -> pds.Kalman | pds.EKF | pds.EnKF | pds.Laplace:
    if case.likelihood == "laplace":
        return pds.Laplace()
    if case.likelihood == "kalman":
        return pds.Kalman()
    if case.likelihood == "ekf":
        return pds.EKF(pds.EulerMaruyama())
    return pds.EnKF(case.members, discretization=pds.EulerMaruyama(dt=0.05))


def trajectory(case: Case, system: pds.SDE | pds.DiscreteTime, **given) -> None:
    """The data, under the likelihood and in the precision of a case."""
    pds.Trajectory("y", system, likelihood=likelihood(case), dtype=case.dtype, **given)


def ou(case: Case, data: Arrays) -> pm.Model:
    coords = {"subject": np.arange(case.subjects), "time": data["times"]}
    with pm.Model(coords=coords) as model:
        mu_global = pm.Normal("mu_global", 0.0, 0.5)
        params = {"mu": pm.Normal("mu", mu_global, 1.0, dims="subject")}
        for name, truth in (("rate", RATE), ("sigma", SIGMA), ("noise", NOISE)):
            known = case.variant == "mu"
            log = np.log(truth)
            params[name] = truth if known else pm.math.exp(pm.Normal(f"log_{name}", log, 1.0))
        trajectory(
            case,
            OU,
            params=params,
            observed=data["y"],
            dims=("subject", "time"),
        )
    return model


def two_layer(case: Case, data: Arrays) -> pm.Model:
    coords = {"group": np.arange(3), "subject": np.arange(3), "time": data["times"]}
    with pm.Model(coords=coords) as model:
        mu_global = pm.Normal("mu_global", 0.0, 0.5)
        mu_group = pm.Normal("mu_group", mu_global, 2.0, dims="group")
        mu = pm.Normal("mu", mu_group[:, None], 0.2, dims=("group", "subject"))
        trajectory(
            case,
            OU,
            params={"mu": mu, "rate": RATE, "sigma": SIGMA, "noise": NOISE},
            observed=data["y"],
            dims=("group", "subject", "time"),
        )
    return model


def ragged(case: Case, data: Arrays) -> pm.Model:
    panel = pds.panel(pd.DataFrame(data), subject="subject", time="time", observed="y")
    with pm.Model(coords=pds.coords(panel)) as model:
        mu_global = pm.Normal("mu_global", 0.0, 0.5)
        mu = pm.Normal("mu", mu_global, 1.0, dims="subject")
        params = {"mu": mu, "rate": RATE, "sigma": SIGMA, "noise": NOISE}
        trajectory(
            case,
            OU,
            params=params,
            observed=panel["y"],
        )
    return model


def oscillators(case: Case, data: Arrays) -> pm.Model:
    n = case.states

    def drift(x, stiffness, pull):
        place, speed = x[::2], x[1::2]
        ends = jnp.pad(place, 1, mode="edge")
        neighbours = ends[2:] - 2 * place + ends[:-2]
        force = stiffness * (1 - place**2) * speed - pull * place + COUPLING * neighbours
        return jnp.stack([speed, force], axis=-1).reshape(-1)

    chain = pds.SDE(
        drift=drift,
        diffusion=KICK,
        initial=dist.MultivariateNormal(np.zeros(n), np.eye(n)),
        observation=lambda x: dist.Normal(x[::2], NOISE).to_event(1),
    )
    coords = {"subject": np.arange(case.subjects), "time": data["times"]}
    with pm.Model(coords=coords | {"place": np.arange(n // 2)}) as model:
        stiffness = pm.Normal("stiffness", 1.0, 0.5, dims="subject")
        pull = pm.Normal("pull", 1.0, 0.2)
        trajectory(
            case,
            chain,
            params={"stiffness": stiffness, "pull": pull},
            observed=data["y"],
            dims=("subject", "time", "place"),
        )
    return model


def lgssm(case: Case, data: Arrays) -> pm.Model:
    T, m = data["y"].shape
    with pm.Model(coords={"time": np.arange(float(T)), "sensor": np.arange(m)}) as model:
        if case.variant == "full":
            R = covariance("R", m)
        else:
            R = pm.Deterministic("R", pm.math.exp(2 * pm.Normal("log_noise", shape=m)))
        system = pds.linear_gaussian(
            F=pm.Normal("F", shape=(2, 2)),
            b=pm.Normal("b", shape=2),
            Q=covariance("Q", 2),
            H=pm.Normal("H", shape=(m, 2)),
            d=pm.Normal("d", shape=m),
            R=R,
            m0=pm.Normal("m0", shape=2),
            P0=covariance("P0", 2),
        )
        trajectory(
            case,
            system,
            observed=data["y"],
            dims=("time", "sensor"),
        )
    return model


def counts(case: Case, data: Arrays) -> pm.Model:
    if case.states == 1:
        path = pds.SDE(
            states=("level",),
            drift=lambda level, rate: -rate * level,
            diffusion=lambda rate, sd: sd * jnp.sqrt(2 * rate),
            initial=lambda sd: dist.Normal(0.0, sd),
            observation=lambda level, mu: dist.Poisson(jnp.exp(mu + level)),
        )
    else:
        path = pds.SDE(
            states=("level", "slope"),
            drift=lambda level, slope, rate: jnp.stack(
                [slope, -(rate**2) * level - 2 * rate * slope]
            ),
            diffusion=lambda rate, sd: jnp.stack([0.0, 2 * sd * rate**1.5])[:, None],
            initial=lambda rate, sd: dist.MultivariateNormal(
                jnp.zeros(2), jnp.diag(jnp.stack([sd, sd * rate]) ** 2)
            ),
            observation=lambda level, mu: dist.Poisson(jnp.exp(mu + level)),
        )
    coords = {"subject": np.arange(case.subjects), "time": data["times"]}
    with pm.Model(coords=coords) as model:
        mu, log_rate, log_sd = shared_parameters(("mu", "log_rate", "log_sd"), data)
        params = {"mu": mu, "rate": pm.math.exp(log_rate), "sd": pm.math.exp(log_sd)}
        trajectory(
            case,
            path,
            params=params,
            observed=data["y"],
            dims=("subject", "time"),
        )
    return model


def volatility(case: Case, data: Arrays) -> pm.Model:
    returns = pds.DiscreteTime(
        states=("log_variance",),
        transition=lambda log_variance, mu, phi, sd: dist.Normal(
            mu + phi * (log_variance - mu), sd
        ),
        initial=lambda mu, phi, sd: dist.Normal(mu, sd / jnp.sqrt(1 - phi**2)),
        observation=lambda log_variance: dist.Normal(0.0, jnp.exp(log_variance / 2)),
    )
    with pm.Model(coords={"time": data["times"]}) as model:
        mu, atanh_phi, log_sd = shared_parameters(("mu", "atanh_phi", "log_sd"), data)
        params = {"mu": mu, "phi": pm.math.tanh(atanh_phi), "sd": pm.math.exp(log_sd)}
        trajectory(
            case,
            returns,
            params=params,
            observed=data["y"],
            dims=("time",),
        )
    return model


def shared_parameters(names: tuple[str, ...], data: Arrays) -> list:
    """Parameters whose priors have the centres that the data say, and a standard deviation of 1."""
    return [pm.Normal(name, c, 1.0) for name, c in zip(names, data["centres"], strict=True)]


def covariance(name: str, n: int):
    """L L', with independent normals for the lower triangle of L, row by row."""
    root = pm.expand_packed_triangular(n, pm.Normal(f"{name}_root", shape=n * (n + 1) // 2))
    return pm.Deterministic(name, root @ root.T)
