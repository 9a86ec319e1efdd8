"""Evaluate a trajectory of a PyMC model, and the same by a plain loop over single trajectories."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor

from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.systems import bind_system
from tests.helpers import prepare, program_of, visit_log_likelihoods


@dataclass(frozen=True)
class Evaluation:
    """Log-likelihood of each trajectory and, by name, the gradient of their weighted sum."""

    log_likelihood: np.ndarray
    gradient: dict[str, np.ndarray]


@dataclass(frozen=True)
class Param:
    """Values of a parameter with the names of its axes; None for an axis without a name."""

    values: np.ndarray
    dims: tuple[str | None, ...] = ()

    @classmethod
    def draw(
        cls, rng: Any, dims: Sequence[str | None], sizes: Mapping[str, int], n: int
    ) -> "Param":
        """Positive values well away from each other; `n` is the length of unnamed axes."""
        shape = tuple(n if dim is None else sizes[dim] for dim in dims)
        return cls(0.3 + rng.uniform(size=shape), tuple(dims))

    def of(self, where: Mapping[str, int]) -> np.ndarray:
        """What the trajectory at the positions `where` sees."""
        index = tuple(where.get(dim, slice(None)) for dim in self.dims)
        return self.values[index]


def weights(shape: tuple[int, ...]) -> np.ndarray:
    """Weights that tell the trajectories apart."""
    return 1.0 + 0.25 * np.arange(np.prod(shape, dtype=int)).reshape(shape)


def evaluate(
    model: pm.Model,
    point: Mapping[str, np.ndarray],
    name: str = "y",
    mode: str | None = "FAST_COMPILE",
    slopes: bool = True,
) -> Evaluation:
    """Through PyMC: the term of the variable `name`, and its gradient in the free variables."""
    (term,) = model.logp(vars=[model[name]], sum=False)
    dims = model.named_vars_to_dims.get(name, ())[: term.type.ndim]
    shape = tuple(int(model.dim_lengths[dim].eval()) for dim in dims)
    total = (term * weights(shape)).sum()
    wrt = {variable.name: variable for variable in model.value_vars if slopes}
    asked = pytensor.gradient.grad(total, list(wrt.values())) if slopes else []
    values, *found = model.compile_fn([term, *asked], mode=mode, point_fn=True)(dict(point))
    return Evaluation(np.asarray(values), dict(zip(wrt, map(np.asarray, found), strict=True)))


@partial(jax.jit, static_argnums=0)
def _single(program: Program, params: Any, y: Any, grid: Any, constants: Any) -> Any:
    def total(params: Any) -> Any:
        return visit_log_likelihoods(program, y, params, grid, constants).sum(-1)

    return jax.value_and_grad(total)(params)


def loop(
    system: Any,
    likelihood: Likelihood,
    params: Mapping[str, Param],
    y: np.ndarray,
    times: np.ndarray,
    batch: Mapping[str, int],
    t0: np.ndarray | float = np.nan,
) -> Evaluation:
    """By hand: one trajectory after the other, each seeing its own slice of everything.

    `batch` gives the batch dims and their lengths, in the order of the leading axes of `y`;
    `times` and `t0` have those axes too, or none of them.
    """
    lengths = tuple(batch.values())
    origin = dict.fromkeys(batch, 0)
    shapes = {name: param.of(origin).shape for name, param in params.items()}
    program = program_of(bind_system(system, shapes), likelihood, not np.isnan(y).any())
    times = np.broadcast_to(times, (*lengths, np.shape(times)[-1]))
    starts = np.broadcast_to(np.asarray(t0, float), lengths)
    whole = prepare(program, times, starts)
    constants = likelihood.draw_noise(program.system, lengths, whole)
    values = np.empty(lengths)
    gradient = {name: np.zeros(param.values.shape) for name, param in params.items()}
    for index in np.ndindex(lengths):
        where = dict(zip(batch, index, strict=True))
        own = {name: jnp.asarray(param.of(where)) for name, param in params.items()}
        # A trajectory alone has no padding. With as many steps as the whole panel has, an
        # ensemble finds its own noise again.
        n = max(np.flatnonzero(np.isfinite(times[index])).max(initial=0) + 1, 1)
        alone = prepare(program, times[index][:n], starts[index])
        grid = replace(alone, max_steps=whole.max_steps, uneven=whole.uneven)
        noise = jax.tree.map(lambda leaf, i=(slice(n), *index): leaf[i], constants)
        values[index], slopes = _single(program, own, y[index][:n], grid, noise)
        for name, param in params.items():
            at = tuple(where.get(dim, slice(None)) for dim in param.dims)
            gradient[name][at] += weights(lengths)[index] * np.asarray(slopes[name])
    return Evaluation(values, gradient)


def assert_same(got: Evaluation, expected: Evaluation, tolerance: float = 1e-10) -> None:
    """Log-likelihoods and the gradients that `got` has, relative to their size."""
    np.testing.assert_allclose(got.log_likelihood, expected.log_likelihood, rtol=tolerance)
    for name, slope in got.gradient.items():
        wanted = expected.gradient[name]
        assert slope.shape == wanted.shape, name
        scale = np.abs(wanted).max()
        assert scale > 0, f"{name} has no influence, so nothing was tested"
        np.testing.assert_allclose(
            slope, wanted, rtol=tolerance, atol=tolerance * scale, err_msg=name
        )
