"""States by the steps of a scheme as a function of standard normals, and events between them."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from pymc_dynsys.discretization import Discretization, Rows, over_gap
from pymc_dynsys.discretization.doses import dose_at
from pymc_dynsys.likelihoods.laplace.riccati import Stages
from pymc_dynsys.linalg import linearize, psd_factor
from pymc_dynsys.linalg.written import matvec
from pymc_dynsys.systems.bound import BoundSystem, Params


class Steps(NamedTuple):
    """Steps of a path that is not affine; leaves lead with an axis of steps.

    ``active`` is False for a step that a gap does not have, ``last`` True for the one into its row.
    """

    t: Array
    h: Array
    end: Array
    active: Bool[Array, "*step"]
    last: Bool[Array, "*step"]
    row: Rows | None


class Stepped(ABC):
    """States by steps, ``x_k = g_k(x_{k-1}, z_k)``, after the start, which is a stage too."""

    affine = False

    def __init__(
        self, system: BoundSystem, scheme: Discretization, params: Params, moves: Steps
    ) -> None:
        self.system, self.scheme, self.params = system, scheme, params
        self.moves = moves
        m, P = system.start.moments(params)
        self._start = m, psd_factor(P)
        self._noise = scheme.noise_size(system)

    @property
    @abstractmethod
    def shape(self) -> tuple[int, int]:
        """Number of stages, and of normals at each."""

    def roll(self, z: Float[Array, "stage noise"]) -> Float[Array, "stage state"]:
        """States after the start and after each step."""
        first = self.begin(z[0])

        def step(x: Array, k: tuple[Array, Steps]) -> tuple[Array, Array]:
            x = self.move(x, *k)
            return x, x

        rest = jax.lax.scan(step, first, (z[1:], self.moves))[1]
        return jnp.concatenate([first[None], rest])

    def stages(self, x: Array, z: Array) -> Stages:
        """Slopes of the steps where the path is."""
        d, w = self.system.n_states, self.shape[1]

        def slopes(x: Array, z: Array, k: Steps) -> tuple[Array, Array]:
            F = linearize(lambda x: self.move(x, z, k), x)[1]
            return F, linearize(lambda z: self.move(x, z, k), z)[1]

        F, C = jax.vmap(slopes)(x[:-1], z[1:], self.moves)
        begin = jnp.concatenate([self._start[1], jnp.zeros((d, w - d))], axis=1)
        return Stages(jnp.concatenate([jnp.zeros((1, d, d)), F]), jnp.concatenate([begin[None], C]))

    def begin(self, z: Float[Array, " noise"]) -> Float[Array, " state"]:
        """State at the start."""
        m, C = self._start
        return m + matvec(C, z[: m.shape[0]])

    def move(self, x: Float[Array, " state"], z: Array, k: Steps) -> Float[Array, " state"]:
        """State after a step, and after the event at the row that it leads to."""
        held = over_gap(k.row, self.params)
        after = self.scheme.propagate(self.system, x, k.t, k.h, held, z[: self._noise])
        x = jnp.where(k.active, after, x)
        if k.row is None or k.row.amount is None:
            return x
        if k.row.fresh is not None:
            # A new law makes the noise of the step before it free for its own.
            anew, fresh = k.row.fresh.moved(x), k.row.fresh
            if fresh.cov is not None:
                anew = anew + matvec(psd_factor(fresh.noise), z[: x.shape[0]])
            x = jnp.where(k.last, anew, x)
        return jnp.where(k.last, after_event(self.system, self.params, x, k.end, k.row), x)


def after_event(system: BoundSystem, params: Params, x: Array, t: Array, row: Rows) -> Array:
    """State after the event at a row, if there is one."""
    given, amount = dose_at(row)
    after = system.dosing.jump(x, t, row.at_row(params), amount, row.target)
    return jnp.where(given, after, x)
