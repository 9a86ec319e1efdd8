"""Several marginal fits of the same data beside each other."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import xarray as xr


def compare_marginal(
    fits: Mapping[str, xr.DataTree],
    *,
    reference: str | None = None,
    zero_variances: int = 0,
) -> pd.DataFrame:
    r"""Rank marginal fits by AIC, with likelihood ratios beside a reference.

    The ratio :math:`2 (l - l_0)` has a :math:`\chi^2` law with as many degrees of freedom as
    parameters that the reference lacks. Where one of these is a variance, which is zero in the
    reference, the law is :math:`\frac12 \chi^2_{d-1} + \frac12 \chi^2_d`.

    Parameters
    ----------
    fits : mapping of str to DataTree
        From :func:`fit_marginal` with ``priors=False``, of the same data and outermost members.
    reference : str, optional
        The name of a fit whose model is a special case of all others; that it is one cannot be
        seen from the fits.
    zero_variances : int
        How many variances are zero in the reference and not in the others, 0 or 1.

    Returns
    -------
    DataFrame
        A row for each fit, the least AIC first: ``rank``, ``log_likelihood``, ``n_parameters``,
        ``aic``, ``aic_diff``, ``weight`` (Akaike's), ``bic``, and with a reference ``ratio``,
        ``df`` and ``p_value``.

    Raises
    ------
    ValueError
        If there are fewer than two fits, fits with priors, of other members, or integrated
        otherwise; or if the reference is not one of them, or has no fewer parameters.

    Notes
    -----
    What is compared are the likelihoods of data, so fits must be of the same ones: members are
    looked at, data cannot be. For predictions of new members compare ``az.loo`` after sampling.

    References
    ----------
    Self and Liang (1987), J. Am. Stat. Assoc. 82, 605-610, cases 5 and 6.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_dynsys as pds
    >>> def fit(slope):
    ...     with pm.Model(coords={"school": list("ABCD")}) as model:
    ...         mu, tau = pm.Normal("mu"), pm.HalfNormal("tau", 10.0)
    ...         mean = mu + (pm.Normal("b") * [0.0, 1.0, 2.0, 3.0] if slope else 0.0)
    ...         theta = pm.Normal("theta", mean, tau, dims="school")
    ...         y = pm.Normal("y", theta, 1.0, observed=[0.0, 12.0, 21.0, 29.0], dims="school")
    ...     return pds.fit_marginal(model, "school", progressbar=False, check=False)
    >>> table = pds.compare_marginal({"flat": fit(False), "line": fit(True)}, reference="flat")
    >>> table.index[0], int(table.loc["line", "df"]), float(table.loc["line", "p_value"]) < 0.01
    ('line', 1, True)
    """
    _require_comparable(fits)
    if zero_variances not in (0, 1):
        raise ValueError(
            f"zero_variances: got {zero_variances!r}, expected 0 or 1; the law for several depends "
            "on their correlations"
        )
    names = ("log_likelihood", "n_parameters", "aic", "bic")
    table = pd.DataFrame(
        {name: {k: fit.attrs[name] for k, fit in fits.items()} for name in names}
    ).sort_values("aic")
    table.insert(0, "rank", np.arange(len(table)))
    table.insert(4, "aic_diff", table["aic"] - table["aic"].min())
    weight = np.exp(-table["aic_diff"] / 2)
    table.insert(5, "weight", weight / weight.sum())
    if reference is None:
        return table
    if reference not in fits:
        raise ValueError(f"reference: got {reference!r}, expected one of {', '.join(fits)}")
    own = table.loc[reference]
    others = table.index != reference
    df = table["n_parameters"] - own["n_parameters"]
    if (df[others] < 1).any():
        name = table.index[others & (df < 1).to_numpy()][0]
        raise ValueError(
            f"reference: {reference!r} has {int(own['n_parameters'])} parameters and {name!r} has "
            f"{int(table.loc[name, 'n_parameters'])}, so it is no special case of it"
        )
    ratio = 2 * (table["log_likelihood"] - own["log_likelihood"])
    from scipy.stats import chi2  # slow to import

    p = chi2.sf(ratio, df)
    if zero_variances:
        # Chi-squared with no degrees of freedom is zero.
        less = np.where(df > 1, chi2.sf(ratio, np.maximum(df - 1, 1)), ratio <= 0)
        p = (p + less) / 2
    table["ratio"] = ratio.where(others)
    table["df"] = df.where(others)
    table["p_value"] = np.where(others, p, np.nan)
    return table


def _require_comparable(fits: Mapping[str, xr.DataTree]) -> None:
    """Raise for fits whose likelihoods are not of the same kind."""
    if len(fits) < 2:
        raise ValueError(f"fits: got {len(fits)}, expected two or more")
    first_name, first = next(iter(fits.items()))
    for name, fit in fits.items():
        if fit.attrs["priors"]:
            raise ValueError(
                f"fits: {name!r} was fitted with priors, so it is no maximum of the likelihood; "
                "fit it with priors=False, or compare log_evidence"
            )
        # Levels below the outermost may differ: they divide the same data.
        over, other = (str(np.atleast_1d(f.attrs["over"])[0]) for f in (first, fit))
        if over != other or not np.array_equal(
            first["log_likelihood"].dataset[over].values,
            fit["log_likelihood"].dataset[other].values,
        ):
            raise ValueError(
                f"fits: {name!r} has other members of {other!r} than {first_name!r} of {over!r}, "
                "so their data are not the same"
            )
        if fit.attrs["integral"] != first.attrs["integral"]:
            raise ValueError(
                f"fits: {name!r} was integrated by {fit.attrs['integral']} and {first_name!r} by "
                f"{first.attrs['integral']}; their errors differ, so fit both alike"
            )
