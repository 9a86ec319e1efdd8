"""What comes after the last visit of a path that is a variable."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr

import pymc_dynsys as pds
from tests.latent.test_samplers import OU, count_model

N = 4000


@pytest.fixture(scope="module")
def of_counts():
    """Model, draws and forecast of a ragged panel."""
    with count_model(pds.Free()) as model:
        prior = pm.sample_prior_predictive(N, random_seed=1)
    times = [3.0, 4.0, 5.5]
    future = pds.forecast(prior, model=model, group="prior", times=times, random_seed=2)
    return prior.prior, future


def test_states_go_on_from_those_of_the_last_visit(of_counts):
    draws, future = of_counts
    x = future.predictions["x"]
    assert x.dims == ("chain", "draw", "subject", "time", "x_state")
    last = {"a": ("a", 3), "b": ("b", 2)}
    for time, subject in ((3.0, "a"), (4.0, "b")):
        seen = draws["x"].sel(subject=subject).isel(visit=last[subject][1])
        np.testing.assert_array_equal(x.sel(subject=subject, time=time), seen)
    assert x.sel(subject="b", time=3.0).isnull().all()
    np.testing.assert_array_equal(future["predictions_constant_data"]["last_time"], [3.0, 4.0])


def test_they_have_the_law_of_the_transition(of_counts):
    """Standardized by closed form: within 4 standard errors of means and variances of N draws."""
    draws, future = of_counts
    x = future.predictions["x"].isel(x_state=0)
    for subject, last in (("a", 3.0), ("b", 4.0)):
        begin, gap = x.sel(subject=subject, time=last), 5.5 - last
        mu = draws["mu"].sel(subject=subject)
        mean = mu + (begin - mu) * np.exp(-0.8 * gap)
        sd = np.sqrt(0.6**2 / (2 * 0.8) * -np.expm1(-2 * 0.8 * gap))
        z = ((x.sel(subject=subject, time=5.5) - mean) / sd).values
        assert abs(z.mean()) < 4 / N**0.5
        assert abs(z.var() - 1) < 4 * (2 / N) ** 0.5


def test_doses_to_come_are_given_and_those_that_were_are_not_given_again():
    """An ODE has one future: a bolus at the last visit comes after its state, others when due."""
    system = pds.ODE(
        states=("amount",),
        drift=lambda amount, rate: -rate * amount,
        initial=lambda: 0.0,
    )
    given = {"event_time": [0.0, 2.0, 3.0], "event_amount": [10.0, 5.0, 7.0]}
    events = xr.Dataset({name: ("event", values) for name, values in given.items()})
    with pm.Model(coords={"time": [1.0, 2.0]}) as model:
        rate = pm.LogNormal("rate")
        pds.Path("x", system, params={"rate": rate}, events=events, t0=0.0, dims="time")
        prior = pm.sample_prior_predictive(5, random_seed=1)
    future = pds.forecast(prior, model=model, group="prior", times=[2.0, 2.5, 4.0])
    k = prior.prior["rate"].values
    at_2 = 10 * np.exp(-2 * k)
    at_4 = ((at_2 + 5) * np.exp(-k) + 7) * np.exp(-k)
    expected = np.stack([at_2, (at_2 + 5) * np.exp(-k / 2), at_4], axis=-1)
    # The solver of an ODE is asked for 1e-8.
    np.testing.assert_allclose(future.predictions["x"].values[..., 0], expected, rtol=1e-7)


def test_new_members_of_a_population_begin_with_their_initial_distribution():
    def model(subjects):
        coords = {"subject": subjects, "time": [1.0, 2.0]}
        with pm.Model(coords=coords) as model:
            mean = pm.Normal("mean", 3.0, 1.0)
            mu = pm.Normal("mu", mean, 0.1, dims="subject")
            params = {"mu": mu, "theta": 0.8, "sigma": 0.6}
            pds.Path("x", OU, params=params, dims=("subject", "time"), t0=0.0)
        return model

    with model(["a", "b"]):
        prior = pm.sample_prior_predictive(N, random_seed=1)
    options = {"group": "prior", "times": [1.0], "random_seed": 1}
    future = pds.forecast(prior, model=model(["c"]), **options).predictions["x"]
    assert list(future["subject"]) == ["c"]
    centred = future.values.ravel() - prior.prior["mean"].values.ravel()
    variance = 0.1**2 + 0.6**2 / (2 * 0.8)
    assert abs(centred.mean()) < 4 * (variance / N) ** 0.5
    assert abs(centred.var() / variance - 1) < 4 * (2 / N) ** 0.5


def test_draws_without_the_path_and_two_paths_are_told(of_counts):
    draws, _ = of_counts
    model = count_model(pds.Free())
    tree = xr.DataTree.from_dict({"posterior": draws.to_dataset()[["mu", "x_start", "x_noise"]]})
    with pytest.raises(ValueError, match=r"do not hold the path 'x'.*add 'x'"):
        pds.forecast(tree, model=model, times=[9.0])
    with model:
        model.add_coord("row", [0])
        pds.Path("z", OU, params={"mu": 0.0, "theta": 1.0, "sigma": 1.0}, times=[0.0], dims="row")
    with pytest.raises(ValueError, match="var_name: the model has several paths, x, z"):
        pds.forecast(tree, model=model, times=[9.0])
