"""Sentences on what an approximate likelihood costs, for ``check_likelihood``."""

import numpy as np
import xarray as xr

from pymc_dynsys.bridge.study import Study
from pymc_dynsys.likelihoods.base import Variation
from pymc_dynsys.likelihoods.caveats import caveats

TOLERABLE = 0.1
"""Error in nats of one trajectory from which on the advice is to do something."""


ROUNDING = 1e-6
"""Difference in nats that means nothing."""


def advise(
    study: Study,
    data: xr.Dataset,
    slopes: dict[str, np.ndarray],
    variations: tuple[Variation, ...],
    noise: dict[str, float],
) -> list[str]:
    """Sentences for the reader, the most pressing first.

    `noise` are the errors that seeds leave in the average of each variation, in nats.
    """
    likelihood, frame, out = study.program.likelihood, study.frame, []
    for name, sizes in slopes.items():
        bad = np.argwhere(~np.isfinite(sizes))
        if len(bad):
            who = f" for {frame.who(bad[0][1:])}" if frame.rank else ""
            out.append(
                f"the gradient with respect to {name} is not finite{who}; guard divisions, roots "
                "and logarithms in the system with jnp.where"
            )
    bad = np.argwhere(~data["finite"].values)
    if len(bad):
        who = f" for {frame.who(bad[0][1:])}" if frame.rank else ""
        out.append(f"the log-likelihood is not finite{who}")

    out += caveats(likelihood, study.system)

    def worst(name: str) -> float:
        return float(np.nanmax(np.abs(data[name].values), initial=0.0))

    spread = worst("seed_sd")
    if likelihood.random:
        total = float(np.sqrt((data["seed_sd"] ** 2).sum(frame.batch_dims)).max())
        enough = likelihood.enough(spread, TOLERABLE) if spread > TOLERABLE else None
        out.append(
            f"the seed moves a trajectory's log-likelihood by up to {spread:.2g} nats (sd), the "
            f"total by {total:.2g}"
            + (f"; {enough} would bring the former to {TOLERABLE:g}" if enough else "")
        )
    # Averages over seeds have an error of their own.
    of_seeds = 3 * spread / data.attrs["seeds"] ** 0.5
    for variation in variations:
        values = data[f"{variation.name}_change"].values
        if np.isnan(values).all():
            out.append(f"{_what(variation)} is as little finite: there is nothing to compare")
        else:
            change = worst(f"{variation.name}_change")
            error = float(np.hypot(of_seeds, noise.get(variation.name, 0.0)))
            out.append(_of_variation(variation, change, error))
    change = worst("precision_change")
    if change > 0:
        verdict = "ask for dtype='float64'" if change > TOLERABLE else "single precision will do"
        out.append(f"double precision changes a trajectory by up to {change:.2g} nats: {verdict}")
    if not out:
        out.append(
            f"{likelihood!r} is exact: there is nothing to choose"
            if likelihood.exact
            else f"{likelihood!r} has no step, seed or alternative to compare with"
        )
    return out


def _of_variation(variation: Variation, change: float, of_seeds: float) -> str:
    """What a change means, and what to do."""
    if variation.name == "step":
        verdict = "take shorter steps" if change > TOLERABLE else "steps are short enough"
        if TOLERABLE < change <= of_seeds:
            verdict = "no more than the seeds do, so more of them or of members must tell"
        return f"steps of half the length change a trajectory by up to {change:.2g} nats: {verdict}"
    if variation.exact:
        verdict = "use it" if change > ROUNDING else "they agree"
    elif change <= TOLERABLE:
        verdict = "they agree"
    elif change <= of_seeds:
        verdict = f"no more than seeds move them by ({of_seeds:.2g})"
    else:
        verdict = "find out which is right"
    return f"{_what(variation)}, differs by up to {change:.2g} nats a trajectory: {verdict}"


def _what(variation: Variation) -> str:
    """What a likelihood was compared with."""
    if variation.name == "step":
        return "with steps of half the length the likelihood"
    if variation.name != "reference":
        return f"the {variation.name} of {variation.likelihood!r}"
    kind = "the exact" if variation.exact else "another approximate"
    return f"{kind} likelihood, {variation.likelihood!r}"
