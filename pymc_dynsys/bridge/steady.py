"""Whether doses repeated since ever have a steady state at the model's initial point."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization.events import Law

NO_SLOPE = 1e-12
"""Rate, relative to the fastest one, below which nothing leaves a state."""


def require_steady(study: Study, found: Mapping[str, Any]) -> None:
    """Raise for a linear system without a steady state, or with one that does not add up.

    `found` are the drift ``(*batch, state)`` and its Jacobian at the mean of the initial
    distribution.
    """
    doses = study.operands.doses
    if doses is None or doses.laws is None or doses.laws.interval is None:
        return
    if not study.system.proof.dynamics.linear:
        return
    A, names = np.asarray(found["jacobian"]), study.system.states
    finite = np.isfinite(A).all((-1, -2))
    A = np.where(finite[..., None, None], A, -np.eye(len(names)))
    kept = np.argwhere(np.abs(A).max(-2) <= NO_SLOPE * np.abs(A).max((-1, -2))[..., None])
    if len(kept):
        raise ValueError(
            f"events: nothing ever leaves the state {names[kept[0][-1]]!r}, so it has no steady "
            "state under repeated doses (event_steady_state, SS); leave it out of the system and "
            "find it from the others, or write out the earlier doses"
        )
    growing = np.argwhere(np.linalg.eigvals(A).real.max(-1) >= 0)
    if len(growing):
        of = f" for {study.frame.who(growing[0])}" if study.frame.rank else ""
        raise ValueError(
            f"events: doses repeated since ever have no steady state at the model's initial "
            f"point{of}, since the dynamics do not decay there; give the rates an initval, and "
            "priors, that are positive"
        )
    added = np.isin(doses.laws.kind, (Law.ADDED, Law.SINCE_EVER_ADDED)).any()
    x = np.asarray(found["initial"][0])
    offset = np.asarray(found["drift"]) - np.einsum("...ij,...j->...i", A, x)
    if added and (np.abs(offset) > 1e-9 * np.abs(A).max()).any():
        raise ValueError(
            "events: steady states add up (event_steady_state 2, SS = 2) only where the drift is "
            "zero without doses, and here it is not; write out the earlier doses"
        )
