r"""Laplace's approximation and its corrections, with derivatives.

With f the log-density of a path and its data in the path's normals, z the most probable path and
H minus the Hessian there, the log-likelihood is :math:`f(z) - \tfrac12 \log|H|` (Tierney and Kadane
1986, eq. 2.2) plus a correction; together :math:`f + \Phi`.

The path moves with the parameters. By the implicit function theorem what this adds to the
derivative of :math:`\Phi` is that of :math:`u' \nabla_z f` at a fixed path, with
:math:`u = H^{-1} \nabla_z \Phi` held fixed too: one direction, found once, instead of
derivatives of the search (Skaug and Fournier 2006, eq. 7). ``affine.py`` has it in closed form for
affine paths; here all else is differentiated by JAX.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from pymc_dynsys.likelihoods.laplace.mode import Mode
from pymc_dynsys.likelihoods.laplace.path import Path
from pymc_dynsys.likelihoods.laplace.riccati import (
    Factor,
    Stages,
    adjoint,
    covariances,
    factorize,
    solve,
)
from pymc_dynsys.likelihoods.laplace.sight import Sight

Correction = Callable[["Approximation"], Array]
"""What is added to Laplace's approximation, from the normal approximation that it rests on."""


class Approximation(NamedTuple):
    """The normal approximation of a path given its data, about a path ``z`` with states ``x``."""

    path: Path
    sight: Sight
    z: Float[Array, "stage noise"]
    x: Float[Array, "stage state"]
    stages: Stages
    factor: Factor

    @property
    def covariances(self) -> Float[Array, "stage state state"]:
        """Covariances of the states at all stages."""
        return covariances(self.stages, self.factor)


def joint(path: Path, sight: Sight, z: Float[Array, "stage noise"]) -> Float[Array, ""]:
    """Log-density of a path's data, less half the square of its normals."""
    return sight.density(path.rows(path.roll(z))).sum() - 0.5 * (z * z).sum()


def approximate(path: Path, sight: Sight, z: Float[Array, "stage noise"]) -> Approximation:
    """The normal approximation about a path."""
    x = path.roll(z)
    slopes = sight.slopes(path.rows(x))
    stages = path.stages(x, z)
    curving = None
    if not path.affine:
        curving = path.curving(x, z, adjoint(stages.F, path.at_stages(slopes.g)))
    factor = factorize(stages, path.at_stages(slopes.W), curving)
    return Approximation(path, sight, z, x, stages, factor)


def log_likelihood(
    path: Path, sight: Sight, mode: Mode, correction: Correction | None = None
) -> Float[Array, ""]:
    """Log-likelihood of one trajectory, from the most probable path, which has no slopes."""

    def rest(path: Path, sight: Sight, z: Array) -> tuple[Array, tuple[Stages, Factor]]:
        about = approximate(path, sight, z)
        value = -about.factor.half_log_determinant
        kept = (about.stages, about.factor)
        return (value if correction is None else value + correction(about)), kept

    q, (stages, factor) = jax.grad(lambda z: rest(path.still(), sight.still(), z), has_aux=True)(
        mode.z
    )
    u = jax.lax.stop_gradient(solve(stages, factor, jnp.zeros_like(mode.x), q)[0])
    value, _ = rest(path, sight, mode.z)
    at, along = jax.jvp(lambda z: joint(path, sight, z), (mode.z,), (u,))
    return at + along + value
