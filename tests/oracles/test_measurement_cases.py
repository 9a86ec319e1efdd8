"""E13 to E17, recipes: DSEM, measurement models, a diary, correlated noises, replicates."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytensor.tensor as pt
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load

pytestmark = pytest.mark.slow

GRADIENT = {"atol": 1e-9}
"""Of the largest entry."""


def check(model, case, expected=None, of_gradient=None):
    """Value, and the gradient of all that has one in the case."""
    free = model.free_RVs
    point = {rv.name: getattr(case, rv.name) for rv in free}
    value, slope = model.compile_fn([model.logp(), model.dlogp()])(point)
    np.testing.assert_allclose(value, case.out.loglik if expected is None else expected, rtol=1e-12)
    gradient = np.concatenate([np.ravel(getattr(case.out, f"grad_{rv.name}")) for rv in free])
    scale = np.abs(gradient).max()
    np.testing.assert_allclose(slope / scale, gradient / scale, **GRADIENT)


def test_dsem():
    """Persons with means, autoregressions, cross-lags and log-variances of their own."""
    case = load("E13")
    coords = {"person": range(4), "k": range(25), "v": ["a", "b"], "to": ["a", "b"]}
    with pm.Model(coords=coords | {"from": ["a", "b"]}) as model:
        mean = pm.Flat("mean", dims=("person", "v"), initval=case.mean)
        phi = pm.Flat("phi", dims=("person", "to", "from"), initval=case.phi)
        log_var = pm.Flat("log_var", dims=("person", "v"), initval=case.log_var)
        z = pm.Flat("fisher_z", initval=case.fisher_z)
        sd = pm.math.exp(log_var / 2)
        R = pt.stack([pt.stack([1.0, pt.tanh(z)]), pt.stack([pt.tanh(z), 1.0])])
        C = sd[:, :, None] * R * sd[:, None, :]
        Q = pm.Deterministic("Q", C, dims=("person", "to", "from"))
        system = pds.linear_gaussian(
            F=phi, Q=Q, H=np.eye(2), R=np.zeros(2), d=mean, initial=pds.Stationary()
        )
        pds.Trajectory("y", system, observed=case.y, dims=("person", "k", "v"))
    check(model, case)


def indicators(case, loadings, **variables):
    """E14 with these loadings: the trajectory in the model at hand, and its system."""
    intercepts = pm.Flat("intercepts", dims=("group", "item"), initval=case.intercepts)
    of_subject = intercepts[case.group.astype(int)]
    at = pm.Deterministic("at", of_subject, dims=("subject", "item"))
    noise = pm.Flat("noise_sigma", shape=3, initval=case.noise_sigma)
    system = pds.SDE(
        states=("x",),
        drift=lambda x, rate: -rate * x,
        diffusion=lambda diffusion: diffusion,
        initial=pds.Stationary(),
        observation=pds.measurement(
            {item: ("x", loadings[i]) for i, item in enumerate("abc")}, intercepts=at, sigma=noise
        ),
    )
    times = xr.DataArray(case.t, dims=("subject", "visit"))
    dims = ("subject", "visit", "item")
    pds.Trajectory("y", system, params=variables, observed=case.y, times=times, dims=dims)


E14 = {"subject": range(6), "visit": range(12), "item": ["a", "b", "c"], "group": [0, 1]}


def test_measurement_model():
    """Three indicators of a state: one loading and the mean of the state are fixed."""
    case = load("E14")
    with pm.Model(coords=E14) as model:
        free = [pm.Flat(f"loading_{i}", initval=case.loadings[i]) for i in (1, 2)]
        rest = {n: pm.Flat(n, initval=getattr(case, n)) for n in ("rate", "diffusion")}
        indicators(case, [1.0, *free], **rest)
    case.loading_1, case.loading_2 = case.loadings[1:]
    case.out.grad_loading_1, case.out.grad_loading_2 = case.out.grad_loadings[1:]
    check(model, case)


def test_measurement_model_with_its_scale_free():
    """All loadings free beside the diffusion: said at build; along the line the slope is 0."""
    case = load("E14")
    with (
        pytest.warns(UserWarning, match="nothing fixes the unit of the state 'x'"),
        pm.Model(coords=E14) as model,
    ):
        free = [pm.Flat(f"loading_{i}", initval=case.loadings[i]) for i in range(3)]
        diffusion = pm.Flat("diffusion", initval=case.diffusion)
        indicators(case, free, rate=float(case.rate), diffusion=diffusion)
    names = [f"loading_{i}" for i in range(3)]
    values = dict(zip(names, case.loadings, strict=True)) | {
        n: getattr(case, n) for n in ("intercepts", "noise_sigma", "diffusion")
    }
    slope, slopes = {}, list(model.compile_dlogp()(values))
    for rv in model.free_RVs:
        size = np.size(values[rv.name])
        slope[rv.name], slopes = np.array(slopes[:size]), slopes[size:]
    along = np.concatenate([slope[n] for n in names])
    np.testing.assert_allclose(along, case.out.grad_loadings, rtol=1e-9)
    # A difference of terms near 20, each rounded: 1e-14 is reached, and the case itself has 7e-14.
    left = along @ case.loadings - slope["diffusion"].item() * case.diffusion
    np.testing.assert_allclose(left, 0.0, rtol=0, atol=1e-13)


def by_day(case):
    """Times and data of E15 with days as an axis of their own, padded with NaN."""
    n_days, n_beeps = int(np.nanmax(case.day)) + 1, 7
    t, y = np.full((3, n_days, n_beeps), np.nan), np.full((3, n_days, n_beeps, 2), np.nan)
    first = int(np.nanmin(case.day))
    for person in range(3):
        for day in range(n_days):
            own = np.flatnonzero(case.day[person] == day + first)
            t[person, day, : len(own)] = case.t[person, own]
            y[person, day, : len(own)] = case.y[person, own]
    return t, y


@pytest.mark.parametrize("anew", [False, True])
def test_diary(anew):
    """The process goes on at night, or each day begins anew; missing beeps keep their time."""
    case = load("E15")
    system = pds.SDE(
        states=("a", "b"),
        drift=lambda states, drift, mean: drift @ (states - mean),
        diffusion=lambda diffusion, correlation: jnp.stack(
            [
                jnp.stack([diffusion[0], 0.0 * correlation]),
                diffusion[1] * jnp.stack([correlation, jnp.sqrt(1 - correlation**2)]),
            ]
        ),
        initial=pds.Stationary(),
        observation=lambda states, noise_sigma: dist.Normal(states, noise_sigma).to_event(1),
    )
    t, y = by_day(case) if anew else (case.t, case.y)
    along = ("day", "visit") if anew else ("visit",)
    coords = {"person": range(3), **dict(zip(along, map(range, t.shape[1:]), strict=True))}
    coords |= {"v": [0, 1], "to": [0, 1], "from": [0, 1]}
    with pm.Model(coords=coords) as model:
        params = {
            "drift": pm.Flat("drift", dims=("person", "to", "from"), initval=case.drift),
            "mean": pm.Flat("mean", dims=("person", "to"), initval=case.mean),
            "diffusion": pm.Flat("diffusion", shape=2, initval=case.diffusion),
            "correlation": pm.Flat("correlation", initval=case.correlation),
            "noise_sigma": pm.Flat("noise_sigma", shape=2, initval=case.noise_sigma),
        }
        pds.Trajectory(
            "y",
            system,
            params=params,
            observed=y,
            times=xr.DataArray(t, dims=("person", *along)),
            dims=("person", *along, "v"),
        )
    if not anew:
        check(model, case)
        return
    point = {rv.name: getattr(case, rv.name) for rv in model.free_RVs}
    each = model.compile_fn(model.logp(vars=model.observed_RVs, sum=False)[0])(point)
    expected = case.out.loglik_subject_new_each_day
    np.testing.assert_allclose(each.sum(-1), expected, rtol=1e-12)


def test_correlated_noises():
    case = load("E16")

    def root(sd, c):
        return jnp.stack([jnp.stack([sd[0], 0.0 * c]), sd[1] * jnp.stack([c, jnp.sqrt(1 - c**2)])])

    def covariance(sd, c):
        return jnp.stack(
            [jnp.stack([sd[0] ** 2, c * sd[0] * sd[1]]), jnp.stack([c * sd[0] * sd[1], sd[1] ** 2])]
        )

    system = pds.SDE(
        states=("a", "b"),
        drift=lambda states, rates: -rates * states,
        diffusion=lambda diffusion, process_correlation: root(diffusion, process_correlation),
        initial=pds.Stationary(),
        observation=lambda states, noise_sigma, noise_correlation: dist.MultivariateNormal(
            states, covariance(noise_sigma, noise_correlation)
        ),
    )
    names = ("rates", "diffusion", "process_correlation", "noise_sigma", "noise_correlation")
    with pm.Model(coords={"time": case.t, "v": [0, 1]}) as model:
        params = {
            n: pm.Flat(n, shape=np.shape(getattr(case, n)), initval=getattr(case, n)) for n in names
        }
        pds.Trajectory("y", system, params=params, observed=case.y, dims=("time", "v"))
    check(model, case)


def stationary(F, Q):
    n = len(F)
    return np.linalg.solve(np.eye(n * n) - np.kron(F, F), Q.ravel()).reshape(n, n)


@pytest.mark.parametrize("way", ["into", "out"])
def test_noises_correlated_with_each_other(way):
    """The noise of the step that ends at a datum, or leaves it, is a state that the datum sees."""
    case = load("E16")
    n, B = 2, case.S.T @ np.linalg.inv(case.Q)
    rest = case.R - B @ case.Q @ B.T
    F, Q = np.zeros((4, 4)), np.zeros((4, 4))
    F[:n, :n] = case.F
    if way == "into":
        # (x, w) with w the noise of the last step: y sees it, x holds it.
        Q = np.block([[case.Q, case.Q], [case.Q, case.Q]])
        H = np.concatenate([case.H, B], axis=1)
        # The first datum is not correlated with its state.
        P = stationary(case.F, case.Q)
        start = {"m0": np.zeros(4), "P0": np.block([[P, 0 * P], [0 * P, case.Q]])}
    else:
        # (x, w) with w the noise of the next step.
        F[:n, n:] = np.eye(n)
        Q[n:, n:] = case.Q
        H = np.concatenate([case.H, B], axis=1)
        start = {"initial": pds.Stationary()}
    with pm.Model(coords={"time": range(len(case.z))}) as model:
        system = pds.linear_gaussian(F=F, Q=Q, H=H[0], R=rest[0, 0], **start)
        pds.Trajectory("z", system, observed=case.z, dims="time")
    expected = getattr(case.out, f"loglik_cross_{way}")
    np.testing.assert_allclose(model.compile_logp()({}), expected, rtol=1e-12)


def test_replicates():
    """Rows at one time see one state, with noises of their own."""
    case = load("E17")
    system = pds.SDE(
        states=("x",),
        drift=lambda x, rate, mean: -rate * (x - mean),
        diffusion=lambda diffusion: diffusion,
        initial=pds.Stationary(),
        observation=lambda x, noise_sigma: dist.Normal(x, noise_sigma),
    )
    with pm.Model(coords={"row": range(8)}) as model:
        names = ("rate", "mean", "diffusion", "noise_sigma")
        params = {n: pm.Flat(n, initval=getattr(case, n)) for n in names}
        pds.Trajectory("y", system, params=params, observed=case.y, times=case.t, dims="row")
    check(model, case)
