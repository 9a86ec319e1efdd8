"""Linear-Gaussian systems from their matrices, whose shapes are checked here."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from pymc_dynsys.systems.initial import Diffuse, Mixed, Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Matrices, first_law
from pymc_dynsys.systems.values import known_value, shape_of

CONSTANT = (
    "Matrices are the same at all times; one that changes in time is an input of a system of "
    "functions: DiscreteTime(observation=lambda x, h: dist.Normal((h * x).sum(), s), ...) and "
    "inputs={'h': H}"
)
"""What to say of a matrix with an axis too many."""


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
        Mean and covariance of the initial state; both or none.
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
        If the initial distribution is not given once, or (when the trajectory is built) shapes do
        not fit.

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
            f"linear_gaussian: initial must be Stationary() or Diffuse(), got {initial!r}; "
            "another distribution is given by m0 and P0"
        )
    given = (m0 is not None, P0 is not None, initial is not None)
    if given not in ((True, True, False), (False, False, True)):
        raise ValueError(
            "linear_gaussian: give the initial state's m0 and P0, or initial=Stationary() or "
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
        if rows not in ((), (1,)) and R.size == 1:
            raise ValueError(
                f"linear_gaussian: H has shape {H.shape}, which is {rows[0]} components of a "
                f"datum, and R is one number, expected {rows} or {rows * 2}. {CONSTANT}"
            )
        require_shape("R", R, rows, rows * 2)
        return Matrices(F, jnp.broadcast_to(b, (n,)), Q, H, jnp.broadcast_to(d, rows), R)

    def first(params: Mapping[str, Any]) -> Mixed:
        of = matrices(params)
        if initial is None:
            mean, cov = (
                require_shape("m0", params["m0"], (n,)),
                require_shape("P0", params["P0"], (n, n)),
            )
            return Mixed(mean, cov, (False,) * n, (False,) * n)
        return first_law(initial, of)

    return LinearGaussian(
        "linear_gaussian", names, params, matrices, first, step, definite=is_definite(R)
    )


def require_shape(
    name: str, value: Any, *shapes: tuple[int, ...], role: str = "linear_gaussian"
) -> Array:
    """The value as an array, which must have one of the shapes."""
    array = jnp.asarray(value, float)
    if array.shape not in shapes:
        expected = " or ".join(map(str, dict.fromkeys(shapes)))
        hint = f". {CONSTANT}" if array.ndim > max(map(len, shapes)) else ""
        raise ValueError(f"{role}: {name} has shape {array.shape}, expected {expected}{hint}")
    return array


def is_definite(R: Any) -> bool:
    """Whether a noise covariance is positive definite; variables are taken to be."""
    known = known_value(R)
    if known is None:
        return True
    if not np.isfinite(known).all():
        return False
    if known.ndim >= 2 and known.shape[-1] == known.shape[-2]:
        lowest = np.linalg.eigvalsh(known)[..., 0]
        if not (lowest > 1e-12 * np.abs(known).max((-1, -2))).all():
            return False
        return known.ndim == 2 or bool((np.diagonal(known, axis1=-2, axis2=-1) > 0).all())
    return bool((known > 0).all())
