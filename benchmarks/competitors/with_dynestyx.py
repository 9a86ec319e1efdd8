"""dynestyx inside numpyro models, with the discretizations that match ours."""

from collections.abc import Callable
from contextlib import nullcontext

import dynestyx as dsx
import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import numpyro
import numpyro.distributions as dist
from cases import Case
from data import COUPLING, INITIAL_VARIANCE, KICK, NOISE, RATE, SIGMA, Arrays
from dynestyx import (
    ContinuousTimeStateEvolution,
    Discretizer,
    DynamicalModel,
    Filter,
    FullDiffusion,
    LinearGaussianObservation,
    LTI_continuous,
)
from dynestyx.inference.configs.discretizer import ExactAffineConfig
from dynestyx.inference.filters import ContinuousTimeEnKFConfig, EKFConfig, KFConfig
from numpyro.infer import MCMC, NUTS
from numpyro.infer.util import log_density


def build(case: Case, data: Arrays) -> Callable:
    """Value and gradient of the joint log-density at a dict of parameters."""
    return value_and_gradient(case, data, settings(case))


def value_and_gradient(case: Case, data: Arrays, contexts: tuple) -> Callable:
    model = make_model(case, data, contexts)

    def joint(point: dict) -> jnp.ndarray:
        if case.family == "two-layer":
            point = point | {"mu": point["mu"].T}  # numpyro's outer plate is the last axis
        return log_density(model, (), {}, point)[0]

    return jax.value_and_grad(joint)


def sample(case: Case, data: Arrays, seed: int) -> Arrays:
    """Draws by parameter."""
    return run_nuts(case, data, seed, settings(case))


def run_nuts(case: Case, data: Arrays, seed: int, contexts: tuple) -> Arrays:
    nuts = NUTS(make_model(case, data, contexts))
    mcmc = MCMC(nuts, num_warmup=case.draws, num_samples=case.draws, progress_bar=False)
    mcmc.run(jr.PRNGKey(seed))
    draws = mcmc.get_samples()
    return {name: np.asarray(draws[name]) for name in ("mu_global", "mu")}


def settings(case: Case) -> tuple:
    """The filter, and what crosses the gaps where the filter does not."""
    if case.likelihood == "kalman":
        return Filter(KFConfig(filter_source="cuthbert")), Discretizer(ExactAffineConfig())
    if case.likelihood == "ekf":
        return Filter(EKFConfig()), Discretizer()
    ensemble = ContinuousTimeEnKFConfig(warn=False, diffeqsolve_dt0=0.05, n_particles=case.members)
    return Filter(ensemble), nullcontext()


def make_model(case: Case, data: Arrays, contexts: tuple) -> Callable:
    """The numpyro model of a case."""
    make = {"ou": ou, "two-layer": two_layer, "nonlinear": oscillators}[case.family]
    y = jnp.asarray(data["y"])
    if case.family == "two-layer":
        y = y.swapaxes(0, 1)
    y = y if case.family == "nonlinear" else y[..., None]
    times = jnp.broadcast_to(jnp.asarray(data["times"]), y.shape[:-1])

    def model():
        with contexts[0], contexts[1]:
            make(case, {"obs_times": times, "obs_values": y})

    return model


def ou(case: Case, observed: dict) -> None:
    mu_global = numpyro.sample("mu_global", dist.Normal(0.0, 0.5))
    values = {"rate": RATE, "sigma": SIGMA, "noise": NOISE}
    if case.variant == "all":
        for name, truth in values.items():
            log = numpyro.sample(f"log_{name}", dist.Normal(jnp.log(truth), 1.0))
            values[name] = jnp.exp(log)
    with dsx.plate("subject", case.subjects):
        mu = numpyro.sample("mu", dist.Normal(mu_global, 1.0))
        dsx.sample("y", ou_process(case, mu, **values), **observed)


def two_layer(case: Case, observed: dict) -> None:
    mu_global = numpyro.sample("mu_global", dist.Normal(0.0, 0.5))
    with dsx.plate("group", 3):
        mu_group = numpyro.sample("mu_group", dist.Normal(mu_global, 2.0))
        with dsx.plate("subject", 3):
            mu = numpyro.sample("mu", dist.Normal(mu_group, 0.2))
            dsx.sample("y", ou_process(case, mu, RATE, SIGMA, NOISE), **observed)


class OUDrift(eqx.Module):
    mu: jnp.ndarray
    rate: jnp.ndarray

    def __call__(self, x, u, t):
        return -self.rate * (x - self.mu)


def ou_process(case: Case, mu, rate, sigma, noise):
    """One subject, though `mu` holds those of all, as dynestyx's plates have it."""
    one = jnp.eye(1)
    if case.likelihood == "kalman":
        return LTI_continuous(
            A=-rate * one,
            L=sigma * one,
            H=one,
            R=noise**2 * one,
            b=rate * mu[..., None],
            initial_mean=jnp.zeros(1),
            initial_cov=INITIAL_VARIANCE * one,
        )
    return DynamicalModel(
        initial_condition=dist.MultivariateNormal(jnp.zeros(1), INITIAL_VARIANCE * one),
        state_evolution=ContinuousTimeStateEvolution(
            drift=OUDrift(mu, rate), diffusion=FullDiffusion(sigma * one, bm_dim=1)
        ),
        observation_model=LinearGaussianObservation(H=one, R=noise**2 * one),
    )


class OscillatorDrift(eqx.Module):
    stiffness: jnp.ndarray
    pull: jnp.ndarray

    def __call__(self, x, u, t):
        place, speed = x[::2], x[1::2]
        ends = jnp.pad(place, 1, mode="edge")
        neighbours = ends[2:] - 2 * place + ends[:-2]
        force = self.stiffness * (1 - place**2) * speed - self.pull * place
        return jnp.stack([speed, force + COUPLING * neighbours], axis=-1).reshape(-1)


def oscillators(case: Case, observed: dict) -> None:
    identity = jnp.eye(case.states)
    pull = numpyro.sample("pull", dist.Normal(1.0, 0.2))
    with dsx.plate("subject", case.subjects):
        stiffness = numpyro.sample("stiffness", dist.Normal(1.0, 0.5))
        chain = DynamicalModel(
            initial_condition=dist.MultivariateNormal(jnp.zeros(case.states), identity),
            state_evolution=ContinuousTimeStateEvolution(
                drift=OscillatorDrift(stiffness, pull),
                diffusion=FullDiffusion(KICK * identity, bm_dim=case.states),
            ),
            observation_model=LinearGaussianObservation(
                H=identity[::2], R=NOISE**2 * jnp.eye(case.states // 2)
            ),
        )
        dsx.sample("y", chain, **observed)
