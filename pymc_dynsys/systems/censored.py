"""Values that are only known to lie beyond a bound: ``censored``."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array
from numpyro import distributions as dist
from numpyro.distributions import constraints

from pymc_dynsys.systems.densities import cdf_bounds, draw, log_density
from pymc_dynsys.systems.intervals import has_cdf, log_probability

Bound = Array | np.ndarray | float | None
"""A bound of what is censored; None: there is none."""


def censored(
    distribution: dist.Distribution,
    lower: Bound = None,
    upper: Bound = None,
    limit: Bound = None,
) -> "Censored":
    r"""Distribution of values of which those beyond a bound are recorded as the bound.

    A value :math:`y \le l` (`lower`) is the event :math:`Y \le l`, one :math:`y \ge u` (`upper`)
    the event :math:`Y \ge u`, and any other has its density:

    .. math:: \log p(y) = \log F(l), \quad \log (1 - F(u)), \quad \log f(y)

    Parameters
    ----------
    distribution : numpyro distribution
        Scalar distribution of what is measured. Normal, LogNormal and Logistic (and
        :class:`~pymc_dynsys.Gaussian`) have tails of their own, exact however far out; others
        take their own distribution function, whose logarithm is minus infinity where it
        underflows.
    lower, upper : float, optional
        Bounds, in units of the data: numbers, parameters or inputs. As inputs they may be infinite
        where a value is not censored.
    limit : float, optional
        End of a censored interval on the far side, as LIMIT of NONMEM: :math:`Y \le l` becomes
        :math:`limit \le Y \le l` where it lies below `lower`, and :math:`Y \ge u` becomes
        :math:`u \le Y \le limit` where it lies above `upper`. Infinite: no end.

    Returns
    -------
    Censored
        A distribution for ``observation``; its draws are cut off at the bounds.

    Raises
    ------
    TypeError, ValueError
        For what is no scalar distribution, or has no distribution function; for bounds that are
        not numbers, cross each other or are all left out; for a limit that lies between the bounds.

    See Also
    --------
    panel : makes bounds from columns CENS and LIMIT.

    Notes
    -----
    Method M3 of Beal (2001) is ``lower`` at the limit of quantification; M4 adds ``limit=0``
    and divides by the probability of a positive value, which is not done here.

    References
    ----------
    Beal (2001), *Ways to fit a PK model with some data below the quantification limit*. Journal
    of Pharmacokinetics and Pharmacodynamics 28, eq. 1 to 3.

    Examples
    --------
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> below = pds.censored(dist.Normal(0.0, 1.0), lower=-40.0)
    >>> print(f"{below.log_prob(-40.0):.4f}, {below.log_prob(0.0):.4f}")
    -804.6084, -0.9189
    """
    return Censored(distribution, lower, upper, limit)


class Censored(dist.Distribution):
    """What :func:`censored` returns."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    pytree_data_fields = ("law", "lower", "upper", "limit")

    def __init__(
        self, law: dist.Distribution, lower: Bound = None, upper: Bound = None, limit: Bound = None
    ) -> None:
        _require_law(law)
        if lower is None and upper is None:
            raise ValueError("censored: give a lower or an upper bound, or both")
        bounds = {"lower": lower, "upper": upper, "limit": limit}
        for name, bound in bounds.items():
            _require_scalar(name, bound)
        _require_order(bounds)
        self.law, self.lower, self.upper, self.limit = law, lower, upper, limit
        super().__init__(batch_shape=(), event_shape=(), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """Values of the distribution, and those beyond the bounds."""
        return CensoredSupport(self.law.support, self.lower, self.upper, self.limit)

    def sample(self, key: Array, sample_shape: tuple[int, ...] = ()) -> Array:
        """Draw values; those beyond a bound are the bound."""
        lower, upper, _ = self._bounds()
        return jnp.clip(draw(self.law, key, sample_shape), lower, upper)

    def log_prob(self, value: ArrayLike, intermediates: object = None) -> Array:
        """Log-density of a value between the bounds, log-probability of one beyond them."""
        y = jnp.asarray(value, float)
        lower, upper, limit = self._bounds()
        below, above = y <= lower, y >= upper
        event = below | above
        inside = self.law.support.feasible_like(y)
        density = log_density(self.law, jnp.where(event, jax.lax.stop_gradient(inside), y))
        # What is no event has an interval that any distribution gives a probability.
        far_low = jnp.where(limit < lower, limit, -jnp.inf)
        far_high = jnp.where(limit > upper, limit, jnp.inf)
        start = jnp.where(below, far_low, jnp.where(above, upper, -jnp.inf))
        end = jnp.where(below, lower, jnp.where(above, far_high, jnp.inf))
        of_event = log_probability(self.law, start, end, half_open=self.limit is None)
        return jnp.where(event, of_event, density)

    def cdf_bounds(self, value: Array) -> tuple[Array, Array]:
        """Probabilities of what is surely below a value, and of what is not surely above it."""
        lower, upper, limit = self._bounds()
        below, above = value <= lower, value >= upper
        inside = self.law.support.feasible_like(value)
        less, upto = cdf_bounds(self.law, jnp.where(below | above, inside, value))
        at_lower = jnp.where(below, lower, inside)
        at_upper = jnp.where(above, upper, inside)
        low = jnp.where(below & (limit < lower) & jnp.isfinite(limit), limit, inside)
        high = jnp.where(above & (limit > upper) & jnp.isfinite(limit), limit, inside)
        has_low = below & (limit < lower) & jnp.isfinite(limit)
        has_high = above & (limit > upper) & jnp.isfinite(limit)
        start = jnp.where(has_low, cdf_bounds(self.law, low)[0], 0.0)
        end = jnp.where(has_high, cdf_bounds(self.law, high)[1], 1.0)
        less = jnp.where(below, start, jnp.where(above, cdf_bounds(self.law, at_upper)[0], less))
        upto = jnp.where(below, cdf_bounds(self.law, at_lower)[1], jnp.where(above, end, upto))
        return less, upto

    def _bounds(self) -> tuple[Array, Array, Array]:
        """Lower and upper bound and limit; infinite, or not a number, where there is none."""
        lower = -jnp.inf if self.lower is None else self.lower
        upper = jnp.inf if self.upper is None else self.upper
        limit = jnp.nan if self.limit is None else self.limit
        return jnp.asarray(lower, float), jnp.asarray(upper, float), jnp.asarray(limit, float)


class CensoredSupport(constraints.Constraint):
    """Values of a distribution, and all beyond the bounds, if limits are on the far side."""

    def __init__(
        self, base: constraints.Constraint, lower: Bound, upper: Bound, limit: Bound
    ) -> None:
        self.base, self.lower, self.upper, self.limit = base, lower, upper, limit

    @property
    def is_discrete(self) -> bool:
        """Whether values are those of a discrete distribution."""
        return bool(self.base.is_discrete)

    @property
    def event_dim(self) -> int:
        """Values are numbers."""
        return 0

    def __call__(self, x: ArrayLike) -> ArrayLike:
        """Whether values are possible."""
        lower = -np.inf if self.lower is None else self.lower
        upper = np.inf if self.upper is None else self.upper
        limit = np.inf if self.limit is None else self.limit
        open_end = abs(limit) == np.inf
        x = x if isinstance(x, jax.Array) else np.asarray(x)
        below, above = x <= lower, x >= upper
        inside = self.base(x) & (x > lower) & (x < upper)
        return (
            inside | (below & ((limit < lower) | open_end)) | (above & ((limit > upper) | open_end))
        )

    def feasible_like(self, prototype: ArrayLike) -> ArrayLike:
        """Some value of the distribution."""
        return self.base.feasible_like(prototype)

    def tree_flatten(self) -> tuple[Any, Any]:
        """Bounds are leaves."""
        names = ("base", "lower", "upper", "limit")
        return tuple(getattr(self, name) for name in names), (names, {})


def _require_law(law: object) -> None:
    if not isinstance(law, dist.Distribution):
        raise TypeError(
            f"censored: expected a numpyro distribution, got {type(law).__name__}; write "
            "pds.censored(dist.Normal(mean, sd), lower=...)"
        )
    if isinstance(law, Censored):
        raise ValueError("censored: it is censored already; give lower and upper together")
    if law.shape() != ():
        raise ValueError(
            f"censored: expected a scalar distribution, got {type(law).__name__} of shape "
            f"{law.shape()}; for several components return a tuple, each censored by itself"
        )
    if isinstance(law, dist.Delta):
        raise ValueError("censored: a value without noise has no density to be censored")
    if not has_cdf(law):
        raise ValueError(
            f"censored: {type(law).__name__} has no distribution function (cdf) in numpyro; take "
            "one that has, such as Normal, LogNormal, Logistic, StudentT, Gamma, Poisson, or "
            "write a numpyro Distribution of your own with a method cdf"
        )


def _require_scalar(name: str, bound: Bound) -> None:
    if bound is None:
        return
    try:
        shape = jnp.shape(bound)
    except TypeError as error:
        raise TypeError(f"censored: {name} must be a number, got {bound!r}") from error
    if shape != ():
        raise ValueError(
            f"censored: {name} has shape {shape}, expected a number; for several components "
            "return a tuple, each censored by itself"
        )
    if not isinstance(bound, jax.core.Tracer) and np.isnan(float(bound)):
        raise ValueError(f"censored: {name} is NaN; leave it out where nothing is censored")


def _require_order(bounds: dict[str, Bound]) -> None:
    """Raise for known bounds that cross each other, or a limit that no event ends at."""
    known = {k: float(np.asarray(v)) for k, v in bounds.items() if _is_number(v)}
    lower, upper, limit = (known.get(name) for name in ("lower", "upper", "limit"))
    if lower is not None and upper is not None and lower >= upper:
        raise ValueError(f"censored: lower={lower:g} is not below upper={upper:g}")
    if limit is None or np.isinf(limit):
        return
    ends_low = bounds["lower"] is not None and (lower is None or limit < lower)
    ends_high = bounds["upper"] is not None and (upper is None or limit > upper)
    if not (ends_low or ends_high):
        raise ValueError(
            f"censored: limit={limit:g} closes no event; it lies below lower (Y between limit and "
            "lower) or above upper"
        )


def _is_number(bound: object) -> bool:
    return isinstance(bound, int | float | np.ndarray | np.number)
