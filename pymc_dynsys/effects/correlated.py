"""Several parameters of each member, whose differences go together: ``correlated``."""

from collections.abc import Mapping
from typing import Any

import pymc as pm
import pytensor.tensor as pt
from pytensor.graph.basic import Variable

from pymc_dynsys.effects.scales import Scale, require_scale
from pymc_dynsys.effects.terms import Layout, refuse_taken


def correlated(
    name: str,
    means: Mapping[str, Any],
    *,
    sd_dist: Any,
    dims: Any,
    eta: float = 2.0,
    within: Any = None,
    centered: bool = False,
    scales: Mapping[str, Scale] | None = None,
) -> dict[str, Any]:
    r"""Parameters of each member of a population, jointly normal on their scales.

    :math:`\theta_{ip} = g_p^{-1}(\eta_{ip})` with :math:`\eta_i \sim N(\mu_i, L L^\top)`, where
    :math:`L` is a Cholesky factor with the prior of Lewandowski, Kurowicka and Joe on its
    correlations; non-centred, :math:`\eta_i = \mu_i + L z_i` with :math:`z_i \sim N(0, I)`.

    Parameters
    ----------
    name : str
        Of the family. The model gets ``<name>`` (all :math:`\eta`, over the dims and
        ``<name>_parameter``), ``<name>_cholesky`` (packed, what is sampled), ``<name>_sd``,
        ``<name>_correlation`` and, non-centred, ``<name>_offset``.
    means : dict
        Names of the parameters, and the mean of each on its scale, as in :func:`varying`.
    sd_dist : distribution
        Prior of the standard deviations on the scales, such as ``pm.HalfNormal.dist(1.0)``; a
        vector of them has one for each parameter.
    dims : str or tuple of str
        Dims of the members.
    eta : float, optional
        Of the LKJ prior: 1 is flat over correlation matrices, more prefers small correlations.
    within : DataArray, Series, list of them, or dict, optional
        Which group each member belongs to, as in :func:`varying`.
    centered : bool, optional
        Let the sampler move :math:`\eta` itself; see :func:`varying`. What is learnt by
        :func:`~pymc_dynsys.reparametrize` are single normal effects, not these.
    scales : dict, optional
        Scales of those parameters that have one.

    Returns
    -------
    dict of str to TensorVariable
        Each parameter, an ordinary variable of the model with the dims `dims`.

    Raises
    ------
    TypeError, ValueError
        For fewer than two parameters, scales of others, and what :func:`varying` refuses.

    References
    ----------
    Lewandowski, Kurowicka and Joe (2009). Generating random correlation matrices based on vines
    and extended onion method. Journal of Multivariate Analysis 100, 1989-2001.

    Examples
    --------
    >>> import pymc as pm
    >>> from pymc_dynsys import effects
    >>> with pm.Model(coords={"subject": ["a", "b", "c"]}) as model:
    ...     pk = effects.correlated(
    ...         "pk",
    ...         {"clearance": -3.0, "rate": 0.5},
    ...         sd_dist=pm.HalfNormal.dist(0.5),
    ...         dims="subject",
    ...         scales={"clearance": effects.Log(), "rate": effects.Log()},
    ...     )
    >>> list(pk)
    ['clearance', 'rate']
    >>> model.coords["pk_parameter"]
    ('log_clearance', 'log_rate')
    """
    model = pm.modelcontext(None)
    scales = {} if scales is None else scales
    check_family(name, means, scales)
    check_spread(name, sd_dist, eta, len(means))
    family = [name, *(f"{name}_{part}" for part in ("cholesky", "sd", "correlation", "offset"))]
    for p in means:
        if p in family:
            raise ValueError(f"{name}: the parameter {p!r} has a name that the family needs itself")
    refuse_taken(name, [*family, *means], model)
    layout = Layout(name, dims, within, model)
    labels = [f"{scales[p].prefix}_{p}" if p in scales else p for p in means]
    axis, other = f"{name}_parameter", f"{name}_parameter_other"
    check_axes(name, (axis, other), labels, layout.dims, model)
    mu = pt.stack(
        pt.broadcast_arrays(*(layout.total(f"means[{p!r}]", means[p]) for p in means)), axis=-1
    )
    layout.require_used()
    chol, correlation, sd = pm.LKJCholeskyCov(
        f"{name}_cholesky", eta=eta, n=len(means), sd_dist=sd_dist, store_in_trace=False
    )
    model.add_coords({axis: labels, other: labels})
    pm.Deterministic(f"{name}_sd", sd, dims=axis)
    pm.Deterministic(f"{name}_correlation", correlation, dims=(axis, other))
    every = (*layout.dims, axis)
    if centered:
        joint = pm.MvNormal(name, mu, chol=chol, dims=every)
    else:
        offset = pm.Normal(f"{name}_offset", 0.0, 1.0, dims=every)
        joint = pm.Deterministic(name, mu + offset @ chol.T, dims=every)
    return {
        p: pm.Deterministic(
            p,
            scales[p].inverse(joint[..., i]) if p in scales else joint[..., i],
            dims=layout.dims,
        )
        for i, p in enumerate(means)
    }


