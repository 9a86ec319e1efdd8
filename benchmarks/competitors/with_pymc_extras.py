"""pymc-extras' Kalman filter as PyMC compiles it for JAX samplers."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
from cases import Case
from data import INITIAL_VARIANCE, Arrays
from pymc.sampling.jax import get_jaxified_graph
from pymc_extras.statespace.filters.kalman_filter import StandardFilter

from competitors.priors import crossing, log_prior, shared, square


def build(case: Case, data: Arrays) -> Callable:
    """Value and gradient of the joint log-density at a dict of parameters."""
    log_likelihood = {"ou": ou, "lgssm": lgssm}[case.family](case, data)
    return jax.value_and_grad(lambda point: log_likelihood(point) + log_prior(case, point))


def ou(case: Case, data: Arrays) -> Callable:
    ys, gap = jnp.asarray(data["y"])[..., None], data["times"][1] - data["times"][0]
    y, one = pt.matrix("y", shape=ys.shape[1:]), np.eye(1)
    inputs = offset, decay, variance, noise = pt.scalars("offset", "decay", "variance", "noise")
    of_subject = filtered(
        y,
        pt.zeros(1),
        INITIAL_VARIANCE * one,
        offset.reshape((1,)),
        np.zeros(1),
        decay * one,
        one,
        noise**2 * one,
        variance * one,
    )
    compiled = get_jaxified_graph(inputs=[y, *inputs], outputs=[of_subject])

    def log_likelihood(point: dict) -> jnp.ndarray:
        rate, sigma, noise = shared(point)
        decay, variance = crossing(case, rate, sigma, gap)
        offsets = (1 - decay) * point["mu"]
        # Over subjects by JAX: on a graph that PyTensor vectorized, JAX refuses the loop's slices.
        return jax.vmap(lambda y, b: compiled(y, b, decay, variance, noise)[0])(ys, offsets).sum()

    return log_likelihood


def lgssm(case: Case, data: Arrays) -> Callable:
    m = data["y"].shape[1]
    shapes = {"m0": (2,), "P0": (2, 2), "b": (2,), "d": (m,)}
    shapes |= {"F": (2, 2), "H": (m, 2), "R": (m, m), "Q": (2, 2)}
    inputs = {name: pt.tensor(name, shape=shape, dtype="float64") for name, shape in shapes.items()}
    log_likelihood = filtered(pt.constant(data["y"]), *inputs.values())
    compiled = get_jaxified_graph(inputs=list(inputs.values()), outputs=[log_likelihood])

    def at(p: dict) -> jnp.ndarray:
        full = "R_root" in p
        R = square(p["R_root"], m) if full else jnp.diag(jnp.exp(2 * p["log_noise"]))
        Q, P0 = square(p["Q_root"], 2), square(p["P0_root"], 2)
        return compiled(p["m0"], P0, p["b"], p["d"], p["F"], p["H"], R, Q)[0]

    return at


def filtered(y, m0, P0, b, d, F, H, R, Q):
    """Log-likelihood of one series as a PyTensor graph."""
    # Each state has a noise of its own, so the matrix that hands noises to states is the identity.
    select = np.eye(m0.type.shape[0])
    matrices = (pt.as_tensor(matrix) for matrix in (P0, b, d, F, H, select, R, Q))
    outputs = StandardFilter(cov_jitter=0.0).build_graph(y, m0, *matrices)
    return outputs[-1].sum()
