r"""Transition of linear dynamics in which states feed each other in one direction only.

A depot that empties into a compartment, a parent and its metabolite, a chain of transits: ordered
so that each state is fed by earlier ones, the slope A is triangular, and its exponential is a sum
over the ways from one state to another,

.. math:: F_{ij} = \sum_{i \leftarrow k \leftarrow \dots \leftarrow j}
          A_{ik} \cdots A_{\cdot j}\; h^m \exp[A_{ii} h, A_{kk} h, \dots, A_{jj} h]

with m the steps of a way and divided differences of the exponential (Higham 2008, *Functions of
Matrices*, theorem 4.11). :math:`G = \int_0^h e^{A s} ds` has one more factor h and one more
argument, 0. No step of it loses digits where rates coincide or are orders apart.
"""

from collections.abc import Iterator
from itertools import combinations, pairwise

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization.base import LinearTransition
from pymc_dynsys.linalg.divided_differences import Scalar, divided_exps
from pymc_dynsys.systems.proof import FedBy

LARGEST = 3
"""States up to which ways are few enough for a sum over them to be cheaper than doublings."""

MARGIN = 2.0**-45
"""What decays by less than this part of it over an interval counts as not decaying."""


def order_of(fed_by: FedBy) -> tuple[int, ...] | None:
    """States in an order in which each is fed by earlier ones only; None if there is none."""
    order: list[int] = []
    while len(order) < len(fed_by):
        ready = [i for i, of in enumerate(fed_by) if i not in order and set(of) <= set(order)]
        if not ready:
            return None
        order += ready
    return tuple(order)


def is_triangular(fed_by: FedBy | None) -> bool:
    """Whether a transition of this form exists and is cheap."""
    return fed_by is not None and 1 < len(fed_by) <= LARGEST and order_of(fed_by) is not None


def triangular_transition(
    A: Float[Array, "state state"], h: Float[Array, ""], fed_by: FedBy
) -> LinearTransition:
    """``(F, G, 0)`` over a gap `h`."""
    n = len(fed_by)
    zero = jnp.zeros_like(h)
    exps = divided_exps([*(A[i, i] * h for i in range(n)), zero])
    F = [[zero] * n for _ in range(n)]
    G = [[zero] * n for _ in range(n)]
    for i in range(n):
        for j in range(n):
            for way in _ways(i, j, fed_by):
                size = _product(A, h, way)
                at = tuple(sorted(way))
                F[i][j] = F[i][j] + size * exps[at]
                G[i][j] = G[i][j] + size * h * exps[*at, n]
    whole, integral = (jnp.stack([jnp.stack(row) for row in M]) for M in (F, G))
    return LinearTransition(whole, integral, jnp.zeros_like(A))


def solved_in_order(
    M: Float[Array, "state state"], b: Float[Array, " state"], fed_by: FedBy
) -> Float[Array, " state"]:
    """Solution of ``M x = b``, state by state in the order in which they feed each other."""
    order = order_of(fed_by)
    assert order is not None
    x: dict[int, Scalar] = {}
    for i in order:
        of = sum((M[i, j] * x[j] for j in fed_by[i]), jnp.zeros_like(b[i]))
        x[i] = (b[i] - of) / M[i, i]
    return jnp.stack([x[i] for i in range(len(order))])


def triangle_decays(F: Float[Array, "state state"]) -> Bool[Array, ""]:
    """Whether powers of a triangular F vanish, as far as can be told from its diagonal."""
    return jnp.all(jnp.abs(jnp.diagonal(F)) < 1 - MARGIN)


def _product(A: Float[Array, "state state"], h: Scalar, way: tuple[int, ...]) -> Scalar:
    """What a way carries: its slopes, each times the length of the gap."""
    size = jnp.ones_like(h)
    for to, of in pairwise(way):
        size = size * (A[to, of] * h)
    return size


def _ways(i: int, j: int, fed_by: FedBy) -> Iterator[tuple[int, ...]]:
    """Ways on which state j feeds state i, from i back to j; a state alone is one."""
    order = order_of(fed_by)
    assert order is not None
    place = {state: k for k, state in enumerate(order)}
    if place[i] < place[j]:
        return
    if i == j:
        yield (i,)
        return
    between = [k for k in order if place[j] < place[k] < place[i]]
    for m in range(len(between) + 1):
        for some in combinations(reversed(between), m):
            way = (i, *some, j)
            if all(of in fed_by[to] for to, of in pairwise(way)):
                yield way
