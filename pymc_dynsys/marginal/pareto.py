"""Pareto-smoothed importance weights (Vehtari et al. 2024), by ArviZ."""

import numpy as np
from jaxtyping import Float

IMPOSSIBLE = 50.0
"""Nats below the smallest weight at which a draw without a density is put."""

FEWEST = 25
"""Draws without which there is no tail to smooth."""


def smoothed(
    logs: Float[np.ndarray, "*case draw"],
) -> tuple[Float[np.ndarray, "*case draw"], Float[np.ndarray, "*case"]]:
    """Logarithms of smoothed weights, and Pareto's k of each case; NaN where draws are few."""
    if logs.shape[-1] < FEWEST:
        return logs, np.full(logs.shape[:-1], np.nan)
    from arviz_stats.base import array_stats  # slow to import

    there = np.isfinite(logs)
    logs = np.where(there, logs, logs[there].min() - IMPOSSIBLE)
    # The function's argument is minus the log of a weight.
    smooth, k = array_stats.psislw(np.ascontiguousarray(-logs), axis=-1)
    return np.asarray(smooth), np.asarray(k)
