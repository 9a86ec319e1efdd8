"""E09, E10: what was accumulated since the last visit, exact and by Euler steps."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load

NAMES = ("rate", "mean", "diffusion", "noise_sigma", "m0", "s0")


def integral(**changes) -> pds.SDE:
    parts = {
        "states": ("x", "C"),
        "drift": lambda x, rate, mean: (-rate * (x - mean), x),
        "diffusion": lambda diffusion: jnp.array([diffusion, 0.0]),
        "initial": lambda m0, s0: (dist.Normal(m0, s0), 0.0),
        "observation": lambda C, noise_sigma: dist.Normal(C, noise_sigma),
        "accumulate": ("C",),
    }
    return pds.SDE(**parts | changes)


def model_of(case, rows=slice(None), **options) -> pm.Model:
    with pm.Model(coords={"time": case.t[rows]}) as model:
        params = {n: pm.Flat(n, initval=getattr(case, n)) for n in NAMES}
        options = {"t0": 0.0, "dims": "time"} | options
        pds.Trajectory("y", integral(), params=params, observed=case.y[rows], **options)
    return model


def point_of(case) -> dict[str, np.ndarray]:
    return {n: getattr(case, n) for n in NAMES}


def draws_of(case) -> xr.DataTree:
    values = {n: (("chain", "draw"), np.full((1, 1), getattr(case, n))) for n in NAMES}
    return xr.DataTree.from_dict({"posterior": xr.Dataset(values)})


@pytest.fixture(scope="module")
def whole():
    case = load("E09")
    return case, model_of(case)


def check(model, case, suffix=""):
    value, slope = model.compile_fn([model.logp(), model.dlogp()])(point_of(case))
    np.testing.assert_allclose(value, getattr(case.out, f"loglik{suffix}"), rtol=1e-13)
    expected = np.array([getattr(case.out, f"grad_{n}{suffix}") for n in NAMES])
    scale = np.abs(expected).max()
    # In units of the largest entry, as the reference was found by complex steps.
    np.testing.assert_allclose(slope / scale, expected / scale, rtol=0, atol=1e-14)


def test_every_visit_begins_anew(whole):
    check(whole[1], whole[0])


@pytest.mark.slow
def test_rows_without_data_left_out():
    case = load("E09")
    check(model_of(case, ~np.isnan(case.y)), case, "_since_last_report")


@pytest.mark.slow
def test_states_and_times_that_are_only_asked_for(whole):
    """The datum sees what it was before; between visits it grows on, and is not set to zero."""
    case, model = whole
    idata = draws_of(case)
    times = np.sort(np.concatenate([case.t, case.t[1:] - 0.1]))
    found = pds.sample_states(idata, model=model, given="past", moments=True, times=times)
    at = found.posterior["mean"].sel(time=case.t, state="x")[0, 0]
    np.testing.assert_allclose(at, case.out.filtered_x, rtol=1e-12)
    alone = pds.sample_states(idata, model=model, given="past", moments=True).posterior
    np.testing.assert_allclose(
        found.posterior["mean"].sel(time=case.t)[0, 0], alone["mean"][0, 0], rtol=1e-12
    )
    missing = [k for k in range(12) if np.isnan(case.y[k])]
    np.testing.assert_allclose(
        alone["mean"].sel(state="C")[0, 0, missing], case.out.predicted_x_C[missing, 1], rtol=1e-12
    )


@pytest.mark.slow
def test_a_forecast_counts_between_its_times():
    case = load("E09")
    model = model_of(case)
    many = draws_of(case)["posterior"].dataset.isel(draw=np.zeros(4000, int))
    many = many.assign_coords(draw=np.arange(4000))
    idata = xr.DataTree.from_dict({"posterior": many})
    ahead = pds.forecast(
        idata, model=model, times=[14.0, 30.0, 31.0], random_seed=1, progressbar=False
    ).predictions["states"]
    mean = ahead.sel(state="C").mean(("chain", "draw")).values
    # x is at its mean from 14 on, to e^-5; standard deviations of integrals are 1.5 t^(1/2).
    start = case.mean + (case.out.filtered_x[-1] - case.mean) * np.exp(-case.rate * 0.9)
    expected = [
        case.mean * 0.9 + (case.out.filtered_x[-1] - start) / case.rate,
        case.mean * 16.0 + (start - case.mean) / case.rate,
        case.mean,
    ]
    sd = ahead.sel(state="C").std(("chain", "draw")).values
    assert (np.abs(mean - expected) < 4 * sd / 4000**0.5).all()


@pytest.mark.slow
def test_simulated_data_are_sums_since_the_last_visit():
    case = load("E09")
    params = {**point_of(case), "noise_sigma": 1e-6, "diffusion": 1e-9, "s0": 1e-9, "m0": case.mean}
    paths = pds.simulate(integral(), params, case.t, t0=0.0, random_seed=1)
    gaps = np.diff(case.t, prepend=0.0)
    # Five standard deviations of the measurement noise.
    np.testing.assert_allclose(paths["observations"][0], case.mean * gaps, rtol=0, atol=5e-6)


@pytest.mark.slow
@pytest.mark.parametrize("noise", ["", "_state_noise"])
def test_incidence_of_an_epidemic(noise):
    case = load("E10")

    def drift(S, I, beta, gamma):  # noqa: E741
        infected = beta * S * I / float(case.N)
        return (-infected, infected - gamma * I, infected)

    def diffusion(S, I, beta, gamma):  # noqa: E741
        a, b = jnp.sqrt(beta * S * I / float(case.N)), jnp.sqrt(gamma * I)
        return jnp.array([[-1.0, 0.0], [1.0, -1.0], [1.0, 0.0]]) @ jnp.diag(jnp.stack([a, b]))

    def observation(C, rho, tau):
        extra = rho * (1 - rho) * C if noise else 0.0
        return dist.Normal(rho * C, jnp.sqrt(tau**2 + extra))

    system = pds.SDE(
        states=("S", "I", "C"),
        drift=drift,
        diffusion=diffusion,
        observation=observation,
        initial=pds.Gaussian(case.m0, np.diag(case.p0)),
        accumulate=("C",),
    )
    names = ("beta", "gamma", "rho", "tau")
    with pm.Model(coords={"time": case.t}) as model:
        params = {n: pm.Flat(n, initval=getattr(case, n)) for n in names}
        pds.Trajectory(
            "y",
            system,
            params=params,
            observed=case.y,
            dims="time",
            t0=0.0,
            likelihood=pds.EKF(pds.EulerMaruyama(dt=float(case.h))),
        )
    point = {n: getattr(case, n) for n in names}
    value, slope = model.compile_fn([model.logp(), model.dlogp()])(point)
    np.testing.assert_allclose(value, getattr(case.out, f"loglik{noise}"), rtol=1e-12)
    expected = np.array([getattr(case.out, f"grad_{n}{noise}") for n in names])
    scale = np.abs(expected).max()
    # In units of the largest entry, as the reference was found by complex steps.
    np.testing.assert_allclose(slope / scale, expected / scale, rtol=0, atol=1e-14)


def test_a_first_interval_without_length():
    case = load("E09")
    with pytest.warns(UserWarning, match="C accumulates from t0 on, which is the first visit"):
        model_of(case, t0=None)


def test_what_is_refused():
    case = load("E09")
    with pytest.raises(ValueError, match=r"accumulate: 'D' is none of the states \('x', 'C'\)"):
        integral(accumulate=("D",))
    with pm.Model(coords={"time": range(12)}):
        t = pm.Data("t", case.t, dims="time")
        params = {n: getattr(case, n) for n in NAMES}
        with pytest.raises(ValueError, match=r"visits cannot change with pm\.Data"):
            pds.Trajectory(
                "y", integral(), params=params, observed=case.y, times=t, dims="time", t0=0.0
            )
