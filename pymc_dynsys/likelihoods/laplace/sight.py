"""What the data of one trajectory say of the states: log-densities by row, and their derivatives.

Only the states that the observation depends on are differentiated in. Where it sees one number, a
state or a predictor ``a + h'x`` whose weights do not depend on the state, derivatives are those of
a function of this number: W has rank one.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import at_row
from pymc_dynsys.likelihoods.base import Problem
from pymc_dynsys.likelihoods.laplace.proofs import noise_follows_mean, through_predictor
from pymc_dynsys.linalg import outer, symmetrize
from pymc_dynsys.linalg.written import inner, matvec, total
from pymc_dynsys.systems.bound import BoundSystem
from pymc_dynsys.systems.logarithms import log_of_exp
from pymc_dynsys.systems.predictor import Cut, cut


class Slopes(NamedTuple):
    """Log-densities of the data at each row, their slopes, and curvatures (minus the Hessian)."""

    density: Float[Array, " row"]
    g: Float[Array, "row state"]
    W: Float[Array, "row state state"]


class Sight:
    """Log-densities of one trajectory's data as functions of the states at the rows."""

    def __init__(self, system: BoundSystem, problem: Problem) -> None:
        self._system, self._problem = system, problem
        # Of data that see no state all derivatives are zero, in the first one as in any.
        self._seen = system.proof.observation.sees or (0,)
        self._d = system.n_states
        grid = problem.grid
        times, rows = jax.tree.map(jnp.asarray, (grid.times, grid.rows))
        self._rows = (problem.data.y, problem.data.seen, times, rows)

    @property
    def through_one(self) -> bool:
        """Whether each datum sees one number only: a state, or a predictor."""
        return len(self._seen) == 1 or self.predicted

    @cached_property
    def predicted(self) -> bool:
        """Whether that number is a predictor, made of several states."""
        return through_predictor(self._system)

    @cached_property
    def noise_moves(self) -> bool:
        """Whether mean and noise of Gaussian data both depend on the state."""
        return noise_follows_mean(self._system)

    @cached_property
    def h(self) -> Float[Array, "row state"]:
        """Weights of the states in the one number that is seen."""
        n = self._problem.data.y.shape[0]
        if self.predicted:

            def weights(parts: Cut, e: Array) -> Array:
                return jax.grad(parts.predictor)(e)

            return self._scatter(self._by_row(weights, jnp.zeros((n, self._d)), of_parts=True))
        return self._scatter(jnp.ones((n, 1)))

    def still(self) -> "Sight":
        """The same without slopes in parameters."""
        return Sight(self._system, jax.lax.stop_gradient(self._problem))

    def density(self, x: Float[Array, "row state"]) -> Float[Array, " row"]:
        """Log-density of the data at each row."""
        return self._by_row(lambda of_row, e: of_row(e), x)

    def slopes(self, x: Float[Array, "row state"], hold: Bool[Array, ""] | None = None) -> Slopes:
        """Log-densities, and their first two derivatives.

        With a noise that depends on the state held where the states are, if a flag is set.
        """
        return self.all_slopes(x, 2, hold)[0]

    def all_slopes(
        self, x: Float[Array, "row state"], order: int, hold: Bool[Array, ""] | None = None
    ) -> tuple[Slopes, tuple[Array, ...]]:
        """The same, and derivatives up to an order in the one number that is seen, if it is one."""
        if not self.through_one:
            density, g, H = self._by_row(_hessian, x, hold=hold)
            return Slopes(density, self._scatter(g), -self._scatter_both(H)), ()
        rungs = self.ladder(x, order, hold)
        return Slopes(rungs[0], self.wide(rungs[1]), self.square(-rungs[2])), rungs

    def ladder(
        self, x: Float[Array, "row state"], order: int, hold: Bool[Array, ""] | None = None
    ) -> tuple[Array, ...]:
        """Log-densities and their derivatives up to an order in the one number that they see."""

        def derivatives(of_row: Callable[[Array], Array], e: Array) -> tuple[Array, ...]:
            return ladder(lambda s: of_row(s[None]), e[0], order)

        def of_predictor(parts: Cut, e: Array) -> tuple[Array, ...]:
            return ladder(log_of_exp(parts.outer), parts.predictor(e), order)

        found: tuple[Array, ...]
        if self.predicted:
            found = self._by_row(of_predictor, x, hold=hold, of_parts=True)
        else:
            found = self._by_row(derivatives, x, hold=hold)
        return found

    def change_of_curvature(
        self, x: Float[Array, "row state"], V: Float[Array, "row state state"]
    ) -> Float[Array, "row state"]:
        """Slopes of ``-1/2 tr(V W)`` in the states at the rows, where several are seen."""
        seen = np.asarray(self._seen)
        V = V[:, seen[:, None], seen[None, :]]

        def slope(of_row: Callable[[Array], Array], e: Array, V: Array) -> Array:
            return jax.grad(lambda e: 0.5 * (V * jax.hessian(of_row)(e)).sum())(e)

        return self._scatter(self._by_row(slope, x, V))

    def weighted(
        self,
        x: Float[Array, "row state"],
        delta: Float[Array, "row state"],
        weights: tuple[Array, ...],
    ) -> Float[Array, ""]:
        """``sum l(x) + g(x)' delta`` and the weighted sum of higher derivatives.

        A function of the parameters. Weights are those of :class:`Phi` in ``affine.py``.
        """
        if not self.through_one:
            slopes = self.slopes(x)
            curvature = inner(slopes.W, weights[0])
            return total(slopes.density) + inner(slopes.g, delta) + curvature
        rungs = self.ladder(x, 1 + len(weights))
        along = (self.of_states(delta), *weights)
        terms = (w * rung for w, rung in zip(along, rungs[1:], strict=True))
        return total(rungs[0] + sum(terms))

    def of_states(self, x: Float[Array, "row state"]) -> Float[Array, " row"]:
        """Changes of the one number that is seen, from those of the states."""
        return (self.h * x).sum(-1) if self.predicted else x[:, self._seen[0]]

    def covariances(self, V: Float[Array, "row state state"]) -> Float[Array, "row state"]:
        """Covariances of the states with the one number that is seen."""
        return jax.vmap(matvec)(V, self.h) if self.predicted else V[:, :, self._seen[0]]

    def wide(self, g: Float[Array, " row"]) -> Float[Array, "row state"]:
        """Slopes in the one number that is seen as slopes in all states."""
        return g[:, None] * self.h if self.predicted else self._scatter(g[:, None])

    def square(self, W: Float[Array, " row"]) -> Float[Array, "row state state"]:
        """Curvatures in the one number that is seen as curvatures in all states."""
        return squared(W, self.h) if self.predicted else self._scatter_both(W[:, None, None])

    def _by_row(
        self,
        what: Callable[..., Any],
        x: Array,
        *more: Array,
        hold: Array | None = None,
        of_parts: bool = False,
    ) -> Any:
        """Answers of each row's log-density, a function of the states that are seen.

        Or of the two parts that the log-density is cut into where it sees a predictor.
        """
        system, params, seen_states = self._system, self._problem.params, np.asarray(self._seen)

        def one(x: Array, data: tuple[Any, ...], *more: Array) -> Any:
            y, seen, t, row = data
            held = at_row(row, params)

            def of_row(e: Array) -> Array:
                whole = (
                    e if len(seen_states) == self._d else jnp.zeros(self._d).at[seen_states].set(e)
                )
                still = None
                if hold is not None:
                    still = jnp.where(hold, jax.lax.stop_gradient(whole), whole)
                return system.observation.log_density(y, seen, whole, t, held, still)

            e = x[seen_states]
            if not of_parts:
                return what(log_of_exp(of_row), e, *more)
            parts = cut(of_row, e)
            assert parts is not None, "proved when the system was checked"
            return what(parts, e, *more)

        return jax.vmap(one)(x, self._rows, *more)

    def _scatter(self, g: Array) -> Array:
        """Vectors of the states that are seen as vectors of all states."""
        if len(self._seen) == self._d:
            return g
        return jnp.zeros((g.shape[0], self._d)).at[:, np.asarray(self._seen)].set(g)

    def _scatter_both(self, W: Array) -> Array:
        """Matrices of the states that are seen as matrices of all states."""
        if len(self._seen) == self._d:
            return W
        seen = np.asarray(self._seen)
        zeros = jnp.zeros((W.shape[0], self._d, self._d))
        return zeros.at[:, seen[:, None], seen[None, :]].set(W)


