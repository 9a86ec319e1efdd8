"""Between centred and non-centred, without rewriting the model: ``reparametrize``."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pymc as pm
import xarray as xr
from pytensor.graph.basic import Variable

from pymc_dynsys.bridge.learnt_guide import paths_to_learn, with_learnt_guides
from pymc_dynsys.bridge.probe import initial_point
from pymc_dynsys.effects.eligible import checked, eligible, refuse_initvals, refuse_unused
from pymc_dynsys.effects.information import information_shares
from pymc_dynsys.effects.partly_centered import partly_centered
from pymc_dynsys.effects.terms import refuse_taken
from pymc_dynsys.reading.labels import in_order
from pymc_dynsys.reading.values import as_float

_logger = logging.getLogger(__name__)

POINTS_OF_GUIDES = 5
"""Draws over which the guide of a path is averaged."""


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
    r"""The same model, its centred normal effects moved towards the non-centred form, paths guided.

    :math:`\theta_k \sim N(\mu_k, \tau_k^2)` becomes

    .. math::

        \eta_k \sim N(\lambda_k \mu_k, \tau_k^{2 \lambda_k}), \qquad
        \theta_k = \mu_k + \tau_k^{1 - \lambda_k} (\eta_k - \lambda_k \mu_k),

    which has the distribution of :math:`\theta` for every :math:`\lambda_k`: 1 is centred, 0
    non-centred.
    Each member gets its own :math:`\lambda_k`. A :class:`Path` with ``Guided()`` gets the guide
    that its data make. The posterior is that of the given model; what changes is how easily it is
    sampled.

    Parameters
    ----------
    model : Model, optional
        Any PyMC model; the one of the ``with`` block by default. It is not changed. A nested one
        stands for the whole.
    var_names : str or sequence of str, optional
        Which variables; by default every free ``pm.Normal`` whose mean or sd is random, and every
        path with ``parametrization=Guided()``.
    centeredness : float or dict, optional
        The :math:`\lambda` between 0 and 1, for all variables or by name (a number, or an array or
        DataArray over the variable's dims). By default they are learnt, see Notes.
    tune, draws : int, optional
        Length of the short run of NUTS from which they, and guides, are learnt.
    random_seed : int, optional
        Seed of that run.
    progressbar : bool, optional
        Show its progress.

    Returns
    -------
    Model
        A new model with the same variables, dims and data. ``theta`` is now a deterministic; what
        is sampled is ``theta_offset`` (:math:`\eta`), and :math:`\lambda` is the data variable
        ``theta_centeredness``. A path ``x`` keeps its normals; its guide are the data variables
        ``x_guide_information``, ``x_guide_precision`` and ``x_guide_reference``.

    Raises
    ------
    ValueError
        If there is nothing to reparametrize, for variables that are not free normal ones (a
        non-centred one already is what it can be), for values outside [0, 1], for models with
        ``initval``, if the short run fails, and for paths that no data depend on or whose data are
        impossible at the start.

    See Also
    --------
    pymc_dynsys.effects.varying : where a model can be written either way.
    pymc_dynsys.Guided : where a path can be.

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

    The guide of a path is Laplace's: all that depends on the path is a log-density of its states,
    of which Newton's method finds the mode, and slopes and curvatures there are those of Gaussian
    pseudo-data. That is exact for Gaussian data of a linear path. It is done where the model
    begins, for the short run, and at five of its draws, over which the guide is averaged. A datum
    that sees several visits, such as a weekly mean, is taken for one of each, roughly.

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
    refuse_initvals(model)
    if isinstance(var_names, str | Variable):
        var_names = [var_names]
    chosen = None if var_names is None else [checked(model, n) for n in var_names]
    every = [*eligible(model), *paths_to_learn(model)] if chosen is None else chosen
    paths = [name for name in paths_to_learn(model) if name in every]
    names = [name for name in dict.fromkeys(every) if name not in paths]
    if not every:
        raise ValueError(
            "reparametrize: the model has no free pm.Normal whose mean or sd is random, and no "
            "path with parametrization=pds.Guided(); effects that are non-centred need nothing, "
            "and others have no such form"
        )
    for name in names:
        refuse_taken(name, [f"{name}_offset", f"{name}_centeredness"], model)
    values = None
    if centeredness is not None:
        values = {name: _chosen(model, name, centeredness) for name in names}
        refuse_unused(model, names, centeredness)
    if values is None or paths:
        model, values = _learn(model, names, paths, values, tune, draws, random_seed, progressbar)
    for name in names:
        model = partly_centered(model, name, values[name])
    return model


def _learn(
    model: pm.Model,
    names: list[str],
    paths: list[str],
    chosen: dict[str, np.ndarray] | None,
    tune: int,
    draws: int,
    random_seed: Any,
    progressbar: bool,
) -> tuple[pm.Model, dict[str, np.ndarray]]:
    """The model with its paths guided, and by name how far each member is centred.

    In order: paths are guided by what data say of them at the initial point, variables are centred
    as chosen or half way, and NUTS makes a short run of that model. Guides and the shares of what
    is known of each member that its data say are averages over its draws.
    """
    if tune < 0 or draws < 2:
        raise ValueError(f"reparametrize: expected draws >= 2 and tune >= 0, got {draws}, {tune}")
    if model.discrete_value_vars:
        raise ValueError(
            f"reparametrize: {model.values_to_rvs[model.discrete_value_vars[0]].name!r} is "
            "discrete, and the short run is of NUTS, which needs a gradient; give centeredness, "
            "and guides of paths, pds.Guided(values, sd)"
        )
    for path in paths:
        model = with_learnt_guides(model, [path], [initial_point(model)])
    pilot = model
    for name in names:
        half = np.full(_shape(model, name), 0.5)
        pilot = partly_centered(pilot, name, half if chosen is None else chosen[name])
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
    guided = with_learnt_guides(model, paths, _points(model, posterior)) if paths else model
    if chosen is not None:
        return guided, chosen
    # Normals of the run were counted from the guides that it had.
    shares = information_shares(model, names, posterior) if names else {}
    for name, values in shares.items():
        if not values.size:
            continue
        _logger.info(
            "%s: centeredness %.2f to %.2f (0 is non-centred, 1 centred)",
            name,
            values.min(),
            values.max(),
        )
    return guided, shares


def _points(model: pm.Model, posterior: xr.Dataset) -> list[dict[str, np.ndarray]]:
    """Values of the free variables of a model at some draws, evenly spread."""
    at = np.linspace(0, posterior.sizes["draw"] - 1, POINTS_OF_GUIDES).round().astype(int)
    free = [rv.name for rv in model.free_RVs]
    return [{n: np.asarray(posterior[n].isel(draw=i).values) for n in free} for i in at]


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
