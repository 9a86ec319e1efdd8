"""Sentences on what an approximate likelihood costs, for ``check_likelihood``."""

from typing import Any

import numpy as np
import xarray as xr

from pymc_dynsys.bridge.data import place
from pymc_dynsys.bridge.fitted import Fitted
from pymc_dynsys.filters import EnKF, Kalman

TOLERABLE = 0.1
"""Error in nats of one trajectory from which on the advice is to do something."""


ROUNDING = 1e-6
"""Difference in nats that means nothing."""


def advise(
    fitted: Fitted,
    data: xr.Dataset,
    slopes: dict[str, np.ndarray],
    likelihood: Any,
    halved: bool,
    other: Any,
) -> list[str]:
    """Sentences for the reader, the most pressing first."""
    out = []
    for name, sizes in slopes.items():
        bad = np.argwhere(~np.isfinite(sizes))
        if len(bad):
            who = place(bad[0][1:], fitted.labels, fitted.batch_dims) if fitted.batch_dims else ""
            out.append(
                f"the gradient with respect to {name} is not finite"
                f"{f' for {who}' if who else ''}; guard divisions, roots and logarithms in the "
                "system with jnp.where"
            )
    bad = np.argwhere(~data["finite"].values)
    if len(bad):
        who = place(bad[0][1:], fitted.labels, fitted.batch_dims) if fitted.batch_dims else ""
        out.append(f"the log-likelihood is not finite{f' for {who}' if who else ''}")

    def worst(name: str) -> float:
        return float(np.nanmax(np.abs(data[name].values), initial=0.0))

    if isinstance(likelihood, EnKF):
        spread, total = worst("seed_sd"), np.sqrt((data["seed_sd"] ** 2).sum(fitted.batch_dims))
        out.append(
            f"the seed moves a trajectory's log-likelihood by up to {spread:.2g} nats (sd), the "
            f"total by {float(total.max()):.2g}"
            + (
                f"; an ensemble of {_enough(likelihood, spread)} would bring the former to "
                f"{TOLERABLE:g}"
                if spread > TOLERABLE
                else ""
            )
        )
    # Averages over seeds have an error of their own.
    of_seeds = 3 * worst("seed_sd") / data.attrs["seeds"] ** 0.5
    if halved:
        change = worst("step_change")
        verdict = "take shorter steps" if change > TOLERABLE else "steps are short enough"
        if TOLERABLE < change <= 2**0.5 * of_seeds:
            verdict = "no more than the seeds do, so more of them or of members must tell"
        out.append(
            f"steps of half the length change a trajectory by up to {change:.2g} nats: {verdict}"
        )
    if other is not None:
        change = worst("reference_change")
        exact = isinstance(other, Kalman)
        if exact:
            verdict = "use it" if change > ROUNDING else "they agree"
        else:
            verdict = "they agree" if change <= TOLERABLE else "find out which is right"
        out.append(
            f"{'the exact' if exact else 'another approximate'} likelihood, {other!r}, differs by "
            f"up to {change:.2g} nats a trajectory: {verdict}"
        )
    change = worst("precision_change")
    if change > 0:
        verdict = "ask for dtype='float64'" if change > TOLERABLE else "single precision will do"
        out.append(f"double precision changes a trajectory by up to {change:.2g} nats: {verdict}")
    if not out:
        exact = isinstance(likelihood, Kalman) and not halved
        out.append(
            f"{likelihood!r} is exact: there is nothing to choose"
            if exact
            else f"{likelihood!r} has no step, seed or alternative to compare with"
        )
    return out


def _enough(likelihood: EnKF, spread: float) -> int:
    """Members that bring the spread down to what is tolerable; it falls with their root."""
    return int(np.ceil(likelihood.ensemble_size * (spread / TOLERABLE) ** 2 / 10) * 10)