def check_family(name: str, means: Any, scales: Any) -> None:
    """Refuse what is no family of parameters."""
    if not isinstance(means, Mapping):
        raise TypeError(
            f"{name}: means must be a dict of names and means, such as {{'clearance': log_cl, "
            f"'rate': log_ka}}; got {type(means).__qualname__}"
        )
    if not all(isinstance(p, str) for p in means):
        raise TypeError(f"{name}: the names in means must be text, got {list(means)}")
    if len(means) < 2:
        raise ValueError(
            f"{name}: means has {len(means)} parameter; correlations need two or more, one alone "
            "is effects.varying"
        )
    if not isinstance(scales, Mapping):
        raise TypeError(
            f"{name}: scales must be a dict of names and scales, such as "
            f"{{{next(iter(means))!r}: effects.Log()}}; got {scales!r}"
        )
    for p, scale in scales.items():
        if p not in means:
            raise ValueError(
                f"{name}: scales has {p!r}, which is not among the parameters {list(means)}"
            )
        require_scale(name, f"scales[{p!r}]", scale)


def check_spread(name: str, sd_dist: Any, eta: Any, n: int) -> None:
    """Refuse priors of the sds and correlations that PyMC would take amiss later."""
    if not isinstance(sd_dist, Variable) or sd_dist.owner is None or sd_dist.name is not None:
        raise TypeError(
            f"{name}: sd_dist must be an unnamed distribution, such as pm.HalfNormal.dist(1.0); "
            f"got {sd_dist!r}"
        )
    length = sd_dist.type.shape[-1] if sd_dist.type.ndim else n
    if length not in (None, n):
        raise ValueError(f"{name}: sd_dist has {length} standard deviations for {n} parameters")
    if isinstance(eta, int | float) and not eta > 0:
        raise ValueError(f"{name}: eta must be positive, got {eta}; 2.0 is weakly informative")


def check_axes(
    name: str, axes: tuple[str, str], labels: list[str], dims: tuple[str, ...], model: pm.Model
) -> None:
    """Refuse labels and dims of the parameters that others have already."""
    for i, label in enumerate(labels):
        if label in labels[:i]:
            raise ValueError(
                f"{name}: two parameters would be labelled {label!r} along {axes[0]!r}; call one "
                "of them something else"
            )
    for axis in axes:
        known = model.coords.get(axis)
        if axis in dims or (axis in model.dim_lengths and list(known or ()) != labels):
            raise ValueError(
                f"{name}: the dim {axis!r} would have the labels {labels} of the parameters, and "
                f"it is taken{'' if known is None else f', with {list(known)}'}; give the family "
                "another name"
            )
