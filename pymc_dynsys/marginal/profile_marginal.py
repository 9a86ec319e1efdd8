"""Intervals of one parameter by the profile of its marginal log-likelihood."""

import numpy as np
import pymc as pm
import xarray as xr

from pymc_dynsys.marginal.layout import entries
from pymc_dynsys.marginal.problem import Problem, prepare
from pymc_dynsys.marginal.profile import Profile
from pymc_dynsys.marginal.refuse import require_count
from pymc_dynsys.marginal.report import Scales, is_elementwise

SAME = 1e-4
"""Nats within which a model has the log-likelihood of a fit at its estimates."""


def profile_marginal(
    fit: xr.DataTree,
    name: str,
    *,
    model: pm.Model | None = None,
    level: float = 0.95,
    points: int = 8,
) -> xr.Dataset:
    r"""Interval of one parameter whose ends are those of the likelihood, not of a parabola.

    With all other parameters at their best for each value x of the parameter,

    .. math:: r(x) = \mathrm{sign}(x - \hat x) \sqrt{2\,(l(\hat\theta) - \max_\theta l(x, \theta))}

    is near a standard normal, and the interval holds all x with :math:`r(x)^2` below the quantile
    of :math:`\chi^2_1` (lme4's ``profile``). It may be lopsided, and does not depend on the scale
    on which the parameter is written.

    Parameters
    ----------
    fit : DataTree
        From :func:`fit_marginal`; searches start from it.
    name : str
        The parameter, as in the table of the fit: ``"sd"``, or ``"beta[age]"`` for an element.
    model : pm.Model, optional
        The model of the fit; None takes that of the ``with`` block.
    level : float
        Confidence, between 0 and 1.
    points : int
        Values between the ends at which the profile is computed as well, evenly spaced on the
        unconstrained scale.

    Returns
    -------
    Dataset
        Over ``point``, in ascending order: ``value``, ``log_likelihood`` (with the priors if the
        fit has them), ``root`` (r above), and ``best``, the other parameters ``(point,
        coordinate)`` as a sampler sees them. Attributes are ``parameter``, ``estimate``,
        ``lower``, ``upper``, ``level`` and ``cutoff``, the quantile of the chi-squared law. An end
        is that of the parameter's range, such as 0 for an sd, where the data do not exclude it.

    Raises
    ------
    ValueError
        If `name` is not an element of a free variable that is unconstrained by itself; or if the
        model is not that of the fit.
    TypeError
        If `fit` is not one of :func:`fit_marginal`.

    Notes
    -----
    For a standard deviation whose best value is zero the law of :math:`r^2` is half a point at
    zero, so the interval is wider than it has to be.

    References
    ----------
    Venzon and Moolgavkar (1988), Appl. Stat. 37, 87-94.

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model(coords={"school": list("ABCD")}) as model:
    ...     mu, tau = pm.Normal("mu", 0.0, 50.0), pm.HalfNormal("tau", 50.0)
    ...     theta = pm.Normal("theta", mu, tau, dims="school")
    ...     y = pm.Normal("y", theta, 5.0, observed=[28.0, -8.0, 40.0, 5.0], dims="school")
    >>> fit = pds.fit_marginal(model, "school", progressbar=False)
    >>> profile = pds.profile_marginal(fit, "tau", model=model)
    >>> [round(profile.attrs[end], 1) for end in ("lower", "estimate", "upper")]
    [9.5, 18.1, 45.9]
    """
    if not isinstance(fit, xr.DataTree) or "unconstrained" not in fit.children:
        raise TypeError("fit: expected the DataTree of pds.fit_marginal")
    if not 0.0 < level < 1.0:
        raise ValueError(f"level: got {level!r}, expected a number between 0 and 1")
    require_count("points", points, 0)
    over = fit.attrs["over"]
    problem = prepare(
        model,
        over if isinstance(over, str) else [str(dim) for dim in over],
        priors=bool(fit.attrs["priors"]),
        quadrature=int(fit.attrs["quadrature"]),
        initvals=None,
        seed=0,
    )
    profile = _profile(problem, fit, *_place(problem, name))
    from scipy.stats import chi2  # slow to import

    cutoff = float(chi2.ppf(level, 1))
    lower, upper = (profile.end(side * np.sqrt(cutoff)) for side in (-1, 1))
    first = lower if np.isfinite(lower) else profile.reached(0)
    last = upper if np.isfinite(upper) else profile.reached(1)
    for x in np.linspace(first, last, points + 2)[1:-1]:
        profile.at(float(x))
    return _dataset(problem, profile, name, (lower, upper), {"level": level, "cutoff": cutoff})


def _place(problem: Problem, name: str) -> tuple[str, int, int]:
    """The variable, the element of it, and the entry of theta of a name of the table."""
    layout, known = problem.layout, []
    for block in layout.parameters:
        names = entries(layout.model, block.name, block.name, block.shape)
        if is_elementwise(layout.model, block.name):
            if name in names:
                return block.name, names.index(name), block.first + names.index(name)
            known += names
    raise ValueError(
        f"name: got {name!r}, expected one number of a free variable that is unconstrained by "
        f"itself: {', '.join(known)}"
    )


def _profile(problem: Problem, fit: xr.DataTree, name: str, element: int, place: int) -> Profile:
    """The profile with its top at the fit, once the model is seen to be that of the fit."""
    group, layout = fit["covariance"].dataset, problem.layout
    same = list(group["coordinate"].values) == layout.coordinates()
    u, theta = problem.u, group["estimate"].values
    if same:
        effects = fit["unconstrained"].dataset
        point = {b.value: effects[b.value].values for b in (*layout.parameters, *layout.effects)}
        u, _ = layout.flat(point)
    marginal = problem.marginal(u)
    top = marginal(theta) if same else None
    expected = fit.attrs.get("log_posterior", fit.attrs["log_likelihood"])
    if top is None or abs(top.value - expected) > SAME:
        got = "no value" if top is None else f"{top.value:.6f}"
        raise ValueError(
            f"model: its log-likelihood at the estimates of the fit is {got}, and {expected:.6f} "
            f"in the fit, so it is not the model of the fit ({name}[{element}] was asked for)"
        )
    return Profile(marginal, theta, top, group["covariance"].values, place)


def _dataset(
    problem: Problem,
    profile: Profile,
    name: str,
    ends: tuple[float, float],
    attrs: dict[str, float],
) -> xr.Dataset:
    """The points in order, and the ends, on the scale of the model.

    The points of the profile are unconstrained; each goes back through the model's transform, at
    the other parameters' best, which the value of an element does not depend on.
    """
    variable, element, place = _place(problem, name)
    scales, u = Scales(problem.layout), problem.u

    def natural(theta: np.ndarray) -> float:
        return float(np.ravel(scales.parameters(u, theta)[variable])[element])

    points = sorted(profile.points, key=lambda point: point.x)
    theta = np.stack([point.theta for point in points])

    def of(x: float) -> float:
        at = profile.theta.copy()
        at[place] = x
        return natural(at)

    lower, upper = sorted(map(of, ends))
    return xr.Dataset(
        {
            "value": ("point", [natural(row) for row in theta]),
            "log_likelihood": ("point", [point.value for point in points]),
            "root": ("point", [point.root for point in points]),
            "best": (("point", "coordinate"), theta),
        },
        coords={"coordinate": np.asarray(problem.layout.coordinates(), str)},
        attrs={
            "parameter": name,
            "estimate": of(float(profile.theta[place])),
            "lower": lower,
            "upper": upper,
            **attrs,
        },
    )
