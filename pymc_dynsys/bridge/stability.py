"""Steps that are too long for the dynamics at the model's initial point."""

import warnings
from typing import Any

import numpy as np

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import EulerMaruyama, prepare_grid


def warn_unstable(study: Study, jacobian: np.ndarray) -> None:
    """Warn of Euler steps longer than a decaying mode allows: |1 + lambda h| > 1.

    The Jacobian of the drift is ``(*batch, state, state)``. Its modes give the longest stable step
    of each trajectory, which is compared with the longest step taken, by likelihood and simulator.
    """
    schemes: dict[Any, str] = {}
    schemes.setdefault(study.program.likelihood.scheme(study.system), "likelihood")
    schemes.setdefault(study.simulator, "simulator")
    if not np.isfinite(jacobian).all():
        return
    modes = np.linalg.eigvals(jacobian)
    decaying = modes.real < 0
    longest = np.where(decaying, -2 * modes.real / np.maximum(np.abs(modes) ** 2, 1e-300), np.inf)
    limit = longest.min(-1)
    for scheme, role in schemes.items():
        if not isinstance(scheme, EulerMaruyama) or study.system.is_deterministic:
            continue
        grid = prepare_grid(study.design, study.operands, scheme)
        step = (grid.gaps / grid.steps).max(-1)
        bad = np.argwhere(np.broadcast_arrays(step > limit, limit)[0])
        if len(bad):
            here = tuple(bad[0])
            at = f" for {study.frame.who(here)}" if study.frame.rank else ""
            allowed = np.broadcast_to(limit, np.broadcast_shapes(limit.shape, step.shape))[here]
            taken = np.broadcast_to(step, np.broadcast_shapes(limit.shape, step.shape))[here]
            warnings.warn(
                f"{study.name}: Euler steps of {taken:.3g} in the {role} are unstable"
                f"{at} at the model's initial point, where steps must be "
                f"below {allowed:.3g}; use EulerMaruyama(dt={allowed / 4:.2g}) or "
                "LocalLinearization()",
                UserWarning,
                stacklevel=4,
            )
            return
