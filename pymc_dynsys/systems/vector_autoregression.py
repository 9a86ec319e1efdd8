"""Autoregression of several series, with exogenous ones."""

import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.systems.autoregression import order_of
from pymc_dynsys.systems.blocks import Initial, require_shape, start_of, with_sensor
from pymc_dynsys.systems.entries import Entries
from pymc_dynsys.systems.initial import Stationary
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Moves, Sensor, Values

ROLE = "vector_autoregression"


def vector_autoregression(
    coefficients: object,
    cov: object,
    *,
    exog: tuple[object, str] | None = None,
    intercept: object = None,
    order: int | None = None,
    components: int | None = None,
    initial: Initial | None = None,
    m0: object = None,
    P0: object = None,
    name: str = "var",
    step: float = 1.0,
) -> LinearGaussian:
    r"""VAR(p) process with exogenous variables (VARX).

    .. math:: x_k = \sum_{j=1}^p \Phi_j x_{k-j} + B u_k + c + N(0, C)

    The exogenous values of a row act on that row, as econometrics has it; those of the first row
    act on nothing, since the initial distribution is that of the first row.

    Parameters
    ----------
    coefficients : (p, component, component)
        :math:`\Phi_1, \ldots, \Phi_p`; ``[j, a, b]`` is the effect of b, j + 1 steps ago, on a. A
        nested list may hold numbers and scalar variables.
    cov : (component, component)
        Covariance of the innovations; or such a list.
    exog : tuple (B, name), optional
        Effects, ``(component, exogenous)``, and the input of the trajectory that they are effects
        of, ``Trajectory(inputs={name: u})`` with a value for each row. Do not shift it.
    intercept : (component,), optional
        c; default zero.
    order, components : int, optional
        p and the number of components, where the shape of `coefficients` does not tell them.
    initial : Stationary or Diffuse, optional
        Default: stationary. With `exog` there is no stationary distribution and something must be
        said: ``Diffuse()`` conditions on the first p rows, ``Stationary()`` begins as the process
        would be without its exogenous part.
    m0, P0 : (state,) and (state, state), optional
        Mean and covariance of the initial state instead, which is the first row followed by the
        p - 1 rows before it.
    name : str
        Prefix of states and parameters.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        A vector observation of all components; add :func:`white_noise` for noise of measurement.

    Raises
    ------
    ValueError
        Where `exog` is given without an initial distribution, and for shapes that do not fit.

    References
    ----------
    Lütkepohl (2005), *New Introduction to Multiple Time Series Analysis*, eq. 2.1.1 and 10.1.1.

    Examples
    --------
    >>> import numpy as np
    >>> import pymc_dynsys as pds
    >>> pds.vector_autoregression(0.5 * np.eye(2)[None], np.eye(2)).states
    ('var_0', 'var_1')

    A policy whose row acts on the same row of two series:

    >>> varx = pds.vector_autoregression(
    ...     0.5 * np.eye(2)[None],
    ...     np.eye(2),
    ...     exog=([[0.3], [0.0]], "policy"),
    ...     initial=pds.Diffuse(),
    ... )
    >>> varx.drivers
    ('policy',)
    """
    Phi = Entries(ROLE, "coefficients", coefficients, f"{name}_coefficients")
    C = Entries(ROLE, "cov", cov, f"{name}_cov")
    p = order_of(ROLE, Phi.shape, order, 3)
    m = order_of(ROLE, Phi.shape, components, 3, axis=-1)
    parts: list[Entries] = [Phi, C]
    driver: tuple[str, ...] = ()
    if exog is not None:
        B, driver = _exogenous(exog, name)
        parts.append(B)
        if initial is None and m0 is None and P0 is None:
            raise ValueError(
                f"{ROLE}: with exog there is no stationary distribution to begin with; give "
                "initial=Diffuse(), which conditions on the first rows, m0 and P0, or "
                "initial=Stationary(), that of the process without its exogenous part"
            )
    if intercept is not None:
        c = Entries(ROLE, "intercept", intercept, f"{name}_intercept")
        parts.append(c)
    start, of_start = start_of(name, initial, m0, P0)

    def undriven(values: Values) -> Moves:
        phi = require_shape("coefficients", Phi(values), (p, m, m), role=ROLE)
        cov = require_shape("cov", C(values), (m, m), role=ROLE)
        shift = jnp.zeros(m)
        if intercept is not None:
            shift = shift + require_shape("intercept", c(values), (m,), role=ROLE)
        wide = jnp.moveaxis(phi, 0, 1).reshape(m, p * m)
        F = jnp.concatenate([wide, jnp.eye((p - 1) * m, p * m)])
        Q = jnp.zeros((p * m, p * m)).at[:m, :m].set(cov)
        return Moves(F, jnp.zeros(p * m).at[:m].set(shift), Q)

    def moves(values: Values) -> Moves:
        free = undriven(values)
        if exog is None:
            return free
        effect = effect_of(ROLE, "exog", B(values), values[driver[0]], (m,))
        return free._replace(b=free.b.at[:m].add(effect))

    def sensor(values: Values) -> Sensor:
        return Sensor(jnp.eye(m, p * m), jnp.zeros(m), None)

    lags = ("", *(f"_lag{j}" for j in range(1, p)))
    states = tuple(f"{name}_{i}{lag}" for lag in lags for i in range(m))
    params = {key: value for part in parts for key, value in part.params.items()} | of_start
    start = Stationary() if start is None else start
    return with_sensor(
        name, states, params, moves, sensor, start, step, drivers=driver, undriven=undriven
    )


def _exogenous(exog: object, name: str) -> tuple[Entries, tuple[str]]:
    """Effects and the name of the input that has them."""
    if not (isinstance(exog, tuple) and len(exog) == 2 and isinstance(exog[1], str)):
        raise TypeError(
            f"{ROLE}: exog is a pair, the effects (component, exogenous) and the name of an input "
            f"of the trajectory, exog=(B, 'u'); got {exog!r}"
        )
    return Entries(ROLE, "exog", exog[0], f"{name}_exog"), (exog[1],)


def effect_of(role: str, label: str, B: Array, u: Array, rows: tuple[int, ...]) -> Array:
    """Effects ``(*rows, input)`` of the value of an input, which may be one number."""
    u = jnp.reshape(u, (-1,))
    if B.shape == rows and u.size == 1:
        B = B[..., None]
    if B.shape != (*rows, u.size):
        raise ValueError(
            f"{role}: {label} has shape {B.shape}, expected {(*rows, u.size)}: the input has "
            f"{u.size} values a row"
        )
    return (B * jnp.broadcast_to(u, B.shape)).sum(-1)
