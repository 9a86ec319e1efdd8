"""The most probable path given the data, by Newton's method with a line search.

Where minus the Hessian is not positive definite a turn is taken again with what the data curve
towards their maximum only. A step that was cut, or was taken with such a curvature, is never the
last one.

A Gaussian datum whose noise grows with the state has two explanations where it is far off: the
state is near it, or it is so large that the noise is. Newton's method finds the one that it begins
next to. So in the first turn that noise is held where the path begins, which leaves the first one.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from pymc_dynsys.likelihoods.laplace.path import Path
from pymc_dynsys.likelihoods.laplace.riccati import Curving, Step, adjoint, newton
from pymc_dynsys.likelihoods.laplace.sight import Sight
from pymc_dynsys.linalg.written import inner, total

CLOSE = 1e-8
"""Decrement in nats of a full step after which the next one would change nothing."""

SMALLEST_PIVOT = 1e-2
"""Smallest pivot of minus the Hessian with which a step is taken; of the normals alone it is 1."""

ROUNDING = 1e-13
"""Loss by rounding that a step may bring, in units of the log-densities' sizes."""

ROUNDING_OF_TERMS = 1e-6
"""Loss in nats that the last step may bring: a log-density near -8 of a count of a million is the
difference of terms of ten millions.
"""

CUTS = 40
"""Most cuts of a step."""


OFF_ZERO = 1e-3
"""Size of the normals that a search begins with.

Some log-densities are written with a kink at zero whose slope JAX takes for one of its sides, such
as numpyro's of a Bernoulli distribution with logits; states that are all zero are not rare.
"""


class Mode(NamedTuple):
    """A path, whether Newton's method came to rest there, and after how many turns."""

    z: Float[Array, "stage noise"]
    x: Float[Array, "stage state"]
    found: Bool[Array, ""]
    turns: Int[Array, ""]


class _Turn(NamedTuple):
    """Where a search is: its path, and what the last turn found."""

    z: Array
    x: Array
    turns: Array
    cautious: Array
    found: Array
    failed: Array


class _Trial(NamedTuple):
    """A share of a step, what it gains, the share to be tried next, and where this one leads."""

    gain: Array
    share: Array
    smaller: Array
    cuts: Array
    z: Array
    x: Array


def find_mode(path: Path, sight: Sight, most: int) -> Mode:
    """The most probable path of one trajectory, in at most so many turns; it has no slopes."""

    def goes_on(turn: _Turn) -> Array:
        return (turn.turns < most) & ~turn.found & ~turn.failed

    def take(turn: _Turn) -> _Turn:
        z, x = turn.z, turn.x
        first = turn.turns == 0 if sight.noise_moves else jnp.zeros((), bool)
        slopes = sight.slopes(path.rows(x), first if sight.noise_moves else None)
        W = jnp.where(turn.cautious, _positive_part(slopes.W, sight.through_one), slopes.W)
        stages, g = path.stages(x, z), path.at_stages(slopes.g)
        curving = path.curving(x, z, adjoint(stages.F, g)) if not path.affine else None
        if curving is not None:
            curving = Curving(*(jnp.where(turn.cautious, 0.0, M) for M in curving))
        factor, step = newton(stages, path.at_stages(W), g, z, curving)
        definite = (factor.D > SMALLEST_PIVOT).all()
        step = jax.tree.map(lambda leaf: jnp.where(definite, leaf, 0.0), step)
        z, x, share = _line_search(path, sight, (z, x), step, slopes.density)
        full = definite & (share == 1) & ~turn.cautious & ~first
        found = full & (step.decrement <= CLOSE)
        failed = (turn.cautious & ~definite) | ((share == 0) & ~first)
        return _Turn(z, x, turn.turns + 1, ~definite, found, failed)

    n, w = path.shape
    z = OFF_ZERO * jnp.sin(jnp.arange(1.0, n * w + 1)).reshape(n, w)
    no = jnp.zeros((), bool)
    turn = _Turn(z, path.roll(z), jnp.zeros((), int), no, no, no)
    end = jax.lax.while_loop(goes_on, take, turn)
    return Mode(end.z, end.x, end.found, end.turns)


def _line_search(
    path: Path,
    sight: Sight,
    at: tuple[Array, Array],
    step: Step,
    density: Float[Array, " row"],
) -> tuple[Array, Array, Array]:
    """Path after the largest share of a step that gains enough, and that share; zero: none does.

    Halved where it gains too little, quartered where the log-density is not finite (Nocedal and
    Wright 2006, sec. 3.1).
    """
    z, x = at
    here = total(density) - 0.5 * inner(z, z)
    slack = ROUNDING * (1 + total(jnp.abs(density)))
    slack = jnp.where(step.decrement <= CLOSE, jnp.maximum(slack, ROUNDING_OF_TERMS), slack)

    def enough(gain: Array, share: Array) -> Array:
        return gain >= 1e-4 * share * step.decrement - slack

    def goes_on(trial: _Trial) -> Array:
        return ~enough(trial.gain, trial.share) & (trial.cuts < CUTS)

    def try_next(trial: _Trial) -> _Trial:
        share = trial.smaller
        after = z + share * step.dz
        states = x + share * step.dx if path.affine else path.roll(after)
        gain = total(sight.density(path.rows(states))) - 0.5 * inner(after, after) - here
        smaller = share * jnp.where(jnp.isfinite(gain), 0.5, 0.25)
        return _Trial(gain, share, smaller, trial.cuts + 1, after, states)

    one = jnp.ones(())
    start = _Trial(jnp.full((), -jnp.inf), one, one, jnp.zeros((), int), z, x)
    end = jax.lax.while_loop(goes_on, try_next, start)
    return end.z, end.x, jnp.where(enough(end.gain, end.share), end.share, 0.0)


def _positive_part(
    W: Float[Array, "row state state"], through_one: bool
) -> Float[Array, "row state state"]:
    """Curvatures that are positive semi-definite: of one number that is seen the positive part.

    Of several, each diagonal entry is raised to the sum of the others in its row, by Gershgorin's
    theorem.
    """
    if through_one:
        return jnp.where(jnp.trace(W, axis1=1, axis2=2)[:, None, None] > 0, W, 0.0)
    diagonal = jnp.diagonal(W, axis1=1, axis2=2)
    others = jnp.abs(W).sum(-1) - jnp.abs(diagonal)
    raised = jnp.maximum(diagonal, others)
    return W + jnp.eye(W.shape[-1])[None] * (raised - diagonal)[:, None, :]
