"""One-step prediction errors of a fitted trajectory, and what is wrong with them."""

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pymc as pm
import xarray as xr
from jaxtyping import Array
from scipy import special

from pymc_dynsys.bridge.draws import OperandDraws
from pymc_dynsys.bridge.study import Study, find_trajectory
from pymc_dynsys.inference.draws import per_draw
from pymc_dynsys.inference.labels import data_groups, draws_of, labelled
from pymc_dynsys.inference.times import OutputTimes, output_times
from pymc_dynsys.likelihoods.base import Run
from pymc_dynsys.simulation.lost import warn_lost

Seed = int | np.random.Generator | None


def innovations(
    idata: xr.DataTree | None,
    *,
    model: pm.Model,
    lags: int | None = None,
    group: Literal["posterior", "prior"] = "posterior",
    var_name: str | None = None,
    progressbar: bool = True,
    random_seed: Seed = None,
) -> xr.DataTree:
    r"""Standardised errors of the prediction of each datum from those before it.

    If the model is right, then at its true parameters

    .. math:: z_{kj} = \frac{y_{kj} - E[y_{kj} \mid y_{<k}, y_{k,<j}]}{\mathrm{sd}[y_{kj} \mid
              y_{<k}, y_{k,<j}]}

    are independent standard normals: components of one datum are taken in their order, each given
    those before it.

    Where data are not Gaussian, the probability integral transform is that of each number given
    the rows before it, and :math:`z_{kj}` its normal quantile. Of discrete and censored data it is
    drawn from the interval of probabilities that belongs to the value.

    Parameters
    ----------
    idata : DataTree or None
        What ``pm.sample`` returned; None where all parameters are known, for one draw.
    model : pm.Model
        The model.
    lags : int, optional
        Autocorrelations in the test of Ljung and Box; default 10, or a fifth of the data of the
        longest trajectory if that is less.
    group : {"posterior", "prior"}
        Where the parameters are.
    var_name : str, optional
        Name of the trajectory, if the model has several.
    progressbar : bool
        Show the progress of work done in several blocks.
    random_seed : int, Generator or None
        Seed for what is drawn where data are not Gaussian.

    Returns
    -------
    DataTree
        ``innovations`` with, for each draw: ``z``, dims ``(chain, draw, *batch, time[,
        component])``; ``pit``, their probability integral transform, uniform if all is well;
        ``nis``, the normalised innovation squared of a datum, chi-squared with as many degrees of
        freedom as it has components (NaN where it is not Gaussian); NaN where data are missing.
        ``tests`` with p-values of each
        trajectory: ``ljung_box`` (are errors correlated in time?) and ``nis`` (is their size as
        predicted?; two-sided), NaN for trajectories too short to say.

    Raises
    ------
    ValueError, TypeError
        As :func:`sample_states`; and if the observation is of several components that depend on
        each other and are not Gaussian, or has no distribution function.

    Notes
    -----
    At draws from the posterior, p-values are those of the fit at each draw. A model that is right
    gives small ones at the rate that their size says, or less often, since its parameters have
    been fitted to the same data.

    References
    ----------
    Dunn and Smyth (1996), *Randomized quantile residuals*. Ljung and Box (1978), *On a measure of
    lack of fit in time series models*. Bar-Shalom, Li and Kirubarajan (2001), *Estimation with
    Applications to Tracking and Navigation*, sec. 5.4.

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
    >>> with pm.Model(coords={"time": np.arange(20.0)}) as model:
    ...     y = np.random.default_rng(0).normal(size=20)
    ...     rv = pds.Trajectory("y", walk, params={"mu": pm.Normal("mu")}, observed=y, dims="time")
    ...     prior = pm.sample_prior_predictive(5, random_seed=1)
    >>> errors = pds.innovations(prior, model=model, group="prior")
    >>> errors["innovations"]["z"].dims
    ('chain', 'draw', 'time')
    """
    draws = draws_of(idata, group)
    study = find_trajectory(model, var_name)
    at = output_times(study, None)
    of_draws = OperandDraws(study, model, draws)
    title, pit = "Predicting each datum ...", None
    if study.system.proof.observation.gaussian:
        z = per_draw(of_draws, ask_innovations, at, title, progressbar)
    else:
        pit = _transforms(of_draws, at, title, progressbar, random_seed)
        z = special.ndtri(np.clip(pit, np.finfo(float).tiny, 1 - np.finfo(float).epsneg))
    _warn_lost(study, at, z)
    found = _tested(study, at, draws, z, pit, lags)
    return found.assign({name: xr.DataTree(group) for name, group in data_groups(study).items()})


def _warn_lost(study: Study, at: OutputTimes, z: np.ndarray) -> None:
    """Warn of errors ``(draw, *batch, time, component)`` of data that are there which are NaN.

    Before diffuse states are told there are none at any draw.
    """
    y = study.y[..., None] if study.system.observation.scalar else study.y
    none = np.isnan(y) | (np.isnan(z).all(0) if study.system.n_diffuse else False)
    what = f"{study.name}: innovations"
    warn_lost(what, np.where(none, 0.0, z), at.requested, 1, study.frame.who, stacklevel=4)


