"""How the state of a bound system is observed."""

from dataclasses import dataclass, field

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float
from numpyro import distributions as dist

from pymc_dynsys.linalg import ldl, unit_lower_solve
from pymc_dynsys.systems.binding import BoundFunction
from pymc_dynsys.systems.components import Components, Names, together
from pymc_dynsys.systems.densities import cdf_bounds, draw, log_density, plain_law
from pymc_dynsys.systems.gaussian import gaussian_moments, normal_logpdf
from pymc_dynsys.systems.held import Held


@dataclass(frozen=True, eq=False)
class Observation:
    """Distribution of one observation given the state.

    Attributes
    ----------
    scalar : bool
        Whether an observation is one number. Its arrays have one component all the same.
    n_components : int
        Number of components; 1 for a scalar.
    names : tuple or None
        Labels of the components in order, where the function names them.
    """

    scalar: bool
    n_components: int
    names: Names
    _function: BoundFunction = field(repr=False)

    def law(self, x: Float[Array, " state"], t: ArrayLike, held: Held) -> dist.Distribution:
        """Distribution of the observation as the user gave it: scalar or ``(component,)``.

        Components that have a distribution each are independent given the state; named ones are
        put in order.
        """
        law = self._function(x, t, held.values)
        if self.names is not None:
            return together([law[name] for name in self.names])
        if isinstance(law, tuple | list):
            return together(law)
        given: dist.Distribution = law
        return given

    def moments(
        self, x: Float[Array, " state"], t: ArrayLike, held: Held
    ) -> tuple[Float[Array, " component"], Array]:
        """Mean of a Gaussian observation, and its variances ``(component,)`` or covariance."""
        moments = gaussian_moments(self.law(x, t, held))
        assert moments is not None, "checked when the system was bound"
        return _of_components(*moments)

    def sample(
        self, key: Array, x: Float[Array, " state"], t: ArrayLike, held: Held
    ) -> Float[Array, " component"]:
        """Draw an observation; a scalar one has one component."""
        drawn = draw(self.law(x, t, held), key)
        return drawn[None] if self.scalar else drawn

    def log_density(
        self,
        y: Float[Array, " component"],
        seen: Bool[Array, " component"] | None,
        x: Float[Array, " state"],
        t: ArrayLike,
        held: Held,
        noise_at: Float[Array, " state"] | None = None,
    ) -> Float[Array, ""]:
        """Log-density of the components of one observation that are there.

        Parameters
        ----------
        y
            Values of all components; those that are missing may have any value.
        seen
            Which components are there; None if all are.
        x, t, held
            State, time, and parameters and inputs at the visit.
        noise_at
            State that the covariance of a Gaussian observation is taken at; None: the same one.

        Returns
        -------
        array
            Zero if no component is there, with derivatives of zero of every order: what is missing
            is replaced by a value that the distribution can take. Of a Gaussian observation it is
            NaN where the covariance of the components that are there is singular or not positive
            definite. It is NaN also for a joint distribution that is not Gaussian where only some
            of its components are there: such a one has no marginal in closed form.
        """
        if seen is not None:
            x, held = still_unless(seen.any(), (x, held))
        law = self.law(x, t, held)
        moments = gaussian_moments(law)
        if moments is not None:
            mean, cov = _of_components(*moments)
            if noise_at is not None:
                cov = self.moments(noise_at, t, held)[1]
            return gaussian_log_density(y - mean, seen, cov)
        if isinstance(law, Components):
            inside = [possible(own, y[i]) for i, own in enumerate(law.laws)]
            density = law.log_densities(
                y if seen is None else jnp.where(seen, y, jnp.stack(inside))
            )
            return density.sum() if seen is None else jnp.where(seen, density, 0.0).sum()
        law, value = plain_law(law), y[0] if self.scalar else y
        if seen is not None:
            there = seen.all() if law.event_dim else seen[0] if self.scalar else seen
            value = jnp.where(there, value, possible(law, value))
        density = log_density(law, value)
        if seen is None:
            return density.sum()
        if not law.event_dim:
            return jnp.where(there, density, 0.0).sum()
        partly = seen.any() & ~seen.all()
        return jnp.where(partly, jnp.nan, jnp.where(seen.all(), density, 0.0))

    def log_densities(
        self, y: Float[Array, " component"], x: Float[Array, " state"], t: ArrayLike, held: Held
    ) -> Float[Array, " component"]:
        """Log-density of each component; that of all together where they are not independent."""
        law = plain_law(self.law(x, t, held))
        if isinstance(law, Components):
            return law.log_densities(y)
        density = log_density(law, y[0] if self.scalar else y)
        return jnp.broadcast_to(density, (self.n_components,))

    def cdf_bounds(
        self, y: Float[Array, " component"], x: Float[Array, " state"], t: ArrayLike, held: Held
    ) -> tuple[Float[Array, " component"], Float[Array, " component"]]:
        """Probabilities of less than each component, and of up to each, given the state.

        The two are the same where a component has a density. They are those of each component by
        itself, also where components are not independent given the state.

        Raises
        ------
        NotImplementedError
            If the distribution function is not known.
        """
        law = plain_law(self.law(x, t, held))
        if isinstance(law, Components):
            return law.cdf_bounds(y)
        moments = gaussian_moments(law)
        if moments is not None:
            mean, cov = _of_components(*moments)
            law = dist.Normal(mean, jnp.sqrt(cov if cov.ndim == 1 else jnp.diagonal(cov)))
        elif law.event_dim:
            raise NotImplementedError(type(law).__name__)
        less, upto = cdf_bounds(law, y)
        return jnp.broadcast_to(less, y.shape), jnp.broadcast_to(upto, y.shape)

    def asks_for(self, name: str) -> bool:
        """Whether the observation takes a parameter or input."""
        return name in self._function.parameters


