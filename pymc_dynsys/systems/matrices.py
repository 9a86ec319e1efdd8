"""Linear-Gaussian systems from their matrices, whose shapes are checked here."""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np

from pymc_dynsys.systems.blocks import CONSTANT, Start, require_shape, with_sensor
from pymc_dynsys.systems.entries import Entries
from pymc_dynsys.systems.initial import Diffuse, Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Moves, Sensor, Values
from pymc_dynsys.systems.values import known_value


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
    numbers. A matrix with a few unknown entries is a nested list of numbers and scalar variables,
    ``F=[[phi, 1.0], [0.0, 0.0]]``; where an entry has batch dims, the matrix has them.

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
    of = {k: Entries("linear_gaussian", k, v) for k, v in values.items() if v is not None}
    if states is None:
        shape = of["F"].shape
        if len(shape) < 2:
            raise ValueError(f"linear_gaussian: F has shape {shape}, expected a matrix")
        states = tuple(f"x{i}" for i in range(shape[-1]))
    names = (states,) if isinstance(states, str) else tuple(states)
    n = len(names)

    def moves(params: Values) -> Moves:
        F, Q = (require_shape(name, of[name](params), (n, n)) for name in ("F", "Q"))
        b = require_shape("b", of["b"](params), (n,), ()) if "b" in of else jnp.zeros(n)
        return Moves(F, jnp.broadcast_to(b, (n,)), Q)

    def sensor(params: Values) -> Sensor:
        H, R = of["H"](params), of["R"](params)
        rows = () if H.ndim == 1 else H.shape[:1]
        require_shape("H", H, (*rows, n))
        d = require_shape("d", of["d"](params), rows, ()) if "d" in of else jnp.zeros(rows)
        if rows not in ((), (1,)) and R.size == 1:
            raise ValueError(
                f"linear_gaussian: H has shape {H.shape}, which is {rows[0]} components of a "
                f"datum, and R is one number, expected {rows} or {rows * 2}. {CONSTANT}"
            )
        require_shape("R", R, rows, rows * 2)
        return Sensor(H, jnp.broadcast_to(d, rows), R)

    params = {name: value for part in of.values() for name, value in part.params.items()}
    system = with_sensor(
        "linear_gaussian",
        names,
        params,
        moves,
        sensor,
        Start(of["m0"], of["P0"]) if initial is None else initial,
        step,
    )
    definite = all(map(is_definite, of["R"].on_diagonal())) if of["R"].entries else is_definite(R)
    return replace(system, definite=definite)


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