def ask_innovations(run: Run, visits: Callable[[Any], Any], key: Array | None) -> Array:
    """Standardised errors ``(visit, component)``."""
    errors: Array = visits(run.innovations())
    return errors


def _transforms(
    draws: OperandDraws, at: OutputTimes, title: str, progressbar: bool, random_seed: Seed
) -> np.ndarray:
    """Probability integral transforms ``(draw, *batch, time, component)``, drawn where discrete."""
    seed = np.random.default_rng(random_seed)
    try:
        less, upto = per_draw(draws, ask_cdf, at, title, progressbar, seed, keyed=True)
    except NotImplementedError as error:
        raise ValueError(
            f"innovations: the distribution function of the observation is not known ({error}); "
            "components that depend on each other, and some distributions of numpyro, have none"
        ) from error
    u: np.ndarray = seed.uniform(size=less.shape)
    return np.asarray(less + u * (upto - less))


def ask_cdf(run: Run, visits: Callable[[Any], Any], key: Array) -> tuple[Array, Array]:
    """Probabilities of less than each number and of up to it, ``(visit, component)``."""
    found: tuple[Array, Array] = visits(run.predictive_cdf(key))
    return found


def _tested(
    study: Study,
    at: OutputTimes,
    draws: xr.Dataset,
    z: np.ndarray,
    pit: np.ndarray | None,
    lags: int | None,
) -> xr.DataTree:
    """Labelled errors and tests, from standardised errors ``(draw, *batch, time, component)``.

    `pit` is None where it follows from the errors, and their squares mean something.

    Errors are summed over components for the size of a datum, and followed in time, one series a
    component, for their correlation.
    """
    frame, gaussian = study.frame, pit is None
    seen = ~np.isnan(z)
    nis = np.where(seen.any(-1) & gaussian, np.nansum(z * z, axis=-1), np.nan)
    scalar = study.system.observation.scalar
    tail = () if scalar else (frame.dims[-1],)
    pit = special.ndtr(z) if pit is None else pit
    shown, transformed = (part[..., 0] if scalar else part for part in (z, pit))
    errors = labelled(
        study,
        at,
        draws,
        {"z": (shown, tail), "pit": (transformed, tail), "nis": (nis, ())},
    )
    axis = frame.rank + 1
    longest = int(seen.sum(axis).max(initial=0))
    n_lags = max(1, min(10, longest // 5)) if lags is None else lags
    of_series = ljung_box(np.moveaxis(z, axis, -1), n_lags)
    total, count = np.nansum(z * z, axis=(axis, axis + 1)), seen.sum((axis, axis + 1))
    below = special.chdtr(np.maximum(count, 1), total)
    of_size = np.where((count > 0) & gaussian, 2 * np.minimum(below, 1 - below), np.nan)
    sample = (draws.sizes["chain"], draws.sizes["draw"])
    front = ("chain", "draw", *frame.batch_dims)
    of_series = of_series[..., 0] if scalar else of_series
    tests = xr.Dataset(
        {
            "ljung_box": ((*front, *tail), of_series.reshape(*sample, *of_series.shape[1:])),
            "nis": (front, of_size.reshape(*sample, *of_size.shape[1:])),
        },
        coords={name: c for name, c in errors.coords.items() if set(c.dims) <= {*front}},
        attrs={"lags": n_lags},
    )
    if tail:
        tests = tests.assign_coords({tail[0]: frame.labels[tail[0]]})
    return xr.DataTree.from_dict({"innovations": errors, "tests": tests})


def ljung_box(z: np.ndarray, lags: int) -> np.ndarray:
    """P-values of series along the last axis; missing values are skipped pair by pair."""
    if isinstance(lags, bool) or not isinstance(lags, int | np.integer) or lags < 1:
        raise ValueError(f"lags: expected a positive integer, got {lags!r}")
    seen = ~np.isnan(z)
    n = seen.sum(-1)
    centred = np.where(seen, z - (np.nansum(z, -1) / np.maximum(n, 1))[..., None], 0.0)
    power = (centred * centred).sum(-1)
    total = np.zeros(n.shape)
    for k in range(1, lags + 1):
        pairs = (seen[..., k:] & seen[..., :-k]).sum(-1)
        product = (centred[..., k:] * centred[..., :-k]).sum(-1)
        # Per pair, so that gaps make estimates less sure and not smaller.
        share = np.maximum(pairs, 1) / np.maximum(n, 1)
        rho = product / np.where(power > 0, power, 1.0) / share
        total += np.where(pairs > 0, pairs * rho**2 * (n + 2) / np.maximum(n, 1), 0.0)
    return np.where(n > lags + 2, special.chdtrc(lags, total), np.nan)
