"""Linear-Gaussian systems from matrices, which add up block by block."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from numpyro import distributions as dist

from pymc_dynsys.linalg import matvec
from pymc_dynsys.linalg.lyapunov import stationary_moments
from pymc_dynsys.systems.discrete import DiscreteTime
from pymc_dynsys.systems.gaussian import Gaussian
from pymc_dynsys.systems.initial import Diffuse, Mixed, Stationary

Initial = Stationary | Diffuse | None


class Matrices(NamedTuple):
    """``x' = F x + b + N(0, Q)``, ``y = H x + d + N(0, R)``; a scalar y has H ``(state,)``.

    R is a vector of variances where the noises are independent, None where there are none.
    """

    F: Float[Array, "state state"]
    b: Float[Array, " state"]
    Q: Float[Array, "state state"]
    H: Array
    d: Array
    R: Array | None


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """A linear-Gaussian system in discrete time, with the values of its parameters.

    Made by :func:`linear_gaussian`, :func:`local_level` and the like, and given to
    :class:`~pymc_dynsys.Trajectory` as its system, which needs no ``params`` then. The sum of two
    has the states of both, independent of each other, and the sum of their observations.

    Attributes
    ----------
    name : str
        Names of the blocks, joined by "+".
    states : tuple of str
        Names of the states.
    params : dict
        Values of the parameters, PyMC variables or numbers.
    """

    name: str
    states: tuple[str, ...]
    params: dict[str, Any] = field(repr=False)
    matrices: Callable[[Mapping[str, Any]], Matrices] = field(repr=False)
    initial: Callable[[Mapping[str, Any]], Mixed] = field(repr=False)
    step: float = 1.0
    definite: bool = True

    def __add__(self, other: LinearGaussian) -> LinearGaussian:
        """The system whose observation is the sum of both."""
        if not isinstance(other, LinearGaussian):
            return NotImplemented
        twice = sorted(set(self.states) & set(other.states) | set(self.params) & set(other.params))
        if twice:
            raise ValueError(
                f"{self.name} + {other.name}: both have {twice[0]!r}; give one of them another "
                "name, name=..."
            )
        if self.step != other.step:
            raise ValueError(
                f"{self.name} + {other.name}: steps of {self.step:g} and {other.step:g} differ"
            )

        def matrices(params: Mapping[str, Any]) -> Matrices:
            return _added(self.matrices(params), other.matrices(params), self, other)

        def initial(params: Mapping[str, Any]) -> Mixed:
            one, two = self.initial(params), other.initial(params)
            return Mixed(
                jnp.concatenate([one.mean, two.mean]),
                block_diagonal(one.cov, two.cov),
                (*one.diffuse, *two.diffuse),
            )

        return LinearGaussian(
            name=f"{self.name} + {other.name}",
            states=(*self.states, *other.states),
            params={**self.params, **other.params},
            matrices=matrices,
            initial=initial,
            step=self.step,
            definite=self.definite and other.definite,
        )

    def system(self) -> DiscreteTime:
        """The same as functions of its parameters."""
        if not self.states:
            raise ValueError(f"{self.name} has no state; add one that has, such as local_level()")

        def transition(x: Array, **params: Any) -> Any:
            F, b, Q, *_ = self.matrices(params)
            return Gaussian(matvec(F, x) + b, Q)

        def observation(x: Array, **params: Any) -> Any:
            *_, H, d, R = self.matrices(params)
            scalar = H.ndim == 1
            mean = (H * x).sum() + d if scalar else matvec(H, x) + d
            if R is None:
                return Gaussian(mean, jnp.zeros(mean.shape * 2))
            if not self.definite:
                return Gaussian(mean, R if scalar or R.ndim == 2 else jnp.diag(R))
            if R.ndim < 2:
                positive = R > 0
                law = dist.Normal(
                    mean, jnp.where(positive, jnp.sqrt(jnp.where(positive, R, 1.0)), R)
                )
                return law if scalar else law.to_event(1)
            return dist.MultivariateNormal(mean, covariance_matrix=R)

        def initial(**params: Any) -> Mixed:
            return self.initial(params)

        return DiscreteTime(
            transition=_with_arguments(transition, "x", *self.params),
            observation=_with_arguments(observation, "x", *self.params),
            initial=_with_arguments(initial, *self.params),
            states=self.states,
            step=self.step,
        )


def linear_gaussian(
    F: Any,
    Q: Any,
    H: Any,
    R: Any,
    *,
    b: Any = None,
    d: Any = None,
    m0: Any = None,
    P0: Any = None,
    initial: Stationary | Diffuse | None = None,
    states: Any = None,
    step: float = 1.0,
) -> LinearGaussian:
    r"""Linear-Gaussian state-space model from its matrices.

    .. math:: x_{k+1} = F x_k + b + N(0, Q), \quad y_k = H x_k + d + N(0, R), \quad
              x_0 \sim N(m_0, P_0)

    with :math:`x_0` the state at the first visit. Every matrix is a PyMC variable or expression
    (register expressions with ``pm.Deterministic``), a number, an array or a DataArray. Dims that
    the trajectory has among its batch dims make it vary by series; freezing a matrix is passing
    numbers.

    Parameters
    ----------
    F : (state, state)
        Transition matrix.
    Q : (state, state)
        Covariance of its noise; may be singular.
    H : (component, state) or (state,)
        Observation matrix; a vector for scalar data.
    R : (component, component), (component,) or scalar
        Covariance of the noise of the data; a vector holds the variances of independent noises. A
        known one may be singular.
    b, d : (state,), (component,) or scalar, optional
        Offsets; default zero.
    m0, P0 : (state,) and (state, state), optional
        Mean and covariance of the first state; both or none.
    initial : Stationary or Diffuse, optional
        Instead of `m0` and `P0`, of which one or the other must be given.
    states : sequence of str, optional
        Names of the states, default ``x0``, ``x1``, ...
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        To be given to ``Trajectory`` as system; adds to others with ``+``.

    Raises
    ------
    ValueError
        If the initial law is not given once, or (when the trajectory is built) shapes do not fit.

    References
    ----------
    Särkkä (2013), *Bayesian Filtering and Smoothing*, eq. 4.12.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model(coords={"time": np.arange(5.0), "channel": ["a", "b", "c"]}) as model:
    ...     H = pm.Normal("H", shape=(3, 2))
    ...     lgssm = pds.linear_gaussian(
    ...         F=0.9 * np.eye(2), Q=np.eye(2), H=H, R=np.ones(3), initial=pds.Stationary()
    ...     )
    ...     y = pds.Trajectory("y", lgssm, observed=np.zeros((5, 3)), dims=("time", "channel"))
    """
    if initial is not None and not isinstance(initial, Stationary | Diffuse):
        raise TypeError(
            f"linear_gaussian: initial must be Stationary() or Diffuse(), got {initial!r}; a law "
            "is given by m0 and P0"
        )
    given = (m0 is not None, P0 is not None, initial is not None)
    if given not in ((True, True, False), (False, False, True)):
        raise ValueError(
            "linear_gaussian: give the first state's m0 and P0, or initial=Stationary() or "
            "Diffuse(), and not both"
        )
    values = {"F": F, "b": b, "Q": Q, "H": H, "d": d, "R": R, "m0": m0, "P0": P0}
    params = {name: value for name, value in values.items() if value is not None}
    if states is None:
        shape = shape_of(F)
        if len(shape) < 2:
            raise ValueError(f"linear_gaussian: F has shape {shape}, expected a matrix")
        states = tuple(f"x{i}" for i in range(shape[-1]))
    names = (states,) if isinstance(states, str) else tuple(states)
    n = len(names)

    def matrices(params: Mapping[str, Any]) -> Matrices:
        F, H, R = (jnp.asarray(params[name], float) for name in ("F", "H", "R"))
        require_shape("F", F, (n, n))
        Q = require_shape("Q", params["Q"], (n, n))
        b = require_shape("b", params.get("b", jnp.zeros(n)), (n,), ())
        rows = () if H.ndim == 1 else H.shape[:1]
        require_shape("H", H, (*rows, n))
        d = require_shape("d", params.get("d", jnp.zeros(rows)), rows, ())
        require_shape("R", R, rows, rows * 2)
        return Matrices(F, jnp.broadcast_to(b, (n,)), Q, H, jnp.broadcast_to(d, rows), R)

    def first(params: Mapping[str, Any]) -> Mixed:
        of = matrices(params)
        if initial is None:
            mean, cov = (
                require_shape("m0", params["m0"], (n,)),
                require_shape("P0", params["P0"], (n, n)),
            )
            return Mixed(mean, cov, (False,) * n)
        return first_law(initial, of)

    return LinearGaussian(
        "linear_gaussian", names, params, matrices, first, step, definite=is_definite(R)
    )


def as_system(system: Any, params: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """A system and all its parameters; those that a linear-Gaussian one brings along join."""
    if not isinstance(system, LinearGaussian):
        return system, params
    both = sorted(set(system.params) & set(params))
    if both:
        raise ValueError(f"params: {both[0]!r} is given with the system {system.name} already")
    return system.system(), {**system.params, **params}


def first_law(initial: Stationary | Diffuse, of: Matrices) -> Mixed:
    """The law of the first state of one block."""
    n = of.F.shape[0]
    if isinstance(initial, Stationary):
        return Mixed(*stationary_moments(of.F, of.b, of.Q, continuous=False), (False,) * n)
    if initial.kappa is None:
        return Mixed(jnp.zeros(n), jnp.zeros((n, n)), (True,) * n)
    return Mixed(jnp.zeros(n), initial.kappa * jnp.eye(n), (False,) * n)


def block_diagonal(A: Array, B: Array) -> Array:
    """Two square matrices along the diagonal of one."""
    n, m = len(A), len(B)
    top = jnp.concatenate([A, jnp.zeros((n, m))], axis=1)
    return jnp.concatenate([top, jnp.concatenate([jnp.zeros((m, n)), B], axis=1)])


def _added(a: Matrices, b: Matrices, one: LinearGaussian, two: LinearGaussian) -> Matrices:
    """Matrices of a sum."""
    rows = a.H.shape[:-1]
    if rows != b.H.shape[:-1]:
        raise ValueError(
            f"{one.name} + {two.name}: observations of shapes {rows} and {b.H.shape[:-1]} do not "
            "add up"
        )
    return Matrices(
        block_diagonal(a.F, b.F),
        jnp.concatenate([a.b, b.b]),
        block_diagonal(a.Q, b.Q),
        jnp.concatenate([a.H, b.H], axis=-1),
        a.d + b.d,
        _added_noise(a.R, b.R),
    )


def _added_noise(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    if a.ndim == b.ndim:
        return a + b
    return (jnp.diag(a) if a.ndim == 1 else a) + (jnp.diag(b) if b.ndim == 1 else b)


def require_shape(
    name: str, value: Any, *shapes: tuple[int, ...], role: str = "linear_gaussian"
) -> Array:
    """The value as an array, which must have one of the shapes."""
    array = jnp.asarray(value, float)
    if array.shape not in shapes:
        expected = " or ".join(map(str, dict.fromkeys(shapes)))
        raise ValueError(f"{role}: {name} has shape {array.shape}, expected {expected}")
    return array


def shape_of(value: Any) -> tuple[int, ...]:
    """Shape of an array, or of a PyTensor variable, whose unknown lengths are computed."""
    if not hasattr(value, "type"):
        return np.shape(getattr(value, "values", value))
    known = value.type.shape
    if None in known:
        known = [int(n) for n in value.shape.eval(mode="FAST_COMPILE")]
    return tuple(known)


def is_definite(R: Any) -> bool:
    """Whether a noise covariance is positive definite; variables are taken to be."""
    if hasattr(R, "type"):
        return True
    known = np.asarray(getattr(R, "values", R), float)
    if not np.isfinite(known).all():
        return False
    if known.ndim >= 2 and known.shape[-1] == known.shape[-2]:
        lowest = np.linalg.eigvalsh(known)[..., 0]
        if not (lowest > 1e-12 * np.abs(known).max((-1, -2))).all():
            return False
        return known.ndim == 2 or bool((np.diagonal(known, axis1=-2, axis2=-1) > 0).all())
    return bool((known > 0).all())


def _with_arguments(function: Callable[..., Any], *names: str) -> Callable[..., Any]:
    """The function with named arguments in place of ``**params``."""
    kind = inspect.Parameter.KEYWORD_ONLY
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in names])
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function
