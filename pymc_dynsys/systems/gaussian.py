"""Gaussian distributions whose covariance may be singular, and the moments of numpyro's own."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro import distributions as dist
from numpyro.distributions import constraints

from pymc_dynsys.linalg import ldl, psd_factor, unit_lower_solve

LOG_2PI = float(np.log(2 * np.pi))


class Gaussian(dist.Distribution):
    r"""Normal distribution :math:`N(m, C)` with a positive semi-definite covariance.

    A drop-in numpyro distribution for what ``Normal`` and ``MultivariateNormal`` refuse:
    noise in some components only, exactly known states, observations without noise.

    Parameters
    ----------
    mean : array, shape () or (n,)
        Mean.
    cov : array, shape () or (n, n)
        Covariance (a variance when scalar), not a standard deviation. May be singular or
        zero. A matrix that is not positive semi-definite gives a log-density of NaN here
        and a log-likelihood of minus infinity in a filter.

    Raises
    ------
    ValueError
        If the shapes disagree, or if ``cov`` is known and not positive semi-definite (the
        smallest eigenvalue is shown).

    Notes
    -----
    ``log_prob`` is the density with respect to Lebesgue measure on the support
    ``m + range(C)``; off that support it is minus infinity.

    Examples
    --------
    A position known exactly, a velocity known to within one:

    >>> import jax.numpy as jnp
    >>> import pymc_dynsys as pds
    >>> law = pds.Gaussian(jnp.zeros(2), jnp.diag(jnp.array([0.0, 1.0])))
    >>> law.event_shape
    (2,)
    """

    arg_constraints: ClassVar[dict[str, Any]] = {
        "loc": constraints.real,
        "cov": constraints.real,
    }
    support = constraints.real_vector
    reparametrized_params: ClassVar[list[str]] = ["loc", "cov"]
    pytree_data_fields = ("loc", "cov")

    def __init__(self, mean: Any, cov: Any, *, validate_args: bool | None = None) -> None:
        shape = jnp.shape(mean)
        if len(shape) > 1 or jnp.shape(cov) != shape + shape:
            raise ValueError(
                f"Gaussian: a mean of shape {shape} needs a cov of shape {shape + shape}, "
                f"got {jnp.shape(cov)}"
            )
        _refuse_indefinite(cov)
        self.loc = jnp.asarray(mean, float)
        self.cov = jnp.asarray(cov, float)
        super().__init__(batch_shape=(), event_shape=shape, validate_args=validate_args)

    @property
    def mean(self) -> Array:
        """Mean, shape ``event_shape``."""
        return self.loc

    @property
    def variance(self) -> Array:
        """Marginal variances, shape ``event_shape``."""
        return jnp.diagonal(self.cov) if self.event_shape else self.cov

    def sample(self, key: Any, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw ``sample_shape`` independent values."""
        noise = jax.random.normal(key, sample_shape + self.event_shape)
        if not self.event_shape:
            return self.loc + psd_factor(self.cov[None, None])[0, 0] * noise
        return jnp.broadcast_to(self.loc, noise.shape) + noise @ psd_factor(self.cov).T

    def log_prob(self, value: Any, intermediates: Any = None) -> Array:
        """Log-density of one value on the support of the distribution."""
        deviation = jnp.atleast_1d(jnp.asarray(value, float) - self.loc)
        L, D = ldl(jnp.reshape(self.cov, deviation.shape * 2))
        return gaussian_logpdf_ldl(deviation, L, D)


def gaussian_logpdf_ldl(
    deviation: Float[Array, " n"], L: Float[Array, "n n"], D: Float[Array, " n"]
) -> Float[Array, ""]:
    """Log-density of a deviation from the mean under the covariance ``L diag(D) L'``."""
    white = unit_lower_solve(L, deviation)
    free = D > 0
    safe = jnp.where(free, D, 1.0)
    terms = jnp.where(free, -0.5 * (LOG_2PI + jnp.log(safe) + white**2 / safe), 0.0)
    terms = jnp.where(jnp.isnan(D), jnp.nan, terms)
    off_support = jnp.any((D == 0) & (jnp.abs(white) > 0))
    return jnp.where(off_support, -jnp.inf, terms.sum())


