"""Devices and precision: what the user asked for, checked."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import pytensor
from jax.sharding import Mesh

from pymc_dynsys.batching.execution import Execution, require_double
from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.systems.bound import BoundSystem

RESOLVED = 1e-3
"""Largest share of the shortest gap that rounding of the times may amount to."""


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
        chosen = tuple((device.platform, device.id) for device in chosen)
        if len(set(chosen)) < count:
            raise ValueError(f"devices: one of them is there twice, in {devices!r}")
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
    if not lengths:
        raise ValueError("devices: they share the trajectories of a batch dim, and there is none")
    most = max(lengths.values())
    if count > most:
        raise ValueError(
            f"devices: {count} devices share the trajectories along the longest batch dim, which "
            f"has {most}; ask for no more devices than that"
        )
    return Execution(chosen, name)


def require_double_everywhere() -> None:
    """Raise where PyTensor would round data and parameters before they arrive."""
    if pytensor.config.floatX != "float64":
        raise RuntimeError(
            f"PyTensor's floatX is {pytensor.config.floatX!r}, so data, times and parameters would "
            "be rounded to it; leave floatX out of PYTENSOR_FLAGS. Single precision for the filter "
            "alone is Trajectory(dtype='float32')"
        )
    require_double()


def require_single_suits(
    system: BoundSystem, likelihood: Likelihood, times: np.ndarray, gaps: np.ndarray
) -> None:
    """Raise where single precision would give wrong numbers."""
    solver = likelihood.adaptive_solver
    if solver is not None:
        raise ValueError(
            f"dtype: {solver} controls its error in double precision only; leave "
            "dtype out, or choose another discretization"
        )
    if system.n_diffuse:
        raise ValueError(
            "dtype: exactly diffuse states need double precision; leave dtype out, or give "
            "initial=Diffuse(kappa=...) a variance"
        )
    proof = system.proof
    if proof.dynamics.autonomous and proof.observation.timeless:
        return
    spacing = float(np.spacing(np.float32(np.nanmax(np.abs(times)))))
    positive = gaps[gaps > 0]
    if positive.size and spacing > RESOLVED * positive.min():
        raise ValueError(
            f"dtype: the system depends on time, and single precision tells times near "
            f"{np.nanmax(np.abs(times)):g} apart by {spacing:.2g} only, with gaps of "
            f"{positive.min():.2g}; count the times from the start of the study, or leave dtype out"
        )
