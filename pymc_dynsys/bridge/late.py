"""A warning of doses that arrive late where they are seen at once."""

import warnings

import numpy as np

from pymc_dynsys.discretization import Doses
from pymc_dynsys.systems.bound import BoundSystem


def warn_of_late(name: str, system: BoundSystem, doses: Doses | None) -> None:
    """Warn of late boluses into states that are observed: the likelihood jumps in their lag."""
    if doses is None:
        return
    lasts = np.zeros(1) if doses.durations is None else doses.durations
    times, targets, lasts = np.broadcast_arrays(doses.times, doses.targets, lasts)
    entered = set(np.unique(targets[np.isfinite(times) & (lasts == 0)]).tolist())
    seen = sorted(entered & set(system.proof.observation.sees))
    if seen:
        warnings.warn(
            f"{name}: doses with a lag enter {system.states[seen[0]]!r} at once, which is "
            "observed, so the likelihood jumps where a dose passes a datum. That is right, but "
            "NUTS does not see it and diverges there; let such doses enter through a depot, or "
            "last a while",
            UserWarning,
            stacklevel=5,
        )
