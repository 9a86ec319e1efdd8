"""What an approximate likelihood costs, in nats for each trajectory."""

import logging
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from pymc.initial_point import make_initial_point_fn

from pymc_dynsys.bridge.draws import ParameterDraws
from pymc_dynsys.bridge.fitted import Fitted, find_trajectory
from pymc_dynsys.discretization import EulerMaruyama, LocalLinearization, MomentODE
from pymc_dynsys.filters import EKF, UKF, EnKF, Kalman
from pymc_dynsys.filters.base import Likelihood
from pymc_dynsys.filters.batch import constants_of, totals
from pymc_dynsys.filters.execution import DEFAULT, Execution
from pymc_dynsys.inference import blocks
from pymc_dynsys.inference.advice import advise
from pymc_dynsys.inference.states import draws_of

logger = logging.getLogger("pymc_dynsys")

LARGE = 1000
"""Members of the ensemble that an extended Kalman filter is compared with."""


def check_likelihood(
    model: pm.Model,
    idata: xr.DataTree | None = None,
    *,
    n_draws: int = 4,
    n_seeds: int = 8,
    var_name: str | None = None,
) -> xr.DataTree:
    r"""Measure how wrong an approximate likelihood is, and say what to do about it.

    Errors that do not change with the parameters are harmless; those that do bias the posterior
    by about their own slope. So look at several draws, and not at one point only.

    Parameters
    ----------
    model : pm.Model
        The model.
    idata : DataTree, optional
        What ``pm.sample`` returned; `n_draws` of its draws are looked at, evenly spread. Default:
        the model's initial point.
    n_draws, n_seeds : int
        Draws of the parameters, and sets of noise of an ensemble filter.
    var_name : str, optional
        Name of the trajectory, if the model has several.

    Returns
    -------
    DataTree
        Group ``check`` with, in nats, dims ``(draw, *batch)``:

        ``log_likelihood``
            what the model uses;
        ``seed_sd``
            spread over the seeds of an ensemble filter, 0 for others;
        ``step_change``
            change when steps are halved, 0 where there are none;
        ``reference_change``
            change to another likelihood, the one in the attribute ``reference``: the exact one
            where it exists, else ``EKF`` for an ensemble filter and an ensemble of 1,000 members
            for ``EKF`` and ``UKF``; averages over the seeds;
        ``precision_change``
            change to double precision, 0 where the model has it already.

        ``finite`` and ``gradient_finite`` say where the likelihood and its gradient are numbers.
        The attribute ``advice`` has a sentence for each thing to do, also logged.

    Raises
    ------
    ValueError, TypeError
        For a model without a trajectory, or draws that do not fit it.

    Examples
    --------
    >>> import numpy as np, pymc as pm
    >>> import pymc_dynsys as pds
    >>> from numpyro import distributions as dist
    >>> walk = pds.SDE(
    ...     states=("level",),
    ...     drift=lambda level, mu: mu - level,
    ...     diffusion=0.3,
    ...     initial=dist.Normal(0.0, 1.0),
    ...     observation=lambda level: dist.Normal(level, 0.1),
    ... )
    >>> with pm.Model(coords={"time": [0.0, 1.0, 3.0]}) as model:
    ...     y = [0.1, 0.2, 0.3]
    ...     rv = pds.Trajectory("y", walk, params={"mu": pm.Normal("mu")}, observed=y, dims="time")
    >>> pds.check_likelihood(model)["check"].attrs["advice"]
    ['Kalman(discretization=Exact()) is exact: there is nothing to choose']
    """
    for name, value in (("n_draws", n_draws), ("n_seeds", n_seeds)):
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise ValueError(f"{name}: expected a positive integer, got {value!r}")
    fitted = find_trajectory(model, var_name)
    draws, chosen = _draws(fitted, model, idata, n_draws)
    params = ParameterDraws(fitted, model, draws).at(np.arange(draws.sizes["draw"]))
    likelihood, n = fitted.spec.likelihood, len(chosen)
    seeds = range(n_seeds) if isinstance(likelihood, EnKF) else range(1)

    def evaluate(
        changed: Any, of_seeds: Any = seeds, finer: bool = False, execution: Execution = DEFAULT
    ) -> np.ndarray:
        return _values(fitted, changed, params, of_seeds, n, finer, execution)

    single = fitted.spec.execution.dtype == "float32"
    own_seed = [getattr(likelihood, "seed", 0)]
    own = exact_own = evaluate(likelihood, own_seed)[0]
    if single:
        own = evaluate(likelihood, own_seed, execution=Execution(dtype="float32"))[0]
    several = evaluate(likelihood) if len(seeds) > 1 else exact_own[None]
    middle = several.mean(0)
    halved = isinstance(
        getattr(likelihood, "discretization", None), EulerMaruyama | LocalLinearization
    )
    other = _reference(fitted, likelihood)
    step_change = (
        evaluate(likelihood, finer=True).mean(0) - middle if halved else np.zeros(own.shape)
    )
    reference_change = np.zeros(own.shape)
    if other is not None:
        of_seeds = range(n_seeds) if isinstance(other, EnKF) else [0]
        # An approximation beside another one: with finer steps, not to share their error.
        finer = halved and not isinstance(other, Kalman)
        reference_change = evaluate(other, of_seeds, finer).mean(0) - middle
    slopes = _slopes(fitted, params, n)
    finite_slopes = np.all([np.isfinite(s) for s in slopes.values()], axis=0) if slopes else True
    dims = ("draw", *fitted.batch_dims)
    data = xr.Dataset(
        {
            "log_likelihood": (dims, own),
            "seed_sd": (dims, several.std(0, ddof=1) if len(seeds) > 1 else np.zeros(own.shape)),
            "step_change": (dims, step_change),
            "reference_change": (dims, reference_change),
            "precision_change": (dims, _difference(exact_own, own)),
            "finite": (dims, np.isfinite(own)),
            "gradient_finite": (dims, np.broadcast_to(finite_slopes, own.shape)),
        },
        coords={"draw": chosen, **{d: fitted.coords[d] for d in fitted.batch_dims}},
        attrs={
            "likelihood": repr(likelihood),
            "reference": repr(other),
            "seeds": len(seeds),
        },
    )
    data.attrs["advice"] = advise(fitted, data, slopes, likelihood, halved, other)
    for sentence in data.attrs["advice"]:
        logger.info("%s: %s", fitted.name, sentence)
    return xr.DataTree.from_dict({"check": data})


