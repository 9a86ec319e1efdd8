"""A PyMC model as an estimate of its log-density, and how much that varies."""

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
from jaxtyping import Array, Float

from pymc_dynsys.bridge.estimates import estimates
from pymc_dynsys.inference.blocks import draw_keys
from pymc_dynsys.likelihoods.base import Likelihood
from pymc_dynsys.sampling.sample_blackjax import Initvals
from pymc_dynsys.sampling.unconstrained import Unconstrained

SEEDS = 32
"""Estimates at each start, which tell the sd to an eighth."""


class Estimated(Unconstrained):
    """A model whose log-likelihood is estimated with noise drawn anew.

    Attributes
    ----------
    likelihoods : tuple of Likelihood
        What estimates it.
    logdensities : array, (chain,)
        Estimates where the chains start.
    spread : float
        Sd of such an estimate at the start with the highest log-density.

    Raises
    ------
    ValueError
        If nothing in the model is estimated; and as :class:`Unconstrained`.
    """

    likelihoods: tuple[Likelihood, ...]

    def __init__(
        self, model: pm.Model, initvals: Initvals | None, chains: int, rng: np.random.Generator
    ) -> None:
        self._keys = draw_keys(rng, SEEDS, ())
        super().__init__(model, initvals, chains, rng)
        each = np.stack([self._begin(start)[2] for start in self.starts])
        self.logdensities = each[:, 0]
        # Starts are jittered, and far out the spread says little of where chains will be.
        best = each[np.argmax(each.mean(1))]
        self.spread = float(best.std(ddof=1)) if np.isfinite(best).all() else np.inf

    def _set_density(self) -> None:
        """The parts that are known and estimated."""
        found = estimates(self.model)
        if not found.likelihoods:
            raise ValueError(
                "model: no trajectory in it has likelihood=pds.ParticleFilter(), so its "
                "log-density is known: use pm.sample or pds.sample_blackjax, whose draws depend on "
                "each other much less"
            )
        self._known, self._of_values = found.known, found.estimated
        self.likelihoods = found.likelihoods

    def known(self, position: Float[Array, " value"]) -> Float[Array, ""]:
        """The log-density without what is estimated, with the Jacobians of the transforms."""
        return self._known(*self._unravel(position))

    def logp(self, position: Float[Array, " value"], *key: Array) -> Float[Array, ""]:
        """An estimate of the log-density, with the noise of a key."""
        return self.known(position) + self._of_noise(key[0], position)

    def _of_noise(self, key: Array, position: Float[Array, " value"]) -> Float[Array, ""]:
        """An estimate of the log-likelihood."""
        return self._of_values(key, *self._unravel(position))

    def _value_and_gradient(self, position: Float[Array, " value"]) -> tuple[Array, ...]:
        """A finite estimate, zeros as a chain needs no gradient, and all estimates."""
        each = jax.vmap(lambda key: self._of_noise(key, position))(self._keys)
        each = self.known(position) + each
        return each[0], jnp.zeros_like(position), each
