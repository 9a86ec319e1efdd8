r"""States given all the data, from the particles of a filter.

Legend: i places of particles in a row, W their weights, X particles, a ancestors.

Backwards from the last row a path goes on to a particle of the row before with probability

.. math:: P(i_{k-1} = j) \propto W_{k-1}^j\, p(x_k^{i_k} \mid x_{k-1}^j)

(Godsill, Doucet and West 2004), which gives one path for as many densities as there
are particles in all rows. For as many paths as particles the same is done by Metropolis: from the
ancestor, which already has that distribution, to particles proposed by their weights (Dau and
Chopin 2023). Where a gap has no density in closed form, as where it is crossed in
several steps or where the noise is singular, the path goes on to the ancestor.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from pymc_dynsys.likelihoods.particle.crossing import Entry
from pymc_dynsys.likelihoods.particle.resample import places, systematic

MOVES = 4
"""Proposals of another particle for each path and row."""


class Trellis(NamedTuple):
    """Particles of all rows.

    ``arrived`` are those of a row before a dose there, ``X`` after it; ``w`` log-weights after the
    datum; ``ancestors`` places in the row before; ``entries`` the arguments of the density.
    """

    arrived: Float[Array, "row particle state"]
    X: Float[Array, "row particle state"]
    w: Float[Array, "row particle"]
    ancestors: Int[Array, "row particle"]
    entries: Entry


class Later(NamedTuple):
    """A row and the particles of the row before it."""

    X: Float[Array, "*row particle state"]
    w: Float[Array, "*row particle"]
    arrived: Float[Array, "*row particle state"]
    ancestors: Int[Array, "*row particle"]
    entry: Entry
    key: Array


Density = Callable[[Array, Array, Entry], Array]
Place = tuple[Array, Array]
Step = Callable[[Array, Later], tuple[Array, Array]]


def one_path(key: Array, log_density: Density, trellis: Trellis) -> Float[Array, "row state"]:
    """A path drawn given all the data."""
    of_last, of_rows = jax.random.split(key)

    def back(i: Array, k: Later) -> tuple[Array, Array]:
        after = k.arrived[i]
        w = k.w + jax.vmap(lambda x: log_density(after, x, k.entry))(k.X)
        w = jnp.where(jnp.isnan(w), -jnp.inf, w)
        drawn = jax.random.categorical(k.key, w)
        j = jnp.where(jnp.isfinite(jnp.max(w)), drawn, k.ancestors[i]).astype(jnp.int32)
        return j, j

    last = jax.random.categorical(of_last, trellis.w[-1]).astype(jnp.int32)
    path = _backwards(back, last, of_rows, trellis)
    return jnp.take_along_axis(trellis.X, path[:, None, None], axis=1)[:, 0]


def all_paths(
    key: Array, log_density: Density, trellis: Trellis
) -> Float[Array, "row particle state"]:
    """As many paths given all the data as there are particles, of equal weight."""
    of_last, of_rows = jax.random.split(key)
    n = trellis.w.shape[1]

    def back(i: Array, k: Later) -> tuple[Array, Array]:
        after = k.arrived[i]
        of_density = jax.vmap(lambda after, x: log_density(after, x, k.entry))

        def propose(both: Place, key: Array) -> tuple[Place, None]:
            j, density = both
            of_place, of_choice = jax.random.split(key)
            other = places(k.w, jax.random.uniform(of_place, (n,)))
            there = of_density(after, k.X[other])
            # A density that is not a number, here or there, leaves the path where it is.
            moves = jnp.log(jax.random.uniform(of_choice, (n,))) < there - density
            return (jnp.where(moves, other, j), jnp.where(moves, there, density)), None

        j = k.ancestors[i]
        begin = (j, of_density(after, k.X[j]))
        (j, _), _ = jax.lax.scan(propose, begin, jax.random.split(k.key, MOVES))
        return j, j

    last = systematic(of_last, trellis.w[-1])
    path = _backwards(back, last, of_rows, trellis)
    return jnp.take_along_axis(trellis.X, path[:, :, None], axis=1)


def _backwards(back: Step, last: Array, key: Array, trellis: Trellis) -> Array:
    """Places in all rows, from those in the last one."""
    arrived, X, w, ancestors, entries = trellis
    keys = jax.random.split(key, X.shape[0] - 1)
    rows = Later(
        X[:-1],
        w[:-1],
        arrived[1:],
        ancestors[1:],
        jax.tree.map(lambda leaf: leaf[1:], entries),
        keys,
    )
    _, path = jax.lax.scan(back, last, rows, reverse=True)
    return jnp.concatenate([path, last[None]])
