"""The fixed normals of an ensemble filter, drawn once with numpy and held as constants.

Those of the dynamics, by far the most, are kept in single precision, which halves the memory and
a seventh of the time of a large panel: normals rounded to eight digits are as good a sample, and
they are the same at every evaluation. What is computed from them has the precision of the states.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

SEPARATE = 4
"""Most steps of a gap whose normals are kept apart, for code that is written out."""


class Noise(NamedTuple):
    """Standard normals fixed once, time first, then batch, then one trajectory's axes."""

    initial: Any
    process: Any
    observation: Any


@lru_cache(maxsize=2)  # large arrays
def draw_noise(
    seed: int,
    batch: tuple[int, ...],
    n_times: int,
    n_steps: int,
    members: int,
    n_states: int,
    n_noise: int,
    n_perturbed: int,
) -> Noise:
    """Whitened normals, one stream a trajectory, so that each does not depend on the others."""
    streams = [np.random.default_rng([seed, i]) for i in range(int(np.prod(batch)))]

    def draw(n_times: int, *shape: int) -> np.ndarray:
        normals = np.stack([g.standard_normal((n_times, *shape)) for g in streams], axis=1)
        return whiten(normals).reshape(n_times, *batch, *shape)

    initial = draw(1, members, n_states)
    process: Any = draw(n_times, n_steps, members, n_noise).astype(np.float32)
    if n_steps <= SEPARATE:
        process = tuple(
            np.ascontiguousarray(process[(slice(None),) * (1 + len(batch)) + (i,)])
            for i in range(n_steps)
        )
    return Noise(
        initial=initial,
        process=process,
        observation=draw(n_times, members, n_perturbed) if n_perturbed else None,
    )


def whiten(normals: np.ndarray) -> np.ndarray:
    """Give ``(..., member, dimension)`` normals mean zero and identity covariance over members."""
    members, dimension = normals.shape[-2:]
    normals = normals - normals.mean(-2, keepdims=True)
    if members <= dimension:
        return normals
    covariance = np.swapaxes(normals, -1, -2) @ normals / (members - 1)
    factor = np.linalg.inv(np.linalg.cholesky(covariance))
    return normals @ np.swapaxes(factor, -1, -2)