def _draws(
    fitted: Fitted, model: pm.Model, idata: Any, n_draws: int
) -> tuple[xr.Dataset, np.ndarray]:
    """Some draws in a chain of their own, and their positions; else the initial point."""
    if idata is None:
        point = make_initial_point_fn(model=model, return_transformed=False)(0)
        data = xr.Dataset()
        for rv in model.free_RVs:
            value = np.asarray(point[rv.name], float)
            named = model.named_vars_to_dims.get(rv.name)
            own = [f"{rv.name}_dim_{i}" for i in range(value.ndim)] if named is None else named
            data[rv.name] = (("chain", "draw", *own), value[None, None])
        coords = {d: list(c) for d, c in model.coords.items() if d in data.dims and c is not None}
        data = data.assign_coords(coords)
        if not data.variables:
            data = xr.Dataset(coords={"chain": [0], "draw": [0]})
        return data, np.arange(1)
    draws = draws_of(idata, "posterior")
    total = draws.sizes["chain"] * draws.sizes["draw"]
    which = np.unique(np.linspace(0, total - 1, min(n_draws, total)).round().astype(int))
    stacked = draws.stack(pick=("chain", "draw"), create_index=False).isel(pick=which)
    some = stacked.drop_vars(["chain", "draw"]).rename(pick="draw").expand_dims("chain")
    return some, which


def _gaps(fitted: Fitted) -> np.ndarray:
    grid = fitted.program.prepare(fitted.times, fitted.t0)
    return np.asarray(grid.gaps / grid.steps)


def _values(
    fitted: Fitted,
    likelihood: Any,
    params: Any,
    seeds: Any,
    n_draws: int,
    finer: bool,
    execution: Execution,
) -> np.ndarray:
    """Log-likelihoods ``(seed, draw, *batch)``; one program for all seeds."""
    program = replace(fitted.program, likelihood=likelihood, execution=execution)
    grid = program.prepare(fitted.times, fitted.t0)
    if finer:
        grid = replace(
            grid,
            steps=2 * grid.steps,
            distinct_steps=2 * grid.distinct_steps,
            max_steps=2 * grid.max_steps,
        )
    y = fitted.y[None]

    @jax.jit
    def total(constants: Any) -> Any:
        return totals(program, y, params, grid, constants)

    out = []
    for seed in seeds:
        changed = replace(program, likelihood=_seeded(likelihood, seed))
        constants = constants_of(changed, fitted.y, grid)
        constants = jax.tree.map(lambda leaf: np.expand_dims(leaf, 1), constants)
        out.append(np.broadcast_to(np.asarray(total(constants)), (n_draws, *fitted.batch)))
    return np.stack(out)


def _seeded(likelihood: Any, seed: int) -> Any:
    return replace(likelihood, seed=seed) if isinstance(likelihood, EnKF) else likelihood


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a - b``, zero where they are the same infinity."""
    out = np.zeros(a.shape)
    np.subtract(a, b, out=out, where=a != b)
    return out


def _slopes(fitted: Fitted, params: Any, n_draws: int) -> dict[str, np.ndarray]:
    """Whether-finite sizes of the gradient of each trajectory's value, by parameter."""
    program = replace(fitted.program, execution=Execution(dtype=fitted.spec.execution.dtype))
    grid, constants = blocks.prepared(program, fitted.y, fitted.times, fitted.t0)
    y = fitted.y[None]
    cores = {name: len(shape) for name, shape in fitted.spec.system.param_shapes.items()}
    full = {
        name: jnp.broadcast_to(value, (n_draws, *fitted.batch, *value.shape[1 + fitted.rank :]))
        for name, value in params.items()
    }

    @jax.jit
    def gradient(params: Any) -> Any:
        def total(params: Any) -> Any:
            return totals(program, y, params, grid, constants).sum()

        return jax.grad(total)(params)

    found = gradient(full) if full else {}
    return {
        name: np.abs(np.asarray(g)).sum(tuple(range(g.ndim - cores[name], g.ndim)))
        for name, g in found.items()
    }


def _reference(fitted: Fitted, likelihood: Likelihood) -> Any:
    """Another likelihood to compare with, the exact one where there is one."""
    if isinstance(likelihood, Kalman | EKF | UKF | EnKF):
        if fitted.spec.system.structure.linear_gaussian:
            exact, _ = Kalman().settle(fitted.spec.system, _gaps(fitted))
            return None if likelihood == exact else exact
        if isinstance(likelihood, EKF | UKF):
            scheme = (
                None
                if isinstance(likelihood.discretization, MomentODE)
                else likelihood.discretization
            )
            large = EnKF(LARGE, scheme)
            return large.settle(fitted.spec.system, _gaps(fitted))[0]
        if isinstance(likelihood, EnKF):
            return EKF(likelihood.discretization)
    return None
