"""Maximum marginal likelihood: effects integrated out, parameters estimated."""

import time
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
import pymc as pm
import xarray as xr
from pymc.progress_bar import create_simple_progress

from pymc_dynsys.marginal.check import NOTICED, Check, check_integral
from pymc_dynsys.marginal.draws import RELIABLE, draw
from pymc_dynsys.marginal.groups import groups, posterior
from pymc_dynsys.marginal.laplace import LOG_2PI, Answer
from pymc_dynsys.marginal.optimum import Optimum
from pymc_dynsys.marginal.owners import find_owners
from pymc_dynsys.marginal.problem import REACHED, Problem, prepare, search
from pymc_dynsys.marginal.refuse import MOST_NODES, require_count
from pymc_dynsys.marginal.report import Scales, names_at_edge
from pymc_dynsys.marginal.tree import MarginalFit

NOT_THERE = 1e-3
"""Nats left that are told in a warning."""


def fit_marginal(
    model: pm.Model | None,
    over: str | Sequence[str],
    *,
    priors: bool = False,
    quadrature: int = 1,
    check: bool = True,
    draws: int = 0,
    starts: int = 1,
    initvals: Mapping[str, object] | None = None,
    max_steps: int = 200,
    random_seed: int | None = None,
    progressbar: bool = True,
) -> xr.DataTree:
    r"""Estimate the parameters of a hierarchical model in seconds, its effects integrated out.

    The effects :math:`u_i` of each member i of a dim are integrated out, and

    .. math:: l(\theta) = \sum_i \log \int p(y_i \mid u_i, \theta)\, p(u_i \mid \theta)\, du_i

    is maximized over all other free variables :math:`\theta`, as lme4, nlme and TMB do.

    Parameters
    ----------
    model : pm.Model or None
        Any model with a gradient, with a :class:`Trajectory` or without; None takes that of the
        ``with`` block.
    over : str or sequence of str
        The dim whose members are integrated out, such as ``"subject"``. The effects are the free
        variables that carry it, centred or not, of any prior. Several dims are nested levels from
        the outer to the inner, such as ``("clinic", "patient")``; a variable with more than one of
        them belongs to the innermost. Who belongs to whom is found by values.
    priors : bool
        Whether the priors of the parameters count. Without them this is maximum likelihood: flat
        priors, whatever is written in the model. With them it is the mode of the marginal
        posterior in the coordinates in which PyMC samples, logarithms of sds for instance.
    quadrature : int
        1 is Laplace's approximation, exact where effects are normal and enter linearly. More is
        adaptive Gauss-Hermite quadrature with so many nodes along each effect, for one or two;
        with nested levels so many of the inner for each of the outer.
    check : bool
        Whether to compare the integral with a finer one at the optimum, without a new search: by
        quadrature for one or two effects of a member, by importance sampling for more.
    draws : int
        Draws of the posterior to add, with `priors` only: of parameters by importance sampling
        around the mode of their marginal posterior, of effects given these. They are for a first
        look, and for :func:`sample_states` and :func:`forecast`.
    starts : int
        Searches: the first from PyMC's starting point, others from there with PyMC's jitter.
    initvals : mapping, optional
        Where to start, as in ``pm.sample``.
    max_steps : int
        Iterations of L-BFGS-B of each search.
    random_seed : int, optional
        For jitter, importance sampling and the points at which independence is proved; None is 0.
    progressbar : bool
        Show the progress.

    Returns
    -------
    DataTree
        With the dims and coords of the model in the groups

        ``summary``
            The table, ``fit["summary"].to_dataframe()``: estimate, standard error, ends of a 95%
            interval, the shift that the check expects, in standard errors, and whether the
            estimate is at the boundary of what it can be.
        ``estimate``, ``standard_error``
            Parameters, and deterministic variables that depend on them alone.
        ``mode``, ``conditional_sd``
            Effects and all that depends on them: the conditional modes given the estimates, as
            lme4's ``ranef``, and sds given the estimates.
        ``covariance``
            Of the unconstrained parameters, with their ``estimate``.
        ``unconstrained``
            All values as a sampler sees them with a normal distribution around them, which
            :func:`warm_start` uses.
        ``log_likelihood``
            Marginal, of each member of the outermost level; ``error`` is the finer less the used
            one, and ``pareto_k`` that of the importance weights, where there are some.
        ``posterior``
            With `draws`: dims (chain, draw, ...), of equal weight. Its attributes are ``pareto_k``
            of the weights of the parameters and ``ess``, how many independent draws they are
            worth.

        Its attributes are ``log_likelihood``, ``minus_2ll``, ``aic``, ``bic`` (with the log of
        the number of members, the outermost), ``n_parameters``, ``nats_left``, ``boundary``, with
        priors ``log_posterior`` and ``log_evidence`` (by Laplace's approximation over the
        parameters too), with the check ``approximation_error`` in nats and ``largest_shift`` in
        standard errors, with several starts ``starts_at_best``, how many came within 0.01 nats of
        the best, ``gradients`` and ``seconds``.

    Raises
    ------
    ValueError
        If effects cannot be integrated out member by member: nothing has the dim, a term depends
        on several members, levels are crossed, there are effects of another level with a prior of
        their own, discrete variables, imputed data, more than 40 effects a member. If the data say
        nothing of some parameter, or no mode is found where the search starts.
    TypeError
        If `over` is neither the name of a dim nor a sequence of such names.

    Warns
    -----
    UserWarning
        If the check moves an estimate by more than a quarter of its standard error, or off a
        boundary; if a vector may be effects and counts as parameters; if the search ended short
        of the top; if the weights of `draws` have a Pareto k above 0.7.

    Notes
    -----
    Laplace's approximation fails quietly where effects are far from normal given the data: many
    members who say little each of an effect that is not linear. Its error does not shrink with
    more members. That is why the check runs by default; its cure is ``quadrature=9``.

    Intervals are those of the curvature: symmetric for the unconstrained value of each free
    variable. A standard deviation whose best value is zero has estimate 0 and no standard error,
    and so has a correlation whose best value is -1 or 1; other errors are those with it held.
    Log-likelihoods keep their constants. Those of R's nlme and ``nlmer`` are of a linearized
    model, and are not comparable with these.

    Independence of the members is proved by the values of the log-density at random points and at
    the optimum, not symbolically. ``pm.sample`` answers what a curvature cannot: skewed
    posteriors, sds near zero, several modes.

    References
    ----------
    Pinheiro and Bates (1995), J. Comput. Graph. Stat. 4, 12-35 (quadrature, section 2.4).
    Kristensen, Nielsen, Berg, Skaug and Bell (2016), J. Stat. Softw. 70(5) (gradient, equation 5).

    Examples
    --------
    >>> import pymc as pm
    >>> import pymc_dynsys as pds
    >>> gain, error = [28.0, 8.0, -3.0, 70.0, -41.0, 1.0], [5.0, 4.0, 6.0, 4.0, 4.0, 5.0]
    >>> with pm.Model(coords={"school": list("ABCDEF")}) as model:
    ...     mu, tau = pm.Normal("mu", 0.0, 50.0), pm.HalfNormal("tau", 50.0)
    ...     theta = pm.Normal("theta", mu, tau, dims="school")
    ...     y = pm.Normal("y", theta, error, observed=gain, dims="school")
    >>> fit = pds.fit_marginal(model, over="school", progressbar=False)
    >>> fit["summary"].to_dataframe()[["estimate", "standard_error"]].round(2)
    ... # doctest: +NORMALIZE_WHITESPACE
               estimate  standard_error
    parameter
    mu            10.53           13.78
    tau           33.43            9.80
    >>> round(fit.attrs["log_likelihood"], 3)
    -29.616
    """
    began = time.perf_counter()
    seed = 0 if random_seed is None else int(random_seed)
    require_count("draws", draws, 0)
    if draws and not priors:
        raise ValueError(
            "draws: without priors there is no posterior to draw from; add priors=True"
        )
    require_count("starts", starts, 1)
    require_count("max_steps", max_steps, 1)
    problem = prepare(
        model, over, priors=priors, quadrature=quadrature, initvals=initvals, seed=seed
    )
    progress = create_simple_progress(progressbar=progressbar)
    with progress:
        total = starts * max_steps
        task = progress.add_task("Marginal log-likelihood", completed=0, total=total)
        steps = 0

        def tick(answer: Answer) -> None:
            nonlocal steps
            steps += 1
            progress.update(task, completed=min(steps, total - 1), refresh=True)

        marginal, optimum, reached = search(problem, starts, max_steps, seed, tick)
        progress.update(task, completed=total, refresh=True)
    # What was proved at the start may not hold everywhere.
    find_owners(problem.density, optimum.answer.modes.u, optimum.theta, seed)
    checked = check_integral(marginal, optimum, seed) if check else None
    scales = Scales(problem.layout)
    tree, shift = groups(scales, problem.density, optimum, checked)
    if draws:
        drawn = draw(marginal, optimum, draws, seed)
        tree["posterior"] = posterior(scales, drawn)
        if drawn.pareto_k > RELIABLE:
            _say(
                f"the normal distribution at the mode has Pareto k {drawn.pareto_k:.2f}, above "
                "0.7, so its draws are no stand-in for the posterior; use pm.sample"
            )
    fit = MarginalFit.from_dict(tree)
    rows = tree["summary"]["parameter"].values[tree["summary"]["boundary"].values]
    flagged = {str(row).split("[")[0] for row in rows}
    fit.attrs.update(_attrs(problem, optimum, checked, flagged))
    if optimum.nats_left > NOT_THERE:
        _say(
            f"the search ended {optimum.nats_left:.2g} nats below the top, so "
            "estimates and errors are rough; give initvals, starts=4, or more max_steps"
        )
    if starts > 1:
        at_best = int((np.asarray(reached) > max(reached) - REACHED).sum())
        fit.attrs.update(starts=starts, starts_at_best=at_best)
    if shift is not None and checked is not None:
        largest, name = _largest(shift)
        fit.attrs.update(largest_shift=largest)
        _warn(problem, checked, largest, name)
    fit.attrs.update(gradients=problem.density.gradients, seconds=time.perf_counter() - began)
    return fit


