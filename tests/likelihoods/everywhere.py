"""What every likelihood must be able to do in a model, gone through once."""

from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
import pymc as pm
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from pymc_dynsys.inference import blocks

SUBJECTS, TIMES = ["a", "b", "c"], np.array([0.0, 0.5, 1.5, 2.0])
Y = np.array([[0.1, 0.4, np.nan, 0.3], [0.0, np.nan, 0.9, 0.7], [0.2, 0.1, 0.5, np.nan]])
U = xr.DataArray([0.3, -0.2, 0.4, 0.1], dims="time", coords={"time": TIMES})
EVENTS = xr.Dataset(
    {
        "event_time": (("subject", "event"), [[0.5, 1.0], [0.2, np.nan], [1.5, np.nan]]),
        "event_amount": (("subject", "event"), [[1.0, 0.6], [0.8, np.nan], [0.5, np.nan]]),
        "event_duration": (("subject", "event"), [[0.0, 0.7], [0.0, np.nan], [0.3, np.nan]]),
    },
    coords={"subject": SUBJECTS},
)
MU = np.array([0.2, -0.1, 0.4])


def relax(level, mu, u):
    return -0.8 * (level - mu) + u


def seen(level):
    return dist.Normal(level, 0.2)


NOISY = pds.SDE(relax, 0.4, seen, dist.Normal(0.0, 1.0), states=("level",), events="level")
QUIET = pds.ODE(relax, seen, lambda mu: mu, states=("level",), events="level")


def system_for(likelihood: Any) -> Any:
    """The system that a likelihood takes: an ODE with a known start, or an SDE."""
    return QUIET if isinstance(likelihood, pds.ODESolve) else NOISY


def build(likelihood: Any, u: Any = U) -> pm.Model:
    """Three subjects with missing data, an input, boluses and infusions."""
    with pm.Model(coords={"subject": SUBJECTS, "time": TIMES}) as model:
        mu = pm.Normal("mu", dims="subject")
        inputs = {"u": u() if callable(u) else u}
        pds.Trajectory(
            "y",
            system_for(likelihood),
            params={"mu": mu},
            inputs=inputs,
            events=EVENTS,
            observed=Y,
            dims=("subject", "time"),
            likelihood=likelihood,
        )
    return model


def sample(model: pm.Model) -> xr.DataTree:
    """A short run of NUTS, to see that there is one."""
    return pm.sample(
        30,
        tune=30,
        chains=1,
        model=model,
        nuts_sampler="numpyro",
        progressbar=False,
        random_seed=1,
        compute_convergence_checks=False,
    )


@dataclass(frozen=True)
class Results:
    """What came out of a model at the same draws of its parameters."""

    moments: np.ndarray
    states: np.ndarray
    forecast: np.ndarray
    innovations: np.ndarray
    pointwise: np.ndarray
    check: xr.Dataset


def draws(model: pm.Model, n: int = 6) -> xr.DataTree:
    """Draws from the prior that do not depend on the likelihood."""
    with model:
        found = pm.sample_prior_predictive(n, random_seed=3, var_names=_free(model))
    return xr.DataTree.from_dict({"posterior": found["prior"].dataset})


def _free(model: pm.Model) -> list[str]:
    return [str(rv.name) for rv in model.free_RVs]


def go_through(model: pm.Model) -> Results:
    """States, forecasts, innovations, factors and the check."""
    idata = draws(model)
    states = pds.sample_states(idata, model=model, random_seed=1)
    moments = pds.sample_states(idata, model=model, moments=True)
    u = model.named_vars.get("u")
    held = {} if u is None else {"u": pds.Input(u, by=xr.DataArray(TIMES[-1]))}
    future = pds.forecast(idata, model=model, times=[2.5, 3.0], inputs=held, random_seed=1)
    errors = pds.innovations(idata, model=model)
    pointwise = pds.log_likelihood(idata, model=model)
    check = pds.check_likelihood(model, idata, n_draws=2, n_seeds=3)
    return Results(
        moments.posterior["mean"].values,
        states.posterior["states"].values,
        future.predictions["y"].values,
        errors["innovations"]["z"].values,
        pointwise.log_likelihood["y"].values,
        check["check"].dataset,
    )


def assert_blocks_change_nothing(model: pm.Model, results: Results, monkeypatch: Any) -> None:
    """States of two draws at a time are those of all at once."""
    idata = draws(model)
    lengths = []
    real = blocks.block_length

    def short(n_draws: int, each: float) -> int:
        assert each > 0
        lengths.append(real(n_draws, blocks.BLOCK_BYTES / 2))
        return lengths[-1]

    monkeypatch.setattr(blocks, "block_length", short)
    parts = pds.sample_states(idata, model=model, random_seed=1, progressbar=False)
    assert lengths == [2]
    np.testing.assert_allclose(parts.posterior["states"], results.states, rtol=1e-9)


def assert_gradient_is_that_of_differences(model: pm.Model) -> None:
    """Through PyTensor, at a point away from zero."""
    rng = np.random.default_rng(0)
    point = {k: rng.normal(0.2, 0.2, np.shape(v)) for k, v in model.initial_point().items()}
    # One program gives both, so that one is compiled.
    both = model.compile_fn([model.logp(), model.dlogp()])
    slopes = np.asarray(both(point)[1])
    expected = []
    for value in model.value_vars:
        base = point[value.name]
        for index in np.ndindex(base.shape):
            ends = []
            for h in (-2e-3, -1e-3, 1e-3, 2e-3):
                shifted = base.copy()
                shifted[index] += h
                ends.append(float(both({**point, value.name: shifted})[0]))
            far, near, ahead, beyond = ends
            expected.append((8 * (ahead - near) - (beyond - far)) / 12e-3)
    # Filters agree with these differences to 1e-8, a solver to some times its own tolerance, 1e-8.
    np.testing.assert_allclose(slopes, expected, rtol=1e-7, atol=1e-8)


def same(a: Results, b: Results, tolerance: float = 1e-9) -> None:
    """All but the check, which depends on options."""
    for name in ("moments", "states", "forecast", "innovations", "pointwise"):
        np.testing.assert_allclose(
            getattr(a, name), getattr(b, name), rtol=tolerance, atol=tolerance, err_msg=name
        )


assert jnp.zeros(()).dtype == np.float64
