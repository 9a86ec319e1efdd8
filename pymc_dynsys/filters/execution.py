"""Where a likelihood is computed, and in which precision."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh


@dataclass(frozen=True)
class Execution:
    """Devices that share the trajectories, None for the default one alone; and the precision.

    Single precision is that of the filter: data, parameters, time steps and states. Gaps are taken
    between times, and the log-densities of visits added up, in double precision.
    """

    devices: int | tuple[jax.Device, ...] | None = None
    dtype: Literal["float64", "float32"] = "float64"

    @property
    def mesh_devices(self) -> tuple[jax.Device, ...]:
        """The devices themselves; a number of them are the first ones."""
        if self.devices is None:
            return ()
        return (
            tuple(jax.devices()[: self.devices]) if isinstance(self.devices, int) else self.devices
        )

    @property
    def platform(self) -> str:
        """What computes: "cpu", "gpu" or "tpu"."""
        return self.mesh_devices[0].platform if self.devices else jax.default_backend()

    @contextmanager
    def precision(self) -> Iterator[None]:
        """Context in which new arrays and what is computed from old ones have the precision."""
        if self.dtype == "float64":
            yield
            return
        with jax.enable_x64(False), warnings.catch_warnings():
            # Constants of the user's functions are double, and single precision was asked for.
            warnings.filterwarnings("ignore", message="Explicitly requested dtype float64")
            yield

    def cast(self, operands: Any) -> Any:
        """Arrays in the precision."""
        if self.dtype == "float64":
            return operands

        def single(leaf: Any) -> Any:
            leaf = jnp.asarray(leaf)
            if jnp.issubdtype(leaf.dtype, jnp.floating):
                return leaf.astype(jnp.float32)
            return leaf.astype(jnp.int32) if leaf.dtype == jnp.int64 else leaf

        return jax.tree.map(single, operands)


DEFAULT = Execution()


def make_execution(devices: Any, dtype: Any, lengths: dict[str, int]) -> Execution:
    """Check what the user asked for; `lengths` are those of the batch dims."""
    if dtype not in (None, "float64", "float32", np.float64, np.float32):
        raise ValueError(f"dtype: expected 'float64' or 'float32', got {dtype!r}")
    name: Any = "float64" if dtype is None else np.dtype(dtype).name
    if devices is None:
        return Execution(dtype=name)
    if isinstance(devices, Mesh):
        devices = tuple(devices.devices.flat)
    chosen: Any
    if isinstance(devices, Sequence) and not isinstance(devices, str):
        chosen, count = tuple(devices), len(devices)
        if not count or not all(isinstance(device, jax.Device) for device in chosen):
            raise TypeError(f"devices: expected JAX devices, got {devices!r}")
    elif isinstance(devices, int | np.integer) and not isinstance(devices, bool):
        chosen = count = int(devices)
        there = jax.devices()
        if not 1 <= count <= len(there):
            raise ValueError(
                f"devices: {count} asked for, but JAX has {len(there)} ({there[0].platform}); "
                "on a CPU their number is set before JAX starts, with "
                "XLA_FLAGS=--xla_force_host_platform_device_count=..."
            )
    else:
        raise TypeError(
            f"devices: expected a number, a sequence of JAX devices or a Mesh, got {devices!r}"
        )
    most = max(lengths.values(), default=1)
    if count > most:
        raise ValueError(
            f"devices: {count} devices share the trajectories along the longest batch dim, which "
            f"has {most}; ask for no more devices than that"
        )
    return Execution(chosen, name)
