"""Starting points and scales for a sampler, from a marginal fit."""

import numpy as np
import xarray as xr

from pymc_dynsys.marginal.refuse import require_count

SAMPLERS = ("numpyro", "blackjax", "pymc", "nutpie", "sample_blackjax")

TUNE = 200
"""Steps of warm-up where scales are known; only the step size is to be found."""


def warm_start(
    fit: xr.DataTree,
    *,
    chains: int = 4,
    nuts_sampler: str = "numpyro",
    random_seed: int | None = None,
) -> dict[str, object]:
    r"""Arguments for ``pm.sample`` or `sample_blackjax` that start it where a marginal fit ended.

    Each chain starts at a draw of the normal approximation of parameters and effects,
    :math:`\theta \sim N(\hat\theta, \Sigma)` and :math:`u_i` around its mode at that
    :math:`\theta`. The diagonal of the inverse mass matrix is the variance of each unconstrained
    value.

    Parameters
    ----------
    fit : DataTree
        From :func:`fit_marginal`, best with ``priors=True``: the posterior has priors.
    chains : int
        Number of chains.
    nuts_sampler : str
        ``"numpyro"`` takes starts and scales; ``"blackjax"`` and ``"pymc"`` take starts;
        ``"nutpie"`` takes one start for all chains, the mode, and jitters it.
        ``"sample_blackjax"`` stands for :func:`sample_blackjax`, which takes starts.
    random_seed : int, optional
        For the starts; None is 0.

    Returns
    -------
    dict
        ``chains``, ``initvals``, ``nuts_sampler`` and ``nuts``, with ``tune=200`` for
        ``"numpyro"``; for :func:`sample_blackjax` ``chains``, ``initvals`` and ``jitter``. Merge
        your own with ``|``.

    Raises
    ------
    ValueError
        If the fit has a parameter at the boundary, where the sampler's space has no place; or if
        the sampler is not one of these.
    TypeError
        If `fit` is not one of :func:`fit_marginal`.

    Notes
    -----
    The scales of ``"numpyro"`` are kept, so that its warm-up finds the step size only. Where the
    normal approximation is poor (a Pareto k above 0.7 of ``fit_marginal(draws=)``) draws are right
    all the same, but cost more: leave `nuts` and `tune` out.

    The starts are those of the normal approximation, so chains begin less far apart than a check
    of convergence would like; the wider starts of ``pm.sample`` are the stronger test.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model(coords={"school": list("ABCD")}) as model:
    ...     mu, tau = pm.Normal("mu", 0.0, 50.0), pm.HalfNormal("tau", 50.0)
    ...     theta = pm.Normal("theta", mu, tau, dims="school")
    ...     y = pm.Normal("y", theta, 5.0, observed=[28.0, -8.0, 40.0, 5.0], dims="school")
    >>> fit = pds.fit_marginal(model, "school", priors=True, progressbar=False)
    >>> start = pds.warm_start(fit, chains=2)
    >>> start["tune"], len(start["initvals"]), start["nuts"]["inverse_mass_matrix"].shape
    (200, 2, (6,))
    """
    require_count("chains", chains, 1)
    if not isinstance(fit, xr.DataTree) or "unconstrained" not in fit.children:
        raise TypeError("fit: expected the DataTree of pds.fit_marginal")
    if fit.attrs["boundary"]:
        raise ValueError(
            f"fit: {', '.join(fit.attrs['boundary'])} is at the boundary of what it can be, which "
            "has no place among the values that a sampler sees; fit with priors=True"
        )
    if nuts_sampler not in SAMPLERS:
        raise ValueError(
            f"nuts_sampler: got {nuts_sampler!r}, expected one of {', '.join(map(repr, SAMPLERS))}"
        )
    rng = np.random.default_rng(0 if random_seed is None else random_seed)
    group = fit["unconstrained"].dataset
    if nuts_sampler == "nutpie":
        mode = {name: group[name].values for name in group.attrs["values"]}
        return {"chains": chains, "initvals": mode, "nuts_sampler": nuts_sampler}
    starts = [_start(group, rng) for _ in range(chains)]
    if nuts_sampler == "sample_blackjax":
        return {"chains": chains, "initvals": starts, "jitter": False}
    found: dict[str, object] = {
        "chains": chains,
        "initvals": starts,
        "nuts_sampler": nuts_sampler,
    }
    if nuts_sampler == "pymc":
        return found | {"init": "adapt_diag"}
    nuts: dict[str, object] = {"jitter": False}
    if nuts_sampler == "numpyro":
        nuts["adapt_mass_matrix"] = False
        nuts["inverse_mass_matrix"] = np.concatenate(
            [np.ravel(_variance(group, name)) for name in group.attrs["values"]]
        )
        found["tune"] = TUNE
    return found | {"nuts": nuts}


def _variance(group: xr.Dataset, name: str) -> np.ndarray:
    """Variances of one value: of its mode with the parameters, and its own given these."""
    whole = (group[f"{name}_root"] ** 2).sum("column").values
    return whole + (group[f"{name}_own"].values ** 2 if f"{name}_own" in group else 0.0)


def _start(group: xr.Dataset, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Unconstrained values of one draw, by the names that PyMC gives them."""
    z = rng.normal(size=group.sizes["column"])
    start = {}
    for name in group.attrs["values"]:
        value = group[name].values + np.tensordot(group[f"{name}_root"].values, z, 1)
        if f"{name}_own" in group:
            own = group[f"{name}_own"].values
            value = value + (own * rng.normal(size=value.shape))
        start[name] = value
    return start
