"""Sampling for comparison with a reference posterior, in units of Monte Carlo error."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import arviz as az
import numpy as np
import pymc as pm


def sample_tree(
    model: pm.Model,
    *,
    draws: int,
    tune: int,
    chains: int,
    target_accept: float = 0.8,
    var_names: Sequence[str] | None = None,
    **options: Any,
) -> Any:
    """Draws and statistics of numpyro's NUTS, its chains side by side in one program."""
    return pm.sample(
        model=model,
        draws=draws,
        tune=tune,
        chains=chains,
        target_accept=target_accept,
        var_names=var_names,
        nuts_sampler="numpyro",
        nuts={"chain_method": "vectorized", **options},
        progressbar=False,
        compute_convergence_checks=False,
        random_seed=20260101,
    )


def sample(model: pm.Model, **effort: Any) -> Any:
    """The draws alone."""
    return sample_tree(model, **effort)["posterior"].dataset


def assert_posterior_matches(
    posterior: Any,
    expected: SimpleNamespace,
    names: Sequence[str],
    *,
    suffix: str = "",
    sd_ratio: tuple[float, float] | None = None,
    rename: Mapping[str, str] | None = None,
) -> None:
    """Means within four combined Monte Carlo errors, or a tenth of a posterior sd.

    Where the reference is exact its Monte Carlo error is zero and the tenth of an sd is not
    granted. An sd from n effective draws has a relative error of 1 / sqrt(2 n), 2% at a thousand:
    limits of 10% are five of them, 15% allow for the largest of 170 members.
    """
    for name in names:
        draws = posterior[(rename or {}).get(name, name)]
        mean, sd = (
            getattr(expected, f"{name}_mean{suffix}"),
            getattr(expected, f"{name}_sd{suffix}"),
        )
        theirs = getattr(expected, f"{name}_mcse", None)
        ours = az.mcse(draws, method="mean").values
        allowed = 4 * np.hypot(ours, 0.0 if theirs is None else theirs)
        if theirs is not None:
            allowed = np.maximum(allowed, 0.1 * sd)
        error = np.abs(draws.mean(("chain", "draw")).values - mean)
        assert np.all(error <= allowed), f"{name}: errors {error}, allowed {allowed}"
        if sd_ratio is not None:
            ratio = draws.std(("chain", "draw"), ddof=1).values / sd
            low, high = sd_ratio
            assert np.all((ratio >= low) & (ratio <= high)), f"{name}: sd ratios {ratio}"
