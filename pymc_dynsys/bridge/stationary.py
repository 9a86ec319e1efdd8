"""Whether there is a stationary distribution where one is asked for."""

import numpy as np

from pymc_dynsys.bridge.study import Study


def require_stationary(study: Study, cov: np.ndarray) -> None:
    """Raise where states have no stationary distribution; `cov` ``(*batch, n, n)`` is NaN there."""
    which = np.asarray(study.system.start.stationary_states)
    variances = np.diagonal(cov, axis1=-2, axis2=-1)
    bad = np.argwhere((~np.isfinite(variances) & which).any(-1))
    if not len(bad):
        return
    here = tuple(bad[0])
    lost = ~np.isfinite(variances[here]) & which
    names = ", ".join(name for name, gone in zip(study.system.states, lost, strict=True) if gone)
    of = f" for {study.frame.who(here)}" if study.frame.rank else ""
    raise ValueError(
        f"initial=Stationary(): there is no stationary distribution of {names} at the model's "
        f"initial point{of}, where the dynamics do not settle (an explosive autoregression, a "
        "random walk, a rate that is zero). Give the parameters an initval, and priors, inside the "
        "stationary region, or the states another start, such as initial=Diffuse()"
    )