def possible(law: dist.Distribution, value: Array) -> Array:
    """A value that a distribution can take, of the shape of another; or that one if none is known.

    It has no slope, whatever its ends depend on.
    """
    try:
        found = plain_law(law).support.feasible_like(value)
    except (NotImplementedError, AttributeError):
        return value
    return jax.lax.stop_gradient(jnp.broadcast_to(jnp.asarray(found, float), value.shape))


def still_unless[Tree](moves: Array, values: Tree) -> Tree:
    """The same values, without slopes unless a flag is set.

    Where nothing is seen nothing depends on them, also where the observation has no finite slope:
    zero times infinity is not a number, as for the logarithm of a concentration of zero.
    """
    return jax.tree.map(lambda leaf: jnp.where(moves, leaf, jax.lax.stop_gradient(leaf)), values)


def gaussian_log_density(
    deviation: Float[Array, " component"],
    seen: Bool[Array, " component"] | None,
    cov: Array,
) -> Float[Array, ""]:
    """Log-density of the components of a deviation from the mean that are there.

    `cov` holds variances ``(component,)`` or is a covariance matrix. A missing component becomes
    a zero with unit variance, uncorrelated with the others, whose term is left out of the sum.
    Not a number where a variance, or a pivot of the matrix, is not positive.
    """
    if seen is not None:
        deviation = jnp.where(seen, deviation, 0.0)
        if cov.ndim == 1:
            cov = jnp.where(seen, cov, 1.0)
        else:
            cov = jnp.where(seen[:, None] & seen[None, :], cov, jnp.eye(cov.shape[0]))
    if cov.ndim == 2:
        L, cov = ldl(cov)
        deviation = unit_lower_solve(L, deviation)
    terms = normal_logpdf(deviation, jnp.where(cov > 0, cov, jnp.nan))
    return terms.sum() if seen is None else jnp.where(seen, terms, 0.0).sum()


def _of_components(mean: Array, cov: Array) -> tuple[Float[Array, " component"], Array]:
    """Moments with a component axis, which those of a scalar have not."""
    return (mean[None], cov[None]) if mean.ndim == 0 else (mean, cov)
