"""A parameter that differs between members of one population: ``varying``."""

from typing import Any

import numpy as np
import pymc as pm
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.data import current_value
from pymc_dynsys.effects.scales import Scale, require_scale
from pymc_dynsys.effects.terms import Layout, refuse_taken
from pymc_dynsys.reading.values import as_float


def varying(
    name: str,
    mean: Any,
    sd: Any,
    *,
    dims: Any,
    within: Any = None,
    centered: bool = False,
    scale: Scale | None = None,
) -> Any:
    r"""A parameter of each member of a population, partially pooled.

    :math:`\theta_i = g^{-1}(\eta_i)` with :math:`\eta_i \sim N(\mu_i, \tau_i^2)`; non-centred,
    :math:`\eta_i = \mu_i + \tau_i z_i` with :math:`z_i \sim N(0, 1)`. Both are the same
    distribution of :math:`\theta`; what differs is what the sampler moves.

    Parameters
    ----------
    name : str
        Name of the parameter. On a scale, :math:`\eta` is named ``log_<name>`` or
        ``logit_<name>``; non-centred, :math:`z` is ``<name>_offset``.
    mean : variable, number, DataArray, or list of them
        The mean :math:`\mu` on the scale; several terms are added, such as a population's mean
        and the effect of covariates. It may be over the same dims, fewer, or coarser ones: a
        ``varying`` of groups makes a nested model.
    sd : variable, number or DataArray
        The sd :math:`\tau > 0` on the scale, of the members around their mean.
    dims : str or tuple of str
        Dims of the members.
    within : DataArray, Series, list of them, or dict, optional
        Which group each member belongs to, where `mean` or `sd` are over groups: a column of the
        table, ``panel["clinic_of_subject"]``, or ``{"clinic": labels}``. Groups may be unequal.
    centered : bool, optional
        Let the sampler move :math:`\eta` itself. That is the faster way if each member has many
        data, by a factor of 5 to 15 in panels with hundreds of data a subject; with few, the
        posterior is a funnel, which the non-centred form (the default) straightens.
        :func:`~pymc_dynsys.reparametrize` finds out for a centred one, and the log of a
        :class:`~pymc_dynsys.Trajectory` says where many data meet the non-centred form.
    scale : Log or Logit, optional
        Scale on which the members are normal; their own by default.

    Returns
    -------
    TensorVariable
        The parameter, an ordinary variable of the model with the dims `dims`.

    Raises
    ------
    TypeError, ValueError
        For a constant `sd` that is not positive, arrays without names of their axes, dims that
        `within` does not speak of, labels that the model does not have, and names that are taken.

    See Also
    --------
    correlated : several parameters whose differences go together.
    combine : a sum of effects without differences around it.

    References
    ----------
    Papaspiliopoulos, Roberts and Sköld (2007). A general framework for the parametrization of
    hierarchical models. Statistical Science 22, 59-73.

    Examples
    --------
    Subjects in clinics of unequal size, whose rates are positive:

    >>> import pymc as pm
    >>> from pymc_dynsys import effects
    >>> with pm.Model(coords={"clinic": ["n", "s"], "subject": ["a", "b", "c"]}) as model:
    ...     overall = pm.Normal("overall", 0.0, 1.0)
    ...     clinic = effects.varying("clinic_mean", overall, 0.5, dims="clinic", centered=True)
    ...     sd = pm.HalfNormal("sd", 1.0)
    ...     rate = effects.varying(
    ...         "rate",
    ...         clinic,
    ...         sd,
    ...         dims="subject",
    ...         within={"clinic": ["n", "s", "s"]},
    ...         scale=effects.Log(),
    ...     )
    >>> [variable.name for variable in model.free_RVs]
    ['overall', 'clinic_mean', 'sd', 'rate_offset']
    >>> [variable.name for variable in model.deterministics]
    ['log_rate', 'rate']
    """
    model = pm.modelcontext(None)
    if scale is not None:
        require_scale(name, "scale", scale)
    inner = f"{scale.prefix}_{name}" if scale else name
    refuse_taken(name, [name, inner, f"{name}_offset"], model)
    layout = Layout(name, dims, within, model)
    require_positive(name, "sd", sd)
    mu, tau = layout.total("mean", mean), layout.place("sd", sd)
    layout.require_used()
    if centered:
        value = pm.Normal(inner, mu, tau, dims=layout.dims)
    else:
        offset = pm.Normal(f"{name}_offset", 0.0, 1.0, dims=layout.dims)
        value = pm.Deterministic(inner, mu + tau * offset, dims=layout.dims)
    return pm.Deterministic(name, scale.inverse(value), dims=layout.dims) if scale else value


def require_positive(name: str, role: str, sd: Any) -> None:
    """Raise for a constant standard deviation that is none."""
    if isinstance(sd, list | tuple | dict):
        raise TypeError(f"{name}: {role} must be one variable, number or DataArray; got {sd!r}")
    if sd is None or isinstance(sd, str):
        return  # refused where it is placed, as a mean is
    values = getattr(sd, "values", sd)  # of an array with dims
    if isinstance(values, Variable):
        values = current_value(values)
    if values is None:
        return
    numbers = as_float(f"{name}: {role}", values)
    if not np.all(numbers > 0):
        raise ValueError(
            f"{name}: {role} must be positive, got {np.min(numbers)}; for members that do not "
            "differ write effects.combine instead"
        )