def _attrs(
    problem: Problem, optimum: Optimum, checked: Check | None, flagged: set[str]
) -> dict[str, object]:
    """Numbers of the whole fit, of types that files can hold.

    The likelihood is that of the data: what priors of parameters add is taken out of the answer,
    and stands in the log-density of the posterior and the evidence.
    """
    layout, answer = problem.layout, optimum.answer
    p = layout.n_parameters
    prior = problem.density.of_priors(answer.modes.u, optimum.theta)
    value = answer.value - prior
    found: dict[str, object] = {
        "over": layout.over[0] if len(layout.over) == 1 else list(layout.over),
        "n_members": layout.sizes[0],
        "priors": int(problem.priors),
        "integral": problem.integral_name,
        "quadrature": problem.quadrature,
        "n_parameters": p,
        "log_likelihood": value,
        "minus_2ll": -2 * value,
        "aic": 2 * p - 2 * value,
        "bic": p * float(np.log(layout.sizes[0])) - 2 * value,
        "nats_left": optimum.nats_left,
        "boundary": names_at_edge(problem.layout, optimum.edges, flagged),
    }
    if problem.priors:
        log_det = float(np.linalg.slogdet(optimum.hessian)[1])
        found["log_posterior"] = answer.value
        found["log_evidence"] = answer.value + p * LOG_2PI / 2 - log_det / 2
    if checked is not None:
        found["check"] = checked.name
        found["approximation_error"] = checked.total
    return found


