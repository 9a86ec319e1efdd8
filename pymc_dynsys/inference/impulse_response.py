r"""Impulse responses of linear dynamics.

Legend: A slope of the drift, F of a step; S covariance of the noise, C its lower Cholesky factor.
"""

from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Array

from pymc_dynsys.bridge.draws import OperandDraws
from pymc_dynsys.bridge.study import find_trajectory
from pymc_dynsys.inference.labels import draws_of
from pymc_dynsys.inference.of_dynamics import (
    expm,
    labelled_effects,
    of_each_draw,
    powers,
    propagators,
    read_lengths,
    require_linear,
)
from pymc_dynsys.linalg import psd_factor
from pymc_dynsys.linalg.lyapunov import decays
from pymc_dynsys.systems.dynamics import LinearDynamics

Kind = Literal["impulse", "cumulative", "step"]
Shock = Literal["unit", "sd", "orthogonal"]


def impulse_response(
    idata: xr.DataTree | None,
    *,
    model: pm.Model,
    horizons: object,
    kind: Kind = "impulse",
    shock: Shock = "unit",
    group: Literal["posterior", "prior"] = "posterior",
    var_name: str | None = None,
    progressbar: bool = True,
) -> xr.DataTree:
    r"""Response of each state to a push of each state, at horizons after it.

    .. math:: \text{continuous: } e^{A h} P, \quad \int_0^h e^{A s} ds\, P; \qquad
              \text{discrete: } F^h P, \quad \sum_{j \le h} F^j P

    with P the push: one column for each state that is pushed.

    Parameters
    ----------
    idata : DataTree or None
        What ``pm.sample`` returned; None where all parameters are known.
    model : pm.Model
        The model.
    horizons : array
        Ascending times after the push, from 0 on, in the unit of the model; in discrete time whole
        steps.
    kind : {"impulse", "cumulative", "step"}
        The response to one push; its sum over time, in discrete time with horizon 0; or the
        response to a constant input of that size from 0 on (of one unit a unit of time, or a step).
        In continuous time the last two are the same.
    shock : {"unit", "sd", "orthogonal"}
        By how much: 1; the standard deviation of the state's own noise; or columns of the lower
        Cholesky factor of the noise covariance, so that a push of a state takes those after it
        along, in the order of the states. In continuous time the noise is that of the diffusion,
        for a unit of time, and not that of an interval.
    group : {"posterior", "prior"}
        Where the parameters are.
    var_name : str, optional
        Name of the trajectory, if the model has several.
    progressbar : bool
        Show the progress of work done in several blocks.

    Returns
    -------
    DataTree
        The same group with ``impulse_response``, dims ``(chain, draw, *batch, horizon, response,
        shock)``, and ``steady_state`` without the horizon: where a constant input of that size
        takes the states in the end, NaN where the dynamics are not stable.

    Raises
    ------
    ValueError, TypeError
        For dynamics that are not linear or whose slope changes in time; for horizons that do not
        ascend or are no whole steps.

    See Also
    --------
    lagged_effects : the same dynamics as effects over an interval.
    plot_impulse_response : bands of the draws.

    References
    ----------
    Lütkepohl (2005), *New Introduction to Multiple Time Series Analysis*, sec. 2.3. Driver and
    Voelkle (2018), *Understanding the time course of interventions with continuous time dynamic
    models*, in: Continuous Time Modeling in the Behavioral and Related Sciences.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> with pm.Model(coords={"time": range(4), "component": ["a", "b"]}) as model:
    ...     var = pds.vector_autoregression([[[0.5, 0.2], [0.0, 0.4]]], np.eye(2))
    ...     y = pds.Trajectory("y", var, observed=np.zeros((4, 2)), dims=("time", "component"))
    >>> found = pds.impulse_response(None, model=model, horizons=[0, 1, 2])
    >>> found["posterior"]["impulse_response"].sel(response="var_0", shock="var_1").values.ravel()
    array([0.  , 0.2 , 0.18])
    """
    for name, value, known in (("kind", kind, Kind), ("shock", shock, Shock)):
        if value not in get_args(known):
            raise ValueError(f"{name}: expected one of {get_args(known)}, got {value!r}")
    draws = draws_of(idata, group)
    study = find_trajectory(model, var_name)
    require_linear(study, "impulse_response")
    lengths = read_lengths("horizons", horizons, study.system.step)
    ask = AskResponse(lengths.key, study.system.step is None, kind, shock)
    of_draws = OperandDraws(study, model, draws)
    found = of_each_draw(of_draws, ask, len(lengths.values), "Responding ...", progressbar)
    dims = ("response", "shock")
    data = labelled_effects(study, draws, found, "horizon", lengths.values, dims)
    data["impulse_response"].attrs |= {"kind": kind, "shock": shock}
    return xr.DataTree.from_dict({group: data})


@dataclass(frozen=True)
class AskResponse:
    """Responses at horizons (steps, in discrete time), and where constant inputs lead."""

    horizons: tuple[float, ...]
    continuous: bool
    kind: Kind
    shock: Shock

    def __call__(self, dynamics: LinearDynamics) -> dict[str, Array]:
        """Responses ``(horizon, response, shock)``, and the steady state."""
        A, _, S = dynamics
        push = _push(S, self.shock)
        found = self._of_units(A)
        n = jnp.eye(len(A))
        if self.continuous:
            # The dynamics are stable if those over any time are.
            length = jax.lax.stop_gradient(1.0 / jnp.max(jnp.abs(A).sum(1)))
            stable, rest = decays(expm(A * length)), -A
        else:
            stable, rest = decays(A), n - A
        steady = jnp.where(stable, jnp.linalg.solve(jnp.where(stable, rest, n), n), jnp.nan)
        return {
            "impulse_response": jnp.matmul(found, push),
            "steady_state": jnp.matmul(steady, push),
        }

    def _of_units(self, A: Array) -> Array:
        """Responses to pushes by one."""
        if self.kind == "impulse":
            return propagators(A, self.horizons, self.continuous)
        n = len(A)
        if self.continuous:
            # Van Loan (1978): the integral stands beside the exponential.
            both = jnp.block([[A, jnp.eye(n)], [jnp.zeros((n, 2 * n))]])
            return propagators(both, self.horizons, True)[:, :n, n:]
        sums = jnp.cumsum(powers(A, int(self.horizons[-1])), axis=0)
        if self.kind == "step":
            sums = jnp.concatenate([jnp.zeros((1, n, n)), sums[:-1]])
        return sums[np.array(self.horizons, int)]


def _push(S: Array, shock: Shock) -> Array:
    """One column for each state that is pushed."""
    if shock == "unit":
        return jnp.eye(len(S))
    return psd_factor(S) if shock == "orthogonal" else jnp.diag(jnp.sqrt(jnp.diagonal(S)))
