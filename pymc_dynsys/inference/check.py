"""What an approximate likelihood costs, in nats for each trajectory."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Array
from pymc.initial_point import make_initial_point_fn
from scipy import special

from pymc_dynsys.batching.execution import DEFAULT, Execution
from pymc_dynsys.bridge.draws import OperandDraws
from pymc_dynsys.bridge.study import Study
from pymc_dynsys.discretization import Operands, TimeGrid
from pymc_dynsys.inference.advice import advise
from pymc_dynsys.inference.draws import prepared
from pymc_dynsys.inference.labels import data_groups, draws_of
from pymc_dynsys.inference.of_paths import trajectory_to_check
from pymc_dynsys.likelihoods import registry
from pymc_dynsys.likelihoods.base import Likelihood, Run
from pymc_dynsys.likelihoods.caveats import is_blind
from pymc_dynsys.likelihoods.program import Program, map_run, totals

logger = logging.getLogger("pymc_dynsys")

ALWAYS = ("step", "reference")
"""Variations whose change is always reported, zero where a likelihood does not name them."""


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
            for ``EKF`` and ``UKF``; averages over the seeds. NaN where every other one is blind
            in the same way, as to what a noise that depends on the state tells of it;
        ``precision_change``
            change to double precision, 0 where the model has it already.

        Changes are there for whatever the likelihood can vary: for ``Laplace`` also
        ``order_change`` (the other order) and ``draws_change`` (1,000 importance draws). Seeds of
        an unbiased estimate are averaged on the scale of the likelihood.

        ``finite`` and ``gradient_finite`` say where the likelihood and its gradient are numbers.
        Group ``diagnostics``, where the likelihood has something to say of its own run: of
        ``Laplace`` the second-order correction ``second_order``, the effective share ``ess`` of
        200 importance draws, and the ``iterations`` of its search; of a particle filter the least
        effective number ``ess`` of its particles.
        The attribute ``advice`` has a sentence for each thing to do, also logged.

    Raises
    ------
    ValueError, TypeError
        For a model without a trajectory, for a ``Path``, or draws that do not fit the model.

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
    study = trajectory_to_check(model, var_name)
    draws, chosen = _draws(model, idata, n_draws)
    operands = OperandDraws(study, model, draws).at(np.arange(len(chosen)))
    likelihood, shape = study.program.likelihood, (len(chosen), *study.frame.batch)
    evaluate = partial(_values, study, operands, shape)

    single = study.program.execution.dtype == "float32"
    own = exact_own = evaluate(likelihood)
    if single:
        own = evaluate(likelihood, execution=Execution(dtype="float32"))
    several = _over_seeds(evaluate, likelihood, n_seeds)
    middle = _mean_over_seeds(several, likelihood)
    grid, _ = prepared(study.program, study.operands)
    gaps = np.asarray(grid.lengths)
    variations = registry.variations(likelihood, study.system, gaps)
    changes = dict.fromkeys(ALWAYS, np.zeros(shape))
    if is_blind(likelihood, study.system):
        changes["reference"] = np.full(shape, np.nan)
    noise = {}
    for variation in variations:
        other = _over_seeds(evaluate, variation.likelihood, n_seeds, finer=variation.finer)
        with np.errstate(invalid="ignore"):  # of two infinities, which cannot be compared
            changes[variation.name] = _mean_over_seeds(other, variation.likelihood) - middle
        noise[variation.name] = _error_of_mean(other)
    changes["precision"] = _difference(exact_own, own)
    slopes = _slopes(study, operands, shape) if likelihood.gradient else {}
    finite_slopes = np.all([np.isfinite(s) for s in slopes.values()], axis=0) if slopes else True
    dims = ("draw", *study.frame.batch_dims)
    with np.errstate(invalid="ignore"):
        spread = several.std(0, ddof=1) if len(several) > 1 else np.zeros(shape)
    reference = next((v.likelihood for v in variations if v.name == "reference"), None)
    data = xr.Dataset(
        {
            "log_likelihood": (dims, own),
            "seed_sd": (dims, spread),
            **{f"{name}_change": (dims, change) for name, change in changes.items()},
            "finite": (dims, np.isfinite(own)),
            "gradient_finite": (dims, np.broadcast_to(finite_slopes, shape)),
        },
        coords={"draw": chosen, **{d: study.frame.labels[d] for d in study.frame.batch_dims}},
        attrs={
            "likelihood": repr(likelihood),
            "reference": repr(reference),
            "seeds": len(several),
        },
    )
    data.attrs["advice"] = advise(study, data, slopes, variations, noise)
    for sentence in data.attrs["advice"]:
        logger.info("%s: %s", study.name, sentence)
    groups = {"check": data, "diagnostics": _diagnostics(study, operands, data)}
    groups = {name: group for name, group in groups.items() if group.data_vars}
    return xr.DataTree.from_dict({**groups, **data_groups(study)})


def _diagnostics(study: Study, operands: Operands, like: xr.Dataset) -> xr.Dataset:
    """What the runs say of themselves, by name, with the dims of a check."""
    program = study.program
    grid, noise = prepared(program, study.operands)

    @jax.jit
    def ask(operands: Operands) -> dict[str, Array]:
        return map_run(program, ask_diagnostics, operands, grid, noise)

    template = like["log_likelihood"]
    found = {name: np.broadcast_to(v, template.shape) for name, v in ask(operands).items()}
    return xr.Dataset({n: (template.dims, v) for n, v in found.items()}, coords=like.coords)


def ask_diagnostics(
    run: Run, visits: Callable[[Any], Any], key: Array | None = None
) -> dict[str, Array]:
    """What a run says of itself."""
    return dict(run.diagnostics())


def _error_of_mean(values: np.ndarray) -> float:
    """Three standard errors of a mean over seeds, the largest of all trajectories."""
    if len(values) == 1:
        return 0.0
    with np.errstate(invalid="ignore"):
        return 3 * float(np.nanmax(values.std(0, ddof=1), initial=0.0)) / len(values) ** 0.5


def _mean_over_seeds(values: np.ndarray, likelihood: Likelihood) -> np.ndarray:
    """Mean over the first axis; of unbiased estimates that of the likelihood, on the log scale."""
    if not likelihood.unbiased or len(values) == 1:
        return np.asarray(values.mean(0))
    return np.asarray(special.logsumexp(values, axis=0)) - np.log(len(values))


def _draws(model: pm.Model, idata: Any, n_draws: int) -> tuple[xr.Dataset, np.ndarray]:
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


class Evaluate(Protocol):
    """Log-likelihoods ``(draw, *batch)`` under another likelihood, finer steps or precision."""

    def __call__(
        self, likelihood: Likelihood, finer: bool = False, execution: Execution = DEFAULT
    ) -> np.ndarray:
        """The values."""


def _over_seeds(
    evaluate: Evaluate, likelihood: Likelihood, n_seeds: int, finer: bool = False
) -> np.ndarray:
    """Log-likelihoods ``(seed, draw, *batch)``; one seed where none stands behind a likelihood."""
    if not likelihood.random:
        return evaluate(likelihood, finer=finer)[None]
    seeds = range(n_seeds)
    return np.stack([evaluate(likelihood.reseeded(seed), finer=finer) for seed in seeds])


def _values(
    study: Study,
    operands: Operands,
    shape: tuple[int, ...],
    likelihood: Likelihood,
    finer: bool = False,
    execution: Execution = DEFAULT,
) -> np.ndarray:
    """Log-likelihoods ``(draw, *batch)``; one program for all seeds, whose noise is an operand."""
    program = replace(study.program, likelihood=likelihood, execution=execution)
    grid, noise = prepared(program, study.operands)
    if finer:
        grid = grid.halved()
        noise = program.draw_noise(study.y, grid)
        noise = jax.tree.map(lambda leaf: np.expand_dims(leaf, 1), noise)
    same = replace(program, likelihood=likelihood.reseeded(0))
    return np.broadcast_to(np.asarray(_total(same, operands, grid, noise)), shape)


@partial(jax.jit, static_argnums=0)
def _total(program: Program, operands: Operands, grid: TimeGrid, noise: Any) -> Array:
    return totals(program, operands, grid, noise)


def _difference(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """``a - b``, zero where they are the same infinity."""
    return np.subtract(a, b, out=np.zeros(a.shape), where=a != b)


def _slopes(study: Study, operands: Operands, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Sizes ``(draw, *batch)`` of the gradient of each trajectory's value, by parameter."""
    execution = Execution(dtype=study.program.execution.dtype)
    program = replace(study.program, execution=execution)
    grid, noise = prepared(program, study.operands)
    rank = len(shape)
    full = {
        name: jnp.broadcast_to(value, (*shape, *value.shape[rank:]))
        for name, value in operands.params.items()
    }

    @jax.jit
    def gradient(params: Any) -> Any:
        def total(params: Any) -> Any:
            return totals(program, operands._replace(params=params), grid, noise).sum()

        return jax.grad(total)(params)

    found = gradient(full) if full else {}
    return {
        name: np.abs(np.asarray(g)).sum(tuple(range(rank, g.ndim))) for name, g in found.items()
    }
