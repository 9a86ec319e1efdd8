"""The random variable: its logp is a filter, its random method a simulator."""

from dataclasses import dataclass, replace
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
from pytensor.tensor.type_other import NoneTypeT

from pymc_dynsys.bridge.data import current_value
from pymc_dynsys.bridge.forks import use_jax
from pymc_dynsys.bridge.likelihood_op import LogLikelihood
from pymc_dynsys.bridge.runtime import check_fixed, has_gaps, is_traced, known_arrays
from pymc_dynsys.discretization import Design
from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.likelihoods.program import Program
from pymc_dynsys.reading.units import NO_UNITS, Units
from pymc_dynsys.simulation.lost import warn_lost
from pymc_dynsys.simulation.paths import Simulator, path_grid, simulate_paths
from pymc_dynsys.systems.bound import BoundSystem


@dataclass(frozen=True)
class Specification:
    """What a trajectory variable is, apart from the values of its arrays.

    `labels` are those along dims that the model does not have, such as the channels of an input.
    """

    program: Program
    simulator: Simulator
    unit: str | None = None
    origin: Any = None
    labels: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    units: Units = NO_UNITS

    @property
    def system(self) -> BoundSystem:
        """The dynamics of one trajectory."""
        return self.program.system

    @property
    def likelihood(self) -> Likelihood:
        """What integrates the path out."""
        return self.program.likelihood

    @property
    def signature(self) -> str:
        """Core dims of all arrays but the data, and of one trajectory's data."""
        out = "(t)" if self.system.observation.scalar else "(t,o)"
        return signature_of(self.program.design, out)


def signature_of(design: Design, out: str) -> str:
    """Core dims of all arrays of a design but the data, and of what is drawn."""
    cores = []
    for i, slot in enumerate(design.slots[1:]):
        shared = {"time": "t", "event": "e"}
        own = [shared.get(axis, f"a{i}{axis}") for axis in slot.core]
        cores.append("(" + ",".join(own) + ")")
    return ",".join(cores) + "->" + out


class TrajectoryRV(RandomVariable):
    """Random variable whose parameters are all arrays of its design but the data."""

    name = "trajectory"
    dtype = "floatX"
    __props__ = (*RandomVariable.__props__, "spec")  # type: ignore[assignment]

    def __init__(self, spec: Specification, **kwargs: Any) -> None:
        use_jax()  # what was proved of the system ran it
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
        observation = self.spec.system.observation
        n_components = pt.constant(observation.n_components, dtype="int64")
        tail = [] if observation.scalar else [n_components]
        return [times[-1], *tail]

    def rng_fn(self, rng: np.random.Generator, *args: Any, **kwargs: Any) -> Any:
        """Draw data, all trajectories in one call; a key for each."""
        use_jax()
        *params, size = args
        seed = rng.integers(2**32, size=2, dtype=np.uint32)
        batch = self._batch_shape(params) if size is None else tuple(int(n) for n in size)
        y = np.array(self.draw(seed, batch, *params))
        n_own = 0 if self.spec.system.observation.scalar else 1
        if not has_gaps(self.spec.program.design, [None, *params]):  # data are missing with them
            warn_lost(f"Trajectory of {self.spec.system.source!r}", y, params[0], n_own)
        return y

    def draw(self, key: Any, batch: tuple[int, ...], *values: Any) -> Any:
        """Data ``(*batch, time[, component])`` from one raw key."""
        design, simulator = self.spec.program.design, self.spec.simulator
        keys = jax.random.split(jnp.asarray(key, jnp.uint32), int(np.prod(batch, dtype=int)))
        known = known_arrays(design, [None, *values])
        if not any(map(is_traced, known)) and not self._is_checked(known):
            check_fixed(design, [None, *values])
            self.__dict__["_checked"] = known
        operands = design.pack([None, *values])
        grid = path_grid(design, operands, simulator)
        return simulate_paths(design, simulator, keys.reshape(*batch, 2), operands, grid)[1]

    def _is_checked(self, known: list[Any]) -> bool:
        """Whether the last draw was made with the very same times, doses and inputs."""
        last = self.__dict__.get("_checked", [])
        return len(last) == len(known) and all(a is b for a, b in zip(last, known, strict=True))

    def __getstate__(self) -> dict[str, Any]:
        """State without arrays."""
        return {name: value for name, value in self.__dict__.items() if name != "_checked"}

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
    _require_size(value, size, len(op.spec.program.design.slots[0].core))
    complete = isinstance(value, Constant) and not np.isnan(value.data).any()
    return LogLikelihood(replace(op.spec.program, complete=complete))(value, *params)


def _require_size(value: Variable, size: Variable, n_own: int) -> None:
    """Raise for fixed data that have not one row for each trajectory, such as ``pm.observe`` gives.

    What may change has the dims of the trajectory, and PyMC keeps it to them.
    """
    lengths = None if isinstance(size.type, NoneTypeT) else current_value(size)
    if lengths is None or not isinstance(value, Constant):
        return
    batch, expected = value.data.shape[: value.data.ndim - n_own], tuple(map(int, lengths))
    if batch != expected:
        raise ValueError(
            f"observed: shape {value.data.shape}, but the trajectories have the shape {expected}; "
            "give one row for each of them, NaN where there is no datum"
        )


@_support_point.register(TrajectoryRV)
def _initial_value(op: TrajectoryRV, rv: Any, rng: Any, size: Any, *params: Any) -> Variable:
    """Zero everywhere: a datum-like start for the rare unobserved trajectory."""
    return pt.zeros(rv.shape, dtype=rv.dtype)