def gaussian_logpdf(deviation: Float[Array, " n"], cov: Float[Array, "n n"]) -> Float[Array, ""]:
    """Log-density of a deviation from the mean; `cov` may be singular, as in :class:`Gaussian`."""
    return gaussian_logpdf_ldl(deviation, *ldl(cov))


@jax.custom_jvp
def normal_logpdf(deviation: Array, variance: Array) -> Array:
    """Log-density of deviations from the mean under their variances, elementwise."""
    return -0.5 * (LOG_2PI + jnp.log(variance) + deviation * deviation / variance)


@normal_logpdf.defjvp
def _normal_logpdf_tangents(
    primals: tuple[Array, Array], tangents: tuple[Array, Array]
) -> tuple[Array, Array]:
    """Derivatives in terms of one quotient."""
    (v, s), (dv, ds) = primals, tangents
    u = v / s
    return normal_logpdf(v, s), 0.5 * (u * u - 1 / s) * ds - u * dv


def state_moments(
    law: dist.Distribution, n_states: int
) -> tuple[Float[Array, " state"], Float[Array, "state state"]]:
    """Mean and covariance matrix of a Gaussian state, whose distribution may be scalar."""
    moments = gaussian_moments(law)
    assert moments is not None, "checked when the system was bound"
    mean, cov = moments
    mean = mean.reshape(n_states)
    return mean, cov if cov.ndim == 2 else jnp.diag(cov.reshape(n_states))


def state_sample(law: dist.Distribution, key: Array, n_states: int) -> Float[Array, " state"]:
    """Draw of a state, whose distribution may be scalar."""
    return jnp.asarray(law.sample(key), float).reshape(n_states)


def state_log_density(law: dist.Distribution, x: Float[Array, " state"]) -> Float[Array, ""]:
    """Log-density of a state; a singular Gaussian has a density on its support only."""
    if gaussian_moments(law) is not None:
        mean, cov = state_moments(law, x.shape[0])
        return gaussian_logpdf(x - mean, cov)
    return jnp.asarray(law.log_prob(x.reshape(law.shape()))).sum()


def _refuse_indefinite(cov: Any) -> None:
    """Raise if a known covariance has a negative eigenvalue; traced ones are not known."""
    if isinstance(cov, jax.core.Tracer):
        return
    known = np.asarray(cov, float)
    if not np.all(np.isfinite(known)):
        raise ValueError(f"Gaussian: cov must be finite, got {known}")
    matrix = np.atleast_2d(known)
    if not np.allclose(matrix, matrix.T, rtol=1e-8, atol=1e-12 * np.abs(matrix).max()):
        raise ValueError(f"Gaussian: cov must be symmetric, got {known.tolist()}")
    smallest = np.linalg.eigvalsh(matrix)[0]
    if smallest < -1e-10 * max(np.abs(matrix).max(), np.finfo(float).tiny):
        raise ValueError(
            f"Gaussian: cov is not positive semi-definite (smallest eigenvalue {smallest:.3g})"
        )


def gaussian_moments(law: Any) -> tuple[Array, Array] | None:
    """Mean and covariance of a Gaussian or fixed distribution; None if it is not Gaussian.

    The covariance is returned as variances, with the shape of the mean, when the components
    are independent, and as a matrix otherwise. A negative scale gives NaN, not its square.
    """
    if isinstance(law, Gaussian):
        return jnp.asarray(law.loc, float), jnp.asarray(law.cov, float)
    if isinstance(law, dist.Delta):
        mean = jnp.asarray(law.v, float)
        return mean, jnp.zeros_like(mean)
    if isinstance(law, dist.Independent | dist.ExpandedDistribution):
        base = gaussian_moments(law.base_dist)
        if base is None:
            return None
        mean, cov = base
        if cov.ndim > mean.ndim:
            return (mean, cov) if mean.shape == law.shape() else None
        return jnp.broadcast_to(mean, law.shape()), jnp.broadcast_to(cov, law.shape())
    if isinstance(law, dist.Normal):
        shape = law.shape()
        loc, scale = jnp.asarray(law.loc, float), jnp.asarray(law.scale, float)
        variance = jnp.where(scale >= 0, scale**2, jnp.nan)
        return jnp.broadcast_to(loc, shape), jnp.broadcast_to(variance, shape)
    if isinstance(law, dist.MultivariateNormal | dist.LowRankMultivariateNormal):
        return jnp.asarray(law.mean, float), jnp.asarray(law.covariance_matrix, float)
    return None
