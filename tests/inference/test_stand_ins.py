"""Which of a model's variables are taken from draws, and which are computed anew."""

import numpy as np
import pymc as pm
import pytest
import xarray as xr
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.inference.posteriors import posterior

SETTLING = pds.SDE(
    states=("level",),
    drift=lambda level, mu: mu - level,
    diffusion=1e-6,
    initial=(0.0,),
    observation=lambda level: dist.Normal(level, 0.1),
)
"""Far ahead its state is mu."""
COORDS = {"subject": ["a", "b"], "time": [0.0, 1.0]}
DIMS = ("subject", "time")


def model_of(make_mu) -> pm.Model:
    with pm.Model(coords=COORDS) as model:
        mu = make_mu()
        pds.Trajectory("y", SETTLING, params={"mu": mu}, observed=np.zeros((2, 2)), dims=DIMS)
    return model


def of_subject(name, value):
    return pm.Deterministic(name, value, dims="subject")


def far_ahead(idata, model):
    """Mean state at 60, where exp(-60) of the start is left: mu, to the sd of 1e-6 of its noise."""
    out = pds.forecast(idata, model=model, times=[60.0], random_seed=1)
    return out.predictions["states"].mean(("chain", "draw")).squeeze(("time", "state"))


def draws(**values):
    named = {k: (("subject",), np.array(v)) if np.ndim(v) else v for k, v in values.items()}
    return posterior(named, 2, subject=["a", "b"])


def test_a_formula_of_random_variables_stands_in_for_those_that_were_not_kept():
    def non_centred():
        z = pm.Normal("z", dims="subject")
        return of_subject("mu", pm.Normal("centre") + pm.HalfNormal("sd") * z)

    model = model_of(non_centred)
    found = far_ahead(draws(mu=[3.0, 4.0], centre=99.0), model)
    np.testing.assert_allclose(found, [3.0, 4.0], atol=1e-5)  # ten sds


def covariate(weight):
    return lambda: of_subject("mu", pm.Normal("b") * np.array(weight))


def a_number(factor):
    return lambda: of_subject("mu", factor * pm.Normal("b", dims="subject"))


def an_index(index):
    return lambda: of_subject("mu", pm.Normal("b", shape=2)[np.array(index)])


def a_shared_one():
    return of_subject("mu", pm.Normal("b") * pm.Data("weight", [1.0, 2.0], dims="subject"))


@pytest.mark.parametrize(
    "make_mu",
    [covariate([1.0, 2.0]), a_number(2.0), an_index([1, 0]), a_shared_one],
    ids=["covariate", "number", "index", "data"],
)
def test_what_may_have_been_made_with_other_numbers_does_not_stand_in(make_mu):
    """The model that made the draws may have had other ones, and the draws do not tell."""
    with pytest.raises(ValueError, match=r"do not hold b, .*\(mu cannot stand in.*add 'b' to"):
        far_ahead(draws(mu=[3.0, 4.0]), model_of(make_mu))


def test_of_another_covariate_only_the_free_variable_is_taken():
    found = far_ahead(draws(b=5.0, mu=[5.0, 10.0]), model_of(covariate([100.0, 200.0])))
    np.testing.assert_allclose(found, [500.0, 1000.0], rtol=1e-4)


def test_a_missing_variable_makes_no_other_one_stale():
    """One part has to stand in; the other is computed, though a value of it was stored."""

    def two_parts():
        z = pm.Normal("z", dims="subject")
        known = of_subject("known", pm.Normal("b") * np.array([10.0, 20.0]))
        unknown = of_subject("unknown", pm.Normal("c") + z)
        return of_subject("mu", known + unknown)

    stored = draws(b=2.0, known=[-1.0, -1.0], unknown=[0.5, 0.25], mu=[-7.0, -7.0])
    with pytest.raises(ValueError, match="do not hold c, z"):
        far_ahead(draws(b=2.0, known=[-1.0, -1.0], mu=[-7.0, -7.0]), model_of(two_parts))
    np.testing.assert_allclose(far_ahead(stored, model_of(two_parts)), [20.5, 40.25], rtol=1e-4)


@pytest.mark.parametrize("shared", [True, False])
def test_interventions_are_not_undone_by_what_was_stored(shared):
    def scaled():
        return of_subject("mu", pm.Normal("b") * pm.Normal("z", dims="subject"))

    model = pm.do(model_of(scaled), {"b": 10.0}, make_interventions_shared=shared)
    kept = draws(b=1.0, z=[1.0, 2.0], mu=[1.0, 2.0])
    np.testing.assert_allclose(far_ahead(kept, model), [10.0, 20.0], rtol=1e-4)
    with pytest.raises(ValueError, match=r"do not hold z.*mu cannot stand in"):
        far_ahead(draws(b=1.0, mu=[1.0, 2.0]), model)


# Observed and imputed parameters --------------------------------------------------------------


