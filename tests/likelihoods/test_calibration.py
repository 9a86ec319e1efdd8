"""Simulation-based calibration of a Poisson panel under Laplace (Talts et al. 2018).

Parameters are drawn from their priors and data from them, in plain numpy. If likelihood and
sampler are right, the rank of a parameter among the draws of its posterior is uniform.
"""

import blackjax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro import distributions as dist
from scipy import stats

import pymc_dynsys as pds
from pymc_dynsys.systems import bind_system
from tests.helpers import log_likelihood, prepare, program_of

SETS, SUBJECTS, TIMES = 200, 8, np.arange(15.0)
CENTRES, SDS = np.array([0.5, -0.7, -0.4]), np.array([0.5, 0.5, 0.4])  # of mu, log rate, log sd
DRAWS, WARMUP, THIN = 49, 100, 10

SYSTEM = pds.SDE(
    states="x",
    drift=lambda x, mu, rate: rate * (mu - x),
    diffusion=lambda rate, sd: sd * jnp.sqrt(2 * rate),
    initial=lambda mu, sd: dist.Normal(mu, sd),
    observation=lambda x: dist.Poisson(jnp.exp(x)),
)


def simulated(rng):
    """Standardised parameters ``(set, 3)`` and counts ``(set, subject, time)``."""
    z = rng.normal(size=(SETS, 3))
    mu, rate, sd = (
        value[:, None]
        for value in (
            CENTRES[0] + SDS[0] * z[:, 0],
            np.exp(CENTRES[1] + SDS[1] * z[:, 1]),
            np.exp(CENTRES[2] + SDS[2] * z[:, 2]),
        )
    )
    x, y = mu + sd * rng.normal(size=(SETS, SUBJECTS)), []
    decay = np.exp(-rate)
    for _ in TIMES:
        y.append(rng.poisson(np.exp(x)))
        x = mu + decay * (x - mu) + sd * np.sqrt(1 - decay**2) * rng.normal(size=x.shape)
    return z, np.stack(y, axis=-1).astype(float)


@pytest.mark.slow
@pytest.mark.optimized
@pytest.mark.parametrize("order", [1, 2])
def test_ranks_are_uniform(order):
    truth, y = simulated(np.random.default_rng(5))
    names = ("mu", "rate", "sd")
    likelihood = pds.Laplace(discretization=pds.Exact(), order=order)
    program = program_of(bind_system(SYSTEM, dict.fromkeys(names, ())), likelihood, True)
    grid = prepare(program, TIMES, np.nan)

    def log_density(z, y):
        mu, log_rate, log_sd = CENTRES + SDS * z
        params = {"mu": mu, "rate": jnp.exp(log_rate), "sd": jnp.exp(log_sd)}
        params = {name: value[None] for name, value in params.items()}
        return log_likelihood(program, y, params, grid).sum() - 0.5 * (z * z).sum()

    def draws(y, key):
        hmc = blackjax.hmc(lambda z: log_density(z, y), 0.25, jnp.ones(3), 8)

        def step(state, key):
            state, _ = hmc.step(key, state)
            return state, state.position

        keys = jax.random.split(key, WARMUP + THIN * DRAWS)
        return jax.lax.scan(step, hmc.init(jnp.zeros(3)), keys)[1][WARMUP::THIN]

    keys = jax.random.split(jax.random.PRNGKey(1), SETS)
    found = np.asarray(jax.jit(jax.vmap(draws))(jnp.asarray(y), keys))
    assert np.isfinite(found).all()
    ranks = (found < truth[:, None, :]).sum(axis=1)
    for name, rank in zip(names, ranks.T, strict=True):
        counts = np.bincount(rank // 5, minlength=10)
        p = stats.chisquare(counts).pvalue
        print(f"order {order}, {name}: {counts}, p = {p:.2f}")
        assert p > 1e-3, (name, counts)
