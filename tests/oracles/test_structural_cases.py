"""E01 to E08, E18, E20, E27: structural models by name, values, gradients and states."""

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr

import pymc_dynsys as pds
from tests.oracles.cases import load

VALUE = {"rtol": 1e-12}
"""Relative, of all log-likelihoods: 3e-14 is reached."""

GRADIENT = {"rtol": 1e-9, "atol": 1e-9}
"""Of the largest entry: 3e-11 is reached. E03's are told to 5e-9 and have their own."""

Case = SimpleNamespace


def flat(case: Case, *names: str) -> dict[str, pt.TensorVariable]:
    """Free parameters at the values of a case, without priors."""
    return {
        n: pm.Flat(n, shape=np.shape(getattr(case, n)), initval=getattr(case, n)) for n in names
    }


def observe(case: Case, system: pds.LinearGaussian, **inputs: np.ndarray) -> None:
    y = xr.DataArray(case.y, dims=("time", "component")[: case.y.ndim])
    arrays = {name: xr.DataArray(X, dims=("time", "reg")[: X.ndim]) for name, X in inputs.items()}
    pds.Trajectory("y", system, inputs=arrays, observed=y)


def trend_season_regression(case: Case) -> None:
    p = flat(case, "level_sigma", "slope_sigma", "seasonal_sigma", "noise_sigma", "coefficients")
    system = (
        pds.local_linear_trend(p["level_sigma"], p["slope_sigma"])
        + pds.seasonal(4, p["seasonal_sigma"])
        + pds.regression("X", p["coefficients"])
        + pds.white_noise(p["noise_sigma"])
    )
    observe(case, system, X=case.X)


def diffuse_coefficients(case: Case) -> None:
    p = flat(case, "level_sigma")
    system = (
        pds.local_linear_trend(p["level_sigma"], case.slope_sigma)
        + pds.seasonal(4, case.seasonal_sigma)
        + pds.regression(["first", "second"])
        + pds.white_noise(case.noise_sigma)
    )
    observe(case, system, first=case.X[:, 0], second=case.X[:, 1])


def drifting_coefficients(case: Case) -> None:
    p = flat(case, "coefficient_sigma", "noise_sigma", "b0", "s0")
    s0 = p["s0"]
    system = pds.regression(
        "X",
        sigma=p["coefficient_sigma"],
        regressors=2,
        m0=p["b0"],
        P0=[[s0[0] ** 2, 0.0], [0.0, s0[1] ** 2]],
    ) + pds.white_noise(p["noise_sigma"])
    observe(case, system, X=case.X)


def damped_cycle(case: Case, initial: object = None) -> None:
    p = flat(case, "frequency", "damping", "cycle_sigma", "level_sigma", "noise_sigma")
    system = (
        pds.local_level(p["level_sigma"])
        + pds.cycle(2 * np.pi / p["frequency"], p["damping"], p["cycle_sigma"], initial=initial)
        + pds.white_noise(p["noise_sigma"])
    )
    observe(case, system)


def diffuse_cycle(case: Case) -> None:
    damped_cycle(case, pds.Diffuse())


def season_of_twelve(case: Case) -> None:
    waves(case, 12)


def season_of_six(case: Case) -> None:
    waves(case, 6)


def waves(case: Case, period: int) -> None:
    p = flat(case, "level_sigma", "seasonal_sigma", "noise_sigma")
    system = (
        pds.local_level(p["level_sigma"])
        + pds.seasonal(period, p["seasonal_sigma"], harmonics=3)
        + pds.white_noise(p["noise_sigma"])
    )
    observe(case, system)


def dynamic_factor(case: Case) -> None:
    p = flat(case, "loadings", "phi", "idiosyncratic_phi", "idiosyncratic_sigma")
    system = pds.dynamic_factor(
        p["loadings"],
        p["phi"],
        p["idiosyncratic_sigma"],
        idiosyncratic=p["idiosyncratic_phi"],
    )
    observe(case, system)


def varx(case: Case) -> None:
    p = flat(case, "coefficients", "exog", "intercept", "cov")
    system = pds.vector_autoregression(
        p["coefficients"],
        pm.Deterministic("C", (p["cov"] + p["cov"].T) / 2),
        exog=(p["exog"], "X"),
        intercept=p["intercept"],
        m0=case.m0,
        P0=np.diag(case.p0),
    )
    observe(case, system, X=case.X)


def varma(case: Case) -> None:
    p = flat(case, "ar", "ma", "cov")
    C = (p["cov"] + p["cov"].T) / 2
    F = pt.concatenate([pt.concatenate([p["ar"], p["ma"]], axis=1), np.zeros((2, 4))])
    Q = pt.tile(C, (2, 2))
    noise = getattr(case, "noise_sigma", None)
    R = np.zeros(2) if noise is None else pm.Flat("noise_sigma", shape=2, initval=noise) ** 2
    system = pds.linear_gaussian(
        F=pm.Deterministic("F", F),
        Q=pm.Deterministic("Q", Q),
        H=np.eye(2, 4),
        R=R if noise is None else pm.Deterministic("R", R),
        initial=pds.Stationary(),
    )
    observe(case, system)


