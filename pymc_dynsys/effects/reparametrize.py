"""Between centred and non-centred, without rewriting the model: ``reparametrize``."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
from pytensor.graph.basic import Variable
from pytensor.graph.traversal import ancestors
from pytensor.tensor.random.basic import NormalRV

from pymc_dynsys.effects.information import information_shares
from pymc_dynsys.effects.partly_centered import partly_centered
from pymc_dynsys.effects.terms import refuse_taken
from pymc_dynsys.reading.labels import in_order
from pymc_dynsys.reading.values import as_float

_logger = logging.getLogger(__name__)


def reparametrize(
    model: pm.Model | None = None,
    var_names: str | Sequence[str] | None = None,
    *,
    centeredness: float | Mapping[str, Any] | None = None,
    tune: int = 300,
    draws: int = 100,
    random_seed: Any = None,
    progressbar: bool = True,
) -> pm.Model:
    r"""The same model, with its centred normal effects moved towards the non-centred form.

    :math:`\theta_k \sim N(\mu_k, \tau_k^2)` becomes

    .. math::

        \eta_k \sim N(\lambda_k \mu_k, \tau_k^{2 \lambda_k}), \qquad
        \theta_k = \mu_k + \tau_k^{1 - \lambda_k} (\eta_k - \lambda_k \mu_k),

    which has the distribution of :math:`\theta` for every :math:`\lambda_k`: 1 is centred, 0
    non-centred.
    Each member gets its own :math:`\lambda_k`. The posterior is that of the given model; what
    changes is how easily it is sampled.

    Parameters
    ----------
    model : Model, optional
        Any PyMC model; the one of the ``with`` block by default. It is not changed. A nested one
        stands for the whole.
    var_names : str or sequence of str, optional
        Which variables; by default every free ``pm.Normal`` whose mean or sd is random.
    centeredness : float or dict, optional
        The :math:`\lambda` between 0 and 1, for all variables or by name (a number, or an array or
        DataArray over the variable's dims). By default they are learnt, see Notes.
    tune, draws : int, optional
        Length of the short run of NUTS from which they are learnt.
    random_seed : int, optional
        Seed of that run.
    progressbar : bool, optional
        Show its progress.

    Returns
    -------
    Model
        A new model with the same variables, dims and data. ``theta`` is now a deterministic; what
        is sampled is ``theta_offset`` (:math:`\eta`), and :math:`\lambda` is the data variable
        ``theta_centeredness``.

    Raises
    ------
    ValueError
        If there is nothing to reparametrize, for variables that are not free normal ones (a
        non-centred one already is what it can be), for values outside [0, 1], for models with
        ``initval``, and if the short run fails.

    See Also
    --------
    pymc_dynsys.effects.varying : where a model can be written either way.

    Notes
    -----
    If all but its prior says :math:`N(m_k, v_k)` of :math:`\theta_k`, then given the
    hyperparameters it is normal with the variance :math:`w_k v_k`, where
    :math:`w_k = \tau_k^2 / (\tau_k^2 + v_k)`. That of :math:`\eta_k` is
    :math:`\tau_k^{2 (\lambda_k - 1)} w_k v_k`, whose logarithm has the derivative
    :math:`2 (\lambda_k - w_k)` by :math:`\log \tau_k`: at :math:`\lambda_k = w_k` the funnel is
    gone. Its neck, where :math:`\tau_k` is smallest, is where samplers fail, and a short run may
    not have been there. So learnt is :math:`w_k` at the smallest :math:`\tau_k` that data of normal
    members with these :math:`m_k, v_k` would not exclude (down to a density of 1e-4 of the largest,
    under a flat prior): where they exclude none, the member is non-centred. It is the 10% quantile
    over twenty draws, with :math:`1 / v_k` from second derivatives of the log-density (differences
    of its gradient along random signs, exact where members are independent given the rest). The
    lowest level is measured first, and each level with those below it in the form that was found
    for them.

    References
    ----------
    Papaspiliopoulos, Roberts and Sköld (2003). Non-centered parameterisations for hierarchical
    models and data augmentation. Bayesian Statistics 7, 307-326. (Partial centring by
    :math:`w_k`.)

    Gorinova, Moore and Hoffman (2020). Automatic reparameterisation of probabilistic programs.
    ICML. (This form, with :math:`\lambda` learnt by variational inference.)

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model(coords={"school": ["a", "b", "c"]}) as centred:
    ...     mu, tau = pm.Normal("mu", 0.0, 5.0), pm.HalfCauchy("tau", 5.0)
    ...     theta = pm.Normal("theta", mu, tau, dims="school")
    ...     pm.Normal("y", theta, [15.0, 10.0, 16.0], observed=[28.0, 8.0, -3.0], dims="school")
    y
    >>> model = pds.reparametrize(centred, random_seed=1, progressbar=False)
    >>> sorted(variable.name for variable in model.free_RVs)
    ['mu', 'tau', 'theta_offset']
    >>> bool((model["theta_centeredness"].get_value() < 0.5).all())
    True
    """
    model = pm.modelcontext(model).root
    _refuse_initvals(model)
    if isinstance(var_names, str | Variable):
        var_names = [var_names]
    chosen = None if var_names is None else [_checked(model, n) for n in var_names]
    names = _eligible(model) if chosen is None else list(dict.fromkeys(chosen))
    if not names:
        raise ValueError(
            "reparametrize: the model has no free pm.Normal whose mean or sd is random; those that "
            "are non-centred need nothing, and others have no such form"
        )
    for name in names:
        refuse_taken(name, [f"{name}_offset", f"{name}_centeredness"], model)
    if centeredness is None:
        values = _learn(model, names, tune, draws, random_seed, progressbar)
    else:
        values = {name: _chosen(model, name, centeredness) for name in names}
        _refuse_unused(model, names, centeredness)
    for name in names:
        model = partly_centered(model, name, values[name])
    return model


def _learn(
    model: pm.Model, names: list[str], tune: int, draws: int, random_seed: Any, progressbar: bool
) -> dict[str, np.ndarray]:
    """The share of what is known of each member that its data say, by name, like the variables.

    In order: all variables are centred half way, NUTS makes a short run of that model, and the
    shares are averages over its draws.
    """
    if tune < 0 or draws < 2:
        raise ValueError(f"reparametrize: expected draws >= 2 and tune >= 0, got {draws}, {tune}")
    if model.discrete_value_vars:
        raise ValueError(
            f"reparametrize: {model.values_to_rvs[model.discrete_value_vars[0]].name!r} is "
            "discrete, and the short run is of NUTS, which needs a gradient; give centeredness"
        )
    pilot = model
    for name in names:
        pilot = partly_centered(pilot, name, np.full(_shape(model, name), 0.5))
    posterior = pm.sample(
        draws=draws,
        tune=tune,
        chains=1,
        nuts_sampler="numpyro",
        random_seed=random_seed,
        progressbar=progressbar,
        compute_convergence_checks=False,
        model=pilot,
    )["posterior"].dataset.isel(chain=0)
    for name in names:
        if not (posterior[name].std("draw") > 0).all():
            raise ValueError(
                f"reparametrize: the short run did not move {name!r}, so nothing can be learnt "
                "from it; try a longer tune, or give centeredness"
            )
    shares = information_shares(model, names, posterior)
    for name, values in shares.items():
        if not values.size:
            continue
        _logger.info(
            "%s: centeredness %.2f to %.2f (0 is non-centred, 1 centred)",
            name,
            values.min(),
            values.max(),
        )
    return shares


def _eligible(model: pm.Model) -> list[str]:
    """Free normal variables whose mean or sd is random, offsets of an earlier call left out."""
    names = [rv.name for rv in model.free_RVs if not _objection(model, rv.name)]
    return [n for n in names if f"{n.removesuffix('_offset')}_centeredness" not in model.named_vars]


def _refuse_initvals(model: pm.Model) -> None:
    for variable, value in model.rvs_to_initial_values.items():
        if value is not None:
            raise ValueError(
                f"reparametrize: {variable.name!r} has an initval, which a new model cannot keep; "
                "leave it out, and give pm.sample(initvals=...) if the start matters"
            )


def _refuse_unused(model: pm.Model, names: list[str], centeredness: Any) -> None:
    """Raise for values of variables that are not reparametrized."""
    for name in centeredness if isinstance(centeredness, Mapping) else ():
        if name not in names:
            objection = _objection(model, name) or "it is not among var_names"
            raise ValueError(f"reparametrize: centeredness has {name!r}: {objection}")


def _objection(model: pm.Model, name: str) -> str | None:
    """Why a variable has no other form, if so."""
    variable = model.named_vars.get(name)
    if variable is None:
        return f"the model has no such variable; it has {', '.join(map(repr, model.named_vars))}"
    if variable in model.deterministics:
        return (
            "it is a deterministic, and a non-centred effect already is what it can be; build it "
            "with centered=True to have its centeredness learnt"
        )
    if variable not in model.free_RVs:
        return "it is observed or data, not a free variable"
    if not isinstance(variable.owner.op, NormalRV):
        return (
            f"its distribution is {variable.owner.op.name or type(variable.owner.op).__name__}, "
            "and only pm.Normal has the other form"
        )
    if model.rvs_to_transforms.get(variable) is not None:
        return "it has a transform, such as an ordering"
    free = set(model.free_RVs)
    if not free & set(ancestors(variable.owner.op.dist_params(variable.owner))):
        return "its mean and sd are fixed, so it has no hierarchy to be free of"
    return None


def _checked(model: pm.Model, name: Any) -> str:
    name = getattr(name, "name", name)
    objection = _objection(model, name)
    if objection:
        raise ValueError(f"reparametrize: {name!r}: {objection}")
    return name


def _chosen(model: pm.Model, name: str, centeredness: Any) -> np.ndarray:
    """What the user says of one variable, over its dims."""
    if isinstance(centeredness, Mapping):
        if name not in centeredness:
            raise ValueError(
                f"reparametrize: centeredness says nothing of {name!r}; add it, or leave it out "
                f"with var_names={[n for n in centeredness]}"
            )
        centeredness = centeredness[name]
    role, dims = f"centeredness of {name!r}", model.named_vars_to_dims.get(name) or ()
    values = as_float(role, centeredness)
    if values.ndim:  # else one number for all
        values = as_float(role, in_order(role, centeredness, dims, dict(model.coords)))
    shape = _shape(model, name)
    if values.shape not in ((), shape):
        raise ValueError(
            f"reparametrize: {role} has shape {values.shape}, and {name!r} has {shape}"
        )
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError(
            f"reparametrize: {role} must be between 0 (non-centred) and 1 (centred), got "
            f"{values[~((values >= 0) & (values <= 1))].flat[0]}"
        )
    return np.array(np.broadcast_to(values, shape))


def _shape(model: pm.Model, name: str) -> tuple[int, ...]:
    return tuple(int(n) for n in model[name].shape.eval(mode="FAST_COMPILE"))
