"""States from a posterior: labels, times, agreement with the dense Gaussian and with a loop."""

import jax.numpy as jnp
import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

NAN = np.nan
SUBJECTS = ["a", "b", "c"]
TIMES = np.array([[0.0, 0.4, 1.1, 3.0], [0.2, 0.3, 2.0, NAN], [1.0, 1.5, NAN, NAN]])
Y = np.array([[0.3, NAN, 0.9, 1.2], [0.1, 0.2, -0.4, NAN], [NAN, NAN, NAN, NAN]])
THETA, SIGMA, NOISE = 0.7, 0.5, 0.2
OU = pds.SDE(
    states=("level",),
    drift=lambda level, mu: -THETA * (level - mu),
    diffusion=SIGMA,
    initial=dist.Normal(0.5, 1.0),
    observation=lambda level: dist.Normal(level, NOISE),
)


def build(likelihood=None, system=OU, t0=-0.5, **options):
    with pm.Model(coords={"subject": SUBJECTS}) as model:
        mu = pm.Normal("mu", dims="subject")
        model.add_coord("visit", np.arange(4))
        with pytest.warns(UserWarning, match="no value observed for subject='c'"):
            pds.Trajectory(
                "y",
                system,
                params={"mu": mu},
                observed=Y,
                times=TIMES,
                t0=t0,
                dims=("subject", "visit"),
                likelihood=likelihood,
                **options,
            )
    return model


@pytest.fixture(scope="module")
def model():
    return build()


MU = np.array([[0.5, -1.0, 2.0], [1.5, 0.0, -1.0]])
IDATA = posterior({"mu": (("subject",), MU)}, 2, subject=SUBJECTS)


def dense(i: int, mu: float, times: np.ndarray, t0: float = -0.5):
    """Mean and covariance of the states of subject `i`, by conditioning a joint Gaussian."""
    seen = np.isfinite(Y[i])
    all_times = np.concatenate([times, TIMES[i][seen]])
    s = all_times - t0
    mean = mu + np.exp(-THETA * s) * (0.5 - mu)
    early = np.minimum.outer(s, s)
    stationary = SIGMA**2 / (2 * THETA)
    cov = np.exp(-THETA * np.add.outer(s, s)) + stationary * (
        np.exp(-THETA * np.abs(np.subtract.outer(s, s))) - np.exp(-THETA * np.add.outer(s, s))
    )
    assert early.shape == cov.shape
    n = len(times)
    if not seen.any():
        return mean[:n], cov[:n, :n]
    of_data = cov[n:, n:] + NOISE**2 * np.eye(seen.sum())
    gain = np.linalg.solve(of_data, cov[n:, :n]).T
    return mean[:n] + gain @ (Y[i][seen] - mean[n:]), cov[:n, :n] - gain @ cov[n:, :n]


def test_moments_at_visits_have_the_dims_of_the_panel(model):
    out = pds.sample_states(IDATA, model=model, moments=True)
    mean = out.posterior["mean"]
    assert mean.dims == ("chain", "draw", "subject", "visit", "state")
    assert out.posterior["covariance"].dims == (*mean.dims, "state_2")
    assert mean["state"].values.tolist() == ["level"]
    np.testing.assert_array_equal(out.posterior["time"], TIMES)
    np.testing.assert_array_equal(np.isnan(mean[0, 0, ..., 0]), np.isnan(TIMES))
    np.testing.assert_array_equal(out.observed_data["y"], Y)
    for s in range(2):
        for i in range(3):
            at = np.isfinite(TIMES[i])
            expected = dense(i, MU[s, i], TIMES[i][at])
            got = mean.values[0, s, i, at, 0], out.posterior["covariance"].values[0, s, i, at, 0, 0]
            np.testing.assert_allclose(got[0], expected[0], rtol=1e-9)
            np.testing.assert_allclose(got[1], np.diag(expected[1]), rtol=1e-9)


GRID = np.array([-0.5, 0.0, 0.4, 0.35, 2.7, 8.0])
GRID.sort()


def test_moments_at_other_times_shared_or_not(model):
    own = xr.DataArray(
        np.stack([GRID, GRID + 0.1, GRID]), dims=("subject", "when"), coords={"subject": SUBJECTS}
    )
    shared = pds.sample_states(IDATA, model=model, times=GRID, moments=True).posterior
    apart = pds.sample_states(IDATA, model=model, times=own[::-1], moments=True).posterior
    np.testing.assert_array_equal(shared["time"], GRID)
    assert apart["mean"].dims == ("chain", "draw", "subject", "when", "state")
    for i in range(3):
        for got, times in ((shared, GRID), (apart, own.values[i])):
            mean, cov = dense(i, MU[1, i], times)
            np.testing.assert_allclose(got["mean"].values[0, 1, i, :, 0], mean, rtol=1e-9)
            variance = got["covariance"].values[0, 1, i, :, 0, 0]
            np.testing.assert_allclose(variance, np.diag(cov), rtol=1e-8)


@pytest.mark.parametrize("likelihood", [pds.Kalman(), pds.EKF(), pds.EnKF(400, pds.Exact())])
def test_draws_are_paths_with_the_joint_moments(likelihood):
    n = 8000
    idata = posterior({"mu": (("subject",), MU[0])}, n, subject=SUBJECTS)
    out = pds.sample_states(idata, model=build(likelihood), times=GRID, random_seed=3)
    draws = out.posterior["states"].values[0, ..., 0]
    # An ensemble of 400 is itself a sample.
    size = 400 if isinstance(likelihood, pds.EnKF) else n
    for i in range(3):
        mean, cov = dense(i, MU[0, i], GRID)
        sd = np.sqrt(np.diag(cov))
        assert np.all(np.abs(draws[:, i].mean(0) - mean) < 4.5 * sd / size**0.5)
        error = np.abs(np.cov(draws[:, i].T) - cov) / np.outer(sd, sd)
        assert error.max() < 4.5 * 1.5 / size**0.5


