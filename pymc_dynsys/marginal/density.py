"""The log-density of a model in rows, at many points, with the gradient of weighted sums of rows.

Rows are the elements of all terms: priors of effects, data, potentials, and with `priors` the
priors of parameters. All that is compiled is one first-order gradient, in a loop over points.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from pymc.sampling.jax import get_jaxified_graph

from pymc_dynsys.marginal.layout import Layout
from pymc_dynsys.marginal.nesting import flat_tree


class Values(NamedTuple):
    """What is known at some points.

    Attributes
    ----------
    members : array, (point, member)
        The part of the log-density that belongs to each member of any level.
    rest : array, (point,)
        The part that belongs to none.
    by_u : array, (point, entry)
        Gradient of the weighted sum of both by u.
    by_theta : array, (point, parameter)
        The same by theta.
    """

    members: np.ndarray
    rest: np.ndarray
    by_u: np.ndarray
    by_theta: np.ndarray


class Density:
    """The log-density of a model by rows.

    Parameters
    ----------
    layout : Layout
        Effects and parameters.
    priors : bool
        Whether priors of parameters count, with the Jacobians of their transforms.

    Attributes
    ----------
    owner : array, (row,)
        To whom a row belongs: the innermost member, or the number of all members for none.
    tree : Tree
        Which members belong to which of an outer level.
    gradients : int
        How many gradients were evaluated.
    """

    def __init__(self, layout: Layout, priors: bool) -> None:
        self.layout = layout
        model = layout.model
        effects = {block.name for block in layout.effects}
        kept = [rv for rv in model.free_RVs if priors or rv.name in effects]
        variables = [*kept, *model.observed_RVs, *model.potentials]
        factors = model.logp(vars=variables, jacobian=True, sum=False)
        self._terms = get_jaxified_graph(model.value_vars, list(factors))
        self._shapes = [factor.type.shape for factor in factors]
        if any(None in shape for shape in self._shapes):
            point = layout.flat(layout.point)
            found = jax.eval_shape(lambda *at: self._terms(*layout.values(*at)), *point)
            self._shapes = [term.shape for term in found]
        self._sizes = [int(np.prod(shape, dtype=int)) for shape in self._shapes]
        self._names = [str(v.name) for v in variables]
        self.tree = flat_tree(layout.sizes, layout.widths)
        self.owner = np.full(sum(self._sizes), self.tree.n_members)
        self.gradients = 0
        self.at_once = 4 * layout.n_effects + 1
        self._run = jax.jit(self._loop)

    def _rows(
        self, u: Float[Array, " entry"], theta: Float[Array, " parameter"]
    ) -> Float[Array, " row"]:
        """All terms, element by element."""
        terms = self._terms(*self.layout.values(u, theta))
        return jnp.concatenate([jnp.ravel(term) for term in terms])

    def _loop(
        self,
        u: Float[Array, "point entry"],
        theta: Float[Array, "point parameter"],
        weights: Float[Array, "point owner"],
        owner: Array,
        count: Array,
    ) -> tuple[Array, ...]:
        """Sums by owner, gradients, and the rows of the last point; `count` points are real."""

        def body(j: Array, carry: tuple[Array, ...]) -> tuple[Array, ...]:
            sums, by_u, by_theta, _ = carry
            rows, pull = jax.vjp(self._rows, u[j], theta[j])
            du, dtheta = pull(weights[j][owner])
            found = jax.ops.segment_sum(rows, owner, weights.shape[1])
            return sums.at[j].set(found), by_u.at[j].set(du), by_theta.at[j].set(dtheta), rows

        start = (jnp.zeros_like(weights), jnp.zeros_like(u), jnp.zeros_like(theta))
        return jax.lax.fori_loop(0, count, body, (*start, jnp.zeros(len(owner))))

    def _call(self, u: np.ndarray, theta: np.ndarray, weights: np.ndarray) -> tuple:
        """One call of the compiled loop, filled up to its number of points."""
        count, most = len(u), self.at_once
        self.gradients += count

        def filled(array: np.ndarray) -> np.ndarray:
            out = np.zeros((most, *array.shape[1:]))
            out[:count] = array
            return out

        sums, by_u, by_theta, rows = self._run(
            filled(u), filled(theta), filled(weights), self.owner, count
        )
        return (
            np.asarray(sums)[:count],
            np.asarray(by_u)[:count],
            np.asarray(by_theta)[:count],
            rows,
        )

    def at(
        self,
        u: Float[np.ndarray, "point entry"],
        theta: Float[np.ndarray, " parameter"],
        weights: Float[np.ndarray, "point owner"] | None = None,
    ) -> Values:
        """Values and gradients at points that share theta; without weights those of plain sums."""
        n = len(u)
        if weights is None:
            weights = np.ones((n, self.tree.n_members + 1))
        thetas = np.broadcast_to(theta, (n, len(theta)))
        parts = [
            self._call(
                u[i : i + self.at_once], thetas[i : i + self.at_once], weights[i : i + self.at_once]
            )[:3]
            for i in range(0, n, self.at_once)
        ]
        sums, by_u, by_theta = (np.concatenate(p) for p in zip(*parts, strict=True))
        return Values(sums[:, :-1], sums[:, -1], by_u, by_theta)

    def rows(
        self, u: Float[np.ndarray, " entry"], theta: Float[np.ndarray, " parameter"]
    ) -> Float[np.ndarray, " row"]:
        """All rows at one point."""
        return np.asarray(
            self._call(u[None], theta[None], np.ones((1, self.tree.n_members + 1)))[3]
        )

    def of_priors(self, u: np.ndarray, theta: np.ndarray) -> float:
        """Log-density of the priors of parameters that count; zero where none do."""
        parameters = {block.name for block in self.layout.parameters}
        which = np.repeat([name in parameters for name in self._names], self._sizes)
        return float(self.rows(u, theta)[which].sum()) if which.any() else 0.0

    def of_row(self, row: int) -> str:
        """The variable of a row, and its element."""
        for name, size, shape in zip(self._names, self._sizes, self._shapes, strict=True):
            if row < size:
                where = np.unravel_index(row, shape)
                element = ", ".join(str(int(i)) for i in where)
                return f"{name}: element {element}" if where else name
            row -= size
        raise IndexError(row)