def squared(
    W: Float[Array, " row"], h: Float[Array, "row state"]
) -> Float[Array, "row state state"]:
    """Matrices of rank one, ``W h h'``."""
    return W[:, None, None] * jax.vmap(outer)(h, h)


def ladder(function: Callable[[Array], Array], x: Array, order: int) -> tuple[Array, ...]:
    """Value and derivatives up to an order of a function of one number."""

    def climb(lower: Callable[[Array], tuple[Array, ...]]) -> Callable[[Array], tuple[Array, ...]]:
        def higher(x: Array) -> tuple[Array, ...]:
            values, slopes = jax.jvp(lower, (x,), (jnp.ones_like(x),))
            return (*values, slopes[-1])

        return higher

    found: Callable[[Array], tuple[Array, ...]] = lambda x: (function(x),)  # noqa: E731
    for _ in range(order):
        found = climb(found)
    return found(x)


def _hessian(of_row: Callable[[Array], Array], e: Array) -> tuple[Array, Array, Array]:
    """Value, gradient and Hessian of a row's log-density."""

    def slope(e: Array) -> tuple[Array, tuple[Array, Array]]:
        value, g = jax.value_and_grad(of_row)(e)
        return g, (value, g)

    H, (value, g) = jax.jacfwd(slope, has_aux=True)(e)
    return value, g, symmetrize(H)