def test_filtered_states_know_the_past_only(model):
    out = pds.sample_states(IDATA, model=model, given="past", moments=True).posterior
    late = pds.sample_states(IDATA, model=model, moments=True).posterior
    np.testing.assert_allclose(out["mean"][..., 0, 3, 0], late["mean"][..., 0, 3, 0], rtol=1e-12)
    first = dense(0, MU[0, 0], np.array([0.0]))[0]
    assert abs(out["mean"].values[0, 0, 0, 0, 0] - first) > 1e-3


def test_seed_and_blocks_do_not_change_what_they_should_not(model, monkeypatch):
    n = 37
    mu = np.random.default_rng(0).normal(size=(n, 3))
    idata = posterior({"mu": (("subject",), mu)}, n, subject=SUBJECTS)
    whole = pds.sample_states(idata, model=model, random_seed=5)
    monkeypatch.setattr("pymc_dynsys.inference.blocks.BLOCK_BYTES", 40_000)
    parts = pds.sample_states(idata, model=model, random_seed=5, progressbar=False)
    np.testing.assert_allclose(whole.posterior["states"], parts.posterior["states"], rtol=1e-12)
    other = pds.sample_states(idata, model=model, random_seed=6, progressbar=False)
    assert (other.posterior["states"] != parts.posterior["states"]).any()


def test_states_of_an_ode_are_its_solution():
    decay = pds.ODE(
        states=("level",),
        drift=lambda level, mu: -jnp.exp(mu) * level,
        initial=(2.0,),
        observation=lambda level: dist.Normal(level, 0.1),
    )
    model = build(system=decay, t0=0.0 * np.zeros(3))
    out = pds.sample_states(IDATA, model=model, times=[0.0, 1.0, 5.0])
    expected = 2.0 * np.exp(-np.exp(MU)[..., None] * np.array([0.0, 1.0, 5.0]))
    np.testing.assert_allclose(out.posterior["states"].values[0, ..., 0], expected, atol=1e-7)


def test_two_states_with_doses_and_a_vector_observation():
    """A bolus between visits is in the path before and after it."""
    system = pds.SDE(
        states=("depot", "central"),
        drift=lambda depot, central, ka: (-ka * depot, ka * depot - 0.3 * central),
        diffusion=lambda: (0.0, 1e-9),
        initial=(0.0, 0.0),
        observation=lambda depot, central: dist.Normal(jnp.stack([depot, central]), 0.5),
        events="depot",
    )
    y = np.array([[0.0, 0.0], [NAN, 3.0], [1.0, NAN]])
    events = xr.Dataset({"event_time": ("event", [1.0]), "event_amount": ("event", [10.0])})
    with pm.Model(coords={"time": [0.0, 2.0, 4.0], "component": ["u", "v"]}) as model:
        ka = pm.Normal("ka", 1.0)
        pds.Trajectory(
            "y", system, params={"ka": ka}, observed=y, events=events, dims=("time", "component")
        )
    idata = posterior({"ka": np.array([0.5, 1.2])}, 2)
    states = pds.sample_states(idata, model=model, times=[0.5, 1.0, 2.0, 6.0], random_seed=1)
    x = states.posterior["states"].values[0]
    assert states.posterior["state"].values.tolist() == ["depot", "central"]
    np.testing.assert_allclose(x[:, :2], 0.0, atol=1e-6)
    for s, ka in enumerate((0.5, 1.2)):
        np.testing.assert_allclose(x[s, 2:, 0], 10 * np.exp(-ka * np.array([1.0, 5.0])), rtol=1e-6)


BAD = {
    "given": ({"given": "future"}, "given: expected one of"),
    "early": ({"times": [-1.0, 2.0]}, "lies before the start of subject='a' at -0.5"),
    "unsorted": ({"times": [2.0, 1.0]}, "sort the rows by time"),
    "infinite": ({"times": [0.0, np.inf]}, "must be finite"),
    "empty": ({"times": []}, "times is empty"),
    "group": ({"group": "prior"}, "no group 'prior'; it has posterior"),
    "name": ({"var_name": "z"}, "no trajectory 'z'; there is y"),
    "matrix": ({"times": np.zeros((2, 2))}, "2 along 'subject', which has length 3"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_asked(model, case):
    options, message = BAD[case]
    with pytest.raises(ValueError, match=message):
        pds.sample_states(IDATA, model=model, **options)


def test_draws_of_another_model(model):
    other = posterior({"mu": (("subject",), MU)}, 2, subject=["a", "b", "z"])
    with pytest.raises(ValueError, match=r"mu has other labels along 'subject'.*'a', 'b', 'z'"):
        pds.sample_states(other, model=model)
    with pytest.raises(ValueError, match="do not hold mu"):
        pds.sample_states(posterior({"nu": 1.0}, 2), model=model)
    with pytest.raises(TypeError, match=r"expected the DataTree of pm\.sample, got Dataset"):
        pds.sample_states(IDATA["posterior"].dataset, model=model)


def test_nothing_of_the_users_is_changed(model):
    before = IDATA.copy(deep=True)
    names = set(model.named_vars)
    pds.sample_states(IDATA, model=model, random_seed=1)
    xr.testing.assert_identical(before, IDATA)
    assert set(model.named_vars) == names
