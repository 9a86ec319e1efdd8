"""Log-likelihood of each member at draws of a posterior, its own effects integrated out."""

import warnings

import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Float
from pymc.progress_bar import create_simple_progress

from pymc_dynsys.inference.labels import draws_of
from pymc_dynsys.marginal import refuse
from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.draws import RELIABLE
from pymc_dynsys.marginal.integrate import gauss_hermite
from pymc_dynsys.marginal.laplace import FIRST_ROOT, laplace_members
from pymc_dynsys.marginal.layout import Layout, lay_out
from pymc_dynsys.marginal.modes import Modes, NoMode, find_modes
from pymc_dynsys.marginal.of_posterior import unconstrained
from pymc_dynsys.marginal.owners import find_owners
from pymc_dynsys.marginal.roots import Root, small_root
from pymc_dynsys.marginal.settle import Settled, settle
from pymc_dynsys.reading.labels import shown

TRIED = 8
"""Draws at which ways to integrate are compared."""

NOTHING_TO_INTEGRATE = (
    "Where subjects have no effects of their own, pds.log_likelihood(idata, model=model, "
    "by='trajectory') is the answer; where they have, name the dim, as in"
)


def marginal_log_likelihood(
    idata: xr.DataTree,
    over: str | tuple[str, ...],
    *,
    model: pm.Model | None = None,
    quadrature: int | None = None,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> xr.DataTree:
    r"""Add the log-likelihood of each subject as a new one, its own effects integrated out.

    At each draw :math:`\theta` of the parameters that subjects share, and for each subject i,

    .. math:: \log \int p(y_i \mid u_i, \theta)\, p(u_i \mid \theta)\, du_i .

    With it ``az.loo`` and ``az.compare`` estimate how well a new subject is predicted: they leave
    one subject out. Given the draws of its own effects, which its own data have formed,
    importance sampling fails for most subjects; integrated out they cannot make it fail.

    Parameters
    ----------
    idata : DataTree
        What ``pm.sample`` returned for the model: dims and labels are matched with it.
    over : str or tuple of str
        The dim of what is left out, such as ``"subject"``. The effects are the free variables
        that carry it. Several dims are nested levels from the outer to the inner, such as
        ``("clinic", "patient")``: then clinics are left out, with all their patients.
    model : pm.Model, optional
        The model, with a :class:`Trajectory` or without; None takes that of the ``with`` block.
    quadrature : int, optional
        1 is Laplace's approximation, more is adaptive Gauss-Hermite quadrature with so many nodes
        along each effect. None compares both with a finer integral at eight of the draws, and
        takes the cheapest that differs from it by at most 0.05 nats, added up over subjects. For
        more than two effects per subject it takes Laplace's approximation where that is exact, as
        it is for normal effects that enter linearly, and else importance sampling.
    random_seed : int, optional
        For importance sampling and the points at which independence is proved; None is 0.
    progressbar : bool
        Show the progress.

    Returns
    -------
    DataTree
        A copy of `idata` whose group ``log_likelihood`` holds one variable, dims ``(chain, draw,
        over)``, under the name of the observed variable, or ``observed`` if there are several. It
        takes the place of that group. The attributes are ``integral``, how effects were
        integrated out, and ``integral_error``, by how many nats the sum over subjects may be wrong
        at one draw; NaN where `quadrature` is given, since nothing was compared.

    Raises
    ------
    ValueError
        If no free variable has the dim: nothing is to be integrated out, and
        ``log_likelihood(by="trajectory")`` is the answer. If subjects are not independent given
        the other variables, have more than 40 effects, or a variable is discrete or missing
        from `idata`; or if the effects of a subject have no mode at a draw.
    TypeError
        If `over` names no dim, or `idata` is no DataTree.

    Warns
    -----
    UserWarning
        If importance weights of some subject have a Pareto k above 0.7 at a draw that was tried.

    Notes
    -----
    What depends on effects of one subject only is its own: priors of its effects, its data, and
    elements of potentials. That is found by values, as :func:`fit_marginal` does. Data that belong
    to no subject are left out. Effects of a level that `over` does not name are held at their
    draws: with ``over="patient"`` a new patient of a known clinic is predicted.

    Pareto's k of ``az.loo`` may still be high for a subject that moves the shared parameters by
    itself, as in a study of five. Then fit without it, its data as NaN, and give the draws of that
    fit to this function together with the model that has all data.

    One draw costs what a few gradients per effect cost, so thin draws that are many:
    ``idata.isel(draw=slice(None, None, 4))``.

    References
    ----------
    Merkle, Furr and Rabe-Hesketh (2019), Psychometrika 84, 802-829 (marginal and conditional
    likelihoods, equation 7). Vehtari, Gelman and Gabry (2017), Stat. Comput. 27, 1413-1432.

    Examples
    --------
    >>> import arviz as az, numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> gain = np.array([[28.0, 22.0], [8.0, 14.0], [-3.0, 4.0], [7.0, 1.0], [18.0, 17.0]])
    >>> with pm.Model(coords={"school": list("ABCDE"), "year": [1, 2]}) as model:
    ...     mu, tau = pm.Normal("mu", 0.0, 50.0), pm.HalfNormal("tau", 50.0)
    ...     theta = pm.Normal("theta", mu, tau, dims="school")
    ...     y = pm.Normal("y", theta[:, None], 4.0, observed=gain, dims=("school", "year"))
    ...     idata = pm.sample(300, tune=500, chains=2, nuts_sampler="numpyro", progressbar=False,
    ...                       random_seed=1)
    >>> idata = pds.marginal_log_likelihood(idata, "school", model=model, progressbar=False)
    >>> dict(idata.log_likelihood["y"].sizes)
    {'chain': 2, 'draw': 300, 'school': 5}
    >>> idata.log_likelihood.attrs["integral"]
    "Laplace's approximation"
    """
    draws = draws_of(idata, "posterior")
    seed = 0 if random_seed is None else int(random_seed)
    model = pm.modelcontext(model)
    dims = refuse.check_over(model, over, NOTHING_TO_INTEGRATE)
    refuse.check_model(model)
    layout = lay_out(model, dims)
    refuse.check_size(layout.n_effects)
    if quadrature is not None:
        refuse.check_quadrature(quadrature, layout.n_effects)
    theta, u = unconstrained(layout, model, draws)
    density = Density(layout, priors=True)
    start = layout.flat(layout.point)[0] if u is None else u[0]
    density.owner, density.tree = find_owners(density, start, theta[0], seed)
    walk = Walk(density, theta, u, start)
    settled = _given(quadrature, layout) if quadrature is not None else _chosen(walk, seed)
    if settled.pareto_k is not None and settled.pareto_k.max() > RELIABLE:
        who = layout.members[settled.pareto_k > RELIABLE]
        warnings.warn(
            f"marginal_log_likelihood: {layout.told}: {settled.name} has Pareto k up to "
            f"{settled.pareto_k.max():.2f}, above 0.7, for {shown(who.tolist())}, whose values "
            "are rough; write the model with fewer effects per member, or leave these out by "
            "refits",
            UserWarning,
            stacklevel=2,
        )
    found = np.empty((len(theta), layout.sizes[0]))
    progress = create_simple_progress(progressbar=progressbar)
    with progress:
        task = progress.add_task("Marginal log-likelihood", completed=0, total=len(theta))
        for i in range(len(theta)):
            found[i] = settled.members(density, theta[i], walk.modes(i))
            progress.update(task, completed=i + 1)
        progress.update(task, completed=len(theta), refresh=True)
    out = idata.copy()
    out["log_likelihood"] = xr.DataTree(_labelled(found, layout, model, draws, settled))
    return out


class Walk:
    """Modes of the effects at one draw of the parameters after another.

    Parameters
    ----------
    density : Density
        The log-density with owners.
    theta : array, (draw, parameter)
        The parameters.
    u : array, (draw, entry), or None
        Effects of the posterior.
    start : array, (entry,)
        Where modes are looked for where all else fails.
    """

    def __init__(
        self, density: Density, theta: np.ndarray, u: np.ndarray | None, start: np.ndarray
    ) -> None:
        self.density, self.theta, self.u, self.start = density, theta, u, start
        self._last: Modes | None = None

    def modes(self, draw: int) -> Modes:
        """Modes at a draw: from those of the last one, from the draw's own effects, or afresh."""
        failed = np.zeros(0, int)
        if self._last is not None:
            try:
                return self._found(draw, self._last.u, self._last.root, known=True)
            except NoMode:
                pass
        for u in (self.start if self.u is None else self.u[draw], self.start):
            try:
                small = small_root(self.density.tree, FIRST_ROOT)
                return self._found(draw, u, small, known=False)
            except NoMode as error:
                failed = error.members
        layout = self.density.layout
        raise ValueError(
            f"{layout.told}: the log-density of {shown(layout.members[failed].tolist())} has no "
            f"maximum in its effects that could be found at draw {draw} of {len(self.theta)}; "
            "leave out draws that are not of the posterior, such as those of warm-up, or give "
            "effects a narrower prior"
        )

    def _found(self, draw: int, u: np.ndarray, root: Root, known: bool) -> Modes:
        self._last = find_modes(self.density, self.theta[draw], u, root, known)
        return self._last


def _given(quadrature: int, layout: Layout) -> Settled:
    """The integral that was asked for, whose error nobody knows."""
    if quadrature == 1:
        return Settled("Laplace's approximation", laplace_members, np.nan)
    grid = gauss_hermite(quadrature, layout.widths)
    return Settled(f"quadrature with {quadrature} nodes along each effect", grid.members, np.nan)


def _chosen(walk: Walk, seed: int) -> Settled:
    """The cheapest integral that is exact enough at some of the draws."""
    tried = np.unique(np.linspace(0, len(walk.theta) - 1, TRIED).astype(int))
    return settle(walk.density, [(walk.theta[i], walk.modes(i)) for i in tried], seed)


def _labelled(
    found: Float[np.ndarray, "draw top"],
    layout: Layout,
    model: pm.Model,
    draws: xr.Dataset,
    settled: Settled,
) -> xr.Dataset:
    """The group, with chains apart."""
    over = layout.over[0]
    names = [str(rv.name) for rv in model.observed_RVs]
    shape = draws.sizes["chain"], draws.sizes["draw"], -1
    return xr.Dataset(
        {
            names[0] if len(names) == 1 else "observed": (
                ("chain", "draw", over),
                found.reshape(shape),
            )
        },
        coords={
            "chain": draws["chain"].values,
            "draw": draws["draw"].values,
            over: layout.members,
        },
        attrs={"integral": settled.name, "integral_error": settled.error},
    )
