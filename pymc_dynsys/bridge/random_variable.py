"""The random variable: its logp is a filter, its random method a simulator."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytensor.tensor as pt
from pymc.distributions.distribution import _support_point
from pymc.logprob.abstract import _logprob
from pytensor.graph.basic import Constant, Variable
from pytensor.link.jax.dispatch.random import jax_sample_fn
from pytensor.tensor.random.op import RandomVariable

from pymc_dynsys.bridge.ops import LogLikelihood
from pymc_dynsys.discretization import Schedule
from pymc_dynsys.filters.base import Likelihood
from pymc_dynsys.filters.batch import Program
from pymc_dynsys.filters.execution import DEFAULT, Execution
from pymc_dynsys.simulation.paths import Simulator, path_grid, simulate_paths
from pymc_dynsys.systems.bound import BoundSystem


@dataclass(frozen=True)
class Specification:
    """What a trajectory variable is, apart from the values of its parameters."""

    system: BoundSystem
    likelihood: Likelihood
    simulator: Simulator
    schedule: Schedule | None = None
    execution: Execution = DEFAULT
    unit: str | None = None
    origin: Any = None

    @property
    def signature(self) -> str:
        """Core dims of ``times, t0, *params`` and of one trajectory's data."""
        params = [
            "(" + ",".join(f"p{i}d{j}" for j in range(len(shape))) + ")"
            for i, shape in enumerate(self.system.param_shapes.values())
        ]
        out = "(t)" if self.system.n_observed is None else "(t,o)"
        return ",".join(["(t)", "()", *params]) + "->" + out


class TrajectoryRV(RandomVariable):
    """Random variable with parameters ``times, t0, *params``."""

    name = "trajectory"
    dtype = "floatX"
    __props__ = (*RandomVariable.__props__, "spec")  # type: ignore[assignment]

    def __init__(self, spec: Specification, **kwargs: Any) -> None:
        self.spec = spec
        inner = f"{spec.system.source!r}, {spec.likelihood!r}"
        self._print_name = (
            f"Trajectory[{inner}]",
            r"\operatorname{Trajectory}[\text{" + inner.replace("_", r"\_") + "}]",
        )
        kwargs.setdefault("signature", spec.signature)
        super().__init__(**kwargs)

    def __str__(self) -> str:
        """Name the system and the likelihood."""
        return f"trajectory_rv{{{self.spec.system.source!r}, {self.spec.likelihood!r}}}"

    def _supp_shape_from_params(self, dist_params: Any, param_shapes: Any = None) -> list[Any]:
        times = dist_params[0].shape if param_shapes is None else param_shapes[0]
        n_observed = self.spec.system.n_observed
        tail = [] if n_observed is None else [pt.constant(n_observed, dtype="int64")]
        return [times[-1], *tail]

    def rng_fn(self, rng: np.random.Generator, *args: Any, **kwargs: Any) -> Any:
        """Draw data, all trajectories in one call; a key for each."""
        *params, size = args
        seed = rng.integers(2**32, size=2, dtype=np.uint32)
        batch = self._batch_shape(params) if size is None else tuple(int(n) for n in size)
        return np.array(self.draw(seed, batch, *params))

    def draw(self, key: Any, batch: tuple[int, ...], times: Any, t0: Any, *values: Any) -> Any:
        """Data ``(*batch, time[, component])`` from one raw key."""
        system = self.spec.system
        keys = jax.random.split(jnp.asarray(key, jnp.uint32), int(np.prod(batch, dtype=int)))
        params = dict(zip(system.param_shapes, values, strict=True))
        keys = keys.reshape(*batch, 2)
        simulator = self.spec.simulator
        grid = path_grid(times, t0, simulator, self.spec.schedule, system.n_states)
        return simulate_paths(system, simulator, keys, times, grid, params)[1]

    def _batch_shape(self, params: Any) -> tuple[int, ...]:
        shapes = [
            np.shape(value)[: np.ndim(value) - core]
            for value, core in zip(params, self.ndims_params, strict=True)
        ]
        return np.broadcast_shapes(*shapes)


@jax_sample_fn.register(TrajectoryRV)
def _jax_sample(op: TrajectoryRV, node: Any) -> Any:
    def sample(key: Any, size: Any, dtype: Any, *params: Any) -> Any:
        batch = op._batch_shape(params) if size is None else tuple(int(n) for n in size)
        return op.draw(key, batch, *params).astype(dtype)

    return sample


@_logprob.register(TrajectoryRV)
def _log_likelihood(
    op: TrajectoryRV, values: Any, rng: Any, size: Any, *params: Variable, **kwargs: Any
) -> Any:
    """One number a trajectory; whether data are complete is known when they are constant."""
    (value,) = values
    complete = isinstance(value, Constant) and not np.isnan(value.data).any()
    spec = op.spec
    program = Program(spec.system, spec.likelihood, complete, spec.schedule, spec.execution)
    return LogLikelihood(program)(value, *params)


@_support_point.register(TrajectoryRV)
def _initial_value(op: TrajectoryRV, rv: Any, rng: Any, size: Any, *params: Any) -> Variable:
    """Zero everywhere: a datum-like start for the rare unobserved trajectory."""
    return pt.zeros(rv.shape, dtype=rv.dtype)
