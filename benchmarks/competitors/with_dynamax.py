"""dynamax's Kalman filter; dynamics are the same at all visits, as the equal gaps allow."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from cases import Case
from data import INITIAL_VARIANCE, Arrays
from dynamax.linear_gaussian_ssm import lgssm_filter
from dynamax.linear_gaussian_ssm.inference import (
    ParamsLGSSM,
    ParamsLGSSMDynamics,
    ParamsLGSSMEmissions,
    ParamsLGSSMInitial,
)

from competitors.priors import crossing, log_prior, shared, square


def build(case: Case, data: Arrays) -> Callable:
    """Value and gradient of the joint log-density at a dict of parameters."""
    log_likelihood = {"ou": ou, "lgssm": lgssm}[case.family](case, data)
    return jax.value_and_grad(lambda point: log_likelihood(point) + log_prior(case, point))


def ou(case: Case, data: Arrays) -> Callable:
    y, gap = jnp.asarray(data["y"])[..., None], data["times"][1] - data["times"][0]

    def log_likelihood(point: dict) -> jnp.ndarray:
        rate, sigma, noise = shared(point)
        decay, variance = crossing(case, rate, sigma, gap)
        one = jnp.eye(1)

        def of_subject(mu, y):
            offset = ((1 - decay) * mu).reshape(1)
            params = parameters(
                jnp.zeros(1),
                INITIAL_VARIANCE * one,
                decay * one,
                offset,
                variance * one,
                one,
                jnp.zeros(1),
                noise**2 * one,
            )
            return lgssm_filter(params, y).marginal_loglik

        return jax.vmap(of_subject)(point["mu"], y).sum()

    return log_likelihood


def lgssm(case: Case, data: Arrays) -> Callable:
    y = jnp.asarray(data["y"])

    def log_likelihood(p: dict) -> jnp.ndarray:
        # A vector of variances is what dynamax takes for independent noises.
        R = square(p["R_root"], y.shape[1]) if "R_root" in p else jnp.exp(2 * p["log_noise"])
        Q, P0 = square(p["Q_root"], 2), square(p["P0_root"], 2)
        params = parameters(p["m0"], P0, p["F"], p["b"], Q, p["H"], p["d"], R)
        return lgssm_filter(params, y).marginal_loglik

    return log_likelihood


def parameters(m0, P0, F, b, Q, H, d, R) -> ParamsLGSSM:
    """Matrices in dynamax's own form, without inputs."""
    return ParamsLGSSM(
        ParamsLGSSMInitial(m0, P0),
        ParamsLGSSMDynamics(F, b, jnp.zeros((len(F), 0)), Q),
        ParamsLGSSMEmissions(H, d, jnp.zeros((len(H), 0)), R),
    )
