"""A model made ready for marginal fits: layout, density with owners, and how it is integrated."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pymc as pm
from pymc.distributions.transforms import CholeskyCovPacked

from pymc_dynsys.marginal import refuse
from pymc_dynsys.marginal.density import Density
from pymc_dynsys.marginal.integrate import gauss_hermite
from pymc_dynsys.marginal.laplace import Integral, Marginal, laplace
from pymc_dynsys.marginal.layout import Layout, lay_out
from pymc_dynsys.marginal.optimum import LEFT, NotFinite, Optimum, Tick, climb, finish
from pymc_dynsys.marginal.owners import find_owners
from pymc_dynsys.marginal.report import is_elementwise

LEFT_BY_NODES = 1e-6
"""Nats left that are few enough where a gradient is that of few nodes, which is not exact."""

REACHED = 1e-2
"""Nats within which a start counts as having reached the best value."""


@dataclass(frozen=True, eq=False)
class Problem:
    """A model whose effects can be integrated out member by member.

    Attributes
    ----------
    layout : Layout
        Effects and parameters.
    density : Density
        Its log-density, with owners.
    priors : bool
        Whether priors of parameters count.
    integral, integral_name, quadrature : callable, str, int
        How effects are integrated out, and with how many nodes.
    left : float
        Nats left at which a search ends.
    u, theta : arrays
        The starting point.
    initvals : mapping, optional
        From which it was made.
    """

    layout: Layout
    density: Density
    priors: bool
    integral: Integral
    integral_name: str
    quadrature: int
    left: float
    u: np.ndarray
    theta: np.ndarray
    initvals: Mapping[str, object] | None

    def marginal(self, u: np.ndarray | None = None) -> Marginal:
        """The marginal log-likelihood, whose modes are first looked for at u."""
        return Marginal(self.density, self.u if u is None else u, self.integral)

    def may_be_at_edge(self, position: int) -> bool:
        """Whether an entry of theta may be infinite.

        It may where it is transformed by itself, and where it is the logarithm of a diagonal entry
        of a Cholesky factor: of two effects, the last is zero where their correlation is -1 or 1.
        """
        block, model = self.layout.owner(position), self.layout.model
        transform = model.rvs_to_transforms[model[block.name]]
        if isinstance(transform, CholeskyCovPacked):
            place = (position - block.first) % block.shape[-1]
            return place in np.cumsum(np.arange(1, block.shape[-1] + 1)) - 1
        return transform is not None and is_elementwise(model, block.name)

    def finish(
        self,
        marginal: Marginal,
        theta: np.ndarray,
        sds: np.ndarray,
        tick: Tick,
    ) -> Optimum:
        """The optimum near a point, by Newton's steps."""
        answer = marginal(theta)
        if answer is None:
            raise NotFinite
        names = self.layout.coordinates()
        return finish(marginal, theta, answer, sds, self.may_be_at_edge, names, self.left, tick)

    def nowhere(self, marginal: Marginal) -> ValueError:
        """The error for a search that cannot begin or go on."""
        model, over = self.layout.model, self.layout.told
        logps = model.point_logps(self.layout.point)
        bad = ", ".join(name for name, logp in logps.items() if not np.isfinite(logp))
        if bad:
            return ValueError(
                f"initvals: the log-density of {bad} is not finite at the start; give initvals "
                "where it is, or see model.debug()"
            )
        who = [repr(self.layout.members[i].item()) for i in marginal.failed[:5]]
        return ValueError(
            f"{over}: the log-density of {', '.join(who) or 'some members'} has no maximum "
            f"in their effects that could be found, among {self.layout.sizes[0]} members; give "
            "initvals nearer to the data, or a prior to each effect"
        )


def prepare(
    model: pm.Model | None,
    over: object,
    *,
    priors: bool,
    quadrature: int,
    initvals: Mapping[str, object] | None,
    seed: int,
) -> Problem:
    """Check a model and its arguments, compile its gradient, and prove who is independent.

    Raises ValueError or TypeError as :func:`fit_marginal` does.
    """
    model = pm.modelcontext(model)
    dims = refuse.check_over(model, over)
    refuse.check_model(model)
    refuse.refuse_other_levels(model, dims)
    refuse.check_initvals(model, initvals)
    layout = lay_out(model, dims)
    refuse.check_size(layout.n_effects)
    if not priors:
        refuse.warn_of_other_levels(layout)
    integral, name, left = _integral(quadrature, layout)
    density = Density(layout, priors)
    u, theta = layout.start(initvals, seed, jitter=False)
    density.owner, density.tree = find_owners(density, u, theta, seed)
    return Problem(layout, density, priors, integral, name, quadrature, left, u, theta, initvals)


def _integral(quadrature: int, layout: Layout) -> tuple[Integral, str, float]:
    """How to integrate, what to call it, and how near its optimum can be approached."""
    refuse.check_quadrature(quadrature, layout.n_effects)
    if quadrature == 1:
        return laplace, "Laplace's approximation", LEFT
    return (
        gauss_hermite(quadrature, layout.widths),
        f"quadrature with {quadrature} nodes",
        LEFT_BY_NODES,
    )


def search(
    problem: Problem, starts: int, max_steps: int, seed: int, tick: Tick
) -> tuple[Marginal, Optimum, list[float]]:
    """The best optimum of several starts, and the log-likelihoods that they reached.

    The first start is PyMC's, the others are jittered; a start without a finite log-likelihood
    counts as minus infinity.
    """
    found: list[tuple[float, np.ndarray, np.ndarray, np.ndarray]] = []
    reached: list[float] = []
    marginal = problem.marginal()
    for k in range(starts):
        u, theta = problem.u, problem.theta
        if k:
            u, theta = problem.layout.start(problem.initvals, seed + k, jitter=True)
        marginal = problem.marginal(u)
        try:
            theta, answer, sds = climb(marginal, theta, max_steps, tick)
        except NotFinite:
            reached.append(-np.inf)
            continue
        reached.append(answer.value)
        found.append((answer.value, theta, answer.modes.u, sds))
    if not found:
        raise problem.nowhere(marginal)
    _, theta, u, sds = max(found, key=lambda entry: entry[0])
    marginal = problem.marginal(u)
    try:
        optimum = problem.finish(marginal, theta, sds, tick)
    except NotFinite:
        raise problem.nowhere(marginal) from None
    return marginal, optimum, reached
