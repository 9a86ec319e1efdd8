"""Paths that are no numbers any more: said, with what to do."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike

REMEDY = (
    "A state has left the domain of a root, a logarithm or a power, or has grown without bounds: "
    "guard the argument, jnp.sqrt(jnp.maximum(x, 0.0)), take shorter steps, or model the state on "
    "another scale, such as its logarithm"
)


def warn_lost(
    what: str,
    values: np.ndarray,
    times: ArrayLike,
    n_own: int,
    who: Callable[[Sequence[int]], str] | None = None,
    stacklevel: int = 3,
) -> None:
    """Warn of paths ``(*sample, *batch, time, *own)`` that are not finite at some visit.

    `times` are ``(*batch, time)`` with length-one axes where shared, NaN where there is no visit;
    `n_own` is the number of own axes. `who` puts the indices of a trajectory into words; without it
    the warning is the same for every draw, so that Python shows it once.
    """
    times = np.asarray(times)
    own = tuple(range(values.ndim - n_own, values.ndim))
    lost = ~np.isfinite(values).all(own) & ~np.isnan(times)
    if not lost.any():
        return
    if who is None:
        said = f"{what}: simulated data are not finite at some visits. {REMEDY}"
    else:
        rank = times.ndim - 1
        share = lost.any(-1).mean()
        first = np.argwhere(lost.any(tuple(range(lost.ndim - rank - 1))))[0]
        when = np.broadcast_to(times, lost.shape[lost.ndim - rank - 1 :])[tuple(first)]
        of = f" for {who(first[:-1])}" if rank else ""
        said = (
            f"{what}: {share:.1%} of the paths are not finite, the first{of} at time {when:g}. "
            f"{REMEDY}"
        )
    warnings.warn(said, UserWarning, stacklevel=stacklevel)
