"""Effects of regressors, fixed or drifting, as a block of a sum."""

from collections.abc import Sequence

import jax.numpy as jnp
from jaxtyping import Array

from pymc_dynsys.systems.blocks import squares, start_of, with_sensor
from pymc_dynsys.systems.entries import Entries
from pymc_dynsys.systems.initial import Diffuse, Mixed
from pymc_dynsys.systems.linear_gaussian import LinearGaussian, Moves, Sensor, Values
from pymc_dynsys.systems.vector_autoregression import effect_of


def regression(
    inputs: str | Sequence[str],
    coefficients: object = None,
    sigma: object = None,
    *,
    initial: Diffuse | None = None,
    m0: object = None,
    P0: object = None,
    regressors: int | None = None,
    name: str = "regression",
    step: float = 1.0,
) -> LinearGaussian:
    r"""Effects of regressors on the datum of their row.

    .. math:: y_k = \beta_k' u_k + \ldots, \qquad
              \beta_{k+1} = \beta_k + N(0, \mathrm{diag}(\sigma^2))

    Three forms. With `coefficients` they are parameters, with priors of their own. Without, they
    are states: constant ones, which the filter integrates over a flat distribution (another
    likelihood than that of parameters, since nothing is conditioned on), or with `sigma` random
    walks. Where y is missing its regressors may be missing (NaN) too, and enter nothing.

    Parameters
    ----------
    inputs : str or sequence of str
        Inputs of the trajectory: one whose values are a number or a vector for each row, or several
        of a number each. ``Trajectory(inputs={"price": price})`` gives their values.
    coefficients : (regressor,), (component, regressor) or scalar, optional
        Effects that are parameters; a matrix for a vector observation. A nested list may hold
        numbers and scalar variables.
    sigma : scalar or (regressor,), optional
        Standard deviation of a step of each coefficient.
    initial : Diffuse, optional
        The default: exactly diffuse coefficients, which take as many data as there are
        coefficients to be known.
    m0, P0 : (regressor,) and (regressor, regressor), optional
        Mean and covariance of the coefficients at the first row instead.
    regressors : int, optional
        Number of coefficients that are states, where one input is a vector.
    name : str
        Prefix of the parameters.
    step : float
        Time between states.

    Returns
    -------
    LinearGaussian
        Adds to others with ``+``. States are called like their input, with ``_coefficient`` after
        it, and numbered where one input is a vector.

    Raises
    ------
    ValueError
        If coefficients are both parameters and states, and (when the trajectory is built) where
        numbers do not fit or a regressor is missing beside a datum.

    References
    ----------
    Durbin and Koopman (2012), *Time Series Analysis by State Space Methods*, sec. 3.2.5 and 6.2.

    Examples
    --------
    >>> import numpy as np, pymc as pm, xarray as xr
    >>> import pymc_dynsys as pds
    >>> X = xr.DataArray(np.eye(5, 2), dims=("month", "reg"))
    >>> with pm.Model(coords={"month": range(5), "reg": ["price", "promo"]}) as model:
    ...     b = pm.Normal("b", dims="reg")
    ...     sales = pds.local_level(0.1) + pds.regression("X", b) + pds.white_noise(1.0)
    ...     y = pds.Trajectory("y", sales, inputs={"X": X}, observed=np.zeros(5), dims="month")
    >>> pds.regression(["price", "promo"], sigma=0.1).states
    ('price_coefficient', 'promo_coefficient')
    """
    names = (inputs,) if isinstance(inputs, str) else tuple(inputs)
    if not names or not all(isinstance(n, str) for n in names):
        raise TypeError(f"{name}: inputs are names of inputs of the trajectory, got {inputs!r}")
    if coefficients is None:
        n = _number(name, names, regressors)
        start, params = start_of(name, initial, m0, P0)
        return _states(name, names, n, sigma, start, params, step)
    if any(given is not None for given in (sigma, initial, m0, P0, regressors)):
        raise ValueError(
            f"{name}: coefficients are given, so they are parameters; sigma, initial, m0, P0 and "
            "regressors are of coefficients that are states. Leave out one or the other"
        )
    beta = Entries(name, "coefficients", coefficients, f"{name}_coefficients")

    def moves(values: Values) -> Moves:
        nothing = jnp.zeros((0, 0))
        return Moves(nothing, jnp.zeros(0), nothing)

    def sensor(values: Values) -> Sensor:
        b = beta(values)
        d = effect_of(name, "coefficients", b, _row(values, names), b.shape[:-1])
        return Sensor(jnp.zeros((*d.shape, 0)), d, None)

    def first(values: Values) -> Mixed:
        return Mixed(jnp.zeros(0), jnp.zeros((0, 0)), (), ())

    return LinearGaussian(name, (), dict(beta.params), moves, sensor, first, step, regressors=names)


def _states(
    name: str,
    names: tuple[str, ...],
    n: int,
    sigma: object,
    start: object,
    params: dict[str, object],
    step: float,
) -> LinearGaussian:
    """Coefficients as states."""
    s = None if sigma is None else Entries(name, "sigma", sigma, f"{name}_sigma")

    def moves(values: Values) -> Moves:
        noise = jnp.zeros(n)
        if s is not None:
            sd = s(values)
            if sd.shape not in ((), (n,)):
                raise ValueError(f"{name}: sigma has shape {sd.shape}, expected () or {(n,)}")
            noise = jnp.broadcast_to(squares(sd), (n,))
        return Moves(jnp.eye(n), jnp.zeros(n), jnp.diag(noise))

    def sensor(values: Values) -> Sensor:
        u = _row(values, names)
        if u.shape != (n,):
            raise ValueError(
                f"{name}: {', '.join(names)} have {u.size} values a row, and there are {n} "
                f"coefficients; say regressors={u.size}"
            )
        return Sensor(u, jnp.zeros(()), None)

    several = tuple(f"_{i}" for i in range(n)) if len(names) == 1 and n > 1 else ("",)
    states = tuple(f"{of}_coefficient{i}" for of in names for i in several)
    given = {**params, **({} if s is None else s.params)}
    return with_sensor(name, states, given, moves, sensor, start, step, regressors=names)


def _number(name: str, names: tuple[str, ...], stated: object) -> int:
    """How many coefficients there are."""
    if stated is None:
        return len(names)
    if not isinstance(stated, int) or isinstance(stated, bool) or stated < 1:
        raise ValueError(f"{name}: regressors must be a positive integer, got {stated!r}")
    if len(names) > 1 and stated != len(names):
        raise ValueError(f"{name}: {len(names)} inputs of a number each, but regressors={stated}")
    return stated


def _row(values: Values, names: tuple[str, ...]) -> Array:
    """Values of all regressors in one row."""
    if len(names) == 1:
        return jnp.reshape(values[names[0]], (-1,))
    for name in names:
        if jnp.shape(values[name]) != ():
            raise ValueError(
                f"regression: the input {name!r} has a value of shape {jnp.shape(values[name])} "
                f"in each row; several inputs ({', '.join(names)}) are a number each"
            )
    return jnp.stack([values[name] for name in names])