def test_observed_and_imputed_parameters_have_their_values_in_all_results():
    with pm.Model(coords=COORDS) as model:
        prior = pm.Normal("prior")
        scale = pm.Normal("scale", prior, observed=2.0)
        with pytest.warns(Warning, match="imputed"):
            weight = pm.Normal("weight", prior, observed=[3.0, np.nan], dims="subject")
        mu = of_subject("mu", scale * weight)
        pds.Trajectory("y", SETTLING, params={"mu": mu}, observed=np.zeros((2, 2)), dims=DIMS)
    n = 3
    idata = posterior({"weight_unobserved": (("weight_unobserved_dim_0",), np.array([7.0]))}, n)
    np.testing.assert_allclose(far_ahead(idata, model), [6.0, 14.0], rtol=1e-4)
    moments = pds.sample_states(idata, model=model, given="past", moments=True).posterior
    # At rest at 0 and on the way to mu for one unit of time, before the second datum is used.
    assert moments["mean"].shape == (1, n, 2, 2, 1)
    errors = pds.innovations(idata, model=model)["innovations"]["z"]
    expected = -np.array([6.0, 14.0]) * (1 - np.exp(-1.0)) / 0.1
    np.testing.assert_allclose(errors.values[0, :, :, 1], np.tile(expected, (n, 1)), rtol=1e-6)
    each = pds.log_likelihood(idata, model=model, by="trajectory").log_likelihood["y"]
    point = {"prior": np.array(0.0), "weight_unobserved": np.array([7.0])}
    logp = model.compile_logp(vars=[model["y"]], sum=False, mode="FAST_COMPILE")(point)[0]
    np.testing.assert_allclose(each.values[0, 0], logp, rtol=1e-10)
    assert pds.check_likelihood(model)["check"].sizes["draw"] == 1


def test_an_observed_parameter_of_now_counts():
    with pm.Model(coords=COORDS) as model:
        mu = pm.Normal("mu", observed=pm.Data("mu_data", 2.0))
        pds.Trajectory("y", SETTLING, params={"mu": mu}, observed=np.zeros((2, 2)), dims=DIMS)
    np.testing.assert_allclose(far_ahead(None, model), 2.0, rtol=1e-4)
    pm.set_data({"mu_data": 30.0}, model=model)
    np.testing.assert_allclose(far_ahead(None, model), 30.0, rtol=1e-4)
    again = pm.observe(model_of(lambda: pm.Normal("mu", dims="subject")), {"mu": [4.0, 5.0]})
    np.testing.assert_allclose(far_ahead(None, again), [4.0, 5.0], rtol=1e-4)


def test_new_subjects_are_drawn_given_what_is_observed():
    """PyMC would draw the observed spread anew, and be 1,000 off instead of 0.001."""
    with pm.Model(coords={"subject": ["p", "q"], "time": [0.0, 1.0]}) as model:
        spread = pm.HalfNormal("spread", 1000.0, observed=1e-3)
        mu = pm.Normal("mu", pm.Normal("centre"), spread, dims="subject")
        pds.Trajectory("y", SETTLING, params={"mu": mu}, observed=np.zeros((2, 2)), dims=DIMS)
    found = far_ahead(draws(mu=[0.0, 0.0], centre=5.0), model)
    np.testing.assert_allclose(found, [5.0, 5.0], atol=0.02)


# Known parameters -----------------------------------------------------------------------------


def test_results_at_known_parameters_need_no_draws():
    """One chain and one draw; the same as with made-up draws that hold nothing."""
    model = model_of(lambda: xr.DataArray([1.0, 2.0], dims="subject"))
    nothing = posterior({"unrelated": 0.0}, 1)
    for ask, group in (
        (lambda idata: pds.sample_states(idata, model=model, moments=True), "posterior"),
        (lambda idata: pds.innovations(idata, model=model), "innovations"),
        (lambda idata: pds.log_likelihood(idata, model=model), "log_likelihood"),
    ):
        found = ask(None)[group].dataset
        assert dict(found.sizes)["chain"] == dict(found.sizes)["draw"] == 1
        xr.testing.assert_equal(found, ask(nothing)[group].dataset)
    np.testing.assert_allclose(far_ahead(None, model), [1.0, 2.0], rtol=1e-4)


def test_known_parameters_are_those_on_which_the_trajectory_depends():
    model = model_of(lambda: pm.Normal("mu", dims="subject"))
    with pytest.raises(ValueError, match="do not hold mu"):
        pds.sample_states(None, model=model)


# Draws that were chosen, put in order, saved ----------------------------------------------------


def test_results_follow_their_draws_whatever_was_done_to_them(tmp_path):
    model = model_of(lambda: of_subject("mu", pm.Normal("b", dims="subject") * 1.0))
    b = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    whole = posterior({"b": (("subject",), b)}, 3, subject=["a", "b"])

    def means(idata):
        return pds.sample_states(idata, model=model, moments=True).posterior["mean"]

    all_of_them = means(whole)
    xr.testing.assert_allclose(means(whole.isel(draw=[2, 0])), all_of_them.isel(draw=[2, 0]))
    by_label = whole.isel(subject=[1, 0])
    xr.testing.assert_allclose(means(by_label), all_of_them)
    whole.to_netcdf(tmp_path / "posterior.nc")
    with xr.open_datatree(tmp_path / "posterior.nc") as read:
        xr.testing.assert_allclose(means(read), all_of_them)
