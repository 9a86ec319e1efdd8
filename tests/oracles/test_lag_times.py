"""D07, D08 and D22: doses that arrive some time after they are given."""

import numpy as np
import pymc as pm
import pytest
from numpyro import distributions as dist

import pymc_dynsys as pds
from tests.oracles.cases import load
from tests.oracles.test_dose_tables import assert_met, panel_of, params_of

DEVIATIONS = np.array([0.0, 0.6, -0.9, 2.1])


def compiled(system, panel, numbers, late, likelihood):
    """Log-likelihood of each subject and the gradient of their sum, with lags by subject."""
    with pm.Model(coords=pds.coords(panel)) as model:
        free = {name: pm.Flat(name, initval=numbers[name]) for name in numbers}
        lags = pm.Deterministic("late", late(free), dims="subject")
        own = {name: value for name, value in free.items() if name not in ("lag", "eta")}
        pds.Trajectory(
            "y",
            system,
            params={**own, "late": lags},
            observed=panel["DV"],
            events=panel,
            likelihood=likelihood,
        )
    (term,) = model.logp(vars=[model["y"]], sum=False)
    return model.compile_fn([term, model.dlogp(list(free.values()))])


LIKELIHOODS = [
    pds.Kalman(),
    # So precise that the looser tolerances of solvers in the case do not hide a wrong lag.
    pytest.param(pds.ODESolve(rtol=1e-10, atol=1e-10), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_d08_a_lag_time_for_each_subject(likelihood):
    """Lags are lag exp(eta a), with known deviations a."""
    case = load("D08")
    system = pds.ODE(
        states=("G", "A"),
        drift=lambda G, A, ka, k: (-ka * G, ka * G - k * A),
        initial=(0.0, 0.0),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
        events=pds.Dose("G", lag="late"),
    )
    numbers = params_of(case)

    def late(free):
        return free["lag"] * pm.math.exp(free["eta"] * DEVIATIONS)

    function = compiled(system, panel_of(case), numbers, late, likelihood)
    assert_met(case, function(numbers), loose=not isinstance(likelihood, pds.Kalman))
    value, slope = function(numbers | {"lag": -0.01})
    assert np.isneginf(value).all()
    assert np.isfinite(slope).all()


def one_compartment():
    return pds.ODE(
        states=("A",),
        drift=lambda A, k: -k * A,
        initial=(0.0,),
        observation=lambda A, V, sd: dist.Normal(A / V, sd),
        events=pds.Dose(lag="late"),
    )


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_d07_both_ends_of_infusions_and_their_repeats_are_late(likelihood):
    case = load("D07")
    numbers = params_of(case)

    def late(free):
        return free["lag"] * np.array([0.0, 0.0, 1.0])

    function = compiled(one_compartment(), panel_of(case), numbers, late, likelihood)
    found = function(numbers)
    assert_met(case, found, loose=not isinstance(likelihood, pds.Kalman))


def test_d22_a_late_dose_comes_before_the_datum_of_its_time():
    case = load("D22")
    numbers = params_of(case)

    def late(free):
        return pm.math.stack([0.0, 2.0])

    with pytest.warns(UserWarning, match="enter 'A' at once, which is observed"):
        function = compiled(one_compartment(), panel_of(case), numbers, late, pds.Kalman())
    found = function(numbers)
    assert_met(case, found)
    # Closed forms on both sides, so that only rounding differs.
    np.testing.assert_allclose(found[0], case.out.loglik_by_subject, atol=1e-10, rtol=0)