def quarterly_sum(case: Case) -> None:
    p = flat(case, "phi", "factor_sigma", "loadings", "intercepts", "noise_sigma")
    s = pm.Flat("quarterly_idiosyncratic_sigma", initval=case.quarterly_idiosyncratic_sigma)
    shift, zero = np.eye(3, k=-1), np.zeros((3, 3))
    F = [[p["phi"] if (i, j) == (0, 0) else shift[i, j] for j in range(3)] for i in range(3)]
    F = [[*row, *zero[0]] for row in F] + [[*zero[0], *row] for row in shift]
    noise = {0: p["factor_sigma"] ** 2, 3: s**2}
    a, c, r = p["loadings"], p["intercepts"], p["noise_sigma"]
    system = pds.linear_gaussian(
        F=F,
        Q=[[noise.get(i, 0.0) if i == j else 0.0 for j in range(6)] for i in range(6)],
        H=[[a[0]] * 3 + [1.0] * 3, [a[1], *np.zeros(5)], [a[2], *np.zeros(5)]],
        d=[3 * c[0], c[1], c[2]],
        R=[0.0, r[1] ** 2, r[2] ** 2],
        initial=pds.Stationary(),
    )
    observe(case, system)


def regressors_missing(case: Case) -> None:
    p = flat(case, "phi", "ar_sigma", "noise_sigma", "coefficients", "intercept")
    system = (
        pds.autoregression(p["phi"], p["ar_sigma"])
        + pds.regression("X", p["coefficients"])
        + pds.regression("one", p["intercept"], name="intercept")
        + pds.white_noise(p["noise_sigma"])
    )
    observe(case, system, X=case.X, one=np.ones(len(case.y)))


# Builder, suffix of the expected values, and the names of the states that are there.
CASES: dict[str, tuple[str, Callable[[Case], None], str]] = {
    "regression": ("E01", trend_season_regression, ""),
    "diffuse coefficients": ("E01", diffuse_coefficients, "_coefficients_diffuse"),
    "drifting coefficients": ("E02", drifting_coefficients, ""),
    "damped cycle": ("E03", damped_cycle, ""),
    "diffuse cycle": ("E03", diffuse_cycle, "_cycle_diffuse"),
    "waves of twelve": ("E04", season_of_twelve, ""),
    "waves of six": ("E20", season_of_six, ""),
    "dynamic factor": ("E05", dynamic_factor, ""),
    "VARX": ("E06", varx, ""),
    "VARMA": ("E07", varma, ""),
    "VARMA and noise": ("E27", varma, ""),
    "quarterly sum": ("E08", quarterly_sum, ""),
    "missing regressors": ("E18", regressors_missing, ""),
}
QUICK = ("drifting coefficients", "damped cycle", "missing regressors")


@pytest.mark.parametrize(
    "name", [pytest.param(k, marks=() if k in QUICK else pytest.mark.slow) for k in CASES]
)
def test_value_and_gradient(name):
    label, build, suffix = CASES[name]
    case = load(label)
    case.y = case.y if case.y.ndim == 1 or case.y.shape[1] > 1 else case.y[:, 0]
    with pm.Model(coords={"time": np.arange(float(len(case.y)))}) as model:
        build(case)
    free = model.free_RVs
    point = {rv.name: getattr(case, rv.name) for rv in free}
    value, slope = model.compile_fn([model.logp(), model.dlogp()])(point)
    np.testing.assert_allclose(value, getattr(case.out, f"loglik{suffix}"), **VALUE)
    of = [getattr(case.out, f"grad_{rv.name}{suffix}", None) for rv in free]
    if all(part is not None for part in of):
        expected = np.concatenate([np.ravel(part) for part in of])
        scale = np.abs(expected).max()
        np.testing.assert_allclose(slope / scale, expected / scale, **GRADIENT)
    else:
        assert name == "diffuse coefficients"


@pytest.mark.slow
def test_what_the_data_say_of_diffuse_coefficients():
    case = load("E01")
    with pm.Model(coords={"time": np.arange(48.0)}) as model:
        diffuse_coefficients(case)
    draws = xr.Dataset({"level_sigma": (("chain", "draw"), np.full((1, 1), case.level_sigma))})
    idata = xr.DataTree.from_dict({"posterior": draws})
    found = pds.sample_states(idata, model=model, moments=True).posterior.isel(time=-1)
    states = ["first_coefficient", "second_coefficient"]
    mean = found["mean"].sel(state=states)[0, 0]
    cov = found["covariance"].sel(state=states, state_2=states)[0, 0]
    np.testing.assert_allclose(mean, case.out.coefficients_mean, rtol=1e-10)
    np.testing.assert_allclose(cov, case.out.coefficients_cov, rtol=1e-10)
