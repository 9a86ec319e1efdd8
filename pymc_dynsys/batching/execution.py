"""Where a likelihood is computed, and in which precision."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp


@dataclass(frozen=True)
class Execution:
    """Devices that share the trajectories, None for the default one alone; and the precision.

    Devices are a number, the first so many, or the platform and id of each, since a device itself
    cannot be pickled. Single precision is that of the filter: data, parameters, time steps and
    states. Gaps are taken between times, and the log-densities of visits added up, in double.
    """

    devices: int | tuple[tuple[str, int], ...] | None = None
    dtype: Literal["float64", "float32"] = "float64"

    @property
    def mesh_devices(self) -> tuple[jax.Device, ...]:
        """The devices themselves."""
        if self.devices is None:
            return ()
        there = jax.devices()
        if isinstance(self.devices, int):
            if self.devices > len(there):
                raise ValueError(f"devices: {self.devices} asked for, JAX has {len(there)} here")
            return tuple(there[: self.devices])
        found = {(d.platform, d.id): d for name, _ in self.devices for d in jax.devices(name)}
        missing = [f"{name}:{i}" for name, i in self.devices if (name, i) not in found]
        if missing:
            raise ValueError(f"devices: JAX has no {', '.join(missing)} here")
        return tuple(found[device] for device in self.devices)

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


def require_double() -> None:
    """Raise where JAX has no double precision, in which all is computed unless asked otherwise.

    What is compiled with it is compiled anew without it, so asking while a program is traced
    suffices.
    """
    if not jax.config.jax_enable_x64:
        raise RuntimeError(
            "JAX has been set to single precision, and filters need double: call "
            "jax.config.update('jax_enable_x64', True), and leave floatX=float32 out of "
            "PYTENSOR_FLAGS; single precision for the filter alone is Trajectory(dtype='float32')"
        )


DEFAULT = Execution()
