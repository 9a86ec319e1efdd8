"""A model's log-density where likelihoods are estimated, with noise drawn anew at each evaluation.

PyMC evaluates a random likelihood with noise that is fixed. Pseudo-marginal sampling needs the same
graph with noise that comes from a key.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pymc as pm
import pytensor.tensor as pt
from jaxtyping import Array
from pymc.sampling.jax import get_jaxified_graph
from pytensor.graph.basic import Variable
from pytensor.graph.replace import clone_replace
from pytensor.graph.traversal import ancestors

from pymc_dynsys.bridge.likelihood_op import LogLikelihood, ObservedOp, Y
from pymc_dynsys.discretization import TimeGrid
from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.likelihoods.gradient import log_likelihood
from pymc_dynsys.likelihoods.program import Program


class EstimatedLogLikelihood(ObservedOp):
    """Log-likelihood of every trajectory ``(*batch,)``, with noise from a key.

    Inputs are those of :class:`LogLikelihood` followed by the key, uint32 ``(2,)``.
    """

    __props__ = ("program",)

    def __init__(self, program: Program) -> None:
        self.program = program

    def cores(self) -> tuple[int, ...]:
        """Axes of each array that belong to one trajectory, then that of the key."""
        return (*(len(slot.core) for slot in self.program.design.slots), 1)

    def output_cores(self) -> tuple[int, ...]:
        """One number a trajectory."""
        return (0,)

    def output_types(self, inputs: Sequence[Variable], batch: tuple[Any, ...]) -> list[Any]:
        """Type of the batch of log-likelihoods."""
        return [pt.TensorType("float64", shape=batch)]

    def apply(self, grid: TimeGrid | None, *arrays: Any) -> tuple[Any, ...]:
        """Evaluate the batched likelihood with fresh noise."""
        y, key, program = arrays[Y], arrays[-1], self.program
        batch = y.shape[: y.ndim - program.n_own_axes]
        noise = program.likelihood.fresh_noise(key.reshape(2), tuple(batch))
        return (log_likelihood(program, program.design.pack(arrays[:-1]), grid, noise),)


class Estimates(NamedTuple):
    """Parts of the log-density of a model, of the values of its free variables.

    Attributes
    ----------
    known : callable
        ``known(*values)``: all of it but the log-likelihoods that are estimated.
    estimated : callable
        ``estimated(key, *values)``: the sum of these.
    likelihoods : tuple of Likelihood
        What estimates them.
    """

    known: Callable[..., Array]
    estimated: Callable[..., Array]
    likelihoods: tuple[Likelihood, ...]


def estimates(model: pm.Model) -> Estimates:
    """Parts of a model's log-density; without an estimated likelihood all of it is known."""
    total = model.logp()
    nodes = {
        v: v.owner
        for v in ancestors([total])
        if v.owner is not None
        and isinstance(v.owner.op, LogLikelihood)
        and v.owner.op.program.likelihood.unbiased
    }
    keys = [pt.vector(f"key_{i}", dtype="uint32") for i in range(len(nodes))]
    drawn: list[Any] = [
        EstimatedLogLikelihood(node.op.program)(*node.inputs, key).sum()  # type: ignore[union-attr]
        for node, key in zip(nodes.values(), keys, strict=True)
    ]
    # A log-density is a sum, so the rest of it is what it is where the estimates are zero.
    nothing = {v: pt.zeros_like(v) for v in nodes}
    known = get_jaxified_graph(model.value_vars, [clone_replace(total, replace=nothing)])
    together = get_jaxified_graph([*model.value_vars, *keys], [sum(drawn)]) if drawn else None

    def estimated(key: Array, *values: Array) -> Array:
        if together is None:
            return jnp.zeros(())
        own = jax.random.split(key, len(keys))
        return together(*values, *own)[0]

    likelihoods = tuple(node.op.program.likelihood for node in nodes.values())
    return Estimates(lambda *values: known(*values)[0], estimated, likelihoods)
