r"""Effects of states on each other as functions of the interval between them.

Legend: A slope of the drift, F of a step, P the stationary covariance; d an interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Array

from pymc_dynsys.bridge.draws import OperandDraws
from pymc_dynsys.bridge.study import Study, find_trajectory
from pymc_dynsys.inference.labels import draws_of
from pymc_dynsys.inference.of_dynamics import (
    expm,
    labelled_effects,
    of_each_draw,
    propagators,
    read_lengths,
    require_linear,
)
from pymc_dynsys.linalg.lyapunov import DOUBLINGS, stationary_moments
from pymc_dynsys.systems.dynamics import LinearDynamics

GRID, FINE, NEWTON = 400, 40, 5
"""Points at which a peak is sought, points between two of them, and steps to its root."""

DECAYED = 1e-9
"""Size of all effects beyond the last point of the first grid."""


def lagged_effects(
    idata: xr.DataTree | None,
    *,
    model: pm.Model,
    intervals: object,
    standardise: bool = False,
    without: Sequence[str] = (),
    group: Literal["posterior", "prior"] = "posterior",
    var_name: str | None = None,
    progressbar: bool = True,
) -> xr.DataTree:
    r"""Effect of each state on each state an interval later.

    .. math:: \text{continuous: } e^{A d}, \qquad \text{discrete: } F^d

    The diagonal holds autoregressive effects, the rest cross-lagged ones, total ones that go
    through all states in between. They are what a vector autoregression of data at that interval
    has for coefficients.

    Parameters
    ----------
    idata : DataTree or None
        What ``pm.sample`` returned; None where all parameters are known.
    model : pm.Model
        The model.
    intervals : array
        Ascending intervals from 0 on, in the unit of the model; in discrete time whole steps.
    standardise : bool
        In standard deviations of the stationary distribution instead of units of the states.
    without : sequence of str
        States that are held fixed, so that effects through them are left out (direct effects).
    group : {"posterior", "prior"}
        Where the parameters are.
    var_name : str, optional
        Name of the trajectory, if the model has several.
    progressbar : bool
        Show the progress of work done in several blocks.

    Returns
    -------
    DataTree
        The same group with ``lagged_effects``, dims ``(chain, draw, *batch, interval, response,
        predictor)``; in continuous time also ``peak_interval`` and ``peak_effect`` without the
        interval, where the effect of one state on another is largest, NaN for states on themselves
        and where the dynamics are not stable.

    Raises
    ------
    ValueError, TypeError
        For dynamics that are not linear or whose slope changes in time; for intervals that do not
        ascend or are no whole steps; for states that there are not.

    See Also
    --------
    impulse_response : after a push, or under a constant input.
    plot_lagged_effects : bands of the draws.

    References
    ----------
    Deboeck and Preacher (2016), *No need to be discrete*, Structural Equation Modeling 23, 61-75.
    Ryan and Hamaker (2022), *Time to intervene*, Psychometrika 87, 214-252.

    Examples
    --------
    >>> import numpy as np, pymc as pm, jax.numpy as jnp
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> A = np.array([[-0.8, 0.25], [0.1, -0.35]])
    >>> two = pds.SDE(
    ...     states=("mood", "sleep"),
    ...     drift=lambda states, A: A @ states,
    ...     diffusion=jnp.ones(2),
    ...     initial=pds.Stationary(),
    ...     observation=lambda mood: dist.Normal(mood, 1.0),
    ... )
    >>> with pm.Model(coords={"time": [0.0, 1.0]}) as model:
    ...     y = pds.Trajectory("y", two, params={"A": A}, observed=np.zeros(2), dims="time")
    >>> found = pds.lagged_effects(None, model=model, intervals=np.linspace(0.0, 8.0, 9))
    >>> peak = found["posterior"]["peak_interval"].sel(response="mood", predictor="sleep")
    >>> round(peak.item(), 2)
    1.89
    """
    draws = draws_of(idata, group)
    study = find_trajectory(model, var_name)
    require_linear(study, "lagged_effects")
    kept = _kept(study, without)
    lengths = read_lengths("intervals", intervals, study.system.step)
    ask = AskEffects(lengths.key, study.system.step is None, bool(standardise), kept)
    of_draws = OperandDraws(study, model, draws)
    n_rows = len(lengths.values) + len(kept) ** 2
    found = of_each_draw(of_draws, ask, n_rows, "Computing effects ...", progressbar)
    pair = ("response", "predictor")
    states = [study.system.states[i] for i in kept]
    data = labelled_effects(study, draws, found, "interval", lengths.values, pair, states)
    if without:
        data["lagged_effects"].attrs["without"] = ", ".join(without)
    return xr.DataTree.from_dict({group: data})


def _kept(study: Study, without: Sequence[str]) -> tuple[int, ...]:
    """Places of the states that are not held fixed."""
    states = study.system.states
    if isinstance(without, str):
        raise TypeError(f"without: expected a sequence of states, got {without!r}")
    unknown = [name for name in without if name not in states]
    if unknown or len(set(without)) == len(states):
        what = f"there is no state {unknown[0]!r}" if unknown else "no state is left"
        raise ValueError(f"without: {what}; the states are {', '.join(states)}")
    return tuple(i for i, name in enumerate(states) if name not in without)


@dataclass(frozen=True)
class AskEffects:
    """Effects over intervals (steps, in discrete time), and where those across are largest."""

    intervals: tuple[float, ...]
    continuous: bool
    standardise: bool
    kept: tuple[int, ...]

    def __call__(self, dynamics: LinearDynamics) -> dict[str, Array]:
        """Effects ``(interval, response, predictor)``, peaks ``(response, predictor)``."""
        A, c, S = dynamics
        scale = jnp.ones((len(self.kept),) * 2)
        if self.standardise:
            _, P = stationary_moments(A, c, S, continuous=self.continuous)
            sd = jnp.sqrt(jnp.diagonal(P))[np.array(self.kept)]
            scale = sd[None, :] / sd[:, None]
        A = A[np.ix_(self.kept, self.kept)]
        effects = propagators(A, self.intervals, self.continuous) * scale[None]
        if not self.continuous:
            return {"lagged_effects": effects}
        d, effect = peaks(A)
        return {"lagged_effects": effects, "peak_interval": d, "peak_effect": effect * scale}


def _decayed(A: Array, short: Array) -> tuple[Array, Array]:
    """An interval after which nothing is left, a short one doubled so many times; if there is."""

    def left(carry: tuple[Array, Array, Array]) -> Array:
        i, power, _ = carry
        return (i < DOUBLINGS) & (jnp.max(jnp.abs(power)) > DECAYED)

    def double(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i, power, length = carry
        return i + 1, jnp.matmul(power, power), 2 * length

    start = (jnp.asarray(0), expm(A * short), short)
    _, power, length = jax.lax.while_loop(left, double, start)
    return length, jnp.max(jnp.abs(power)) <= DECAYED


def peaks(A: Array) -> tuple[Array, Array]:
    r"""Intervals at which :math:`|e^{A d}|` is largest off its diagonal, and effects there.

    On a grid, on a finer one about the best point, and then by Newton's method on
    :math:`(A e^{A d})_{ij} = 0`.
    """
    n = len(A)
    fastest = jnp.max(jnp.abs(A).sum(1))
    short = 1.0 / jnp.where(fastest > 0, fastest, 1.0)
    last, stable = _decayed(A, short)
    # Points lie close together at first, where what is fast has its peak.
    grid = jnp.concatenate([jnp.zeros(1), jnp.geomspace(0.01 * short, last, GRID)])

    def size(d: Array) -> Array:
        return jnp.abs(expm(A * d))

    best = jnp.argmax(jax.vmap(size)(grid), axis=0)

    def refine(i: Array, j: Array) -> tuple[Array, Array]:
        low, high = grid[jnp.maximum(best[i, j] - 1, 0)], grid[jnp.minimum(best[i, j] + 1, GRID)]
        fine = jnp.linspace(low, high, FINE)
        d = fine[jnp.argmax(jax.vmap(size)(fine)[:, i, j])]

        def newton(d: Array, _: None) -> tuple[Array, None]:
            slope = jnp.matmul(A, expm(A * d))
            curve = jnp.matmul(A, slope)[i, j]
            step = jnp.where(curve != 0, slope[i, j] / jnp.where(curve != 0, curve, 1.0), 0.0)
            return jnp.clip(d - step, low, high), None

        d, _ = jax.lax.scan(newton, d, None, length=NEWTON)
        return d, expm(A * d)[i, j]

    at, effect = jax.vmap(jax.vmap(refine, (None, 0)), (0, None))(jnp.arange(n), jnp.arange(n))
    there = stable & (jnp.abs(effect) > 0) & ~jnp.eye(n, dtype=bool)
    return jnp.where(there, at, jnp.nan), jnp.where(there, effect, jnp.nan)
