"""The result: a DataTree whose table one sees first."""

from collections.abc import Sequence

import pandas as pd
import xarray as xr


class MarginalFit(xr.DataTree):
    """A DataTree of :func:`fit_marginal`, shown in notebooks with its table on top."""

    def to_dataframe(self) -> pd.DataFrame:
        """The variables of one group as a table: ``fit["summary"].to_dataframe()``."""
        return self.dataset.to_dataframe()

    def _repr_html_(self) -> str:
        whole = super()._repr_html_()
        if "summary" not in self.children:
            return whole
        table = self["summary"].dataset.to_dataframe()
        shown = table.to_html(float_format=lambda value: f"{value:.4g}", na_rep="", border=0)
        rest = f"<details><summary>all groups</summary>{whole}</details>"
        return f"<p>{headline(self.attrs)}</p>{shown}{rest}"


def headline(attrs: dict) -> str:
    """What was fitted and how well, in one sentence or two."""
    kind = "Mode of the marginal posterior" if attrs["priors"] else "Maximum marginal likelihood"
    evidence = f", log-evidence {attrs['log_evidence']:.3f}" if "log_evidence" in attrs else ""
    over = attrs["over"]
    first, below = (over, "") if isinstance(over, str) else (over[0], _and_below(over[1:]))
    text = (
        f"{kind}: effects of {attrs['n_members']} labels of {first!r}{below} integrated out by "
        f"{attrs['integral']}. Log-likelihood {attrs['log_likelihood']:.3f}, "
        f"AIC {attrs['aic']:.1f}, BIC {attrs['bic']:.1f}{evidence}; "
        f"{attrs['n_parameters']} parameters; {attrs['nats_left']:.1g} nats left."
    )
    if "approximation_error" in attrs:
        text += (
            f" By {attrs['check']}: {attrs['approximation_error']:+.3f} nats, and estimates "
            f"would move by at most {attrs['largest_shift']:.2f} standard errors."
        )
    if attrs["boundary"]:
        text += f" At the edge of what it can be: {', '.join(attrs['boundary'])}."
    return text


def _and_below(dims: Sequence[str]) -> str:
    """The levels below the first, in words."""
    return f" and of {' and '.join(map(repr, dims))} within them" if len(dims) else ""
