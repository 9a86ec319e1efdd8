r"""Whether a change of the states' units or zeros can be undone by the parameters.

A state may be replaced by :math:`z = x + \epsilon (M x + m)`. The dynamics, observation and start
of `z` are another model with the same likelihood. If free parameters can follow it, the likelihood
is constant along the line they move on. To first order, with G all that makes up the model (drift,
covariances, means, at several states) and :math:`\theta` the free parameters, that is a null vector
of :math:`[\partial G / \partial \theta, \; \partial G / \partial (M, m)]` in which M or m is not
zero.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array

from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.held import Held

EPS = 1e-9
"""Singular values, and what is left of a change, below this part of the largest are zero."""


class Line(NamedTuple):
    """A line along which the likelihood is constant.

    `what` is "scale" or "zero" of the state, or "axes" of all states, where only mixtures of
    them are free. `params` are the parameters that move along it.
    """

    what: str
    state: str
    params: tuple[str, ...]


def lines_of_constancy(system: BoundSystem, known: Mapping[str, np.ndarray]) -> list[Line]:
    """Units and zeros of states that nothing fixes, of a Gaussian system.

    `known` are the values of parameters that are not free, those of one trajectory. All else is
    drawn at random: what holds at one point in general holds at all.
    """
    proof = system.proof
    if not (proof.dynamics.gaussian and proof.observation.gaussian and proof.start.gaussian):
        return []
    rng = np.random.default_rng(0)
    values: dict[str, ArrayLike] = {
        n: rng.uniform(0.4, 0.9, shape) for n, shape in system.param_shapes.items()
    }
    fixed = {
        n: np.asarray(v, float) for n, v in known.items() if np.shape(v) == np.shape(values[n])
    }
    free = {n: jnp.asarray(v) for n, v in values.items() if n not in known}
    values.update(fixed)
    n = system.n_states
    points = [
        (rng.normal(size=n), {k: rng.normal(size=s) for k, s in system.input_shapes.items()})
        for _ in range(n + 2)
    ]

    def model(theta: Mapping[str, ArrayLike], M: Array, m: Array) -> Array:
        found = [_parts(system, {**values, **theta, **u}, x, M, m) for x, u in points]
        return jnp.concatenate([*(part.ravel() for f in found for part in f)])

    eye, zero = jnp.eye(n), jnp.zeros(n)
    flat, back = ravel_pytree(free)
    J = np.asarray(jax.jit(jax.jacfwd(lambda p: model(back(p), eye, zero)))(flat))
    of_M, of_m = jax.jit(jax.jacfwd(lambda *c: model(free, *c), (0, 1)))(eye, zero)
    of_M, of_m = np.asarray(of_M), np.asarray(of_m)
    if not all(np.isfinite(part).all() for part in (J, of_M, of_m)):
        return []
    # JAX flattens mappings in the order of their names.
    owner = [name for name in sorted(free) for _ in range(np.size(free[name]))]

    def line(what: str, state: str, change: np.ndarray) -> Iterator[Line]:
        """The line on which the parameters follow a change of the state, if they can."""
        step = np.linalg.lstsq(J, -change, rcond=EPS)[0]
        size = np.abs(change).max()
        if size > EPS and np.abs(J @ step + change).max() <= EPS * size:
            moved = dict.fromkeys(owner[i] for i in np.flatnonzero(np.abs(step) > EPS))
            yield Line(what, state, tuple(moved))

    found: list[Line] = []
    for i, state in enumerate(system.states):
        found += line("scale", state, of_M[:, i, i])
        found += line("zero", state, of_m[:, i])
    if not found and _rank(J) + n * n + n > _rank(np.hstack([J, of_M.reshape(len(J), -1), of_m])):
        found.append(Line("axes", "", ()))
    return found


def _parts(
    system: BoundSystem, values: Mapping[str, ArrayLike], x: np.ndarray, M: Array, m: Array
) -> Iterator[Array]:
    """All that makes up the model of ``M x + m`` at one of its values."""
    held, t = Held(values), jnp.asarray(0.3)
    at = jnp.linalg.solve(M, jnp.asarray(x) - m)
    if system.step is None:
        yield M @ system.continuous.drift(at, t, held)
        yield M @ system.continuous.noise_covariance(at, t, held) @ M.T
    else:
        mean, cov = system.discrete.moments(at, t, held)
        yield M @ mean + m
        yield M @ cov @ M.T
    yield from system.observation.moments(at, t, held)
    start = system.start
    own = ~(np.asarray(start.diffuse) | np.asarray(start.stationary_states))
    if own.any() and not start.stationary:
        mean, cov = start.moments(values)
        yield jnp.where(own, M @ mean + m, 0.0)
        yield jnp.where(own[:, None] & own, M @ cov @ M.T, 0.0)


def _rank(A: np.ndarray) -> int:
    sizes = np.linalg.svd(
        A / np.maximum(np.abs(A).max(0, initial=1e-300), 1e-300), compute_uv=False
    )
    return int((sizes > EPS * sizes.max(initial=0.0)).sum())
