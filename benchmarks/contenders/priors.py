"""Log-densities of the priors, for contenders that are filters without a model language."""

import jax.numpy as jnp
from data import NOISE, RATE, SIGMA
from jax.scipy.stats import norm
from works import Work


def log_prior(work: Work, point: dict) -> jnp.ndarray:
    """Joint log-density of the parameters of a work of the families "ou" and "lgssm"."""
    if work.family == "lgssm":
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


def crossing(work: Work, rate, sigma, h) -> tuple:
    """Decay and noise variance over a gap: exact, or one Euler step."""
    if work.likelihood == "ekf":
        return 1 - rate * h, sigma**2 * h
    decay = jnp.exp(-rate * h)
    return decay, sigma**2 * (1 - decay**2) / (2 * rate)


def square(packed, n: int):
    """L L' from the lower triangle of L, row by row."""
    root = jnp.zeros((n, n)).at[jnp.tril_indices(n)].set(packed)
    return root @ root.T