def _largest(shift: dict[str, np.ndarray]) -> tuple[float, str]:
    """The largest shift with its sign removed, and whose it is."""
    sizes = {n: np.abs(v[np.isfinite(v)]).max(initial=0.0) for n, v in shift.items()}
    name = max(sizes, key=lambda n: sizes[n], default="")
    return float(sizes.get(name, 0.0)), name


def _warn(problem: Problem, checked: Check, largest: float, name: str) -> None:
    """Warn where the finer integral says something else."""
    q, rough = problem.layout.n_effects, problem.integral_name
    remedy = (
        "take quadrature=9, or more nodes than now"
        if 9**q <= MOST_NODES
        else "sample with pm.sample, or fit with fewer effects a member and quadrature=9"
    )
    names = problem.layout.coordinates()
    for j, (gain, at) in checked.escapes.items():
        text = f"finds {names[j]} = {at:.2f} better by {gain:.1f} nats than its boundary"
        _say(f"{checked.name} {text}, so {rough} is too rough here; {remedy}")
    if largest > NOTICED:
        text = f"moves {name} by {largest:.2f} standard errors"
        _say(f"{checked.name} {text}, so {rough} is too rough here; {remedy}")


def _say(text: str) -> None:
    warnings.warn(f"fit_marginal: {text}", UserWarning, stacklevel=4)
