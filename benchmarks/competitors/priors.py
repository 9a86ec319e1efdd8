"""Log-densities of the priors, for competitors that are filters without a model language."""

import jax.numpy as jnp
from cases import Case
from data import NOISE, RATE, SIGMA
from jax.scipy.stats import norm


def log_prior(case: Case, point: dict) -> jnp.ndarray:
    """Joint log-density of the parameters of a case of the families "ou" and "lgssm"."""
    if case.family == "lgssm":
        return sum(norm.logpdf(value).sum() for value in point.values())
    total = norm.logpdf(point["mu_global"], 0.0, 0.5)
    total += norm.logpdf(point["mu"], point["mu_global"], 1.0).sum()
    for name, truth in (("rate", RATE), ("sigma", SIGMA), ("noise", NOISE)):
        if f"log_{name}" in point:
            total += norm.logpdf(point[f"log_{name}"], jnp.log(truth), 1.0)
    return total


def shared(point: dict) -> tuple:
    """Rate, sigma and noise: parameters if the point has them, else known."""
    truths = (("rate", RATE), ("sigma", SIGMA), ("noise", NOISE))
    return tuple(
        jnp.exp(point[f"log_{name}"]) if f"log_{name}" in point else truth for name, truth in truths
    )


def crossing(case: Case, rate, sigma, h) -> tuple:
    """Decay and noise variance over a gap: exact, or one Euler step."""
    if case.likelihood == "ekf":
        return 1 - rate * h, sigma**2 * h
    decay = jnp.exp(-rate * h)
    return decay, sigma**2 * (1 - decay**2) / (2 * rate)


def square(packed, n: int):
    """L L' from the lower triangle of L, row by row."""
    root = jnp.zeros((n, n)).at[jnp.tril_indices(n)].set(packed)
    return root @ root.T
