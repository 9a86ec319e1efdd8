"""What every likelihood of the registry keeps to, with missing data, inputs and doses."""

from dataclasses import replace

import cloudpickle
import numpy as np
import pytest

import pymc_dynsys as pds
from pymc_dynsys.likelihoods.registry import LIKELIHOODS
from tests.likelihoods import everywhere

SMALL = {
    pds.EnKF: {"ensemble_size": 8, "seed": 2},
    pds.ParticleFilter: {"particles": 60, "seed": 2},
}
SIZE = {pds.EnKF: "ensemble_size", pds.ParticleFilter: "particles"}


@pytest.fixture(scope="module", params=LIKELIHOODS, ids=lambda kind: kind.__name__)
def likelihood(request):
    return request.param(**SMALL.get(request.param, {}))


@pytest.fixture(scope="module")
def model(likelihood):
    return everywhere.build(likelihood)


# All results of a solver are compiled for a minute; other tests ask for them one by one.
RESULTS = pytest.mark.parametrize(
    "likelihood",
    [
        pytest.param(kind, marks=pytest.mark.slow if kind is pds.ODESolve else ())
        for kind in LIKELIHOODS
    ],
    indirect=True,
    ids=lambda kind: kind.__name__,
)


def terms(model):
    (logp,) = model.logp(vars=[model["y"]], sum=False)
    return model.compile_fn(logp, inputs=model.value_vars, mode="FAST_COMPILE")


def test_trajectories_do_not_see_each_other(model):
    """Each has the value that it has beside others with other parameters."""
    function = terms(model)
    together = function({"mu": everywhere.MU})
    for i in range(3):
        others = np.full(3, 1.7)
        others[i] = everywhere.MU[i]
        np.testing.assert_allclose(function({"mu": others})[i], together[i], rtol=1e-10)


def test_gradients_are_those_of_differences(model):
    if model["y"].owner.op.spec.likelihood.gradient:
        everywhere.assert_gradient_is_that_of_differences(model)


def test_it_is_the_same_after_pickling(model):
    again = cloudpickle.loads(cloudpickle.dumps(model))
    point = {"mu": everywhere.MU}
    np.testing.assert_allclose(again.compile_logp()(point), model.compile_logp()(point))


def test_options_are_shown_and_compared(likelihood):
    assert eval(repr(likelihood), vars(pds)) == likelihood
    assert hash(likelihood) == hash(eval(repr(likelihood), vars(pds)))


@RESULTS
def test_factors_add_up_and_blocks_change_nothing(model, results, monkeypatch):
    idata = everywhere.draws(model, 6)
    each = pds.log_likelihood(idata, model=model, by="trajectory").log_likelihood["y"]
    function = terms(model)
    for k in range(2):
        expected = function({"mu": idata.posterior["mu"].values[0, k]})
        np.testing.assert_allclose(each.values[0, k], expected, rtol=1e-9)
    everywhere.assert_blocks_change_nothing(model, results, monkeypatch)


@RESULTS
def test_states_innovations_forecasts_and_check(results, likelihood):
    missing = np.isnan(everywhere.Y)
    assert np.isnan(results.innovations[..., missing]).all()
    assert np.isfinite(results.innovations[..., ~missing]).all()
    for values in (results.moments, results.states, results.forecast):
        assert np.isfinite(values).all()
    assert results.check["finite"].all() and results.check["gradient_finite"].all()
    assert results.check.attrs["advice"]
    if likelihood.random:
        assert (results.check["seed_sd"] > 0).all()


def test_memory_grows_with_what_is_held(likelihood, model):
    system = model["y"].owner.op.spec.system
    assert likelihood.floats_per_row(system) > 0
    if likelihood.random:
        option = SIZE[type(likelihood)]
        more = replace(likelihood, **{option: 10 * getattr(likelihood, option)})
        assert more.floats_per_row(system) > 5 * likelihood.floats_per_row(system)
